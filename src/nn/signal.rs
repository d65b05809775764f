//! What flows between layers, as types.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::device::{Backend, Real, Rows, TracedRows, TracedScalar};

/// The tensors that stand for a signal, in training and in inference.
pub trait Signal<E: Real, D: Backend<E>>: 'static {
    /// With a tape, in training.
    type Traced;
    /// Without one, in inference.
    type Plain: Clone + 'static;

    /// The signal with an empty tape.
    #[doc(hidden)]
    fn trace(plain: Self::Plain) -> Self::Traced;

    /// The signal without its tape.
    #[doc(hidden)]
    fn untrace(traced: &Self::Traced) -> Self::Plain;

    /// How many rows there are, and how many numbers that can be moved in each.
    #[doc(hidden)]
    fn numbers(plain: &Self::Plain) -> [usize; 2];

    /// The sum of two, in what can be moved: what is given is that of the first.
    #[doc(hidden)]
    fn sum(a: Self::Traced, b: Self::Traced) -> Result<Self::Traced, D::Err>;

    /// The signal plus `by`.
    #[doc(hidden)]
    fn moved(plain: Self::Plain, by: Vec<E>) -> Result<Self::Plain, D::Err>;

    /// The sum of the signal's numbers, each times its `factor`, on the tape.
    #[doc(hidden)]
    fn product(traced: Self::Traced, factor: Vec<E>) -> Result<TracedScalar<E, D>, D::Err>;
}

/// A tensor plus `by`.
pub(super) fn moved<S: Shape, E: Real, D: Backend<E>>(
    tensor: Tensor<S, E, D>,
    by: Vec<E>,
) -> Result<Tensor<S, E, D>, D::Err> {
    let by = tensor.device().try_tensor_from_vec(by, *tensor.shape())?;
    D::sum(tensor, by)
}

/// Σ x f over all numbers x of a tensor.
pub(super) fn product<S: Shape, E: Real, D: Backend<E>>(
    tensor: Tensor<S, E, D, OwnedTape<E, D>>,
    factor: Vec<E>,
) -> Result<TracedScalar<E, D>, D::Err> {
    let factor = tensor.device().try_tensor_from_vec(factor, *tensor.shape())?;
    let flat = (factor.shape().num_elements(),);
    let factor = factor.try_reshape_like(&flat)?;
    tensor.try_reshape_like(&flat)?.try_mul(factor)?.try_sum::<(), Axis<0>>()
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

    fn trace(plain: Self::Plain) -> Self::Traced {
        plain.put_tape(Default::default())
    }

    fn untrace(traced: &Self::Traced) -> Self::Plain {
        traced.retaped()
    }

    fn numbers(plain: &Self::Plain) -> [usize; 2] {
        [plain.shape().0, N]
    }

    fn sum(a: Self::Traced, b: Self::Traced) -> Result<Self::Traced, D::Err> {
        D::sum(a, b)
    }

    fn moved(plain: Self::Plain, by: Vec<E>) -> Result<Self::Plain, D::Err> {
        moved(plain, by)
    }

    fn product(traced: Self::Traced, factor: Vec<E>) -> Result<TracedScalar<E, D>, D::Err> {
        let (tensor, tape) = traced.split_tape();
        product(tensor.put_tape(K::tape(tape)), factor)
    }
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Timed<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);

    fn trace((z, x, t): Self::Plain) -> Self::Traced {
        (z.put_tape(OwnedTape::default()), x, t)
    }

    fn untrace((z, x, t): &Self::Traced) -> Self::Plain {
        (z.retaped(), x.clone(), t.clone())
    }

    fn numbers((z, ..): &Self::Plain) -> [usize; 2] {
        [z.shape().0, Z]
    }

    fn sum((a, x, t): Self::Traced, (b, ..): Self::Traced) -> Result<Self::Traced, D::Err> {
        Ok((D::sum(a, b)?, x, t))
    }

    fn moved((z, x, t): Self::Plain, by: Vec<E>) -> Result<Self::Plain, D::Err> {
        Ok((moved(z, by)?, x, t))
    }

    fn product((z, ..): Self::Traced, factor: Vec<E>) -> Result<TracedScalar<E, D>, D::Err> {
        product(z, factor)
    }
}

impl<E: Real, D: Backend<E>> Signal<E, D> for Time {
    type Traced = Tensor<(usize,), E, D>;
    type Plain = Tensor<(usize,), E, D>;

    fn trace(plain: Self::Plain) -> Self::Traced {
        plain
    }

    fn untrace(traced: &Self::Traced) -> Self::Plain {
        traced.clone()
    }

    /// Times are given, and do not move.
    fn numbers(plain: &Self::Plain) -> [usize; 2] {
        [plain.shape().0, 0]
    }

    fn sum(a: Self::Traced, _: Self::Traced) -> Result<Self::Traced, D::Err> {
        Ok(a)
    }

    fn moved(plain: Self::Plain, _: Vec<E>) -> Result<Self::Plain, D::Err> {
        Ok(plain)
    }

    fn product(traced: Self::Traced, _: Vec<E>) -> Result<TracedScalar<E, D>, D::Err> {
        Ok(traced.device().try_zeros_like(&())?.put_tape(OwnedTape::default()))
    }
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Pair<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>);

    fn trace((z, x): Self::Plain) -> Self::Traced {
        (z.put_tape(OwnedTape::default()), x)
    }

    fn untrace((z, x): &Self::Traced) -> Self::Plain {
        (z.retaped(), x.clone())
    }

    fn numbers((z, ..): &Self::Plain) -> [usize; 2] {
        [z.shape().0, Z]
    }

    fn sum((a, x): Self::Traced, (b, _): Self::Traced) -> Result<Self::Traced, D::Err> {
        Ok((D::sum(a, b)?, x))
    }

    fn moved((z, x): Self::Plain, by: Vec<E>) -> Result<Self::Plain, D::Err> {
        Ok((moved(z, by)?, x))
    }

    fn product((z, ..): Self::Traced, factor: Vec<E>) -> Result<TracedScalar<E, D>, D::Err> {
        product(z, factor)
    }
}
