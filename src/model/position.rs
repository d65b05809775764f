//! Where a run is.

use crate::{error::Error, report::Means};

/// How far a run has come: with the weights and what the optimisers remember, all that the rest of
/// it depends on, since every random number follows from a seed and a step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position {
    /// How many epochs the trainer had done before the run.
    pub(crate) epochs_before: u64,
    /// How many steps of the run are done.
    pub(crate) steps: u64,
    /// What the order of the batches depends on.
    rows: usize,
    batch_size: usize,
    seed: u64,
    /// The epoch that is under way.
    pub(crate) means: Means,
    /// The lowest validation loss, and how many validations came after it.
    pub(crate) lowest: Option<f64>,
    pub(crate) waited: usize,
}

impl Position {
    /// The start of a run over so many rows.
    pub(crate) fn start(epochs_before: u64, rows: usize, batch_size: usize, seed: u64) -> Self {
        Self {
            epochs_before,
            steps: 0,
            rows,
            batch_size,
            seed,
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
    pub(crate) fn check(&self, rows: usize, batch_size: usize, seed: u64) -> Result<(), Error> {
        let same = [
            ("rows", self.rows as u64, rows as u64),
            ("batch_size", self.batch_size as u64, batch_size as u64),
            ("seed", self.seed, seed),
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

    /// Whether this loss on the validation rows is lower, by more than `least`, than the lowest so
    /// far.
    pub(crate) fn validated(&mut self, loss: f64, least: f64) -> bool {
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
