//! Answers to arrays of the crate `ndarray`, as arrays.

use ndarray::{Array1, Array2, ArrayView2};

use super::{AnyPredictor, InferenceNumber, Predictor};
use crate::{
    data::rows_of,
    error::Error,
    head::{HasClasses, Head},
};

impl<E: InferenceNumber> AnyPredictor<E> {
    /// The probability of each class, `[rows, C]`, for rows `[rows, X]` in any order and strides.
    /// Rows that lie one after the other in memory are not copied.
    ///
    /// # Errors
    /// [`Error::Argument`] for rows of another width, and those of
    /// [`predict_proba`](Self::predict_proba).
    pub fn predict_proba_array(&self, rows: ArrayView2<'_, E>) -> Result<Array2<E>, Error> {
        let operation = "AnyPredictor::predict_proba_array";
        let rows = rows_of(operation, "rows", rows, self.inputs())?;
        as_array(operation, self.outputs(), self.probabilities(operation, &rows)?)
    }

    /// The most probable class for each row: [`predict_classes`](Self::predict_classes) of an
    /// array.
    ///
    /// # Errors
    /// Those of [`predict_proba_array`](Self::predict_proba_array).
    pub fn predict_classes_array(&self, rows: ArrayView2<'_, E>) -> Result<Array1<u32>, Error> {
        let operation = "AnyPredictor::predict_classes_array";
        let rows = rows_of(operation, "rows", rows, self.inputs())?;
        let probabilities = self.probabilities(operation, &rows)?;
        Ok(crate::head::most_probable(self.outputs(), &probabilities).into())
    }

    /// The numbers for each row, `[rows, Z]`, in the targets' own units:
    /// [`predict_values`](Self::predict_values) of an array.
    ///
    /// # Errors
    /// [`Error::Argument`] for rows of another width, and those of
    /// [`predict_values`](Self::predict_values).
    pub fn predict_values_array(&self, rows: ArrayView2<'_, E>) -> Result<Array2<E>, Error> {
        let operation = "AnyPredictor::predict_values_array";
        let rows = rows_of(operation, "rows", rows, self.inputs())?;
        as_array(operation, self.outputs(), self.numbers(operation, &rows)?)
    }
}

impl<const Z: usize, const X: usize, H, E> Predictor<Z, X, H, E>
where
    H: Head<Z, E>,
    E: InferenceNumber,
{
    /// A prediction for each row of `[rows, X]`, in any order and strides: the classes as
    /// `Array1<u32>`, or the numbers in the targets' own units as `Array2<E>`, `[rows, Z]`. Rows
    /// that lie one after the other in memory are not copied.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// # let digits = data::digits()?;
    /// # type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// # let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// let predictor = model.predictor()?;
    /// let classes = predictor.predict_array(digits.test.inputs_array())?;
    /// assert_eq!(classes.to_vec(), model.predict(digits.test.samples())?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for rows of another width, and those of [`predict`](Self::predict).
    pub fn predict_array(&self, rows: ArrayView2<'_, E>) -> Result<H::Predictions, Error> {
        let operation = "Predictor::predict_array";
        let rows = rows_of(operation, "rows", rows, X)?;
        let answers = self.any.answers(operation, &rows)?;
        Ok(H::prediction_array(&answers))
    }

    /// The probability of each class, `[rows, C]`, for rows `[rows, X]` in any order and strides.
    ///
    /// # Errors
    /// Those of [`predict_array`](Self::predict_array).
    pub fn predict_proba_array(&self, rows: ArrayView2<'_, E>) -> Result<Array2<E>, Error>
    where
        H: HasClasses,
    {
        self.any.predict_proba_array(rows)
    }
}

fn as_array<E: InferenceNumber>(
    operation: &'static str,
    width: usize,
    numbers: Vec<E>,
) -> Result<Array2<E>, Error> {
    let rows = numbers.len() / width.max(1);
    Array2::from_shape_vec((rows, width), numbers).map_err(Error::device(operation))
}
