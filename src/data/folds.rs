//! Rows cut into folds, each of which is once those to test with.

use super::{Dataset, Split, Targets, split::shuffled};
use crate::{device::Real, error::Error};

impl<const X: usize, T: Targets, E: Real> Dataset<X, T, E> {
    /// `k`-fold cross-validation: cuts the rows, in random order, into `k` folds, and gives for
    /// each the other rows to train on and its own to test with, so that each row is tested once.
    ///
    /// Folds have as many rows each, and with labels as many of each class, but for one more or
    /// less. A seed gives the same folds on every platform. Only one split is in memory at a time.
    ///
    /// ```
    /// use dfdx_noprop::data::{Dataset, Labels};
    ///
    /// let rows = [[0.], [1.], [2.], [3.]];
    /// let data = Dataset::<1, Labels<2>>::from_rows(&rows, Labels::new(vec![0, 1, 0, 1])?)?;
    /// for split in data.folds(2, 0)? {
    ///     assert_eq!(split.test.targets().counts(), [1, 1]);
    /// }
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `k` is less than 2, or more than the number of rows.
    pub fn folds(
        &self,
        k: usize,
        seed: u64,
    ) -> Result<impl ExactSizeIterator<Item = Split<X, T, E>>, Error> {
        if k < 2 || k > self.rows() {
            let expected = format!("k from 2 to {}, the number of rows", self.rows());
            return Err(Error::argument("Dataset::folds", expected, k));
        }
        let order = shuffled(self.rows(), seed);
        // Dealt out class by class, as cards are: the next class goes on where the one before has
        // ended.
        let mut dealt = order.clone();
        let classes = self.targets.classes();
        dealt.sort_by_key(|&row| classes.get(row));
        let mut fold_of = vec![0; self.rows()];
        dealt.iter().zip((0..k).cycle()).for_each(|(&row, fold)| fold_of[row] = fold);
        Ok((0..k).map(move |fold| {
            let (test, train): (Vec<_>, Vec<_>) =
                order.iter().partition(|&&row| fold_of.get(row) == Some(&fold));
            Split { train: self.select(&train), test: self.select(&test) }
        }))
    }
}
