//! Which layer takes which signal.

use dfdx::prelude::AutoDevice;

use super::{Layer, Misfit, Signal};
use crate::{
    device::{Backend, Real},
    plan::{Borrowed, Lowered},
};

/// A declared layer that takes the signal `In`, and what it makes of it.
///
/// This is how a model is checked: a tuple takes what its first layer takes, and each next layer
/// has to take what the one before gives. The trait is on declarations, such as
/// [`Dense<64, 10>`](super::Dense), so that a message of the compiler names them as the user wrote
/// them.
///
/// The layers of this crate, those of dfdx that work on rows of numbers, tuples of up to six and
/// any nesting of them have it. For a module of your own use [`Custom`](super::Custom).
#[diagnostic::on_unimplemented(
    message = "the layer `{Self}` does not take a `{In}`",
    label = "a `{In}` arrives at `{Self}`",
    note = "`Width<N>` are N activations, `Width<N, Input>` is the input x, `Pair<Z, X>` are the latent z and the input x, `Timed<Z, X>` these two and the time t; any other module is a layer by `Custom<M, In, Out>`"
)]
pub trait Takes<In: Signal<E, D>, E: Real = f32, D: Backend<E> = AutoDevice>: Layer<D, E> {
    /// What comes out.
    type Out: Signal<E, D>;

    /// `S` itself, but known only where this layer takes `In`.
    ///
    /// Whatever is checked after this layer is checked through it, so that one mistake is reported
    /// once.
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;

    /// What of the sizes does not fit: see [`NoProp::fits`](crate::NoProp::fits).
    #[doc(hidden)]
    const MISFIT: Misfit = Misfit::NONE;

    /// The operation that the built layer is, with handles of its parameters.
    ///
    /// # Errors
    /// The device's own.
    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D>;
}

/// A whole block that takes the signal `In`: every layer that does.
///
/// One trait in front of [`Takes`] keeps the compiler's messages short.
pub trait Denoises<In: Signal<E, D>, E: Real = f32, D: Backend<E> = AutoDevice>:
    Layer<D, E>
{
    /// What comes out, known only where the block takes `In`: [`Takes::Then`] of [`Takes::Out`].
    type Gives: Signal<E, D>;

    /// What of the sizes does not fit.
    #[doc(hidden)]
    const SIZES: Misfit;

    /// The block as operations: [`Takes::lower`].
    ///
    /// # Errors
    /// The device's own.
    fn plan(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D>;
}

impl<M: Takes<In, E, D>, In: Signal<E, D>, E: Real, D: Backend<E>> Denoises<In, E, D> for M {
    type Gives = M::Then<M::Out>;
    const SIZES: Misfit = M::MISFIT;

    fn plan(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        M::lower(built)
    }
}
