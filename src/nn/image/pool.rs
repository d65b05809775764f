//! Pooling.

use dfdx::{nn::ZeroSizedModule, prelude::*};

use super::{
    Image, Images,
    size::{On, check_windows},
};
use crate::{
    device::{Backend, Real, Window},
    nn::{Kind, Signal, Takes},
};

macro_rules! pool {
    ($(#[$doc:meta])* $name:ident, $text:literal, $operation:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name<
            const H: usize,
            const W: usize,
            const K: usize = 2,
            const S: usize = 2,
            const P: usize = 0,
        >;

        impl<const H: usize, const W: usize, const K: usize, const S: usize, const P: usize>
            ZeroSizedModule for $name<H, W, K, S, P>
        {
        }

        impl<const H: usize, const W: usize, const K: usize, const S: usize, const P: usize>
            NonMutableModule for $name<H, W, K, S, P>
        {
        }

        impl<
            const H: usize,
            const W: usize,
            const K: usize,
            const S: usize,
            const P: usize,
            const H0: usize,
            const W0: usize,
        > On<$name<H, W, K, S, P>, H0, W0>
        {
            /// For one channel.
            const WINDOW: Window = {
                let window = Window {
                    height: H0,
                    width: W0,
                    channels: 1,
                    kernel: K,
                    stride: S,
                    padding: P,
                    out_height: H,
                    out_width: W,
                };
                check_windows($text, window);
                window
            };
        }

        impl<
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
        > Module<Images<C, H0, W0, E, D, T>> for $name<H, W, K, S, P>
        {
            type Output = Images<C, H, W, E, D, T>;
            type Error = D::Err;

            fn try_forward(&self, x: Images<C, H0, W0, E, D, T>) -> Result<Self::Output, D::Err> {
                let window = Window { channels: C, ..On::<$name<H, W, K, S, P>, H0, W0>::WINDOW };
                let shape = (x.shape().0, Const, Const, Const);
                D::$operation(x, window, shape)
            }
        }

        impl<
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
        > Takes<Image<C, H0, W0, Q>, E, D> for $name<H, W, K, S, P>
        {
            type Out = Image<C, H, W, Q>;
            type Then<Z: Signal<E, D>> = Z;

            fn infer(
                built: &Self::Built,
                input: Images<C, H0, W0, E, D>,
            ) -> Result<Images<C, H, W, E, D>, D::Err> {
                built.try_forward(input)
            }

            fn train(
                built: &mut Self::Built,
                input: Images<C, H0, W0, E, D, Q::Tape<E, D>>,
            ) -> Result<Images<C, H, W, E, D, Q::Tape<E, D>>, D::Err> {
                built.try_forward(input)
            }
        }
    };
}

pool! {
    /// The largest number of each window of side `K` (2), stride `S` (2) and padding `P` (0), channel by channel, onto an image
    /// of `H` × `W` pixels. Padding counts for nothing; the gradient goes to the first of those that are largest.
    MaxPool2d, "MaxPool2d", max_pool
}

pool! {
    /// The mean of each window of side `K` (2), stride `S` (2) and padding `P` (0), channel by channel, onto an image of
    /// `H` × `W` pixels. Padding counts as zeros.
    AvgPool2d, "AvgPool2d", average_pool
}
