//! Quantiles of draws.

use super::InferenceOutput;
use crate::{
    device::Real,
    error::Error,
    score::{central_levels, of_sorted},
};

/// How many draws stand for the distribution of a row's numbers, where the caller does not say.
pub(crate) const DRAWS: usize = 200;

/// The seed of those draws.
pub(crate) const DRAWS_SEED: u64 = 0;

/// The levels of the ends of a central interval.
///
/// # Errors
/// [`Error::Argument`] for a coverage that is not between 0 and 1.
pub(crate) fn ends(operation: &'static str, coverage: f64) -> Result<[f64; 2], Error> {
    if !(coverage > 0.0 && coverage < 1.0) {
        let expected = "a coverage between 0 and 1, such as 0.9";
        return Err(Error::argument(operation, expected, coverage));
    }
    Ok(central_levels(coverage))
}

impl<E: Real> InferenceOutput<E> {
    /// The quantiles of draws `[rows, draws, width]`, each column on its own: `[rows, levels,
    /// width]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a level that is not from 0 to 1.
    pub(crate) fn quantiles(
        operation: &'static str,
        draws: &[E],
        width: usize,
        levels: &[f64],
    ) -> Result<Vec<E>, Error> {
        if let Some(bad) = levels.iter().find(|level| !(0.0..=1.0).contains(*level)) {
            return Err(Error::argument(operation, "levels from 0 to 1", bad));
        }
        let each = DRAWS * width;
        let mut all = Vec::with_capacity(draws.len() / each.max(1) * levels.len() * width);
        for row in draws.chunks_exact(each.max(1)) {
            let start = all.len();
            all.resize(start + levels.len() * width, E::zero());
            for column in 0..width {
                let of_draws = row.iter().skip(column).step_by(width);
                let mut sorted: Vec<f64> = of_draws.map(|value| value.as_f64()).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                for (i, &level) in levels.iter().enumerate() {
                    all[start + i * width + column] = E::of(of_sorted(&sorted, level));
                }
            }
        }
        Ok(all)
    }
}
