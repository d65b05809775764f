//! What flows between layers, as types.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::{
    device::{Backend, Matrix, Real, Rows, TracedRows},
    plan::{Inputs, Value},
};

/// The tensors that stand for a signal, in training and in inference.
pub trait Signal<E: Real, D: Backend<E>>: 'static {
    /// With a tape, in training.
    type Traced;
    /// Without one, in inference.
    type Plain: Clone + 'static;

    /// The tensors of a value, in inference.
    #[doc(hidden)]
    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err>;

    /// The tensors of a value, in training.
    #[doc(hidden)]
    fn traced(value: TracedValue<E, D>) -> Result<Self::Traced, D::Err>;

    /// The signal without its tape.
    #[doc(hidden)]
    fn untraced(traced: Self::Traced) -> Self::Plain;

    /// A layer's output as rows, in inference.
    #[doc(hidden)]
    fn erase(plain: Self::Plain) -> Result<Matrix<E, D>, D::Err>;

    /// A layer's output as rows, in training.
    #[doc(hidden)]
    fn erase_traced(traced: Self::Traced) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err>;
}

type TracedValue<E, D> = Value<E, D, OwnedTape<E, D>>;

/// What goes into a block. The types have made sure that it is that.
fn inputs<E: Real, D: Backend<E>, T: Tape<E, D>>(
    value: Value<E, D, T>,
) -> Result<Inputs<E, D, T>, D::Err> {
    match value {
        Value::Inputs(inputs) => Ok(inputs),
        other => {
            let z = other.into_rows()?.0;
            Ok(Inputs { x: z.retaped(), z, t: None })
        }
    }
}

/// Rows of a width that the type knows.
pub(super) fn rows<const N: usize, E: Real, D: Backend<E>, T: Tape<E, D>>(
    matrix: Matrix<E, D, T>,
) -> Result<Rows<Const<N>, E, D, T>, D::Err> {
    let shape = (matrix.shape().0, Const);
    matrix.try_reshape_like(&shape)
}

/// Rows of a width that is known when the program runs.
pub(super) fn matrix<S: Shape, E: Real, D: Backend<E>, T: Tape<E, D>>(
    tensor: Tensor<S, E, D, T>,
    batch: usize,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = (batch, tensor.shape().num_elements() / batch.max(1));
    tensor.try_reshape_like(&shape)
}

/// `N` numbers for each row of the batch, `[batch, N]`.
///
/// `Width<N>` are activations, which carry the tape. `Width<N, Input>` is the input x: it carries
/// none, and no gradient with respect to it is ever computed.
pub struct Width<const N: usize, K = Activation>(PhantomData<K>);

/// The latent z of width `Z` and the input x of width `X`: what a block of [`DiscreteTime`] takes.
///
/// [`DiscreteTime`]: crate::DiscreteTime
pub struct Pair<const Z: usize, const X: usize>(());

/// The latent z of width `Z`, the input x of width `X`, and the time t of each row: what a network
/// of [`ContinuousTime`] or [`FlowMatching`] takes, and a block of [`DiffusionBlocks`], with ¼ ln σ
/// as t.
///
/// [`DiffusionBlocks`]: crate::DiffusionBlocks
/// [`ContinuousTime`]: crate::ContinuousTime
/// [`FlowMatching`]: crate::FlowMatching
pub struct Timed<const Z: usize, const X: usize>(());

/// The time t of each row, `[batch]`, from 0 (noise) to 1 (target).
pub struct Time(());

/// Whether a signal carries a tape.
pub trait Kind: 'static {
    /// What it carries in training.
    type Tape<E: Real, D: Backend<E>>: dfdx::prelude::Tape<E, D>;

    /// The tape for the layer's own parameters: the one that arrives, or a new one.
    fn tape<E: Real, D: Backend<E>>(tape: Self::Tape<E, D>) -> OwnedTape<E, D>;

    /// What a signal carries of a tape.
    #[doc(hidden)]
    fn from_tape<E: Real, D: Backend<E>>(tape: OwnedTape<E, D>) -> Self::Tape<E, D>;
}

/// Activations: the output of a layer, or the latent z.
pub struct Activation(());

/// The input x, which is given.
pub struct Input(());

impl Kind for Activation {
    type Tape<E: Real, D: Backend<E>> = OwnedTape<E, D>;

    fn tape<E: Real, D: Backend<E>>(tape: OwnedTape<E, D>) -> OwnedTape<E, D> {
        tape
    }

    fn from_tape<E: Real, D: Backend<E>>(tape: OwnedTape<E, D>) -> OwnedTape<E, D> {
        tape
    }
}

impl Kind for Input {
    type Tape<E: Real, D: Backend<E>> = NoneTape;

    fn tape<E: Real, D: Backend<E>>(_: NoneTape) -> OwnedTape<E, D> {
        OwnedTape::default()
    }

    fn from_tape<E: Real, D: Backend<E>>(_: OwnedTape<E, D>) -> NoneTape {
        NoneTape
    }
}

impl<const N: usize, K: Kind, E: Real, D: Backend<E>> Signal<E, D> for Width<N, K> {
    type Traced = Rows<Const<N>, E, D, K::Tape<E, D>>;
    type Plain = Rows<Const<N>, E, D>;

    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err> {
        rows(value.into_rows()?.0)
    }

    fn traced(value: TracedValue<E, D>) -> Result<Self::Traced, D::Err> {
        let (plain, tape) = value.into_rows()?.0.split_tape();
        Ok(rows(plain)?.put_tape(K::from_tape(tape)))
    }

    fn untraced(traced: Self::Traced) -> Self::Plain {
        traced.retaped()
    }

    fn erase(plain: Self::Plain) -> Result<Matrix<E, D>, D::Err> {
        let batch = plain.shape().0;
        matrix(plain, batch)
    }

    fn erase_traced(traced: Self::Traced) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        let (plain, tape) = traced.split_tape();
        Ok(Self::erase(plain)?.put_tape(K::tape(tape)))
    }
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Timed<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);

    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err> {
        let Inputs { z, x, t } = inputs(value)?;
        let t = t.map_or_else(|| z.device().try_zeros_like(&(z.shape().0,)), Ok)?;
        Ok((rows(z)?, rows(x)?, t))
    }

    fn traced(value: TracedValue<E, D>) -> Result<Self::Traced, D::Err> {
        let Inputs { z, x, t } = inputs(value)?;
        let t = t.map_or_else(|| z.device().try_zeros_like(&(z.shape().0,)), Ok)?;
        Ok((rows(z)?, rows(x)?, t))
    }

    fn untraced((z, x, t): Self::Traced) -> Self::Plain {
        (z.retaped(), x, t)
    }

    fn erase((z, ..): Self::Plain) -> Result<Matrix<E, D>, D::Err> {
        Width::<Z>::erase(z)
    }

    fn erase_traced((z, ..): Self::Traced) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        Width::<Z>::erase_traced(z)
    }
}

impl<E: Real, D: Backend<E>> Signal<E, D> for Time {
    type Traced = Tensor<(usize,), E, D>;
    type Plain = Tensor<(usize,), E, D>;

    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err> {
        let rows = value.into_rows()?.0;
        let shape = (rows.shape().0,);
        rows.try_reshape_like(&shape)
    }

    fn traced(value: TracedValue<E, D>) -> Result<Self::Traced, D::Err> {
        let rows = value.into_rows()?.0.retaped::<NoneTape>();
        let shape = (rows.shape().0,);
        rows.try_reshape_like(&shape)
    }

    fn untraced(traced: Self::Traced) -> Self::Plain {
        traced
    }

    fn erase(plain: Self::Plain) -> Result<Matrix<E, D>, D::Err> {
        let batch = plain.shape().0;
        matrix(plain, batch)
    }

    fn erase_traced(traced: Self::Traced) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        Ok(Self::erase(traced)?.put_tape(OwnedTape::default()))
    }
}

impl<const Z: usize, const X: usize, E: Real, D: Backend<E>> Signal<E, D> for Pair<Z, X> {
    type Traced = (TracedRows<Const<Z>, E, D>, Rows<Const<X>, E, D>);
    type Plain = (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>);

    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err> {
        let Inputs { z, x, .. } = inputs(value)?;
        Ok((rows(z)?, rows(x)?))
    }

    fn traced(value: TracedValue<E, D>) -> Result<Self::Traced, D::Err> {
        let Inputs { z, x, .. } = inputs(value)?;
        Ok((rows(z)?, rows(x)?))
    }

    fn untraced((z, x): Self::Traced) -> Self::Plain {
        (z.retaped(), x)
    }

    fn erase((z, _): Self::Plain) -> Result<Matrix<E, D>, D::Err> {
        Width::<Z>::erase(z)
    }

    fn erase_traced((z, _): Self::Traced) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        Width::<Z>::erase_traced(z)
    }
}
