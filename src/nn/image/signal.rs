//! Images as signals.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::{
    device::{Backend, Matrix, Real},
    nn::{Activation, IsPlain, Joins, Kind, Repeats, Signal, signal::matrix},
    plan::Value,
};

/// A batch of images, `[batch, H, W, C]`.
pub type Images<const C: usize, const H: usize, const W: usize, E, D, T = NoneTape> =
    Tensor<(usize, Const<H>, Const<W>, Const<C>), E, D, T>;

/// An image of `C` channels, `H` pixels high and `W` wide, for each row of the batch.
///
/// As with [`Width`](crate::nn::Width), `Image<C, H, W, Input>` is given and gets no gradient.
pub struct Image<const C: usize, const H: usize, const W: usize, K = Activation>(PhantomData<K>);

impl<const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>> Signal<E, D>
    for Image<C, H, W, K>
{
    type Traced = Images<C, H, W, E, D, K::Tape<E, D>>;
    type Plain = Images<C, H, W, E, D>;

    fn plain(value: Value<E, D>) -> Result<Self::Plain, D::Err> {
        let (rows, _) = value.into_rows()?;
        let shape = (rows.shape().0, Const, Const, Const);
        rows.try_reshape_like(&shape)
    }

    fn traced(value: Value<E, D, OwnedTape<E, D>>) -> Result<Self::Traced, D::Err> {
        let (plain, tape) = value.into_rows()?.0.split_tape();
        Ok(Self::plain(Value::Rows(plain))?.put_tape(K::from_tape(tape)))
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

impl<Layer, const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>>
    Joins<Image<C, H, W>, Layer, E, D> for Image<C, H, W, K>
{
}

impl<Layer, const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>>
    Repeats<Image<C, H, W>, Layer, E, D> for Image<C, H, W>
{
}

#[diagnostic::do_not_recommend]
impl<const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>>
    IsPlain<Image<C, H, W>, E, D> for Images<C, H, W, E, D>
{
    type Then<S: Signal<E, D>> = S;

    fn itself(self) -> Self {
        self
    }
}
