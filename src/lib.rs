//! NoProp on [dfdx](https://crates.io/crates/dfdx): networks whose blocks each learn on their own to denoise the target, so that
//! no signal crosses from one to the next, with shapes that the compiler checks.
//!
//! ```
//! use dfdx_noprop::prelude::*;
//!
//! type Block = ConditionalResNetDt<10, 64>; // z: 10 classes, x: 8 × 8 pixels
//! type Model = NoProp<DiscreteTime, Block, 10, 64>;
//!
//! # fn main() -> Result<(), dfdx_noprop::Error> {
//! let digits = data::digits()?;
//! let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
//! model.fit(&digits.train, &Fit { epochs: 20, ..Fit::default() })?;
//! println!("{:.1} %", 100.0 * model.evaluate(&digits.test)?.accuracy);
//! # Ok(())
//! # }
//! ```
//!
//! # In your `Cargo.toml`
//!
//! A profile does not come with a dependency, and dfdx is generic code, part of which is compiled
//! in your crate. Without these lines `cargo run` without `--release` is 7 times slower than it
//! need be:
//!
//! ```toml
//! [profile.dev.package."*"] # dfdx, this crate, and what they stand on
//! opt-level = 3
//!
//! [profile.dev] # your own program, in which your model's types are compiled
//! opt-level = 2
//! ```
//!
//! # The map
//!
//! | to | see |
//! |---|---|
//! | train, evaluate, predict, sample | [`NoProp`], [`Fit`] |
//! | choose the mathematics | [`DiscreteTime`], [`ContinuousTime`], [`FlowMatching`], [`DiffusionBlocks`], in [`variant`] |
//! | say what the targets are | [`head`]: classes (one-hot, learned, prototypes), numbers |
//! | declare a block | [`nn`]: the conditional ResNets, layers, your own module by [`nn::Custom`]; [`nn::image`] for images |
//! | load, split and normalise data | [`data`] |
//! | choose how noise turns into target | [`schedule`] |
//! | integrate, with a network or a closure of your own | [`solver`] |
//! | score quantiles, probabilities and sets of classes | [`score`] |
//! | choose how weights step | [`optim`] |
//! | train without a derivative | [`gradient`], [`guide::gradient_free`] |
//! | spread the blocks over machines | [`distributed`], [`NoProp::distributed`] |
//! | keep a trained model as one file, and use it elsewhere | [`NoProp::predictor`], [`Predictor`], [`AnyPredictor`] |
//! | follow a run, stop it, go on with it | [`train`], [`observe`], [`checkpoint`] |
//! | read the formulas beside the code | [`guide::mathematics`] |
//! | understand a message of the compiler | [`guide::shapes`] |
//! | know what a checkpoint holds | [`guide::training`] |
//!
//! # Features
//!
//! - `training` (default): trainers, [`NoProp`]; without it there are predictors alone.
//! - `digits` (default): the UCI handwritten digits, embedded, 58 kB.
//! - `data` (default): readers of CSV, idx (MNIST) and CIFAR files.
//! - `serde` (default): settings and reports as data.
//! - `inference` (default): trained models as files, and their answers: [`Predictor`].
//! - `checkpoint` (default): trainers as safetensors files.
//! - `observe` (default): a progress bar, files of metrics, plots, Ctrl-C.
//! - `double` (default): double precision at its full speed, by AVX-512 where there is.
//! - `ndarray`: data sets from arrays of the crate `ndarray`, and answers as arrays.
//! - `npy`: readers of NumPy's `.npy` and `.npz` files.
//! - `parquet`: a reader of Parquet files, `data::Parquet`.
//! - `onnx`: trained models as ONNX graphs, by `NoProp::export_onnx`.
//! - `mpi`: blocks on many machines, by MPI.
//! - `cuda`: dfdx's GPU device, and what was measured on one ([`guide::cuda`]).
//!
//! # What is random
//!
//! Every random number comes from a seed in [`Fit`] or in the variant's settings, by a stream of
//! its own for each block and step. The same seeds give the same weights, bit for bit, on any
//! number of threads.
#![warn(missing_docs)]
// What trainers are made of is there, and nothing asks for it.
#![cfg_attr(not(feature = "training"), allow(dead_code))]

pub mod block;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
mod config;
pub mod data;
pub mod device;
pub mod distributed;
mod engine;
mod error;
#[cfg(feature = "inference")]
mod file;
pub mod gradient;
pub mod guide;
pub mod head;
mod infer;
mod kernel;
mod model;
pub mod nn;
mod noprop;
mod number;
#[cfg(feature = "observe")]
pub mod observe;
#[cfg(feature = "onnx")]
mod onnx;
pub mod optim;
// Private, since the compiler's messages name a layer in full where an operation that can be named
// has its name too.
mod plan;
#[cfg(feature = "inference")]
mod predictor;
pub mod prelude;
mod random;
mod report;
mod rows;
pub mod schedule;
pub mod score;
mod session;
pub mod solver;
mod step;
pub mod train;
pub mod variant;

pub use block::Block;
pub use config::Config;
#[doc(hidden)]
pub use engine::{Engine, Number};
pub use error::Error;
pub use infer::{EarlyAnswer, Until};
pub use noprop::{NoProp, Runs, Suits};
pub use number::Precision;
pub use plan::{Summary, SummaryLine};
#[cfg(feature = "inference")]
pub use predictor::{AnyPredictor, Predictor};
pub use session::Fit;
pub use variant::{ContinuousTime, DiffusionBlocks, DiscreteTime, FlowMatching};
