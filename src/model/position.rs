//! Where a run is.

#[cfg(feature = "checkpoint")]
use super::Counters;
use crate::{error::Error, number::Precision, optim::LearningRate, report::Means};

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
    /// What else a step depends on; not in files of before 0.2.
    #[cfg_attr(feature = "serde", serde(default))]
    settings: Option<StepSettings>,
    /// The SHA-256 checksum of the data, once it was needed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) data: Option<String>,
    /// What its sums were computed by: [`instructions`](crate::kernel::instructions).
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) processor: Option<String>,
    /// The epoch that is under way.
    pub(crate) means: Means,
    /// The lowest validation loss, and how many validations came after it.
    pub(crate) lowest: Option<f64>,
    pub(crate) waited: usize,
}

/// What a run's steps depend on, besides the variant's settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunSettings {
    pub(crate) rows: usize,
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    pub(crate) steps: StepSettings,
}

/// What a step depends on, but for its rows.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct StepSettings {
    pub(crate) learning_rate: LearningRate,
    pub(crate) clip: Option<f64>,
    pub(crate) average: Option<f64>,
    pub(crate) class_weights: Option<Vec<f64>>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) precision: Precision,
}

impl Position {
    /// The start of a run.
    pub(crate) fn start(epochs_before: u64, settings: RunSettings) -> Self {
        Self {
            epochs_before,
            steps: 0,
            rows: settings.rows,
            batch_size: settings.batch_size,
            seed: settings.seed,
            settings: Some(settings.steps),
            data: None,
            processor: None,
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

    /// What no run of a trainer that is so far could have left, as what was expected and what came.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn contradiction(
        &self,
        trainer: &Counters,
        blocks: usize,
    ) -> Option<(String, String)> {
        if let Some(found) = self.count_out_of_range(trainer) {
            return Some(found);
        }
        let (epochs, each) = (trainer.epochs - self.epochs_before, self.steps_per_epoch());
        // Where each rank has rows of its own, which have no checksum, an epoch may have more steps.
        let exact = self.data.as_ref().map(|_| self.steps - epochs * each);
        if exact.is_some_and(|under_way| under_way > each) {
            let done = self.epochs_before.saturating_add(self.steps / each);
            let expected = format!("progress with {done} epochs, one for each {each} steps");
            return Some((expected, trainer.epochs.to_string()));
        }
        self.means.contradiction(self.steps, exact, self.batch_size, blocks)
    }

    /// A count that is larger than it can be, or 0 and must not be.
    #[cfg(feature = "checkpoint")]
    fn count_out_of_range(&self, trainer: &Counters) -> Option<(String, String)> {
        for (what, found) in [("rows", self.rows), ("rows a batch", self.batch_size)] {
            if found == 0 {
                return Some((format!("a run with at least one of its {what}"), "0".to_owned()));
            }
        }
        let before = trainer.steps.saturating_sub(self.steps);
        let epochs = trainer.epochs.saturating_sub(self.epochs_before);
        let done = self.steps / self.steps_per_epoch();
        let counts = [
            ("steps of the run", self.steps, trainer.steps, "those of the trainer"),
            ("epochs before the run", self.epochs_before, trainer.epochs, "those of the trainer"),
            ("epochs before the run", self.epochs_before, before, "one for each step before it"),
            ("epochs of the run", epochs, done, "as its steps make"),
            ("validations without progress", self.waited as u64, epochs, "one for each epoch"),
        ];
        let (what, found, most, why) =
            counts.into_iter().find(|(_, found, most, _)| found > most)?;
        Some((format!("progress with at most {most} {what}, {why}"), found.to_string()))
    }

    /// Whether the steps of an epoch are done but not its end, since an observer has failed.
    pub(crate) fn is_at_open_end(&self, each: u64) -> bool {
        self.steps.is_multiple_of(each) && !self.means.is_empty()
    }

    /// How many steps an epoch has, in one process.
    #[cfg(feature = "checkpoint")]
    fn steps_per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.batch_size.max(1)).max(1) as u64
    }

    /// Whether a run with these settings can go on from here.
    pub(crate) fn check(&self, now: &RunSettings) -> Result<(), Error> {
        same("rows", &self.rows, &now.rows)?;
        same("Fit::batch_size", &self.batch_size, &now.batch_size)?;
        same("Fit::seed", &self.seed, &now.seed)?;
        let Some(before) = &self.settings else { return Ok(()) };
        let now = &now.steps;
        same("Fit::learning_rate", &before.learning_rate, &now.learning_rate)?;
        same("Fit::clip", &before.clip, &now.clip)?;
        same("Fit::average", &before.average, &now.average)?;
        same("Fit::class_weights", &before.class_weights, &now.class_weights)?;
        same("Fit::precision", &before.precision, &now.precision)
    }

    /// Whether it can go on with these rows, by their checksum.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn check_data(&self, now: &str) -> Result<(), Error> {
        match &self.data {
            Some(before) => same("the rows' checksum", before.as_str(), now),
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

/// [`Error::Argument`] where a run that goes on would not be the run that was stopped.
fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    before: &T,
    now: &T,
) -> Result<(), Error> {
    if before == now {
        return Ok(());
    }
    let expected = format!(
        "{what} = {before:?}, as in the run that was stopped and goes on (or `forget_run` first, \
         for a run of its own)"
    );
    Err(Error::argument("NoProp::fit", expected, format!("{now:?}")))
}
