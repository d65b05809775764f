//! Data sets: rows of inputs with their targets, where they come from, how they are split and
//! normalised.
//!
//! The width of a row and the kind of its target are part of the type: a
//! [`Dataset<64, Labels<10>>`](Dataset) has rows of 64 numbers, each with one of ten labels, and a
//! trainer for anything else does not take it.
//!
//! | from | call |
//! |---|---|
//! | numbers in memory | [`Dataset::new`], [`Dataset::from_rows`] |
//! | arrays of `ndarray` | `Dataset::from_arrays`, with the feature `ndarray` |
//! | the digits inside this crate | `digits`, with the feature of that name |
//! | MNIST, Fashion-MNIST | [`mnist`] |
//! | other idx files | [`idx_folder`], [`idx_files`] |
//! | CIFAR-10, CIFAR-100 | [`cifar10`], [`cifar100`], [`cifar_file`] |
//! | CSV, and scikit-learn's tables | [`csv_labels`], [`csv_values`]; with options: [`Csv`] |
//! | NumPy's `.npy` and `.npz` | `npy_labels`, `npy_values`, `npz_labels`, `npz_values`, with the feature `npy` |
//! | Parquet | `Parquet`, with the feature of that name |
//!
//! Then [`Dataset::split`], [`Dataset::split_stratified`] or [`Dataset::folds`], and a
//! [`Standardiser`] made from the training rows. [`Augment`] changes images at random as they are
//! learned from. Files may be gzipped; a file that is not what it should be is an
//! [`Error`](crate::Error) that says where, what was expected, and what is there.
//!
//! From a file to an accuracy, by five-fold cross-validation:
//!
//! ```no_run
//! use dfdx_noprop::prelude::*;
//!
//! type Block = ConditionalResNetDt<3, 4, 16>; // z: 3 species, x: 4 lengths
//!
//! # fn main() -> Result<(), Error> {
//! let iris = data::csv_labels::<4, 3>("iris.csv")?;
//! let (mut correct, device) = (0, AutoDevice::default());
//! for split in iris.folds(5, 0)? {
//!     let split = split.standardised_per_column()?;
//!     let mut model =
//!         NoProp::<DiscreteTime, Block, 3, 4>::new(&device, DiscreteTime::default())?;
//!     model.fit(&split.train, &Fit { epochs: 30, batch_size: 16, ..Fit::default() })?;
//!     correct += model.evaluate(&split.test)?.correct;
//! }
//! println!("{:.1} %", 100.0 * correct as f64 / iris.rows() as f64);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "ndarray")]
mod arrays;
mod augment;
#[cfg(feature = "data")]
mod cifar;
mod class_names;
#[cfg(feature = "data")]
mod csv;
mod dataset;
#[cfg(feature = "digits")]
mod digits;
mod folds;
#[cfg(feature = "data")]
mod gzip;
#[cfg(feature = "data")]
mod idx;
mod normalise;
#[cfg(feature = "npy")]
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod split;
mod statistics;
mod targets;
mod view;

#[cfg(feature = "data")]
pub use self::cifar::{cifar_file, cifar10, cifar100};
#[cfg(feature = "data")]
pub use self::csv::{Classes, Column, Csv, Header, csv_labels, csv_values};
#[cfg(feature = "parquet")]
pub use self::parquet::Parquet;
#[cfg(all(feature = "ndarray", feature = "inference"))]
pub(crate) use arrays::rows_of;
pub use augment::{Augment, Pixels};
pub use class_names::ClassNames;
#[cfg(feature = "inference")]
pub(crate) use class_names::double;
pub use dataset::Dataset;
#[cfg(feature = "inference")]
pub(crate) use dataset::check_wide_rows;
pub(crate) use dataset::{check_rows, select_wide};
#[cfg(feature = "digits")]
pub use digits::{digits, digits_rows, digits_with_seed};
#[cfg(feature = "data")]
pub use idx::{idx_files, idx_folder, mnist};
pub use normalise::Standardiser;
#[cfg(feature = "npy")]
pub use npy::{npy_labels, npy_values, npz_labels, npz_values};
pub use split::Split;
#[cfg(feature = "inference")]
pub(crate) use statistics::Statistics;
pub use targets::{Labels, Targets, Values};
pub use view::{DataView, TargetRows};
