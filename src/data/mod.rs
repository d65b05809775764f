//! Data sets: rows of inputs with their targets, where they come from, how they are split and
//! normalised.
//!
//! The width of a row and the kind of its target are part of the type: a
//! [`Dataset<64, Labels<10>>`](Dataset) has rows of 64 numbers, each with one of ten labels, and a
//! trainer for anything else does not take it.
//!
//! | from | call |
//! |---|---|
//! | numbers in memory | [`Dataset::new`] |
//! | the digits inside this crate | `digits`, with the feature of that name |
//! | MNIST, Fashion-MNIST | [`mnist`] |
//! | other idx files | [`idx_folder`], [`idx_files`] |
//! | CIFAR-10, CIFAR-100 | [`cifar10`], [`cifar100`], [`cifar_file`] |
//! | CSV | [`csv_labels`], [`csv_values`] |
//!
//! Then [`Dataset::split`] or [`Dataset::split_stratified`], and a [`Standardiser`] made from the
//! training rows. [`Augment`] changes images at random as they are learned from. Files may be
//! gzipped; a file that is not what it should be is an [`Error`](crate::Error) that says where, what
//! was expected, and what is there.

mod augment;
mod cifar;
mod csv;
mod dataset;
#[cfg(feature = "digits")]
mod digits;
mod gzip;
mod idx;
mod normalise;
mod split;
mod targets;

pub use self::cifar::{cifar_file, cifar10, cifar100};
pub use self::csv::{csv_labels, csv_values};
pub use augment::{Augment, Pixels};
pub use dataset::Dataset;
pub(crate) use dataset::{check_rows, select_rows};
#[cfg(feature = "digits")]
pub use digits::{digits, digits_rows, digits_with_seed};
pub use idx::{idx_files, idx_folder, mnist};
pub use normalise::Standardiser;
pub use split::Split;
pub use targets::{Labels, Targets, Values};
