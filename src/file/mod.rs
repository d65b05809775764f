//! Files of named tensors.

mod contents;

#[cfg(feature = "checkpoint")]
pub use contents::NumberType;
pub use contents::{Contents, NamedTensor};
pub(crate) use contents::{FileTensors, take};
