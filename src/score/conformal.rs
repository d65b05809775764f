//! Sets of classes with a guaranteed coverage.

use crate::error::Error;

/// The threshold of split-conformal prediction: the ⌈(n + 1)(1 − α)⌉-th smallest of the scores of n
/// calibration rows, such as 1 − p(y); +∞ where that is more than n, since too few rows can promise
/// nothing.
///
/// The set of all classes c whose score, 1 − p(c), is the threshold or less holds the truth of a
/// new row with a probability of at least 1 − α, whatever the model, if calibration rows and new
/// rows are exchangeable (Vovk, Gammerman, Shafer 2005, *Algorithmic learning in a random world*;
/// Angelopoulos, Bates 2023, *Conformal prediction: a gentle introduction*, section 1).
///
/// # Errors
/// [`Error::Argument`] without scores, for a score that is NaN, and for an α that is not between 0
/// and 1.
pub fn conformal_threshold(scores: &[f64], alpha: f64) -> Result<f64, Error> {
    const OPERATION: &str = "score::conformal_threshold";
    if scores.is_empty() {
        return Err(Error::argument(OPERATION, "one score or more", 0));
    }
    if let Some(i) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::argument(OPERATION, "scores", format!("NaN at index {i}")));
    }
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(Error::argument(OPERATION, "an alpha between 0 and 1", alpha));
    }
    let rank = rank(scores.len(), alpha);
    if rank > scores.len() {
        return Ok(f64::INFINITY);
    }
    let mut scores = scores.to_vec();
    Ok(*scores.select_nth_unstable_by(rank - 1, f64::total_cmp).1)
}

/// ⌈(n + 1)(1 − α)⌉, which is n + 1 − ⌊(n + 1) α⌋.
fn rank(count: usize, alpha: f64) -> usize {
    let most = count as f64 + 1.0;
    let above = most * alpha;
    // 0.29 · 100 is 28.999999999999996: what misses a whole number by rounding alone is one.
    let whole = above.round();
    let above = if (above - whole).abs() <= 4.0 * f64::EPSILON * most { whole } else { above };
    (count + 1).saturating_sub(above as usize).max(1)
}
