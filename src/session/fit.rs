//! How a model is trained, as data.

use crate::{
    error::Error,
    head::Reading,
    model::{RunSettings, StepSettings},
    number::Precision,
    optim::LearningRate,
};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Fit {
    /// How often each row is learned from: 0 or more.
    /// Default: `10`.
    pub epochs: usize,
    /// How many rows make a step: at least 1. The last batch of an epoch may be smaller.
    /// Default: `128`.
    pub batch_size: usize,
    /// How many threads blocks are spread over; `None` for as many as the processor has, and at most
    /// eight times as many. The weights do not depend on it.
    /// Default: `None`.
    pub threads: Option<usize>,
    /// How many blocks are in memory, with what the optimiser remembers of them: at least 1. The
    /// others lie in a file without a name, in the folder of the checkpoints or else in the
    /// system's for temporary files, and stay there after the run; inference takes one after the
    /// other from there, and so does [`save`](crate::NoProp::save). Each is read and written once an
    /// epoch, or once between two checkpoints that are closer; the next one is read from the disk
    /// while others are trained. The weights are the same to the bit. A run with it stops at the end
    /// of an epoch, and not in its midst, where it is interrupted or out of time. As many threads
    /// have work as blocks are in memory.
    ///
    /// An error for variants with one network, and for a learned embedding, whose every step needs
    /// all blocks. [`from_checkpoint`](crate::NoProp::from_checkpoint) and
    /// [`predictor`](crate::NoProp::predictor) have all blocks in memory.
    /// Default: `None`, all of them.
    pub resident: Option<usize>,
    /// The seed of the order of the rows, of the noise, and of what a batch's hook draws.
    /// Default: `0`.
    pub seed: u64,
    /// How the learning rate goes over the run.
    /// Default: that of [`LearningRate`], the same rate throughout. The rate itself is the
    /// optimiser's: `AdamW::learning_rate`, `Sgd::learning_rate`.
    pub learning_rate: LearningRate,
    /// The largest norm of a block's gradient: a larger one is scaled down to it; above 0. `None`
    /// for no limit.
    /// Default: `None`.
    pub clip: Option<f64>,
    /// The memory β of a moving average of the weights, from 0 to below 1; see
    /// [`averaged`](crate::NoProp::averaged). `None` to keep none.
    /// Default: `None`.
    pub average: Option<f64>,
    /// The weight of each class in squared error and cross-entropy, 0 or more; `None` for 1
    /// throughout.
    /// Default: `None`.
    pub class_weights: Option<Vec<f64>>,
    /// How precise the operands of a step's large products are. `Bf16` for numbers that are `f32`,
    /// on the processor, with [`Estimator::Local`](crate::gradient::Estimator::Local); answers do not
    /// depend on it but for the weights.
    /// Default: `Precision::F32`.
    pub precision: Precision,
    /// Validation rows are looked at after every so many epochs, and after the last: at least 1.
    /// Default: `1`.
    pub validate_every: usize,
    /// When to stop for lack of progress on the validation rows.
    /// Default: `None`, all epochs are trained.
    pub early_stopping: Option<EarlyStopping>,
    /// Seconds after which the run stops, at the end of a span of steps: above 0. A run that goes
    /// on has this long again.
    /// Default: `None`.
    pub time_limit: Option<f64>,
    /// Steps after which this call stops, to be continued by the next.
    /// Default: `None`.
    pub step_limit: Option<u64>,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            threads: None,
            resident: None,
            seed: 0,
            learning_rate: LearningRate::default(),
            clip: None,
            average: None,
            class_weights: None,
            precision: Precision::F32,
            validate_every: 1,
            early_stopping: None,
            time_limit: None,
            step_limit: None,
        }
    }
}

/// When a run ends for lack of progress: after `patience` validations in a row whose loss
/// ([`Evaluation::loss`](crate::head::Evaluation::loss)) was not lower, by more than `least`, than
/// the lowest before.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EarlyStopping {
    /// How many validations in a row may bring no progress: at least 1.
    /// Default: `5`.
    pub patience: usize,
    /// The least difference that counts as progress: 0 or more.
    /// Default: `0.0`.
    pub least: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 5, least: 0.0 }
    }
}

impl Fit {
    pub(super) fn validate(&self, reading: Reading) -> Result<(), Error> {
        at_least_one("Fit::batch_size", self.batch_size)?;
        at_least_one("Fit::validate_every", self.validate_every)?;
        if self.threads == Some(0) {
            return Err(Error::config("Fit::threads", "at least 1, or None", 0));
        }
        if self.resident == Some(0) {
            return Err(Error::config("Fit::resident", "at least 1, or None", 0));
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
        self.validate_class_weights(reading)
    }

    /// What a run over so many rows depends on.
    pub(super) fn run_settings(&self, rows: usize) -> RunSettings {
        let Self { batch_size, seed, learning_rate, clip, average, precision, .. } = *self;
        let class_weights = self.class_weights.clone();
        let steps = StepSettings { learning_rate, clip, average, class_weights, precision };
        RunSettings { rows, batch_size, seed, steps }
    }

    fn validate_class_weights(&self, reading: Reading) -> Result<(), Error> {
        let setting = "Fit::class_weights";
        let Some(weights) = &self.class_weights else { return Ok(()) };
        if !reading.has_classes() {
            return Err(Error::config(setting, "None, since the head has no classes", "weights"));
        }
        let classes = reading.outputs;
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
