//! The fast operations on the processor, each beside the plain dfdx version that is its test.

mod activation;
mod buffer;
mod combine;
mod dense;
mod embedding;
mod image;
mod optimise;
mod product;
mod vector;
mod view;

pub(crate) use activation::{add, add_row, relu};
pub use buffer::Reuse;
pub(crate) use buffer::{filled, reuse};
pub(crate) use combine::{combined, is_finite, softmax};
pub(crate) use dense::{dense, dense_onto, dense_turned, turned};
pub(crate) use embedding::time_embedding;
pub(crate) use image::{
    average_pool, batch_norm, channels_last, convolution, max_pool, scale_and_shift,
};
pub(crate) use optimise::{
    adamw, adamw_by, add_gradient, move_gradient, sgd, sgd_by, squared_gradient,
};
pub(crate) use vector::{in_pieces, on_threads};
pub(crate) use view::{change, contiguous};

#[cfg(test)]
mod tests;
