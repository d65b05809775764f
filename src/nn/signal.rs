//! What flows between layers, as types.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::device::{Backend, Real, Rows, TracedRows};

/// The tensors that stand for a signal, in training and in inference.
pub trait Signal<E: Real, D: Backend<E>>: 'static {
    /// With a tape, in training.
    type Traced;
    /// Without one, in inference.
    type Plain: Clone + 'static;
}

/// `N` numbers for each row of the batch, `[batch, N]`.
///
/// `Width<N>` are activations, which carry the tape. `Width<N, Input>` is the input x: it carries none, and no
/// gradient with respect to it is ever computed.
pub struct Width<const N: usize, K = Activation>(PhantomData<K>);

/// The latent z of width `Z` and the input x of width `X`: what a block of [`DiscreteTime`] takes.
///
/// [`DiscreteTime`]: crate::DiscreteTime
pub struct Pair<const Z: usize, const X: usize>(());

/// The latent z of width `Z`, the input x of width `X`, and the time t of each row: what a network of
/// [`ContinuousTime`] or [`FlowMatching`] takes.
///
/// [`ContinuousTime`]: crate::ContinuousTime
/// [`FlowMatching`]: crate::FlowMatching
pub struct Timed<const Z: usize, const X: usize>(());

/// The time t of each row, `[batch]`, from 0 (noise) to 1 (target).
pub struct Time(());

/// Whether a signal carries a tape.
pub trait Kind: 'static {
    /// Whether anything asks for the gradient with respect to this signal.
    const GRADIENT: bool;
    /// What it carries in training.
    type Tape<E: Real, D: Backend<E>>: dfdx::prelude::Tape<E, D>;

    /// The tape for the layer's own parameters: the one that arrives, or a new one.
    fn tape<E: Real, D: Backend<E>>(tape: Self::Tape<E, D>) -> OwnedTape<E, D>;
}

/// Activations: the output of a layer, or the latent z.
pub struct Activation(());

/// The input x, which is given.
pub struct Input(());

impl Kind for Activation {
    const GRADIENT: bool = true;
    type Tape<E: Real, D: Backend<E>> = OwnedTape<E, D>;

    fn tape<E: Real, D: Backend<E>>(tape: OwnedTape<E, D>) -> OwnedTape<E, D> {
        tape
    }
}

impl Kind for Input {
    const GRADIENT: bool = false;
    type Tape<E: Real, D: Backend<E>> = NoneTape;

    fn tape<E: Real, D: Backend<E>>(_: NoneTape) -> OwnedTape<E, D> {
        OwnedTape::default()
    }
}

impl<const N: usize, K: Kind, E: Real, D: Backend<E>> Signal<E, D> for Width<N, K> {
    type Traced = Rows<Const<N>, E, D, K::Tape<E, D>>;
    type Plain = Rows<Const<N>, E, D>;
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Timed<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);
}

impl<E: Real, D: Backend<E>> Signal<E, D> for Time {
    type Traced = Tensor<(usize,), E, D>;
    type Plain = Tensor<(usize,), E, D>;
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Pair<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>);
}
