//! Noise schedules: how much of the target is left in z at each time.

mod continuous;
mod discrete;

pub use continuous::{GammaPoint, GammaSchedule, MonotoneNetwork, Path};
pub(crate) use continuous::{LearnedGamma, TracedColumn};
pub use discrete::{NoiseLevels, Schedule};
