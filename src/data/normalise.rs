//! Columns brought to mean 0 and deviation 1.

use std::marker::PhantomData;

use super::{Dataset, Targets, Values};
use crate::{device::Real, error::Error};

/// Brings rows of `N` numbers to mean 0 and deviation 1, by the statistics of the rows it was made
/// from. Make it from training rows only, and apply it to all.
///
/// x′ = (x − μ) / σ, with μ = (1/n) Σ xᵢ and σ² = (1/n) Σ (xᵢ − μ)² over the n rows; where σ = 0,
/// x′ = x − μ. Computed in `f64`, whatever `E` is.
///
/// ```
/// use dfdx_noprop::data::{Dataset, Standardiser, Values};
///
/// let mut data = Dataset::<1, Values<1>>::new(vec![1., 3.], Values::new(vec![10., 30.])?)?;
/// Standardiser::per_column(&data)?.apply(&mut data)?;
/// assert_eq!(data.inputs(), [-1., 1.]);
///
/// let targets = Standardiser::of_targets(&data)?;
/// let mut predictions = [0., 1.];
/// targets.invert(&mut predictions)?;
/// assert_eq!(predictions, [20., 30.]);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
///
/// As data it is its `mean` and its `deviation`, a list of `N` numbers each: save it beside the
/// model.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Statistics", into = "Statistics"))]
#[cfg_attr(feature = "serde", serde(bound = "E: Real"))]
pub struct Standardiser<const N: usize, E = f32> {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    precision: PhantomData<E>,
}

/// A standardiser without its type.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Statistics {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

#[cfg(feature = "serde")]
impl<const N: usize, E: Real> TryFrom<Statistics> for Standardiser<N, E> {
    type Error = Error;

    fn try_from(Statistics { mean, deviation }: Statistics) -> Result<Self, Error> {
        Self::new(mean, deviation)
    }
}

#[cfg(feature = "serde")]
impl<const N: usize, E> From<Standardiser<N, E>> for Statistics {
    fn from(Standardiser { mean, deviation, .. }: Standardiser<N, E>) -> Self {
        Self { mean, deviation }
    }
}

impl<const N: usize, E: Real> Standardiser<N, E> {
    /// From statistics that are known: a mean and a deviation for each of the `N` columns.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `N` of each, one is not finite, or a deviation is less
    /// than 0.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Result<Self, Error> {
        Self::checked("Standardiser::new", mean, deviation)
    }

    /// The mean and the deviation of each input column.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, or values so large that a deviation is not finite.
    pub fn per_column<T: Targets>(dataset: &Dataset<N, T, E>) -> Result<Self, Error> {
        Self::of_rows("Standardiser::per_column", dataset.inputs())
    }

    /// One mean and one deviation of all inputs together, for every column.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, or values so large that the deviation is not
    /// finite.
    pub fn overall<T: Targets>(dataset: &Dataset<N, T, E>) -> Result<Self, Error> {
        // All inputs as one column.
        let all = Standardiser::<1, E>::of_rows("Standardiser::overall", dataset.inputs())?;
        Ok(Self {
            mean: all.mean.repeat(N),
            deviation: all.deviation.repeat(N),
            precision: PhantomData,
        })
    }

    /// The mean and the deviation of each target column.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, or values so large that a deviation is not finite.
    pub fn of_targets<const X: usize>(
        dataset: &Dataset<X, Values<N, E>, E>,
    ) -> Result<Self, Error> {
        Self::of_rows("Standardiser::of_targets", dataset.targets().as_slice())
    }

    /// μ, one for each column.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// σ, one for each column; 0 for a column that is only centred.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// Standardises the inputs.
    ///
    /// # Errors
    /// [`Error::Argument`] if a result is not finite; the data set is then as it was.
    pub fn apply<T: Targets>(&self, dataset: &mut Dataset<N, T, E>) -> Result<(), Error> {
        self.standardise("Standardiser::apply", dataset.inputs_mut())
    }

    /// Standardises the targets.
    ///
    /// # Errors
    /// [`Error::Argument`] if a result is not finite; the data set is then as it was.
    pub fn apply_targets<const X: usize>(
        &self,
        dataset: &mut Dataset<X, Values<N, E>, E>,
    ) -> Result<(), Error> {
        self.standardise("Standardiser::apply_targets", dataset.targets.as_mut_slice())
    }

    /// Standardises row-major values, `[rows, N]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not whole rows, or a result is not finite; the values are
    /// then as they were.
    pub fn apply_rows(&self, values: &mut [E]) -> Result<(), Error> {
        self.standardise("Standardiser::apply_rows", values)
    }

    /// Brings row-major standardised values, `[rows, N]`, back: x = σ x′ + μ.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not whole rows, or a result is not finite; the values are
    /// then as they were.
    pub fn invert(&self, values: &mut [E]) -> Result<(), Error> {
        let inverse = |value, (mean, scale)| value * scale + mean;
        self.map("Standardiser::invert", "finite values", values, inverse)
    }

    fn standardise(&self, operation: &'static str, values: &mut [E]) -> Result<(), Error> {
        let scaled = |value, (mean, scale)| (value - mean) / scale;
        self.map(operation, "finite values after standardisation", values, scaled)
    }

    /// All are looked at before the first is written: an error leaves the values as they were.
    fn map(
        &self,
        operation: &'static str,
        expected: &str,
        values: &mut [E],
        to: impl Fn(f64, (f64, f64)) -> f64,
    ) -> Result<(), Error> {
        check_width::<N, E>(operation, values)?;
        for (i, (&value, column)) in values.iter().zip(self.columns()).enumerate() {
            let result = E::of(to(value.as_f64(), column));
            if !result.is_finite() {
                return Err(Error::argument(
                    operation,
                    expected,
                    format!("{value} → {result} in row {}, column {}", i / N, i % N),
                ));
            }
        }
        for (value, column) in values.iter_mut().zip(self.columns()) {
            *value = E::of(to(value.as_f64(), column));
        }
        Ok(())
    }

    /// The mean and the divisor of each column, over and over.
    fn columns(&self) -> impl Iterator<Item = (f64, f64)> {
        let divisor = |&deviation: &f64| if deviation > 0. { deviation } else { 1. };
        self.mean.iter().copied().zip(self.deviation.iter().map(divisor)).cycle()
    }

    /// By Welford's method: exact for a constant column, where a difference of sums is not.
    fn of_rows(operation: &'static str, values: &[E]) -> Result<Self, Error> {
        if values.is_empty() {
            return Err(Error::argument(operation, "at least one row", 0));
        }
        let (mut means, mut squares) = (vec![0.; N], vec![0.; N]);
        let mut rows = 0.;
        for row in values.chunks_exact(N) {
            rows += 1.;
            for ((value, mean), squares) in row.iter().zip(&mut means).zip(&mut squares) {
                let value = value.as_f64();
                let delta = value - *mean;
                *mean += delta / rows;
                *squares += delta * (value - *mean);
            }
        }
        Self::checked(operation, means, squares.iter().map(|sum| (sum / rows).sqrt()).collect())
    }

    fn checked(
        operation: &'static str,
        mean: Vec<f64>,
        deviation: Vec<f64>,
    ) -> Result<Self, Error> {
        if (mean.len(), deviation.len()) != (N, N) {
            return Err(Error::argument(
                operation,
                format!("{N} means and {N} deviations"),
                format!("{} and {}", mean.len(), deviation.len()),
            ));
        }
        let good = |(mean, deviation): (&f64, &f64)| {
            mean.is_finite() && deviation.is_finite() && *deviation >= 0.
        };
        match mean.iter().zip(&deviation).enumerate().find(|(_, pair)| !good(*pair)) {
            Some((column, (mean, deviation))) => Err(Error::argument(
                operation,
                "finite means, and finite deviations of at least 0",
                format!("mean {mean:e} and deviation {deviation:e} in column {column}"),
            )),
            None => Ok(Self { mean, deviation, precision: PhantomData }),
        }
    }
}

fn check_width<const N: usize, E>(operation: &'static str, values: &[E]) -> Result<(), Error> {
    if values.len().is_multiple_of(N) {
        Ok(())
    } else {
        let found = format!("{} values in all", values.len());
        Err(Error::argument(operation, format!("rows of {N} values"), found))
    }
}
