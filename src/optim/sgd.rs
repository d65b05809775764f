//! Stochastic gradient descent.

use super::{below_one, not_negative};
use crate::{error::Error, kernel::SgdStep, number::Real};

/// Stochastic gradient descent with momentum and decoupled weight decay.
///
/// With gradient g, for each weight θ:  u ← μ u + g,  θ ← (1 − η λ) θ − η u
///
/// (Goodfellow, Bengio, Courville 2016, *Deep Learning*, algorithm 8.2.)
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Sgd {
    /// η, the size of a step: 0 or more.
    /// Default: `0.01`.
    pub learning_rate: f64,
    /// μ, the share of the last step that goes on: from 0 to below 1.
    /// Default: `0.9`.
    pub momentum: f64,
    /// λ, the share of a weight that a step of size 1 takes off: 0 or more.
    /// Default: `0.0`.
    pub weight_decay: f64,
    /// Whether biases, norms and other parameters with one axis decay too: they have no reason to
    /// be small.
    /// Default: `false`.
    pub decay_biases: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { learning_rate: 1e-2, momentum: 0.9, weight_decay: 0.0, decay_biases: false }
    }
}

impl Sgd {
    /// The step's numbers; the same for every step.
    pub fn step(&self) -> SgdStep {
        SgdStep {
            rate: self.learning_rate,
            momentum: self.momentum,
            keep: 1.0 - self.learning_rate * self.weight_decay,
            scale: 1.0,
        }
    }

    /// The same step for a bias.
    pub(super) fn undecayed(&self, step: SgdStep) -> SgdStep {
        SgdStep { keep: if self.decay_biases { step.keep } else { 1.0 }, ..step }
    }

    pub(super) fn validate<E: Real>(&self) -> Result<(), Error> {
        not_negative::<E>("Sgd::learning_rate", self.learning_rate)?;
        below_one::<E>("Sgd::momentum", self.momentum)?;
        not_negative::<E>("Sgd::weight_decay", self.weight_decay)
    }
}
