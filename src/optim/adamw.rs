//! Adam with decoupled weight decay.

use super::{above_zero, below_one, not_negative};
use crate::{error::Error, kernel::AdamWStep, number::Real};

/// AdamW (Loshchilov, Hutter 2019, *Decoupled weight decay regularization*, algorithm 2).
///
/// With gradient g at step k, for each weight θ:
///
/// m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
/// θ ← (1 − η λ) θ − η · m / (1 − β₁ᵏ) / (√(v / (1 − β₂ᵏ)) + ε)
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdamW {
    /// η, the size of a step: 0 or more.
    /// Default: `0.001`.
    pub learning_rate: f64,
    /// β₁, the memory of the mean of the gradient: from 0 to below 1.
    /// Default: `0.9`.
    pub beta1: f64,
    /// β₂, the memory of the mean of its square: from 0 to below 1.
    /// Default: `0.999`.
    pub beta2: f64,
    /// ε, which keeps the division finite: above 0, in the weights' own numbers too.
    /// Default: `1e-8`.
    pub epsilon: f64,
    /// λ, the share of a weight that a step of size 1 takes off: 0 or more.
    /// Default: `0.001`.
    pub weight_decay: f64,
    /// Whether biases, norms and other parameters with one axis decay too: they have no reason to
    /// be small.
    /// Default: `false`.
    pub decay_biases: bool,
}

impl Default for AdamW {
    /// The paper's setting for discrete time: learning rate and decay 1e-3.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-3,
            decay_biases: false,
        }
    }
}

impl AdamW {
    /// The k-th step, counted from 1.
    pub fn step(&self, k: u64) -> AdamWStep {
        let k = k.min(i32::MAX as u64) as i32;
        AdamWStep {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            rate: self.learning_rate / (1.0 - self.beta1.powi(k)),
            correction2: 1.0 / (1.0 - self.beta2.powi(k)),
            keep: 1.0 - self.learning_rate * self.weight_decay,
            scale: 1.0,
        }
    }

    /// The same step for a bias.
    pub(super) fn undecayed(&self, step: AdamWStep) -> AdamWStep {
        AdamWStep { keep: if self.decay_biases { step.keep } else { 1.0 }, ..step }
    }

    pub(super) fn validate<E: Real>(&self) -> Result<(), Error> {
        not_negative::<E>("AdamW::learning_rate", self.learning_rate)?;
        below_one::<E>("AdamW::beta1", self.beta1)?;
        below_one::<E>("AdamW::beta2", self.beta2)?;
        above_zero::<E>("AdamW::epsilon", self.epsilon)?;
        not_negative::<E>("AdamW::weight_decay", self.weight_decay)
    }
}
