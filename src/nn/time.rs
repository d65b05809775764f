//! Time as features.

use dfdx::{nn::ZeroSizedModule, prelude::*};

use super::{Input, Signal, Takes, Time, Width};
use crate::{
    device::{Backend, Real, Rows},
    plan::{Borrowed, Lowered, Operation},
};

/// The sinusoidal embedding of t, `DIM` wide: [sin(t f_k), cos(t f_k)] with
/// f_k = 10000^(−k / (DIM/2 − 1)), k = 0 … DIM/2 − 1.
///
/// (Vaswani et al. 2017, *Attention is all you need*, section 3.5, with sines and cosines side by
/// side.)
///
/// `DIM` is even, from 2 to 1,024: an odd one does not compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeEmbedding<const DIM: usize>;

impl<const DIM: usize> ZeroSizedModule for TimeEmbedding<DIM> {}

impl<const DIM: usize> TimeEmbedding<DIM> {
    /// `[batch, DIM]` for the times `[batch]`.
    ///
    /// # Errors
    /// The device's own.
    pub fn embed<E: Real, D: Backend<E>>(
        times: Tensor<(usize,), E, D>,
    ) -> Result<Rows<Const<DIM>, E, D>, D::Err> {
        super::signal::rows(D::time_embedding(times, DIM)?)
    }
}

impl<const DIM: usize, E: Real, D: Backend<E>> Takes<Time, E, D> for TimeEmbedding<DIM>
where
    Width<DIM>: Even,
{
    type Out = Width<DIM, Input>;
    type Then<S: Signal<E, D>> = S;

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        Ok(Operation::TimeEmbedding(DIM))
    }
}

/// An even width: half sines, half cosines.
#[diagnostic::on_unimplemented(
    message = "a `TimeEmbedding` cannot make a `{Self}`: half of it are sines, half cosines",
    label = "not an even width from 2 to 1024: take one that is"
)]
pub trait Even {}

/// The compiler cannot divide the width of a type by two, so every even one is named.
macro_rules! even {
    ($($base:literal)*) => {$(
        even!(@one $base: 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30 32 34 36 38 40 42 44 46 48 50 52 54 56 58 60 62);
    )*};
    (@one $base:literal: $($n:literal)*) => {$(
        #[diagnostic::do_not_recommend]
        impl Even for Width<{ $base + $n }> {}
    )*};
}

even!(0 64 128 192 256 320 384 448 512 576 640 704 768 832 896 960);
even!(@one 64: 64 128 192 256 320 384 448 512 576 640 704 768 832 896 960);

// The one that a message proposes, instead of a list of them all.
impl Even for Width<64> {}
