//! Noise schedules: how much of the target is left in z at each time.

mod continuous;
mod discrete;
mod noise;
mod point;

#[doc(hidden)]
pub use continuous::LearnedGamma;
pub(crate) use continuous::TracedColumn;
pub use continuous::{GammaPoint, GammaSchedule, MonotoneNetwork, Path};
pub use discrete::{NoiseLevels, Schedule};
pub(crate) use noise::Classes;
pub use noise::{NoiseDistribution, NoiseParts, Partition};
pub use point::SchedulePoint;
