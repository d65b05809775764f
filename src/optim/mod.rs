//! Optimisers with a state that can be looked at, saved and sent to another thread.

mod adamw;
mod average;
mod gather;
mod rate;
mod sgd;
mod stack;
mod state;
mod stepping;

pub use crate::kernel::{AdamWStep, SgdStep};
pub use adamw::AdamW;
pub(crate) use gather::move_gradients;
pub use rate::{Decay, LearningRate};
pub use sgd::Sgd;
pub(crate) use stack::{Stack, Unit};
pub use state::OptimizerState;
pub(crate) use state::StreamedGradient;
pub use stepping::Stepping;

use crate::{error::Error, number::Real};

/// How a block turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Stochastic gradient descent, with momentum if asked for.
    Sgd(Sgd),
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

impl From<AdamW> for Optimizer {
    fn from(config: AdamW) -> Self {
        Self::AdamW(config)
    }
}

impl From<Sgd> for Optimizer {
    fn from(config: Sgd) -> Self {
        Self::Sgd(config)
    }
}

impl Optimizer {
    /// The same without weight decay: for an embedding or a schedule, which have no reason to
    /// shrink.
    pub(crate) fn without_decay(&self) -> Self {
        match self {
            Self::AdamW(config) => AdamW { weight_decay: 0.0, ..*config }.into(),
            Self::Sgd(config) => Sgd { weight_decay: 0.0, ..*config }.into(),
        }
    }

    /// η, the size of a step.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::AdamW(config) => config.learning_rate,
            Self::Sgd(config) => config.learning_rate,
        }
    }

    /// Whether the settings make sense in the numbers that the weights are of.
    pub(crate) fn validate<E: Real>(&self) -> Result<(), Error> {
        match self {
            Self::AdamW(config) => config.validate::<E>(),
            Self::Sgd(config) => config.validate::<E>(),
        }
    }
}

/// A rate or decay: not negative, and finite in the numbers that the weights are of.
fn not_negative<E: Real>(setting: &'static str, value: f64) -> Result<(), Error> {
    let holds = |v: f64| v.is_finite() && v >= 0.0;
    check::<E>(setting, "a finite number, 0 or more", value, holds)
}

/// A number to divide by: above 0, also in the numbers that the weights are of.
fn above_zero<E: Real>(setting: &'static str, value: f64) -> Result<(), Error> {
    let holds = |v: f64| v.is_finite() && v > 0.0;
    check::<E>(setting, "a finite number above 0", value, holds)
}

/// The memory of a running mean: from 0 to below 1, also in the numbers that the weights are of.
fn below_one<E: Real>(setting: &'static str, value: f64) -> Result<(), Error> {
    check::<E>(setting, "a number from 0 to below 1", value, |v| (0.0..1.0).contains(&v))
}

/// Whether something holds of a setting, and of what becomes of it in the numbers `E`.
fn check<E: Real>(
    setting: &'static str,
    expected: &str,
    value: f64,
    holds: impl Fn(f64) -> bool,
) -> Result<(), Error> {
    if !holds(value) {
        return Err(Error::config(setting, expected, value));
    }
    let rounded = E::of(value).as_f64();
    if holds(rounded) {
        return Ok(());
    }
    let numbers = std::any::type_name::<E>();
    let found = format!("{value:e}, which is {rounded} there");
    Err(Error::config(setting, format!("{expected}, in {numbers} too"), found))
}
