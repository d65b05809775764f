//! Inputs and targets, side by side.

use super::Targets;
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
        row_of::<X, E>(&self.inputs, row)
    }

    /// The targets.
    pub fn targets(&self) -> &T {
        &self.targets
    }

    /// The given rows, in the order given. Rows past the end are left out.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { inputs: select_rows::<X, E>(&self.inputs, rows), targets: self.targets.select(rows) }
    }

    /// Part `index`, counted from 0, of `parts` parts with as many rows each: every so many-th row, from row `index` on. Rows at
    /// the end that are too few for one more of each are left out. For ranks that have
    /// [rows of their own](crate::distributed::Rows::Own).
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

    /// The inputs in another precision; the targets as they are.
    pub fn to_dtype<E2: Real>(&self) -> Dataset<X, T, E2> {
        Dataset {
            inputs: self.inputs.iter().map(|v| E2::of(v.as_f64())).collect(),
            targets: self.targets.clone(),
        }
    }
}

pub(crate) fn check_rows<const N: usize, E: Real>(
    operation: &'static str,
    values: &[E],
) -> Result<(), Error> {
    if N == 0 || !values.len().is_multiple_of(N) {
        return Err(Error::argument(
            operation,
            format!("rows of {N} values"),
            format!("{} values in all", values.len()),
        ));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::argument(
            operation,
            "finite values",
            format!("{} in row {}, column {}", values[i], i / N, i % N),
        )),
        None => Ok(()),
    }
}

pub(crate) fn select_rows<const N: usize, E: Copy>(values: &[E], rows: &[usize]) -> Vec<E> {
    let mut out = Vec::with_capacity(rows.len() * N);
    for &row in rows {
        out.extend_from_slice(row_of::<N, E>(values, row));
    }
    out
}

/// One row; empty past the end, even where `row * N` is past the largest `usize`.
fn row_of<const N: usize, E>(values: &[E], row: usize) -> &[E] {
    let start = row.saturating_mul(N);
    values.get(start..start.saturating_add(N)).unwrap_or_default()
}
