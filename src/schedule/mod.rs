//! Noise schedules: how much of the target is left in z at each time.

mod discrete;

pub use discrete::{NoiseLevels, Schedule};
