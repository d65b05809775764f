//! Data sets: rows of inputs with their targets, where they come from, how they are split and normalised.
//!
//! The width of a row and the kind of its target are part of the type: a [`Dataset<64, Labels<10>>`] has rows of
//! 64 numbers, each with one of ten labels, and a trainer for anything else does not take it.

mod dataset;
mod targets;

pub use dataset::Dataset;
pub(crate) use dataset::{check_rows, select_rows};
pub use targets::{Labels, Targets, Values};
