//! What the library asks of a device beyond dfdx: its own numbers, fast paths, and how blocks run
//! side by side.

mod backend;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod execute;
mod images;
mod instructions;
mod lanes;
mod plain;
mod stacked;
mod tensors;
mod workers;

pub use backend::Backend;
pub use execute::Execute;
pub use instructions::Instructions;
pub use lanes::Lanes;
pub use tensors::{Module, NamedValues, ScalarMut, Slot, TensorMut, Tensors, VisitMut};
pub use workers::Workers;

pub use crate::{
    kernel::Window,
    number::Real,
    rows::{Column, Filters, Matrix, Rows, TracedRows, TracedScalar},
};
pub(crate) use images::{Normalised, plain_patches};
#[cfg(test)]
pub(crate) use images::{
    plain_average_pool, plain_batch_norm, plain_channels_last, plain_convolution, plain_max_pool,
    plain_scale_and_shift,
};
#[cfg(test)]
pub(crate) use plain::{
    plain_adamw, plain_add_row, plain_move_gradient, plain_sgd, plain_time_embedding,
};
pub(crate) use plain::{
    plain_adamw_by, plain_combined, plain_cross_entropy, plain_dense, plain_is_finite, plain_sgd_by,
};
pub(crate) use stacked::{StackedWeights, is_countable};

use std::{any::Any, sync::Mutex};

/// Where threads find a tensor that they share.
pub(crate) type SharedSlot = Mutex<Option<Box<dyn Any + Send>>>;
