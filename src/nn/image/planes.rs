//! From rows of numbers to images.

use dfdx::{nn::ZeroSizedModule, prelude::*};

use super::{
    Image, Images, rows,
    size::{On, numbers},
};
use crate::{
    device::{Backend, Real, Rows},
    nn::{Kind, Misfit, Signal, Takes, Width},
    plan::{Borrowed, Lowered, Operation, channels_last},
};

/// Rows as images: `C` planes of `H` × `W` pixels, one plane after the other, as image files have
/// them.
///
/// Takes a [`Width<X, _>`](Width) with X = C H W and gives an [`Image<C, H, W, _>`](Image). As a
/// dfdx module it takes `[batch, X]` and `[batch, C, H, W]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planes<const C: usize, const H: usize, const W: usize>;

/// On rows of `X` numbers.
impl<const C: usize, const H: usize, const W: usize, const X: usize> On<Planes<C, H, W>, X, 1> {
    const MISFIT: Misfit = numbers("Planes", [C, H, W], X);
    const FITS: () = Self::MISFIT.check();
}

impl<const C: usize, const H: usize, const W: usize> Planes<C, H, W> {
    /// Ends the build unless it suits rows of `X` numbers.
    fn check<const X: usize>() {
        On::<Self, X, 1>::FITS
    }
}

impl<const C: usize, const H: usize, const W: usize> ZeroSizedModule for Planes<C, H, W> {}
impl<const C: usize, const H: usize, const W: usize> NonMutableModule for Planes<C, H, W> {}

impl<const C: usize, const H: usize, const W: usize, const X: usize, E, D, T>
    Module<Rows<Const<X>, E, D, T>> for Planes<C, H, W>
where
    E: Real,
    D: Backend<E>,
    T: Tape<E, D>,
{
    type Output = Images<C, H, W, E, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Rows<Const<X>, E, D, T>) -> Result<Self::Output, D::Err> {
        Self::check::<X>();
        let shape = (x.shape().0, Const, Const, Const);
        channels_last(rows(x)?, C)?.try_reshape_like(&shape)
    }
}

impl<const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>, T: Tape<E, D>>
    Module<Tensor<(usize, Const<C>, Const<H>, Const<W>), E, D, T>> for Planes<C, H, W>
{
    type Output = Images<C, H, W, E, D, T>;
    type Error = D::Err;

    fn try_forward(
        &self,
        x: Tensor<(usize, Const<C>, Const<H>, Const<W>), E, D, T>,
    ) -> Result<Self::Output, D::Err> {
        let shape = (x.shape().0, Const, Const, Const);
        channels_last(rows(x)?, C)?.try_reshape_like(&shape)
    }
}

impl<const C: usize, const H: usize, const W: usize, const X: usize, K, E, D>
    Takes<Width<X, K>, E, D> for Planes<C, H, W>
where
    K: Kind,
    E: Real,
    D: Backend<E>,
{
    type Out = Image<C, H, W, K>;
    type Then<S: Signal<E, D>> = S;
    const MISFIT: Misfit = On::<Self, X, 1>::MISFIT;

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        Self::check::<X>();
        Ok(Operation::ChannelsLast(C))
    }
}
