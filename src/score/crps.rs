//! The continuous ranked probability score of draws.

use super::check_finite;
use crate::error::Error;

/// The continuous ranked probability score of the empirical distribution of draws s against the
/// truth y: E|s − y| − ½ E|s − s′|, with s and s′ independent, so that a draw is also paired with
/// itself.
///
/// 0 or more, in the unit of the truth; 0 is a distribution that is the truth itself, and with one
/// draw it is the absolute error. It is ∫ (F(v) − 1\[y ≤ v\])² dv (Gneiting, Raftery 2007, *Strictly
/// proper scoring rules, prediction, and estimation*, eq. 21). With n draws from a distribution it
/// is larger on average than that distribution's own score, by E|s − s′| / 2n: see [`fair_crps`].
///
/// # Errors
/// [`Error::Argument`] without draws, and for numbers that are not finite.
pub fn crps(draws: &[f64], truth: f64) -> Result<f64, Error> {
    const OPERATION: &str = "score::crps";
    check_finite(OPERATION, &[truth])?;
    Ok(DrawErrors::new(&sorted(OPERATION, draws)?, truth).crps())
}

/// The same score without bias for the distribution that the draws come from: E|s − s′| is the
/// mean over pairs of different draws (Ferro 2014, *Fair scores for ensemble forecasts*, eq. 5).
///
/// In the unit of the truth. Its mean does not depend on how many draws there are, and a single
/// value may be below 0.
///
/// # Errors
/// [`Error::Argument`] for fewer than two draws, and for numbers that are not finite.
pub fn fair_crps(draws: &[f64], truth: f64) -> Result<f64, Error> {
    const OPERATION: &str = "score::fair_crps";
    check_finite(OPERATION, &[truth])?;
    if draws.len() < 2 {
        return Err(Error::argument(OPERATION, "two draws or more", draws.len()));
    }
    Ok(DrawErrors::new(&sorted(OPERATION, draws)?, truth).fair_crps())
}

fn sorted(operation: &'static str, draws: &[f64]) -> Result<Vec<f64>, Error> {
    check_finite(operation, draws)?;
    let mut sorted = draws.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// What both scores are made of.
pub(crate) struct DrawErrors {
    count: f64,
    /// E|s − y|.
    absolute_error: f64,
    /// Σ |s − s′| over all pairs of different draws, each pair once.
    differences: f64,
}

impl DrawErrors {
    /// Of sorted draws.
    pub(crate) fn new(sorted: &[f64], truth: f64) -> Self {
        let count = sorted.len() as f64;
        let absolute_error = sorted.iter().map(|s| (s - truth).abs()).sum::<f64>() / count;
        // The gap after the k-th draw lies between k (n − k) pairs: a sum without cancellation.
        let gaps = (1..).zip(sorted.windows(2));
        let between = |k: u32| f64::from(k) * (count - f64::from(k));
        let differences = gaps.map(|(k, pair)| between(k) * (pair[1] - pair[0])).sum();
        Self { count, absolute_error, differences }
    }

    pub(crate) fn crps(&self) -> f64 {
        self.absolute_error - self.differences / (self.count * self.count)
    }

    pub(crate) fn fair_crps(&self) -> f64 {
        self.absolute_error - self.differences / (self.count * (self.count - 1.0))
    }
}
