//! Some steps of a run.

use super::Fit;
use crate::{
    device::Workers,
    optim::{Optimizer, Stepping},
};

/// Steps of a run that blocks take without meeting.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    pub(super) fit: &'a Fit,
    pub(super) workers: &'a Workers,
    /// How many steps of the run come before.
    pub(super) before: u64,
    /// How many steps the whole run has.
    pub(super) total: u64,
}

impl Span<'_> {
    /// The seed of what is drawn.
    pub(crate) fn seed(&self) -> u64 {
        self.fit.seed
    }

    /// The threads of the run.
    pub(crate) fn workers(&self) -> &Workers {
        self.workers
    }

    /// How the `k`-th step of the span, counted from 0, is made.
    pub(crate) fn stepping(&self, optimizer: &Optimizer, k: usize) -> Stepping {
        Stepping {
            optimizer: *optimizer,
            rate: self.fit.learning_rate.share(self.before + k as u64 + 1, self.total),
            clip: self.fit.clip,
            average: self.fit.average,
        }
    }
}
