//! Pooling.

use std::marker::PhantomData;

use dfdx::{nn::ZeroSizedModule, prelude::*};

use super::{
    Image, Images, rows,
    size::{On, windows},
};
use crate::{
    device::{Backend, Real, Window},
    nn::{Kind, Misfit, Signal, Takes},
    plan::{Borrowed, Lowered, Operation, Pooling, pool},
};

/// The largest number of each window of side `K` (2), stride `S` (2) and padding `P` (0), channel
/// by channel, onto an image of `H` × `W` pixels. Padding counts for nothing; the gradient goes to
/// the first of those that are largest.
pub type MaxPool2d<
    const H: usize,
    const W: usize,
    const K: usize = 2,
    const S: usize = 2,
    const P: usize = 0,
> = Pool2d<Max, H, W, K, S, P>;

/// The mean of each window of side `K` (2), stride `S` (2) and padding `P` (0), channel by channel,
/// onto an image of `H` × `W` pixels. Padding counts as zeros.
pub type AvgPool2d<
    const H: usize,
    const W: usize,
    const K: usize = 2,
    const S: usize = 2,
    const P: usize = 0,
> = Pool2d<Mean, H, W, K, S, P>;

/// One number for each window: by [`Max`] or [`Mean`]. See [`MaxPool2d`] and [`AvgPool2d`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool2d<
    By,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
>(PhantomData<By>);

/// What becomes of a window.
pub trait Pools: Clone + Default + std::fmt::Debug + 'static {
    /// Which of them.
    #[doc(hidden)]
    const POOLING: Pooling;
}

/// Its largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Max;

/// Its mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean;

impl Pools for Max {
    const POOLING: Pooling = Pooling::Max;
}

impl Pools for Mean {
    const POOLING: Pooling = Pooling::Mean;
}

impl<By, const H: usize, const W: usize, const K: usize, const S: usize, const P: usize>
    Pool2d<By, H, W, K, S, P>
{
    /// On images of `H0` × `W0` pixels and one channel.
    fn window<const H0: usize, const W0: usize>() -> Window {
        On::<Self, H0, W0>::WINDOW
    }

    fn pool<const C: usize, const H0: usize, const W0: usize, E, D, T>(
        x: Images<C, H0, W0, E, D, T>,
    ) -> Result<Images<C, H, W, E, D, T>, D::Err>
    where
        By: Pools,
        E: Real,
        D: Backend<E>,
        T: Tape<E, D>,
    {
        let window = Window { channels: C, ..Self::window::<H0, W0>() };
        let shape = (x.shape().0, Const, Const, Const);
        pool(By::POOLING, rows(x)?, window)?.try_reshape_like(&shape)
    }
}

impl<
    By,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    const H0: usize,
    const W0: usize,
> On<Pool2d<By, H, W, K, S, P>, H0, W0>
{
    const SIZES: Window = Window {
        height: H0,
        width: W0,
        channels: 1,
        kernel: K,
        stride: S,
        padding: P,
        out_height: H,
        out_width: W,
    };
    const MISFIT: Misfit = windows("Pool2d", Self::SIZES);
    const WINDOW: Window = {
        Self::MISFIT.check();
        Self::SIZES
    };
}

impl<By: Pools, const H: usize, const W: usize, const K: usize, const S: usize, const P: usize>
    ZeroSizedModule for Pool2d<By, H, W, K, S, P>
{
}

impl<By, const H: usize, const W: usize, const K: usize, const S: usize, const P: usize>
    NonMutableModule for Pool2d<By, H, W, K, S, P>
{
}

impl<
    By: Pools,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    const C: usize,
    const H0: usize,
    const W0: usize,
    E: Real,
    D: Backend<E>,
    T: Tape<E, D>,
> Module<Images<C, H0, W0, E, D, T>> for Pool2d<By, H, W, K, S, P>
{
    type Output = Images<C, H, W, E, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Images<C, H0, W0, E, D, T>) -> Result<Self::Output, D::Err> {
        Self::pool(x)
    }
}

impl<
    By: Pools,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    const C: usize,
    const H0: usize,
    const W0: usize,
    Q: Kind,
    E: Real,
    D: Backend<E>,
> Takes<Image<C, H0, W0, Q>, E, D> for Pool2d<By, H, W, K, S, P>
{
    type Out = Image<C, H, W, Q>;
    type Then<Z: Signal<E, D>> = Z;
    const MISFIT: Misfit = On::<Self, H0, W0>::MISFIT;

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let window = Window { channels: C, ..Self::window::<H0, W0>() };
        Ok(Operation::Pool { by: By::POOLING, window })
    }
}
