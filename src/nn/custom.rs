//! Modules of a user's own.

use std::marker::PhantomData;

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut},
    prelude::*,
};

use super::{Signal, Takes, Width, typed::Typed};
use crate::{
    device::{Backend, Real, Rows},
    plan::{Borrowed, Lowered, Operation},
};

/// Any dfdx module as a layer, with the signals that it takes and gives: `Out` is a `Width<N>` or an
/// [`Image<C, H, W>`](super::image::Image), whose tensors are `[batch, N]` and `[batch, H, W, C]`.
///
/// `M` is the module's declaration. What it builds needs dfdx's `Module` on `In::Plain` and
/// `ModuleMut` on `In::Traced` (implement `NonMutableModule` to get the second from the first).
///
/// ```
/// use dfdx::nn::ZeroSizedModule;
/// use dfdx_noprop::{device::Rows, prelude::*};
///
/// /// û = z + the mean of x: no weights, but a module.
/// #[derive(Clone, Debug, Default)]
/// struct Shift;
///
/// type Z<T> = Rows<Const<2>, f32, AutoDevice, T>;
/// type X = Rows<Const<3>, f32, AutoDevice>;
///
/// impl ZeroSizedModule for Shift {}
/// impl NonMutableModule for Shift {}
/// impl<T: Tape<f32, AutoDevice>> Module<(Z<T>, X)> for Shift {
///     type Output = Z<T>;
///     type Error = <AutoDevice as HasErr>::Err;
///
///     fn try_forward(&self, (z, x): (Z<T>, X)) -> Result<Z<T>, Self::Error> {
///         let shape = *z.shape();
///         z.try_add(x.try_mean::<(usize,), _>()?.try_broadcast_like(&shape)?)
///     }
/// }
///
/// type Block = Custom<Shift, Pair<2, 3>, Width<2>>;
/// type Model = NoProp<DiscreteTime<Regression>, Block, 2, 3>;
///
/// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// assert_eq!(model.predict(&[[1.0, 2.0, 3.0]])?.len(), 1);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
pub struct Custom<M, In, Out>(PhantomData<(M, In, Out)>);

impl<M: BuildOnDevice<D, E>, In, Out, E: Real, D: Backend<E>> BuildOnDevice<D, E>
    for Custom<M, In, Out>
{
    type Built = M::Built;
}

/// A module that `Layer` may call a layer from `In` to `Out`.
#[diagnostic::on_unimplemented(
    message = "the module of `{Layer}` lacks a pass from `{In}` to `{Out}`",
    label = "a `{In}` arrives, and a `{Out}` is to come out",
    note = "what `M` of `Custom<M, In, Out>` builds needs dfdx's `Module<In::Plain>` for inference and, for training, `ModuleMut<In::Traced>` or `NonMutableModule`; both give the tensor of `Out`, a `Width` or an `Image`, and have the device's `Error`"
)]
pub trait Gives<In: Signal<E, D>, Out: Signal<E, D>, Layer, E: Real = f32, D = AutoDevice>:
    BuildOnDevice<D, E>
where
    D: Backend<E>,
{
    /// `S` itself, but known only where the module gives `Out`.
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;

    /// The module's output in inference.
    ///
    /// # Errors
    /// The module's own.
    fn infer(built: &Self::Built, input: In::Plain) -> Result<Out::Plain, D::Err>;

    /// The module's output in training.
    ///
    /// # Errors
    /// The module's own.
    fn train(built: &mut Self::Built, input: In::Traced) -> Result<Out::Traced, D::Err>;
}

#[diagnostic::do_not_recommend]
impl<M, In, Out, Layer, E: Real, D: Backend<E>> Gives<In, Out, Layer, E, D> for M
where
    In: Signal<E, D>,
    Out: Signal<E, D>,
    M: BuildOnDevice<D, E>,
    M::Built: Module<In::Plain, Error = D::Err>
        + ModuleMut<In::Traced, Output = Out::Traced, Error = D::Err>,
    <M::Built as Module<In::Plain>>::Output: IsPlain<Out, E, D>,
{
    type Then<S: Signal<E, D>> =
        <<M::Built as Module<In::Plain>>::Output as IsPlain<Out, E, D>>::Then<S>;

    fn infer(built: &M::Built, input: In::Plain) -> Result<Out::Plain, D::Err> {
        Ok(built.try_forward(input)?.itself())
    }

    fn train(built: &mut M::Built, input: In::Traced) -> Result<Out::Traced, D::Err> {
        built.try_forward_mut(input)
    }
}

/// A tensor that is what `Out` is in inference.
#[doc(hidden)]
pub trait IsPlain<Out: Signal<E, D>, E: Real, D: Backend<E>> {
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;

    fn itself(self) -> Out::Plain;
}

#[diagnostic::do_not_recommend]
impl<const N: usize, E: Real, D: Backend<E>> IsPlain<Width<N>, E, D> for Rows<Const<N>, E, D> {
    type Then<S: Signal<E, D>> = S;

    fn itself(self) -> Self {
        self
    }
}

impl<M, In: Signal<E, D>, Out: Signal<E, D>, E: Real, D: Backend<E>> Takes<In, E, D>
    for Custom<M, In, Out>
where
    M: Gives<In, Out, Self, E, D>,
{
    type Out = Out;
    type Then<S: Signal<E, D>> = M::Then<S>;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        Ok(Operation::Module(Box::new(Typed::<M::Built, In, Out, E, D> {
            built,
            name: std::any::type_name::<M>(),
            draws: true,
            #[cfg(feature = "inference")]
            row_norm: None,
            infer: M::infer,
            train: M::train,
            signals: PhantomData,
        })))
    }
}
