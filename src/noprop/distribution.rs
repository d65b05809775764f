//! The distribution of numbers given x.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    head::Regression,
    infer::{DRAWS, DRAWS_SEED, InferenceOutput, ends},
    nn::Layer,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D, Head = Regression>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The mean E\[u | x\] for each row, as [`predict`](Self::predict) gives it, whatever noise there
    /// is in inference.
    ///
    /// In discrete time it is û_1(0, x), one call for each row: block 1 has learned to estimate u
    /// where z says next to nothing of it, and the squared error makes that the mean. In continuous
    /// time and flow matching it is the mean of where 16 ways end, whose starts z_0 stand for all of
    /// N(0, I): a Latin hypercube of normal quantiles in pairs of opposites.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn predict_mean(&self, rows: &[[E; X]]) -> Result<Vec<[E; Z]>, Error> {
        let answers = self.infer("NoProp::predict_mean", rows)?;
        Ok(answers.as_chunks().0.to_vec())
    }

    /// The quantiles of these levels, each from 0 to 1, for each row: of each column on its own,
    /// from 200 draws with seed 0. For more draws see [`sample`](Self::sample) and
    /// [`score::quantile`](crate::score::quantile).
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<FlowMatching<Regression>, ConditionalResNetFm<1, 3>, 1, 3>;
    /// let model = Model::new(&AutoDevice::default(), FlowMatching::default())?;
    /// let quantiles = model.predict_quantiles(&[[0.1, 0.2, 0.3]], &[0.25, 0.5, 0.75])?;
    /// assert!(quantiles[0][0] <= quantiles[0][1] && quantiles[0][1] <= quantiles[0][2]);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a level that is not from 0 to 1, and those of
    /// [`predict`](Self::predict).
    pub fn predict_quantiles(
        &self,
        rows: &[[E; X]],
        levels: &[f64],
    ) -> Result<Vec<Vec<[E; Z]>>, Error> {
        let found = self.quantiles("NoProp::predict_quantiles", rows, levels)?;
        let rows = found.as_chunks().0.chunks(levels.len().max(1));
        Ok(rows.map(<[[E; Z]]>::to_vec).collect())
    }

    /// The central interval for each row, lower end first: what lies between the quantiles
    /// (1 − coverage) / 2 and (1 + coverage) / 2 of [`predict_quantiles`](Self::predict_quantiles).
    ///
    /// # Errors
    /// [`Error::Argument`] for a coverage that is not between 0 and 1, and those of
    /// [`predict`](Self::predict).
    pub fn predict_interval(
        &self,
        rows: &[[E; X]],
        coverage: f64,
    ) -> Result<Vec<[[E; Z]; 2]>, Error> {
        let operation = "NoProp::predict_interval";
        let found = self.quantiles(operation, rows, &ends(operation, coverage)?)?;
        Ok(found.as_chunks().0.as_chunks().0.to_vec())
    }

    /// `[rows, levels, Z]`.
    fn quantiles(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        levels: &[f64],
    ) -> Result<Vec<E>, Error> {
        let draws = self.draws(operation, rows, DRAWS, DRAWS_SEED)?;
        InferenceOutput::quantiles(operation, &draws, Z, levels)
    }
}
