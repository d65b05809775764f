//! Data sets from arrays of the crate `ndarray`, and arrays of data sets.

use std::{borrow::Cow, fmt::Display};

use ndarray::{ArrayView1, ArrayView2};
use num_traits::PrimInt;

use super::{Dataset, Labels, Targets, Values};
use crate::{device::Real, error::Error};

impl<const X: usize, T: Targets, E: Real> Dataset<X, T, E> {
    /// The inputs as an array `[rows, X]`, which shares their memory.
    ///
    /// ```
    /// use dfdx_noprop::data::{Dataset, Labels};
    ///
    /// let rows = [[0., 0.], [0., 1.], [1., 0.], [1., 1.]];
    /// let xor = Dataset::<2, Labels<2>>::from_rows(&rows, Labels::new(vec![0, 1, 1, 0])?)?;
    /// assert_eq!(xor.inputs_array().column(1), ndarray::aview1(&[0., 1., 0., 1.]));
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    pub fn inputs_array(&self) -> ArrayView2<'_, E> {
        ArrayView2::from(self.samples())
    }
}

impl<const X: usize, const C: usize, E: Real> Dataset<X, Labels<C>, E> {
    /// Inputs `[rows, X]` and a label in `0..C` for each row, as any type of integers. Views may
    /// have any order and strides.
    ///
    /// ```
    /// use dfdx_noprop::data::{Dataset, Labels};
    /// use ndarray::array;
    ///
    /// let inputs = array![[0., 0., 1., 1.], [0., 1., 0., 1.]]; // a row for each column
    /// let labels = array![0_i64, 1, 1, 0];
    /// let xor = Dataset::<2, Labels<2>>::from_arrays(inputs.t(), labels.view())?;
    /// assert_eq!((xor.rows(), xor.input(2)), (4, &[1., 0.][..]));
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the inputs have not `X` columns or not as many rows as there are
    /// labels, if an input is not finite, or if a label is out of range: it names the row.
    pub fn from_arrays<L: PrimInt + Display>(
        inputs: ArrayView2<'_, E>,
        labels: ArrayView1<'_, L>,
    ) -> Result<Self, Error> {
        let operation = "Dataset::from_arrays";
        let inputs = rows_of(operation, "inputs", inputs, X)?.into_owned();
        let label = |(row, label): (usize, &L)| match label.to_u32() {
            Some(class) if (class as usize) < C => Ok(class),
            _ => {
                let expected = format!("labels from 0 to {}", C.saturating_sub(1));
                Err(Error::argument(operation, expected, format!("{label} at row {row}")))
            }
        };
        let labels = labels.iter().enumerate().map(label).collect::<Result<_, _>>()?;
        Self::new(inputs, Labels::new(labels)?)
    }
}

impl<const X: usize, const Z: usize, E: Real> Dataset<X, Values<Z, E>, E> {
    /// Inputs `[rows, X]` and numbers `[rows, Z]`. Views may have any order and strides.
    ///
    /// # Errors
    /// [`Error::Argument`] if the inputs have not `X` columns or the numbers not `Z`, if they
    /// differ in their number of rows, or if a number is not finite.
    pub fn from_arrays(
        inputs: ArrayView2<'_, E>,
        values: ArrayView2<'_, E>,
    ) -> Result<Self, Error> {
        let operation = "Dataset::from_arrays";
        let inputs = rows_of(operation, "inputs", inputs, X)?.into_owned();
        let values = rows_of(operation, "values", values, Z)?.into_owned();
        Self::new(inputs, Values::new(values)?)
    }
}

/// The numbers of an array row by row, copied only where they do not lie so in memory.
pub(crate) fn rows_of<'a, E: Real>(
    operation: &'static str,
    what: &str,
    rows: ArrayView2<'a, E>,
    width: usize,
) -> Result<Cow<'a, [E]>, Error> {
    if rows.ncols() != width {
        let expected = format!("{what} of {width} columns");
        let found = format!("{}, in an array of {} × {}", rows.ncols(), rows.nrows(), rows.ncols());
        return Err(Error::argument(operation, expected, found));
    }
    Ok(match rows.to_slice() {
        Some(numbers) => numbers.into(),
        None => rows.iter().copied().collect(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ShapeBuilder, s};

    use super::*;

    fn borrowed(rows: ArrayView2<'_, f32>) -> bool {
        let width = rows.ncols();
        matches!(rows_of("here", "rows", rows, width).unwrap(), Cow::Borrowed(_))
    }

    #[test]
    fn what_lies_row_by_row_is_not_copied() {
        let rows = Array2::<f32>::zeros((4, 3));
        assert!(borrowed(rows.view()));
        assert!(borrowed(rows.slice(s![1..3, ..])));
        assert!(borrowed(rows.slice(s![..0, ..])));
        assert!(!borrowed(rows.t()));
        assert!(!borrowed(rows.slice(s![.., 1..])));
        assert!(!borrowed(rows.slice(s![..;-1, ..])));
        assert!(!borrowed(Array2::zeros((4, 3).f()).view()));
    }
}
