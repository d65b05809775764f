//! NoProp on [dfdx]: networks whose blocks learn on their own to denoise the target, with shapes that the compiler
//! checks.
#![warn(missing_docs)]

pub mod data;
pub mod device;
mod error;
pub mod head;
mod kernel;
pub mod nn;
mod noprop;
pub mod optim;
pub mod prelude;
mod random;
pub mod schedule;
pub mod solver;
pub mod train;
pub mod variant;

pub use error::Error;
pub use noprop::{Block, NoProp};
pub use train::Fit;
pub use variant::{ContinuousTime, DiscreteTime, FlowMatching};
