//! How a model is trained, as data.

use std::ops::ControlFlow;

use dfdx::{nn::BuildOnDevice, shapes::Dim};

use super::{EpochReport, Training};
use crate::{
    data::Dataset,
    device::{Backend, Real},
    error::Error,
    head::{Head, Reads},
    noprop::{NoProp, TargetsOf},
    optim::LearningRate,
    variant::Variant,
};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Fit {
    /// How often each row is learned from: 0 or more.
    pub epochs: usize,
    /// How many rows make a step: at least 1. The last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// How many threads blocks are spread over; `None` for as many as the processor has. The weights do not depend
    /// on it.
    pub threads: Option<usize>,
    /// The seed of the order of the rows, of the noise, and of what a batch's hook draws.
    pub seed: u64,
    /// How the learning rate goes over the run.
    pub learning_rate: LearningRate,
    /// The largest norm of a block's gradient: a larger one is scaled down to it; above 0. `None` for no limit.
    pub clip: Option<f64>,
    /// The memory β of a moving average of the weights, from 0 to below 1; see
    /// [`averaged`](crate::NoProp::averaged). `None` to keep none.
    pub average: Option<f64>,
    /// The weight of each class in squared error and cross-entropy, 0 or more; `None` for 1 throughout.
    pub class_weights: Option<Vec<f64>>,
    /// Validation rows are looked at after every so many epochs, and after the last: at least 1.
    pub validate_every: usize,
    /// When to stop for lack of progress on the validation rows.
    pub early_stopping: Option<EarlyStopping>,
    /// Seconds after which the run stops, at the end of a span of steps: above 0. A run that goes on has this long
    /// again.
    pub time_limit: Option<f64>,
    /// Steps after which this call stops, to be continued by the next.
    pub step_limit: Option<u64>,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            threads: None,
            seed: 0,
            learning_rate: LearningRate::default(),
            clip: None,
            average: None,
            class_weights: None,
            validate_every: 1,
            early_stopping: None,
            time_limit: None,
            step_limit: None,
        }
    }
}

/// When a run ends for lack of progress: after `patience` validations in a row whose loss
/// ([`Evaluation::loss`](crate::head::Evaluation::loss)) was not lower, by more than `least`, than the lowest before.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EarlyStopping {
    /// How many validations without progress are borne: at least 1.
    pub patience: usize,
    /// The least difference that counts as progress: 0 or more.
    pub least: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 5, least: 0.0 }
    }
}

impl Fit {
    pub(super) fn validate<H: Head<Z, E>, const Z: usize, E: Real>(&self) -> Result<(), Error> {
        at_least_one("Fit::batch_size", self.batch_size)?;
        at_least_one("Fit::validate_every", self.validate_every)?;
        if self.threads == Some(0) {
            return Err(Error::config("Fit::threads", "at least 1, or None", 0));
        }
        self.learning_rate.validate()?;
        positive("Fit::clip", self.clip)?;
        positive("Fit::time_limit", self.time_limit)?;
        match self.average {
            Some(memory) if !(0.0..1.0).contains(&memory) => {
                return Err(Error::config("Fit::average", "a number from 0 to below 1", memory));
            }
            _ => {}
        }
        if let Some(stop) = self.early_stopping {
            at_least_one("EarlyStopping::patience", stop.patience)?;
            if !(stop.least.is_finite() && stop.least >= 0.0) {
                let expected = "a finite number, 0 or more";
                return Err(Error::config("EarlyStopping::least", expected, stop.least));
            }
        }
        self.validate_class_weights::<H, Z, E>()
    }

    fn validate_class_weights<H: Head<Z, E>, const Z: usize, E: Real>(&self) -> Result<(), Error> {
        let setting = "Fit::class_weights";
        let Some(weights) = &self.class_weights else { return Ok(()) };
        if !H::CLASSES {
            return Err(Error::config(setting, "None, since the head has no classes", "weights"));
        }
        let classes = <H as Reads<Z>>::Out::default().size();
        if weights.len() != classes {
            let expected = format!("{classes} weights, one for each class");
            return Err(Error::config(setting, expected, weights.len()));
        }
        match weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            Some(weight) => Err(Error::config(setting, "finite numbers, 0 or more", weight)),
            None => Ok(()),
        }
    }

    /// The number of threads, as asked for or as the processor has.
    pub fn thread_count(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}

fn at_least_one(setting: &'static str, count: usize) -> Result<(), Error> {
    if count == 0 { Err(Error::config(setting, "at least 1", 0)) } else { Ok(()) }
}

fn positive(setting: &'static str, value: Option<f64>) -> Result<(), Error> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Error::config(setting, "a finite number above 0, or None", value))
        }
        _ => Ok(()),
    }
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Trains on the data; the reports of the epochs come back.
    ///
    /// Called again after all epochs are done, it trains as many again. Called again after a run that was stopped, it
    /// goes on where that one stopped, and ends with the same weights, bit for bit, as if it had not been.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Argument`] for data without rows, or other data or settings
    /// than those of the run that goes on, [`Error::Diverged`] for a loss that is not finite, [`Error::Device`] for a
    /// lack of memory.
    pub fn fit(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
    ) -> Result<Vec<EpochReport>, Error> {
        Ok(self.training(fit).run(data)?.epochs)
    }

    /// Trains on the data, and calls `observe` with the model and a report after each epoch; a
    /// [`ControlFlow::Break`] ends the training.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit), and those that `observe` returns.
    pub fn fit_with(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
        observe: impl FnMut(&Self, &EpochReport) -> Result<ControlFlow<()>, Error>,
    ) -> Result<Vec<EpochReport>, Error> {
        Ok(self.training(fit).each_epoch(observe).run(data)?.epochs)
    }

    /// A run with all that can go along: validation rows, observers, a hook on each batch, checkpoints, a way to stop it.
    pub fn training<'a>(&'a mut self, fit: &'a Fit) -> Training<'a, V, M, Z, X, E, D> {
        Training::new(self, fit)
    }
}
