//! Inputs and targets, side by side.

use super::{Labels, Targets, Values};
use crate::{device::Real, error::Error};

/// Rows of `X` inputs, each with a target.
///
/// ```
/// use dfdx_noprop::data::{Dataset, Labels};
///
/// let xor = Dataset::<2, Labels<2>>::new(
///     vec![0., 0., 0., 1., 1., 0., 1., 1.],
///     Labels::new(vec![0, 1, 1, 0])?,
/// )?;
/// assert_eq!((xor.rows(), xor.input(2)), (4, &[1., 0.][..]));
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset<const X: usize, T, E = f32> {
    pub(super) inputs: Vec<E>,
    pub(super) targets: T,
}

impl<const X: usize, T: Targets, E: Real> Dataset<X, T, E> {
    /// Row-major inputs, `[rows, X]`, and as many targets.
    ///
    /// # Errors
    /// [`Error::Argument`] if the two disagree on the number of rows, if the inputs are not whole
    /// rows of `X`, or if one of them is not finite.
    pub fn new(inputs: Vec<E>, targets: T) -> Result<Self, Error> {
        check_rows::<X, E>("Dataset::new", &inputs)?;
        let rows = inputs.len() / X;
        if rows != targets.len() {
            return Err(Error::argument(
                "Dataset::new",
                format!("{rows} targets, one for each row"),
                targets.len(),
            ));
        }
        Ok(Self { inputs, targets })
    }

    /// Rows, and as many targets: from a `Vec` of rows, which is taken as it is, or from a slice or
    /// array of rows, which is copied.
    ///
    /// ```
    /// use dfdx_noprop::data::{Dataset, Labels};
    ///
    /// let rows = [[0., 0.], [0., 1.], [1., 0.], [1., 1.]];
    /// let xor = Dataset::<2, Labels<2>>::from_rows(&rows, Labels::new(vec![0, 1, 1, 0])?)?;
    /// assert_eq!(xor.input(2), [1., 0.]);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_rows(rows: impl Into<Vec<[E; X]>>, targets: T) -> Result<Self, Error> {
        Self::new(rows.into().into_flattened(), targets)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The inputs, row-major, `[rows, X]`.
    pub fn inputs(&self) -> &[E] {
        &self.inputs
    }

    /// The inputs as rows.
    pub fn samples(&self) -> &[[E; X]] {
        self.inputs.as_chunks().0
    }

    pub(crate) fn inputs_mut(&mut self) -> &mut [E] {
        &mut self.inputs
    }

    /// The inputs of one row; empty past the end.
    pub fn input(&self, row: usize) -> &[E] {
        row_of(&self.inputs, X, row)
    }

    /// The targets.
    pub fn targets(&self) -> &T {
        &self.targets
    }

    /// The given rows, in the order given. Rows past the end are left out.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { inputs: select_rows::<X, E>(&self.inputs, rows), targets: self.targets.select(rows) }
    }

    /// Part `index`, counted from 0, of `parts` parts with as many rows each: every so many-th row,
    /// from row `index` on. Rows at the end that are too few for one more of each are left out. For
    /// ranks that have [rows of their own](crate::distributed::Rows::Own).
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such part.
    pub fn part(&self, index: usize, parts: usize) -> Result<Self, Error> {
        if index >= parts {
            let expected = format!("a part below {parts}, their number");
            return Err(Error::argument("Dataset::part", expected, index));
        }
        let each = self.rows() / parts;
        Ok(self.select(&(0..each).map(|row| row * parts + index).collect::<Vec<_>>()))
    }

    /// The inputs and the targets in another precision, each number rounded to the nearest of it.
    ///
    /// From `f64` to `f32` about 7 digits are left: [standardise](super::Standardiser) numbers that
    /// differ by little of their size, such as seconds since 1970, before that.
    ///
    /// # Errors
    /// [`Error::Argument`] if a number is not finite in it, such as 1e300 as `f32`.
    pub fn try_to_dtype<E2: Real>(&self) -> Result<Dataset<X, T::In<E2>, E2>, Error> {
        let inputs = converted("Dataset::try_to_dtype", &self.inputs, X)?;
        Ok(Dataset { inputs, targets: self.targets.try_to_dtype()? })
    }
}

impl<const X: usize, const C: usize> Dataset<X, Labels<C>> {
    /// The inputs in another precision, which holds each `f32` as it is. From `f64` see
    /// [`try_to_dtype`](Self::try_to_dtype).
    pub fn to_dtype<E: Real>(&self) -> Dataset<X, Labels<C>, E> {
        Dataset { inputs: widened(&self.inputs), targets: self.targets.clone() }
    }
}

impl<const X: usize, const Z: usize> Dataset<X, Values<Z>> {
    /// The inputs and the targets in another precision, which holds each `f32` as it is. From `f64`
    /// see [`try_to_dtype`](Self::try_to_dtype).
    pub fn to_dtype<E: Real>(&self) -> Dataset<X, Values<Z, E>, E> {
        let targets = Values(widened(self.targets.as_slice()));
        Dataset { inputs: widened(&self.inputs), targets }
    }
}

fn widened<E: Real>(values: &[f32]) -> Vec<E> {
    values.iter().map(|&value| E::of(value.into())).collect()
}

/// Row-major values in another precision.
pub(super) fn converted<E: Real, E2: Real>(
    operation: &'static str,
    values: &[E],
    width: usize,
) -> Result<Vec<E2>, Error> {
    let mut out = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let converted = E2::of(value.as_f64());
        if !converted.is_finite() {
            return Err(Error::argument(
                operation,
                format!("numbers that are finite as {}", std::any::type_name::<E2>()),
                format!(
                    "{:e} in row {}, column {}; standardise or scale them first",
                    value.as_f64(),
                    i / width.max(1),
                    i % width.max(1)
                ),
            ));
        }
        out.push(converted);
    }
    Ok(out)
}

pub(crate) fn check_rows<const N: usize, E: Real>(
    operation: &'static str,
    values: &[E],
) -> Result<(), Error> {
    check_wide_rows(operation, values, N)
}

/// The same with the width as a value.
pub(crate) fn check_wide_rows<E: Real>(
    operation: &'static str,
    values: &[E],
    width: usize,
) -> Result<(), Error> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::argument(
            operation,
            format!("rows of {width} values"),
            format!("{} values in all", values.len()),
        ));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::argument(
            operation,
            "finite values",
            format!("{} in row {}, column {}", values[i], i / width, i % width),
        )),
        None => Ok(()),
    }
}

pub(crate) fn select_rows<const N: usize, E: Copy>(values: &[E], rows: &[usize]) -> Vec<E> {
    select_wide(values, N, rows)
}

/// Some rows of so many values each, in the order given. Rows past the end are left out.
pub(crate) fn select_wide<E: Copy>(values: &[E], width: usize, rows: &[usize]) -> Vec<E> {
    let mut out = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        out.extend_from_slice(row_of(values, width, row));
    }
    out
}

/// One row; empty past the end, even where `row * width` is past the largest `usize`.
fn row_of<E>(values: &[E], width: usize, row: usize) -> &[E] {
    let start = row.saturating_mul(width);
    values.get(start..start.saturating_add(width)).unwrap_or_default()
}
