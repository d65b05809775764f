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

use crate::error::Error;

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

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match self {
            Self::AdamW(config) => config.validate(),
            Self::Sgd(config) => config.validate(),
        }
    }
}

/// A rate, decay or epsilon: finite and not negative.
fn not_negative(setting: &'static str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(setting, "a finite number, 0 or more", value))
}

/// The decay rate of a running mean: from 0 to below 1.
fn below_one(setting: &'static str, value: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::config(setting, "a number from 0 to below 1", value))
}
