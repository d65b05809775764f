//! A predictor whose widths are known when the program runs.

#[cfg(feature = "checkpoint")]
use std::path::Path;
use std::sync::Arc;

use super::{
    file::{from_bytes, to_bytes},
    model::{Answering, InferenceNumber},
    parts::ModelParts,
    units::Units,
};
use crate::{
    data::{Statistics, check_wide_rows},
    error::Error,
    infer::{
        DRAWS, DRAWS_SEED, EarlyOutput, InferenceOutput, InferenceRequest, PointOutput, Until,
        check_draws,
    },
    plan::Summary,
};

/// A trained model whose widths and kind of targets are read from its file. Where they are known,
/// [`Predictor`](super::Predictor) checks them once instead of row by row.
///
/// Rows come as one slice, row-major, `[rows, inputs]`, in their own units, and so do answers.
///
/// ```
/// use dfdx_noprop::{AnyPredictor, prelude::*};
///
/// # let digits = data::digits()?;
/// # type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
/// # let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// # let bytes = model.predictor()?.to_bytes()?;
/// // Or of a file: `AnyPredictor::load("digits.safetensors")?`.
/// let predictor = AnyPredictor::from_bytes(&bytes)?;
/// assert_eq!((predictor.inputs(), predictor.outputs()), (64, 10));
/// let classes = predictor.predict_classes(digits.test.inputs())?;
/// assert_eq!(classes, model.predict(digits.test.samples())?);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
pub struct AnyPredictor<E = f32> {
    model: Arc<dyn Answering<E>>,
    units: Arc<Units>,
}

impl<E> Clone for AnyPredictor<E> {
    /// The same weights, which are not copied.
    fn clone(&self) -> Self {
        Self { model: self.model.clone(), units: self.units.clone() }
    }
}

impl<E: InferenceNumber> std::fmt::Debug for AnyPredictor<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyPredictor")
            .field("variant", &self.variant())
            .field("inputs", &self.inputs())
            .field("outputs", &self.outputs())
            .field("has_classes", &self.has_classes())
            .finish_non_exhaustive()
    }
}

impl<E: InferenceNumber> AnyPredictor<E> {
    pub(crate) fn new(parts: ModelParts<E>) -> Result<Self, Error> {
        Ok(Self { model: E::answering(parts)?, units: Arc::default() })
    }

    /// Reads a file of [`save`](Self::save) or [`Predictor::save`](super::Predictor::save).
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] as [`from_bytes`](Self::from_bytes).
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
        Self::of_bytes(&bytes, path)
    }

    /// The same of bytes in memory, such as `include_bytes!("model.safetensors")`.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no such file, that were cut off or altered, for numbers
    /// of another type than `E`, and for layers that do not fit each other: the layer is named, with
    /// the width that it takes and the one that arrives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::of_bytes(bytes, "the bytes of a predictor".as_ref())
    }

    fn of_bytes(bytes: &[u8], path: &std::path::Path) -> Result<Self, Error> {
        let (parts, units) = from_bytes(bytes, path)?;
        Ok(Self { model: E::answering(parts)?, units: Arc::new(units) })
    }

    /// One safetensors file with the weights, the operations, how answers come about, and the
    /// units: the tensors are `block.1.…` to `block.T.…` and `embedding`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model with a module of your own, which only your program can run.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        to_bytes("Predictor::to_bytes", &*self.model, &self.units)
    }

    /// Writes the file of [`to_bytes`](Self::to_bytes), whole or not at all.
    ///
    /// # Errors
    /// Those of [`to_bytes`](Self::to_bytes), and [`Error::Io`].
    #[cfg(feature = "checkpoint")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = to_bytes("Predictor::save", &*self.model, &self.units)?;
        crate::checkpoint::write_atomically(path.as_ref(), &bytes)
    }

    /// Writes the model as an ONNX graph that takes rows and gives answers in their own units: as
    /// [`NoProp::export_onnx`](crate::NoProp::export_onnx), with the names of the classes as
    /// `class_names` among the metadata.
    ///
    /// # Errors
    /// Those of [`NoProp::export_onnx`](crate::NoProp::export_onnx).
    #[cfg(feature = "onnx")]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.model.export_onnx(&self.units, path.as_ref())
    }

    /// X, how many numbers a row has.
    pub fn inputs(&self) -> usize {
        self.model.about().x
    }

    /// How many numbers an answer has: C probabilities, or Z numbers.
    pub fn outputs(&self) -> usize {
        self.model.about().reading.outputs
    }

    /// Whether the targets are classes.
    pub fn has_classes(&self) -> bool {
        self.model.about().reading.has_classes()
    }

    /// The names of the classes, that of class 0 first; empty where they have none.
    pub fn class_names(&self) -> &[String] {
        &self.units.classes
    }

    /// `discrete time`, `continuous time`, `flow matching` or `diffusion blocks`.
    pub fn variant(&self) -> &'static str {
        self.model.about().process.variant()
    }

    /// The operations of a block with their output widths, parameters and multiply-adds a row, and
    /// the sums over all blocks.
    ///
    /// # Errors
    /// [`Error::Device`] for a lack of memory.
    pub fn summary(&self) -> Result<Summary, Error> {
        Ok(Summary { lines: self.model.describe()?, blocks: self.model.about().process.blocks() })
    }

    /// The probability of each class for each row, row-major, `[rows, C]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model of numbers, for rows that are not whole, or an input that is
    /// not finite; [`Error::Integration`] for a solver that does not get to its end;
    /// [`Error::NotFinite`]; [`Error::Device`] for a lack of memory.
    pub fn predict_proba(&self, rows: &[E]) -> Result<Vec<E>, Error> {
        self.probabilities("AnyPredictor::predict_proba", rows)
    }

    /// The most probable class for each row.
    ///
    /// # Errors
    /// Those of [`predict_proba`](Self::predict_proba).
    pub fn predict_classes(&self, rows: &[E]) -> Result<Vec<u32>, Error> {
        let probabilities = self.probabilities("AnyPredictor::predict_classes", rows)?;
        Ok(crate::head::most_probable(self.outputs(), &probabilities))
    }

    /// The name of the most probable class for each row.
    ///
    /// # Errors
    /// [`Error::Argument`] where the classes have no names, and those of
    /// [`predict_proba`](Self::predict_proba).
    pub fn predict_names(&self, rows: &[E]) -> Result<Vec<&str>, Error> {
        let operation = "AnyPredictor::predict_names";
        let probabilities = self.probabilities(operation, rows)?;
        let names = self.class_names();
        let name = |class: u32| names.get(class as usize).map(String::as_str);
        let classes = crate::head::most_probable(self.outputs(), &probabilities).into_iter();
        classes.map(name).collect::<Option<_>>().ok_or_else(|| {
            let expected = "names of the classes: `predict_classes` gives their numbers";
            Error::argument(operation, expected, "none in the model")
        })
    }

    /// The mean of the numbers given x for each row, row-major, `[rows, Z]`, in the targets' own
    /// units.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model of classes, and those of
    /// [`predict_proba`](Self::predict_proba).
    pub fn predict_values(&self, rows: &[E]) -> Result<Vec<E>, Error> {
        self.numbers("AnyPredictor::predict_values", rows)
    }

    pub(super) fn numbers(&self, operation: &'static str, rows: &[E]) -> Result<Vec<E>, Error> {
        if self.has_classes() {
            let expected = "a model of numbers: for classes there is `predict_proba`";
            return Err(Error::argument(operation, expected, "one of classes"));
        }
        self.answers(operation, rows)
    }

    /// The answers on the way from noise to target, each with its time from 0 (noise) to 1 (target):
    /// after each block in discrete time, at each step of the solver elsewhere; row-major,
    /// `[rows, outputs]`, in their own units. Numbers are those of the one way from z_0 = 0, whose
    /// end need not be the mean that [`predict_values`](Self::predict_values) gives. Empty for a solver whose steps depend on the rows, and
    /// for the SDE.
    ///
    /// # Errors
    /// Those of [`predict_proba`](Self::predict_proba), but for the kind of targets.
    pub fn predict_along(&self, rows: &[E]) -> Result<Vec<(f64, Vec<E>)>, Error> {
        let operation = "AnyPredictor::predict_along";
        check_wide_rows(operation, rows, self.inputs())?;
        let inputs = self.units.inputs(operation, rows)?;
        let points = self.model.along(&inputs, operation)?.into_iter();
        let point =
            |PointOutput { t, output }| Ok((t, self.units.answers(operation, output.values)?));
        points.map(point).collect()
    }

    /// `draws` draws of the final latent for each row, row-major, `[rows, draws, Z]`, from noise
    /// that depends on `seed`, the row's place and the draw's number; numbers in their own units.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 draws, and those of [`predict_proba`](Self::predict_proba), but for
    /// the kind of targets.
    pub fn sample(&self, rows: &[E], draws: usize, seed: u64) -> Result<Vec<E>, Error> {
        self.draws("AnyPredictor::sample", rows, draws, seed)
    }

    pub(super) fn draws(
        &self,
        operation: &'static str,
        rows: &[E],
        draws: usize,
        seed: u64,
    ) -> Result<Vec<E>, Error> {
        check_draws(operation, draws)?;
        self.ask(operation, rows, draws, InferenceRequest::Sample(seed))
    }

    /// The quantiles of these levels, each from 0 to 1, for each row, row-major,
    /// `[rows, levels, Z]`, in the targets' own units:
    /// [`NoProp::predict_quantiles`](crate::NoProp::predict_quantiles).
    ///
    /// # Errors
    /// [`Error::Argument`] for a model of classes or a level that is not from 0 to 1, and those of
    /// [`predict_proba`](Self::predict_proba).
    pub fn predict_quantiles(&self, rows: &[E], levels: &[f64]) -> Result<Vec<E>, Error> {
        let operation = "AnyPredictor::predict_quantiles";
        if self.has_classes() {
            let expected = "a model of numbers: for classes there is `predict_set`";
            return Err(Error::argument(operation, expected, "one of classes"));
        }
        self.quantiles(operation, rows, levels)
    }

    pub(super) fn quantiles(
        &self,
        operation: &'static str,
        rows: &[E],
        levels: &[f64],
    ) -> Result<Vec<E>, Error> {
        let draws = self.draws(operation, rows, DRAWS, DRAWS_SEED)?;
        InferenceOutput::quantiles(operation, &draws, self.outputs(), levels)
    }

    /// For each row the classes that may be the true one, for a model that
    /// [`NoProp::conformal`](crate::NoProp::conformal) has measured sets for.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model without such sets, and those of
    /// [`predict_proba`](Self::predict_proba).
    pub fn predict_set(&self, rows: &[E]) -> Result<Vec<Vec<u32>>, Error> {
        let operation = "AnyPredictor::predict_set";
        let calibration = &self.model.about().calibration;
        if self.has_classes() {
            calibration.check_sets(operation)?;
        }
        let probabilities = self.probabilities(operation, rows)?;
        calibration.sets(operation, self.outputs(), probabilities.iter().map(|p| p.as_f64()))
    }

    /// The probabilities of the classes for each row as soon as the row is sure enough, row-major,
    /// `[rows, C]`, and for each row after how many calls of a network:
    /// [`NoProp::predict_until`](crate::NoProp::predict_until).
    ///
    /// # Errors
    /// Those of [`NoProp::predict_until`](crate::NoProp::predict_until), and [`Error::Argument`] for
    /// a model of numbers.
    pub fn predict_until(
        &self,
        rows: &[E],
        until: impl Into<Until>,
    ) -> Result<(Vec<E>, Vec<usize>), Error> {
        let found = self.early("AnyPredictor::predict_until", rows, until.into())?;
        Ok((found.probabilities, found.calls))
    }

    pub(super) fn early(
        &self,
        operation: &'static str,
        rows: &[E],
        until: Until,
    ) -> Result<EarlyOutput<E>, Error> {
        if !self.has_classes() {
            let expected = "a model of classes: numbers are known after one call";
            return Err(Error::argument(operation, expected, "one of numbers"));
        }
        check_wide_rows(operation, rows, self.inputs())?;
        let inputs = self.units.inputs(operation, rows)?;
        self.model.answers_until(&inputs, operation, until)
    }

    pub(super) fn probabilities(
        &self,
        operation: &'static str,
        rows: &[E],
    ) -> Result<Vec<E>, Error> {
        if !self.has_classes() {
            let expected = "a model of classes: for numbers there is `predict_values`";
            return Err(Error::argument(operation, expected, "one of numbers"));
        }
        self.answers(operation, rows)
    }

    /// Answers to rows, both in their own units.
    pub(super) fn answers(&self, operation: &'static str, rows: &[E]) -> Result<Vec<E>, Error> {
        self.ask(operation, rows, 1, InferenceRequest::Answer)
    }

    /// The same with each row as often as there are draws.
    fn ask(
        &self,
        operation: &'static str,
        rows: &[E],
        draws: usize,
        request: InferenceRequest,
    ) -> Result<Vec<E>, Error> {
        check_wide_rows(operation, rows, self.inputs())?;
        let inputs = self.units.inputs(operation, rows)?;
        let answers = self.model.answers(&inputs, draws, operation, request)?;
        self.units.answers(operation, answers.values)
    }

    /// The same with other statistics of the inputs.
    pub(super) fn with_inputs(&self, inputs: &Statistics) -> Result<Self, Error> {
        self.with("Predictor::with_inputs", |units| units.inputs = Some(inputs.clone()))
    }

    /// The same with other statistics of the targets.
    pub(super) fn with_targets(&self, targets: &Statistics) -> Result<Self, Error> {
        self.with("Predictor::with_targets", |units| units.targets = Some(targets.clone()))
    }

    /// The same with other names of the classes.
    pub(super) fn with_class_names(&self, names: Vec<String>) -> Result<Self, Error> {
        self.with("Predictor::with_class_names", |units| units.classes = names)
    }

    fn with(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Units),
    ) -> Result<Self, Error> {
        let mut units = (*self.units).clone();
        change(&mut units);
        units.check(operation, self.inputs(), self.outputs(), self.has_classes())?;
        Ok(Self { model: self.model.clone(), units: Arc::new(units) })
    }

    /// How targets are embedded and outputs read.
    pub(super) fn reading(&self) -> crate::head::Reading {
        self.model.about().reading
    }
}
