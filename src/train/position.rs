//! Where a run is.

use super::{EarlyStopping, Fit, report::Means};
use crate::error::Error;

/// How far a run has come: with the weights and what the optimisers remember, all that the rest of it depends on, since
/// every random number follows from a seed and a step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Position {
    /// How many epochs the trainer had done before the run.
    pub(super) epochs_before: u64,
    /// How many steps of the run are done.
    pub(super) steps: u64,
    /// What the order of the batches depends on.
    rows: usize,
    batch_size: usize,
    seed: u64,
    /// The epoch that is under way.
    pub(crate) means: Means,
    /// The lowest validation loss, and how many validations came after it.
    pub(super) lowest: Option<f64>,
    pub(super) waited: usize,
}

impl Position {
    pub(super) fn start(epochs_before: u64, rows: usize, fit: &Fit) -> Self {
        Self {
            epochs_before,
            steps: 0,
            rows,
            batch_size: fit.batch_size,
            seed: fit.seed,
            means: Means::default(),
            lowest: None,
            waited: 0,
        }
    }

    /// The same with other means: those of other blocks.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn with_means(self, means: Means) -> Self {
        Self { means, ..self }
    }

    /// Whether a run with this data and these settings can go on from here.
    pub(super) fn check(&self, rows: usize, fit: &Fit) -> Result<(), Error> {
        let same = [
            ("rows", self.rows as u64, rows as u64),
            ("batch_size", self.batch_size as u64, fit.batch_size as u64),
            ("seed", self.seed, fit.seed),
        ];
        match same.into_iter().find(|(_, expected, found)| expected != found) {
            Some((what, expected, found)) => Err(Error::argument(
                "NoProp::fit",
                format!(
                    "{what} = {expected}, as in the run that was stopped and goes on (or \
                     `forget_run` first)"
                ),
                found,
            )),
            None => Ok(()),
        }
    }

    /// Whether this loss on the validation rows is the lowest so far.
    pub(super) fn validated(&mut self, loss: f64, stop: Option<&EarlyStopping>) -> bool {
        let least = stop.map_or(0.0, |stop| stop.least);
        let better = self.lowest.is_none_or(|lowest| loss < lowest - least);
        if better {
            self.lowest = Some(loss);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        better
    }
}
