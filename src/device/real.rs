//! The numbers that a model is made of.

use dfdx::shapes::Dtype;
use num_traits::Float;
use rand_distr::uniform::SampleUniform;

/// A floating-point type that the library computes in: `f32` or `f64`.
pub trait Real: Dtype + Float + SampleUniform + std::fmt::Display {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as `f64`.
    fn as_f64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }
}
