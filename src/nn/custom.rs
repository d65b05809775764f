//! Modules of a user's own.

use std::marker::PhantomData;

use dfdx::nn::{BuildOnDevice, Module, ModuleMut};

use super::{Signal, Takes};
use crate::device::{Backend, Real};

/// Any dfdx module as a layer, with the signals that it takes and gives.
///
/// `M` is the module's declaration. What it builds needs dfdx's `Module` on `In::Plain` and `ModuleMut` on
/// `In::Traced` (implement `NonMutableModule` to get the second from the first).
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

#[diagnostic::do_not_recommend]
impl<M, In, Out, E: Real, D: Backend<E>> Takes<In, E, D> for Custom<M, In, Out>
where
    In: Signal<E, D>,
    Out: Signal<E, D>,
    M: BuildOnDevice<D, E>,
    M::Built: Module<In::Plain, Output = Out::Plain, Error = D::Err>
        + ModuleMut<In::Traced, Output = Out::Traced, Error = D::Err>,
{
    type Out = Out;
    type Then<S: Signal<E, D>> = S;

    fn infer(built: &M::Built, input: In::Plain) -> Result<Out::Plain, D::Err> {
        built.try_forward(input)
    }

    fn train(built: &mut M::Built, input: In::Traced) -> Result<Out::Traced, D::Err> {
        built.try_forward_mut(input)
    }
}
