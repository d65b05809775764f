//! How the learning rate goes over a run.

use crate::error::Error;

/// The learning rate of step k (from 1 to n, the steps of the run), as a share of the optimiser's
/// own: k / warm_up while k ≤ warm_up, and the decay's after that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LearningRate {
    /// How many steps it rises over, linearly; 0 for none (Goyal et al. 2017, *Accurate, large
    /// minibatch SGD*, section 2.2).
    /// Default: `0`.
    pub warm_up: u64,
    /// How it falls after that.
    /// Default: `Decay::Constant`.
    pub decay: Decay,
}

/// How the learning rate falls, with p from 0 to 1 the share of the steps after warm-up that are
/// done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Decay {
    /// It stays.
    #[default]
    Constant,
    /// floor + (1 − floor) (1 + cos πp) / 2 (Loshchilov, Hutter 2017, *SGDR*, eq. 5, without
    /// restarts).
    Cosine {
        /// Where it ends, as a share: from 0 to 1.
        floor: f64,
    },
    /// factor^⌊steps after warm-up / every⌋.
    Step {
        /// After how many steps it falls: at least 1.
        every: u64,
        /// To what share of before: above 0, 1 at most.
        factor: f64,
    },
}

impl LearningRate {
    /// The share for step `step`, counted from 1, of a run of `steps`.
    pub fn share(&self, step: u64, steps: u64) -> f64 {
        if step <= self.warm_up {
            return step as f64 / self.warm_up as f64;
        }
        let done = step - self.warm_up - 1;
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Cosine { floor } => {
                let span = steps.saturating_sub(self.warm_up).max(1);
                let part = (done as f64 / span as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Decay::Step { every, factor } => factor.powf((done / every.max(1)) as f64),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match self.decay {
            Decay::Cosine { floor } if !(0.0..=1.0).contains(&floor) => {
                Err(Error::config("Decay::Cosine::floor", "a number from 0 to 1", floor))
            }
            Decay::Step { every: 0, .. } => {
                Err(Error::config("Decay::Step::every", "at least 1", 0))
            }
            Decay::Step { factor, .. } if !(factor > 0.0 && factor <= 1.0) => {
                Err(Error::config("Decay::Step::factor", "above 0, 1 at most", factor))
            }
            _ => Ok(()),
        }
    }
}
