//! Layers on images: convolution, pooling, batch normalisation, and the ways from rows of numbers
//! to images and back.
//!
//! An [`Image<C, H, W>`](Image) is a tensor `[batch, H, W, C]`: the channels of a pixel lie side by
//! side, which is the order that convolutions are fast in. [`Planes`] makes one of x, whose rows
//! hold one plane after the other, `[C, H, W]`, as data files do.
//!
//! The output size of a layer is a parameter of it, so that a model can be read; a size that does
//! not follow from the input's does not build, and the message says which one does. It comes from
//! `cargo build`: the compiler computes it when it makes the program. With a line
//! [`fits!(Model)`](crate::fits) it comes from `cargo check` too.

mod any_size;
mod batch_norm;
mod convolution;
mod flatten;
mod paper;
mod planes;
mod pool;
mod signal;
mod size;

pub use batch_norm::{BatchNorm, BuiltBatchNorm, Channels};
pub use convolution::{BuiltConv2d, Conv2d, Convolves};
pub use flatten::Flatten;
pub use paper::{
    Answers, ConvNormReLU, LatentTrunk, PaperNetCt, PaperNetDt, PaperNetFm, PaperTrunk28,
    PaperTrunk32, PlainTrunk28, PlainTrunk32, SmallNetCt, SmallNetDt, SmallNetFm, SmallTrunk28,
};
pub use planes::Planes;
pub use pool::{AvgPool2d, Max, MaxPool2d, Mean, Pool2d, Pools};
pub use signal::{Image, Images};
pub(crate) use size::check_numbers;

use dfdx::prelude::*;

use crate::device::{Backend, Matrix, Real};

/// A batch of anything as rows of numbers.
fn rows<S: Shape, E: Real, D: Backend<E>, T: Tape<E, D>>(
    x: Tensor<S, E, D, T>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let numbers = x.shape().num_elements();
    let batch = x.shape().concrete().into_iter().next().unwrap_or(1);
    x.try_reshape_like(&(batch, numbers / batch.max(1)))
}
