//! A predictor whose widths are types.

use std::marker::PhantomData;
#[cfg(feature = "checkpoint")]
use std::path::Path;

use super::{AnyPredictor, InferenceNumber};
use crate::{
    data::Standardiser,
    error::Error,
    head::{HasClasses, Head, OneHot, Regression},
    infer::{EarlyAnswer, Until, ends},
    plan::Summary,
};

/// A trained model for use: weights and how answers come about, without anything that trains. It
/// takes rows of `X` numbers as they come, and answers in their own units: classes by number or
/// name, numbers in the targets' unit.
///
/// `H` is what the targets are, `E` the numbers. Clones share the weights; threads share a
/// predictor. Answers have the bits of [`NoProp::predict`](crate::NoProp::predict).
///
/// ```
/// use dfdx_noprop::{Predictor, prelude::*};
///
/// let digits = data::digits()?;
/// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
/// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// model.fit(&digits.train, &Fit { epochs: 2, ..Fit::default() })?;
///
/// let names =
///     ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/// let bytes = model.predictor()?.with_class_names(names)?.to_bytes()?;
///
/// // In another program, with `include_bytes!` or `Predictor::load`.
/// let predictor = Predictor::<10, 64>::from_bytes(&bytes)?;
/// let row = digits.test.samples()[0];
/// assert!(names.contains(&predictor.predict_names(&[row])?[0]));
/// assert_eq!(predictor.predict_proba(&[row])?, model.predict_proba(&[row])?);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
pub struct Predictor<const Z: usize, const X: usize, H = OneHot, E = f32> {
    pub(super) any: AnyPredictor<E>,
    head: PhantomData<fn() -> H>,
}

impl<const Z: usize, const X: usize, H, E> Clone for Predictor<Z, X, H, E> {
    /// The same weights, which are not copied.
    fn clone(&self) -> Self {
        Self { any: self.any.clone(), head: PhantomData }
    }
}

impl<const Z: usize, const X: usize, H, E> std::fmt::Debug for Predictor<Z, X, H, E>
where
    E: InferenceNumber,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Predictor").field(&self.any).finish()
    }
}

impl<const Z: usize, const X: usize, H, E> TryFrom<AnyPredictor<E>> for Predictor<Z, X, H, E>
where
    H: Head<Z, E>,
    E: InferenceNumber,
{
    type Error = Error;

    fn try_from(any: AnyPredictor<E>) -> Result<Self, Error> {
        let operation = "Predictor";
        if any.inputs() != X {
            let expected = format!("a model of rows of {X} numbers");
            return Err(Error::argument(operation, expected, any.inputs()));
        }
        let (mine, found) = (H::reading(), any.reading());
        if mine != found {
            return Err(Error::argument(operation, format!("a model of {mine}"), found));
        }
        Ok(Self { any, head: PhantomData })
    }
}

impl<const Z: usize, const X: usize, H, E> Predictor<Z, X, H, E>
where
    H: Head<Z, E>,
    E: InferenceNumber,
{
    /// Reads a file of [`save`](Self::save).
    ///
    /// # Errors
    /// Those of [`AnyPredictor::load`]; [`Error::Argument`] for another X, Z, number of classes or
    /// kind of targets.
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        AnyPredictor::load(path)?.try_into()
    }

    /// The same of bytes in memory, such as `include_bytes!("model.safetensors")`.
    ///
    /// # Errors
    /// Those of [`AnyPredictor::from_bytes`], and of [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        AnyPredictor::from_bytes(bytes)?.try_into()
    }

    /// The bytes of a file: [`AnyPredictor::to_bytes`].
    ///
    /// # Errors
    /// Those of [`AnyPredictor::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.any.to_bytes()
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// Those of [`AnyPredictor::save`].
    #[cfg(feature = "checkpoint")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.any.save(path)
    }

    /// Writes the model as an ONNX graph in the units of the world: [`AnyPredictor::export_onnx`].
    ///
    /// # Errors
    /// Those of [`AnyPredictor::export_onnx`].
    #[cfg(feature = "onnx")]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.any.export_onnx(path)
    }

    /// The same, with rows in the units that they had before `standardiser` was applied to the
    /// training rows.
    ///
    /// # Errors
    /// [`Error::Argument`] for statistics that do not suit, which the types rule out.
    pub fn with_inputs(&self, standardiser: &Standardiser<X, E>) -> Result<Self, Error> {
        self.any.with_inputs(standardiser.statistics())?.try_into()
    }

    /// The same, with answers in the units that targets had before `standardiser` was applied to
    /// them.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model of classes.
    pub fn with_targets(&self, standardiser: &Standardiser<Z, E>) -> Result<Self, Error> {
        self.any.with_targets(standardiser.statistics())?.try_into()
    }

    /// The same with names for the classes, that of class 0 first:
    /// [`Labels::names`](crate::data::Labels::names) where a file had them.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of names than classes, or two that are the same.
    pub fn with_class_names<S: Into<String>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, Error>
    where
        H: HasClasses,
    {
        let names = names.into_iter().map(Into::into).collect();
        self.any.with_class_names(names)?.try_into()
    }

    /// The names of the classes, that of class 0 first; empty where they have none.
    pub fn class_names(&self) -> &[String] {
        self.any.class_names()
    }

    /// The model as a table: [`AnyPredictor::summary`].
    ///
    /// # Errors
    /// Those of [`AnyPredictor::summary`].
    pub fn summary(&self) -> Result<Summary, Error> {
        self.any.summary()
    }

    /// One prediction for each row: its most probable class, or the mean of its numbers given x, in
    /// the targets' own units.
    ///
    /// # Errors
    /// Those of [`AnyPredictor::predict_proba`], but for what types rule out.
    pub fn predict(&self, rows: &[[E; X]]) -> Result<Vec<H::Prediction>, Error> {
        Ok(H::predictions(&self.answers("Predictor::predict", rows)?))
    }

    /// The probability of each class for each row:
    /// [`NoProp::predict_proba`](crate::NoProp::predict_proba).
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn predict_proba(&self, rows: &[[E; X]]) -> Result<Vec<H::Row>, Error>
    where
        H: HasClasses,
    {
        Ok(H::rows(&self.answers("Predictor::predict_proba", rows)?))
    }

    /// The name of the most probable class for each row.
    ///
    /// # Errors
    /// [`Error::Argument`] where the classes have no names, and those of [`predict`](Self::predict).
    pub fn predict_names(&self, rows: &[[E; X]]) -> Result<Vec<&str>, Error>
    where
        H: HasClasses,
    {
        self.any.predict_names(rows.as_flattened())
    }

    /// The answers on the way from noise to target, each with its time from 0 (noise) to 1 (target):
    /// [`AnyPredictor::predict_along`], a row of the answer for each row.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn predict_along(&self, rows: &[[E; X]]) -> Result<Vec<(f64, Vec<H::Row>)>, Error> {
        let points = self.any.predict_along(rows.as_flattened())?.into_iter();
        Ok(points.map(|(t, answers)| (t, H::rows(&answers))).collect())
    }

    /// `draws` draws of the final latent for each row, from noise that depends on `seed`, the row's
    /// place and the draw's number: [`NoProp::sample`](crate::NoProp::sample), and for numbers in
    /// the targets' own units.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 draws, and those of [`predict`](Self::predict).
    pub fn sample(
        &self,
        rows: &[[E; X]],
        draws: usize,
        seed: u64,
    ) -> Result<Vec<Vec<[E; Z]>>, Error> {
        let latents = self.any.draws("Predictor::sample", rows.as_flattened(), draws, seed)?;
        Ok(latents.as_chunks().0.chunks(draws).map(<[[E; Z]]>::to_vec).collect())
    }

    /// For each row the classes that may be the true one:
    /// [`NoProp::predict_set`](crate::NoProp::predict_set), for a model that
    /// [`NoProp::conformal`](crate::NoProp::conformal) has measured sets for.
    ///
    /// # Errors
    /// Those of [`AnyPredictor::predict_set`].
    pub fn predict_set(&self, rows: &[[E; X]]) -> Result<Vec<Vec<u32>>, Error>
    where
        H: HasClasses,
    {
        self.any.predict_set(rows.as_flattened())
    }

    /// The most probable class of each row as soon as it is probable enough:
    /// [`NoProp::predict_until`](crate::NoProp::predict_until).
    ///
    /// # Errors
    /// Those of [`NoProp::predict_until`](crate::NoProp::predict_until).
    pub fn predict_until(
        &self,
        rows: &[[E; X]],
        until: impl Into<Until>,
    ) -> Result<Vec<EarlyAnswer<H::Row>>, Error>
    where
        H: HasClasses,
    {
        let operation = "Predictor::predict_until";
        let found = self.any.early(operation, rows.as_flattened(), until.into())?;
        Ok(EarlyAnswer::all::<H, Z, E>(found))
    }

    fn answers(&self, operation: &'static str, rows: &[[E; X]]) -> Result<Vec<E>, Error> {
        self.any.answers(operation, rows.as_flattened())
    }
}

impl<const Z: usize, const X: usize, E: InferenceNumber> Predictor<Z, X, Regression, E> {
    /// The mean E\[u | x\] for each row, in the targets' own units:
    /// [`NoProp::predict_mean`](crate::NoProp::predict_mean).
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn predict_mean(&self, rows: &[[E; X]]) -> Result<Vec<[E; Z]>, Error> {
        Ok(self.answers("Predictor::predict_mean", rows)?.as_chunks().0.to_vec())
    }

    /// The quantiles of these levels for each row, in the targets' own units:
    /// [`NoProp::predict_quantiles`](crate::NoProp::predict_quantiles).
    ///
    /// # Errors
    /// [`Error::Argument`] for a level that is not from 0 to 1, and those of
    /// [`predict`](Self::predict).
    pub fn predict_quantiles(
        &self,
        rows: &[[E; X]],
        levels: &[f64],
    ) -> Result<Vec<Vec<[E; Z]>>, Error> {
        let operation = "Predictor::predict_quantiles";
        let found = self.any.quantiles(operation, rows.as_flattened(), levels)?;
        let rows = found.as_chunks().0.chunks(levels.len().max(1));
        Ok(rows.map(<[[E; Z]]>::to_vec).collect())
    }

    /// The central interval for each row, lower end first, in the targets' own units:
    /// [`NoProp::predict_interval`](crate::NoProp::predict_interval).
    ///
    /// # Errors
    /// [`Error::Argument`] for a coverage that is not between 0 and 1, and those of
    /// [`predict`](Self::predict).
    pub fn predict_interval(
        &self,
        rows: &[[E; X]],
        coverage: f64,
    ) -> Result<Vec<[[E; Z]; 2]>, Error> {
        let operation = "Predictor::predict_interval";
        let levels = ends(operation, coverage)?;
        let found = self.any.quantiles(operation, rows.as_flattened(), &levels)?;
        Ok(found.as_chunks().0.as_chunks().0.to_vec())
    }
}

impl<const Z: usize, const X: usize, H, E> From<Predictor<Z, X, H, E>> for AnyPredictor<E> {
    fn from(predictor: Predictor<Z, X, H, E>) -> Self {
        predictor.any
    }
}
