//! Trainers as files: saved at any step, loaded and gone on with exactly.
//!
//! A checkpoint is one [safetensors](https://github.com/huggingface/safetensors) file: named
//! tensors with text beside them, and a SHA-256 checksum over both.
//! [`NoProp::save`](crate::NoProp::save) and [`NoProp::load`](crate::NoProp::load) are for whole
//! trainers, [`NoProp::export`](crate::NoProp::export) for weights alone; [`Folder`] keeps the
//! checkpoints of a run, the last few and the best.

mod atomic;
mod blocks;
mod checksum;
mod file;
mod folder;
mod gather;
mod progress;
mod restore;
mod settings;
mod trainer;
mod unit;

pub use crate::file::{Contents, NamedTensor, NumberType};
pub(crate) use atomic::write_atomically;
#[cfg(feature = "onnx")]
pub(crate) use atomic::write_atomically_by;
pub(crate) use checksum::data_checksum;
pub(crate) use file::Found;
pub use folder::Folder;
pub(crate) use folder::FolderLock;
pub(crate) use gather::check_blocks;
pub(crate) use restore::restore;
#[doc(hidden)]
pub use restore::{Taken, Wanted};
pub(crate) use settings::{settings, text};
#[doc(hidden)]
pub use trainer::{Identity, Saved};
