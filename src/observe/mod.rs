//! Observers: a progress bar, files of metrics, plots, and a way to stop by Ctrl-C.
//!
//! ```no_run
//! use dfdx_noprop::{
//!     observe::{Csv, JsonLines, Plots, Progress, ctrl_c},
//!     prelude::*,
//! };
//!
//! type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
//! let split = data::digits()?.train.split_stratified(0.1, 0)?;
//! let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
//! let outcome = model
//!     .training(&Fit::default())
//!     .validation(&split.test)
//!     .observer(&mut Progress::new())
//!     .observer(&mut JsonLines::create("run/metrics.jsonl")?)
//!     .observer(&mut Csv::epochs("run/epochs.csv")?)
//!     .observer(&mut Plots::new("run/plots")?)
//!     .interrupt(ctrl_c()?)
//!     .run(&split.train)?;
//! println!("{}", outcome.ended);
//! # Ok::<(), dfdx_noprop::Error>(())
//! ```

mod csv;
mod ctrl_c;
mod json_lines;
mod lines;
pub mod plots;
mod progress;

pub use self::csv::Csv;
pub use ctrl_c::{ctrl_c, exit_status};
pub use json_lines::JsonLines;
pub use plots::Plots;
pub use progress::Progress;
