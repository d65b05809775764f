//! Images, channels last: `[batch, height, width, channels]`.

mod channels;
mod convolution;
mod norm;
mod pool;

pub(crate) use channels::channels_last;
pub(crate) use convolution::convolution;
pub(crate) use norm::{batch_norm, scale_and_shift};
pub(crate) use pool::{average_pool, max_pool};

use dfdx::prelude::*;

use super::view::elements;
use crate::number::Real;

/// What a tape's operation reads.
fn read<S: Shape, E: Real>(tensor: &Tensor<S, E, Cpu>) -> Result<&[E], CpuError> {
    elements(tensor).ok_or(CpuError::WrongNumElements)
}

#[cfg(test)]
mod tests;
