//! Some steps of a run.

use super::Residence;
use crate::{
    device::Workers,
    number::Precision,
    optim::{LearningRate, Optimizer, Stepping},
};

/// Steps of a run that blocks take without meeting.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// The seed of what is drawn.
    pub(crate) seed: u64,
    pub(crate) learning_rate: &'a LearningRate,
    pub(crate) clip: Option<f64>,
    pub(crate) average: Option<f64>,
    /// That of the operands of large products.
    pub(crate) precision: Precision,
    pub(crate) workers: &'a Workers,
    /// Where blocks lie while it is not their turn, if not in memory.
    pub(crate) residence: Option<&'a Residence>,
    /// How many steps of the run come before.
    pub(crate) before: u64,
    /// How many steps the whole run has.
    pub(crate) total: u64,
}

impl Span<'_> {
    /// The seed of what is drawn.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The threads of the run.
    pub(crate) fn workers(&self) -> &Workers {
        self.workers
    }

    /// How the `k`-th step of the span, counted from 0, is made.
    pub(crate) fn stepping(&self, optimizer: &Optimizer, k: usize) -> Stepping {
        Stepping {
            optimizer: *optimizer,
            rate: self.learning_rate.share(self.before + k as u64 + 1, self.total),
            clip: self.clip,
            average: self.average,
        }
    }
}
