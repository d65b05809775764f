//! Weights of several blocks side by side.

use std::ops::Range;

use dfdx::prelude::*;

use super::{Backend, Matrix, Real};

/// The weights of one layer's parameter in T blocks: some of the columns of `[T, …]`.
#[derive(Clone)]
pub(crate) struct StackedWeights<'a, E: Real, D: Backend<E>> {
    pub(crate) all: &'a Tensor<(usize, usize), E, D>,
    pub(crate) own: Range<usize>,
}

impl<E: Real, D: Backend<E>> StackedWeights<'_, E, D> {
    /// `[T, numbers]`, on a tape of their own.
    pub(crate) fn traced(&self) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        let (blocks, width) = *self.all.shape();
        let all = self.all.retaped::<OwnedTape<E, D>>();
        if self.own.len() == width {
            return Ok(all);
        }
        all.try_slice((0..blocks, self.own.clone()))
    }
}

/// Whether dfdx's kernels for a GPU can count that many numbers: they do so in 32 bits, and would
/// go on from 0.
pub(crate) fn is_countable(numbers: usize) -> bool {
    u32::try_from(numbers).is_ok()
}
