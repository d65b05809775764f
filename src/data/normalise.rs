//! Columns brought to mean 0 and deviation 1, with their number as a type.

use std::marker::PhantomData;

use super::{Dataset, Targets, Values, statistics::Statistics};
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
    statistics: Statistics,
    precision: PhantomData<E>,
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
    fn from(standardiser: Standardiser<N, E>) -> Self {
        standardiser.statistics
    }
}

impl<const N: usize, E: Real> Standardiser<N, E> {
    /// From statistics that are known: a mean and a deviation for each of the `N` columns.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `N` of each, one is not finite, or a deviation is less
    /// than 0.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Result<Self, Error> {
        Self::checked("Standardiser::new", Statistics { mean, deviation })
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
        let operation = "Standardiser::overall";
        let Statistics { mean, deviation } = Statistics::of_rows(operation, 1, dataset.inputs())?;
        let (mean, deviation) = (mean.repeat(N), deviation.repeat(N));
        Self::checked(operation, Statistics { mean, deviation })
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
        &self.statistics.mean
    }

    /// σ, one for each column; 0 for a column that is only centred.
    pub fn deviation(&self) -> &[f64] {
        &self.statistics.deviation
    }

    /// Standardises the inputs.
    ///
    /// # Errors
    /// [`Error::Argument`] if a result is not finite; the data set is then as it was.
    pub fn apply<T: Targets>(&self, dataset: &mut Dataset<N, T, E>) -> Result<(), Error> {
        self.statistics.apply("Standardiser::apply", dataset.inputs_mut())
    }

    /// Standardises the targets.
    ///
    /// # Errors
    /// [`Error::Argument`] if a result is not finite; the data set is then as it was.
    pub fn apply_targets<const X: usize>(
        &self,
        dataset: &mut Dataset<X, Values<N, E>, E>,
    ) -> Result<(), Error> {
        self.statistics.apply("Standardiser::apply_targets", dataset.targets.as_mut_slice())
    }

    /// Standardises row-major values, `[rows, N]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not whole rows, or a result is not finite; the values are
    /// then as they were.
    pub fn apply_rows(&self, values: &mut [E]) -> Result<(), Error> {
        self.statistics.apply("Standardiser::apply_rows", values)
    }

    /// Brings row-major standardised values, `[rows, N]`, back: x = σ x′ + μ.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not whole rows, or a result is not finite; the values are
    /// then as they were.
    pub fn invert(&self, values: &mut [E]) -> Result<(), Error> {
        self.statistics.invert("Standardiser::invert", values)
    }

    /// The same, with the number of columns as a value.
    #[cfg(feature = "inference")]
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn of_rows(operation: &'static str, values: &[E]) -> Result<Self, Error> {
        Self::checked(operation, Statistics::of_rows(operation, N, values)?)
    }

    fn checked(operation: &'static str, statistics: Statistics) -> Result<Self, Error> {
        statistics.check(operation, N)?;
        Ok(Self { statistics, precision: PhantomData })
    }
}
