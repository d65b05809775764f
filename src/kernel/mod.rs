//! The fast operations on the processor, each beside the plain dfdx version that is its test.

mod activation;
mod buffer;
mod combine;
mod dense;
mod embedding;
mod exponential;
mod image;
mod instructions;
mod optimise;
mod product;
mod single;
mod softmax;
mod vector;
mod view;
mod window;

pub(crate) use activation::{add, add_row, relu};
pub use buffer::Reuse;
pub(crate) use buffer::{filled, reuse};
pub(crate) use combine::{combined, is_finite};
pub(crate) use dense::{dense, dense_onto, dense_transposed, transposed};
pub(crate) use embedding::time_embedding;
pub(crate) use image::{
    average_pool, batch_norm, channels_last, convolution, max_pool, scale_and_shift,
};
pub(crate) use instructions::{instructions, limit_to_avx2};
pub use optimise::{AdamWStep, SgdStep};
pub(crate) use optimise::{
    RUN, adamw, adamw_by, gradient, move_gradient, sgd, sgd_by, sum_of_squares,
};
pub(crate) use product::has_bfloat;
pub(crate) use single::is_single;
pub(crate) use softmax::{cross_entropy, softmax};
pub use vector::Products;
pub(crate) use vector::{ensure_pool, gather_rows, on_threads, products_in, threads};
pub(crate) use view::{change, contiguous, elements_mut};
pub use window::Window;

#[cfg(test)]
mod tests;
