//! Files of named tensors.

mod contents;

pub use contents::{Contents, NamedTensor, NumberType};
