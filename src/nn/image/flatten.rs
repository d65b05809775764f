//! From images to rows of numbers.

use std::marker::PhantomData;

use dfdx::{nn::ZeroSizedModule, prelude::*};

use super::{
    Image, Images,
    size::{On, numbers},
};
use crate::{
    device::{Backend, Real, Rows},
    nn::{Kind, Misfit, Signal, Takes, Width},
    plan::{Borrowed, Lowered, Operation},
};

/// An image as a row of `N` = C H W numbers, pixel by pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten<const N: usize>;

/// The layer with the number of channels that it gets.
struct OfChannels<L, const C: usize>(PhantomData<L>);

impl<const N: usize, const C: usize, const H: usize, const W: usize>
    On<OfChannels<Flatten<N>, C>, H, W>
{
    const MISFIT: Misfit = numbers("Flatten", [C, H, W], N);
    const FITS: () = Self::MISFIT.check();
}

impl<const N: usize> Flatten<N> {
    /// Ends the build unless it suits images of this size.
    fn check<const C: usize, const H: usize, const W: usize>() {
        On::<OfChannels<Self, C>, H, W>::FITS
    }
}

impl<const N: usize> ZeroSizedModule for Flatten<N> {}
impl<const N: usize> NonMutableModule for Flatten<N> {}

impl<const N: usize, const C: usize, const H: usize, const W: usize, E, D, T>
    Module<Images<C, H, W, E, D, T>> for Flatten<N>
where
    E: Real,
    D: Backend<E>,
    T: Tape<E, D>,
{
    type Output = Rows<Const<N>, E, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Images<C, H, W, E, D, T>) -> Result<Self::Output, D::Err> {
        Self::check::<C, H, W>();
        let shape = (x.shape().0, Const);
        x.try_reshape_like(&shape)
    }
}

impl<const N: usize, const C: usize, const H: usize, const W: usize, K, E, D>
    Takes<Image<C, H, W, K>, E, D> for Flatten<N>
where
    K: Kind,
    E: Real,
    D: Backend<E>,
{
    type Out = Width<N, K>;
    type Then<S: Signal<E, D>> = S;
    const MISFIT: Misfit = On::<OfChannels<Self, C>, H, W>::MISFIT;

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        Self::check::<C, H, W>();
        Ok(Operation::Flatten)
    }
}
