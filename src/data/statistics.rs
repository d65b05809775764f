//! The mean and the deviation of columns, with their number as a value.

use crate::{device::Real, error::Error};

/// A mean and a deviation for each column.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
}

impl Statistics {
    /// By Welford's method: exact for a constant column, where a difference of sums is not.
    pub(crate) fn of_rows<E: Real>(
        operation: &'static str,
        width: usize,
        values: &[E],
    ) -> Result<Self, Error> {
        if values.is_empty() {
            return Err(Error::argument(operation, "at least one row", 0));
        }
        let (mut mean, mut squares) = (vec![0.; width], vec![0.; width]);
        let mut rows = 0.;
        for row in values.chunks_exact(width.max(1)) {
            rows += 1.;
            for ((value, mean), squares) in row.iter().zip(&mut mean).zip(&mut squares) {
                let value = value.as_f64();
                let delta = value - *mean;
                *mean += delta / rows;
                *squares += delta * (value - *mean);
            }
        }
        let deviation = squares.iter().map(|sum| (sum / rows).sqrt()).collect();
        Ok(Self { mean, deviation })
    }

    /// Whether these are statistics of so many columns.
    pub(crate) fn check(&self, operation: &'static str, width: usize) -> Result<(), Error> {
        let Self { mean, deviation } = self;
        if (mean.len(), deviation.len()) != (width, width) {
            return Err(Error::argument(
                operation,
                format!("{width} means and {width} deviations"),
                format!("{} and {}", mean.len(), deviation.len()),
            ));
        }
        let good = |(mean, deviation): (&f64, &f64)| {
            mean.is_finite() && deviation.is_finite() && *deviation >= 0.
        };
        match mean.iter().zip(deviation).enumerate().find(|(_, pair)| !good(*pair)) {
            Some((column, (mean, deviation))) => Err(Error::argument(
                operation,
                "finite means, and finite deviations of at least 0",
                format!("mean {mean:e} and deviation {deviation:e} in column {column}"),
            )),
            None => Ok(()),
        }
    }

    /// x′ = (x − μ) / σ.
    pub(crate) fn apply<E: Real>(
        &self,
        operation: &'static str,
        values: &mut [E],
    ) -> Result<(), Error> {
        let scaled = |value, (mean, scale)| (value - mean) / scale;
        self.map(operation, "finite values after standardisation", values, scaled)
    }

    /// x = σ x′ + μ.
    pub(crate) fn invert<E: Real>(
        &self,
        operation: &'static str,
        values: &mut [E],
    ) -> Result<(), Error> {
        let inverse = |value, (mean, scale)| value * scale + mean;
        self.map(operation, "finite values", values, inverse)
    }

    /// All are looked at before the first is written: an error leaves the values as they were.
    fn map<E: Real>(
        &self,
        operation: &'static str,
        expected: &str,
        values: &mut [E],
        to: impl Fn(f64, (f64, f64)) -> f64,
    ) -> Result<(), Error> {
        let width = self.mean.len();
        if !values.len().is_multiple_of(width) {
            let found = format!("{} values in all", values.len());
            return Err(Error::argument(operation, format!("rows of {width} values"), found));
        }
        for (i, (&value, column)) in values.iter().zip(self.columns()).enumerate() {
            let result = E::of(to(value.as_f64(), column));
            if !result.is_finite() {
                let (row, column) = (i / width, i % width);
                let found = format!("{value} → {result} in row {row}, column {column}");
                return Err(Error::argument(operation, expected, found));
            }
        }
        for (value, column) in values.iter_mut().zip(self.columns()) {
            *value = E::of(to(value.as_f64(), column));
        }
        Ok(())
    }

    /// The mean and the divisor of each column, over and over.
    fn columns(&self) -> impl Iterator<Item = (f64, f64)> {
        self.mean.iter().copied().zip(self.divisors()).cycle()
    }

    /// What each column is divided by: σ, or 1 where that is 0.
    pub(crate) fn divisors(&self) -> impl Iterator<Item = f64> + Clone {
        self.deviation.iter().map(|&deviation| if deviation > 0. { deviation } else { 1. })
    }
}
