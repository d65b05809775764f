//! What a step of an optimiser does besides the optimiser's own formula.

use super::{AdamWStep, Optimizer, SgdStep};

/// One step: an optimiser at some learning rate, with what is done to gradients before it and kept
/// of weights after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepping {
    /// The formula.
    pub optimizer: Optimizer,
    /// The share of the optimiser's learning rate that this step has: 0 or more.
    pub rate: f64,
    /// The largest norm of the gradient of all weights together: a larger one is scaled down to it
    /// (Pascanu et al. 2013, *On the difficulty of training recurrent neural networks*, section
    /// 3.2). `None` for no limit; above 0.
    pub clip: Option<f64>,
    /// β, the memory of the moving average of the weights, a ← βₖ a + (1 − βₖ) θ with βₖ =
    /// min(β, (1 + k) / (10 + k)) at step k, so that the first steps are soon forgotten; from 0
    /// to below 1. `None` to keep none.
    pub average: Option<f64>,
}

impl From<Optimizer> for Stepping {
    fn from(optimizer: Optimizer) -> Self {
        Self { optimizer, rate: 1.0, clip: None, average: None }
    }
}

impl Stepping {
    /// The learning rate of this step.
    pub fn learning_rate(&self) -> f64 {
        self.rate * self.optimizer.learning_rate()
    }

    /// The same without weight decay: for an embedding or a schedule, which have no reason to
    /// shrink.
    pub(crate) fn without_decay(self) -> Self {
        Self { optimizer: self.optimizer.without_decay(), ..self }
    }

    /// The numbers of step k, counted from 1, for a gradient of this norm.
    pub(super) fn numbers(&self, k: u64, norm: f64) -> Numbers {
        let scale = match self.clip {
            Some(most) if norm > most => most / norm,
            _ => 1.0,
        };
        match self.optimizer {
            Optimizer::AdamW(mut config) => {
                config.learning_rate *= self.rate;
                let step = AdamWStep { scale, ..config.step(k) };
                Numbers::AdamW { step, undecayed: config.undecayed(step) }
            }
            Optimizer::Sgd(mut config) => {
                config.learning_rate *= self.rate;
                let step = SgdStep { scale, ..config.step() };
                Numbers::Sgd { step, undecayed: config.undecayed(step) }
            }
        }
    }

    /// βₖ.
    pub(super) fn memory(&self, k: u64) -> Option<f64> {
        self.average.map(|most| most.min((1.0 + k as f64) / (10.0 + k as f64)))
    }
}

/// A step's numbers, for weights and for biases.
pub(super) enum Numbers {
    AdamW { step: AdamWStep, undecayed: AdamWStep },
    Sgd { step: SgdStep, undecayed: SgdStep },
}
