//! Images as signals.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::{
    device::{Backend, Real, TracedScalar},
    nn::{
        Activation, Joins, Kind, Repeats, Signal, Takes,
        signal::{moved, product},
    },
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

    fn trace(plain: Self::Plain) -> Self::Traced {
        plain.put_tape(Default::default())
    }

    fn untrace(traced: &Self::Traced) -> Self::Plain {
        traced.retaped()
    }

    fn numbers(plain: &Self::Plain) -> [usize; 2] {
        [plain.shape().0, C * H * W]
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

impl<Layer, const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>>
    Joins<Image<C, H, W>, Layer, E, D> for Image<C, H, W>
{
    fn add_plain(other: Self::Plain, this: Self::Plain) -> Result<Self::Plain, D::Err> {
        D::sum(other, this)
    }

    fn add_shared(other: Self::Plain, this: Self::Plain) -> Result<Self::Plain, D::Err> {
        D::sum(other, this)
    }

    fn add_traced(other: Self::Traced, this: Self::Traced) -> Result<Self::Traced, D::Err> {
        D::sum(other, this)
    }

    fn add_output<F, In>(
        other: Self::Traced,
        (built, input): (&mut F::Built, In::Traced),
    ) -> Result<Self::Traced, D::Err>
    where
        F: Takes<In, E, D, Out = Self>,
        In: Signal<E, D>,
    {
        F::train_onto(built, input, other)
    }
}

impl<Layer, const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>>
    Repeats<Image<C, H, W>, Layer, E, D> for Image<C, H, W>
{
    fn plain(this: Self::Plain) -> Self::Plain {
        this
    }

    fn traced(this: Self::Traced) -> Self::Traced {
        this
    }
}
