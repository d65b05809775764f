//! Files of named tensors.

mod contents;
mod draft;

#[cfg(feature = "checkpoint")]
pub use contents::NumberType;
pub use contents::{Contents, NamedTensor};
pub(crate) use contents::{FileTensors, take};
pub(crate) use draft::{Draft, DraftBytes, DraftTensor};
