//! The training loop: spans of steps, epochs, validation, checkpoints, and the end of a run.

mod agree;
mod checkpoints;
mod epoch;
mod fit;
mod observer;
mod parts;
mod precision;
mod residence;
mod run;
#[cfg(feature = "checkpoint")]
mod saving;
mod span;
mod warnings;

pub use fit::{EarlyStopping, Fit};
pub use observer::Observer;
#[cfg(feature = "checkpoint")]
pub(crate) use parts::Saving;
pub(crate) use parts::{Hook, SessionParts};
pub(crate) use run::{Event, Session};
#[cfg(feature = "checkpoint")]
pub use saving::{Checkpoints, Every};
