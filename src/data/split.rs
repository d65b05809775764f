//! Rows to train on, and rows to test with.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Labels, Standardiser, Targets, Values, dataset::select_rows};
use crate::{device::Real, error::Error};

/// Rows to train on, and others to test with.
#[derive(Clone, Debug, PartialEq)]
pub struct Split<const X: usize, T, E = f32> {
    /// The rows to train on; statistics for normalisation come from these only.
    pub train: Dataset<X, T, E>,
    /// The rows to test with.
    pub test: Dataset<X, T, E>,
}

impl<const X: usize, T: Targets, E: Real> Split<X, T, E> {
    /// Both sides with each input column brought to mean 0 and deviation 1 by the training rows:
    /// [`Standardiser::per_column`].
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no training rows, or values too large for the arithmetic.
    pub fn standardised_per_column(self) -> Result<Self, Error> {
        let standardiser = Standardiser::per_column(&self.train)?;
        self.standardised(&standardiser)
    }

    /// Both sides with all inputs together brought to mean 0 and deviation 1 by the training rows:
    /// [`Standardiser::overall`].
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no training rows, or values too large for the arithmetic.
    pub fn standardised_overall(self) -> Result<Self, Error> {
        let standardiser = Standardiser::overall(&self.train)?;
        self.standardised(&standardiser)
    }

    /// Both sides with the inputs standardised by the statistics given. Keep these to standardise
    /// rows that come later.
    ///
    /// # Errors
    /// As [`Standardiser::apply`].
    pub fn standardised(mut self, standardiser: &Standardiser<X, E>) -> Result<Self, Error> {
        standardiser.apply(&mut self.train)?;
        standardiser.apply(&mut self.test)?;
        Ok(self)
    }
}

impl<const X: usize, const Z: usize, E: Real> Split<X, Values<Z, E>, E> {
    /// Both sides with each target column brought to mean 0 and deviation 1 by the training rows,
    /// and what [inverts](Standardiser::invert) it in predictions.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no training rows, or values too large for the arithmetic.
    pub fn standardised_targets(mut self) -> Result<(Self, Standardiser<Z, E>), Error> {
        let standardiser = Standardiser::of_targets(&self.train)?;
        standardiser.apply_targets(&mut self.train)?;
        standardiser.apply_targets(&mut self.test)?;
        Ok((self, standardiser))
    }
}

impl<const X: usize, T: Targets, E: Real> Dataset<X, T, E> {
    /// Draws `test_fraction` of the rows, rounded, for the test; the others are to train on. Both
    /// in random order. A seed gives the same split on every platform.
    ///
    /// ```
    /// use dfdx_noprop::data::{Dataset, Values};
    ///
    /// let line = Dataset::<1, Values<1>>::new(vec![0., 1., 2.], Values::new(vec![0., 2., 4.])?)?;
    /// let split = line.split(1. / 3., 0)?;
    /// assert_eq!((split.train.rows(), split.test.rows()), (2, 1));
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the fraction is not between 0 and 1, or leaves no row on one side.
    pub fn split(&self, test_fraction: f64, seed: u64) -> Result<Split<X, T, E>, Error> {
        check_fraction("Dataset::split", test_fraction)?;
        let mut quota = share(self.rows(), test_fraction);
        self.divide("Dataset::split", test_fraction, seed, |_| take_one(&mut quota))
    }

    /// The same targets, with the inputs shuffled among the rows: what is left of a model's
    /// accuracy on these does not come from the inputs, but from a label that leaks.
    pub fn shuffled_inputs(&self, seed: u64) -> Self {
        let order = shuffled(self.rows(), seed);
        Self { inputs: select_rows::<X, E>(&self.inputs, &order), targets: self.targets.clone() }
    }

    /// Goes through the rows in random order and asks of each whether it is for the test.
    fn divide(
        &self,
        operation: &'static str,
        fraction: f64,
        seed: u64,
        mut for_test: impl FnMut(usize) -> bool,
    ) -> Result<Split<X, T, E>, Error> {
        let (test, train): (Vec<_>, Vec<_>) =
            shuffled(self.rows(), seed).into_iter().partition(|&row| for_test(row));
        if test.is_empty() || train.is_empty() {
            return Err(Error::argument(
                operation,
                "a fraction that leaves rows on both sides",
                format!("{fraction} of {} rows: {} to test", self.rows(), test.len()),
            ));
        }
        Ok(Split { train: self.select(&train), test: self.select(&test) })
    }
}

impl<const X: usize, const C: usize, E: Real> Dataset<X, Labels<C>, E> {
    /// As [`split`](Self::split), with `test_fraction` of the rows of each class, rounded. A class
    /// of two rows or more has at least one on both sides; a single row is one to train on.
    ///
    /// # Errors
    /// [`Error::Argument`] if the fraction is not between 0 and 1, or leaves no row on one side.
    pub fn split_stratified(
        &self,
        test_fraction: f64,
        seed: u64,
    ) -> Result<Split<X, Labels<C>, E>, Error> {
        check_fraction("Dataset::split_stratified", test_fraction)?;
        let quota = |rows: usize| match rows {
            0 | 1 => 0,
            _ => share(rows, test_fraction).clamp(1, rows - 1),
        };
        let mut quotas: Vec<usize> = self.targets.counts().into_iter().map(quota).collect();
        let labels = self.targets.as_slice();
        self.divide("Dataset::split_stratified", test_fraction, seed, |row| {
            let label = labels.get(row).map(|&label| label as usize);
            label.and_then(|label| quotas.get_mut(label)).is_some_and(take_one)
        })
    }
}

fn check_fraction(operation: &'static str, fraction: f64) -> Result<(), Error> {
    if fraction > 0. && fraction < 1. {
        Ok(())
    } else {
        Err(Error::argument(operation, "a test_fraction between 0 and 1", fraction))
    }
}

fn share(rows: usize, fraction: f64) -> usize {
    (rows as f64 * fraction).round() as usize
}

/// Whether there was one left to take.
fn take_one(quota: &mut usize) -> bool {
    let left = *quota > 0;
    *quota -= usize::from(left);
    left
}

pub(super) fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<_> = (0..rows).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}
