//! Quantiles of draws.

use super::check_finite;
use crate::error::Error;

/// The quantile of sorted numbers at a level from 0 to 1, in their unit: linear between
/// neighbours, with the least at level 0 and the largest at level 1.
///
/// It lies at the place level · (n − 1), counted from 0 (Hyndman, Fan 1996, *Sample quantiles in
/// statistical packages*, definition 7; NumPy's default).
///
/// # Errors
/// [`Error::Argument`] without numbers, for numbers that are not finite or not sorted, and for a
/// level that is not from 0 to 1.
pub fn quantile(sorted: &[f64], level: f64) -> Result<f64, Error> {
    const OPERATION: &str = "score::quantile";
    check_sorted(OPERATION, sorted)?;
    check_share(OPERATION, "a level", level)?;
    Ok(of_sorted(sorted, level))
}

/// The central interval of sorted numbers that holds a share of them: its ends are the quantiles
/// at (1 − coverage) / 2 and (1 + coverage) / 2, in their unit.
///
/// # Errors
/// As [`quantile`].
pub fn interval(sorted: &[f64], coverage: f64) -> Result<[f64; 2], Error> {
    const OPERATION: &str = "score::interval";
    check_sorted(OPERATION, sorted)?;
    check_share(OPERATION, "a coverage", coverage)?;
    Ok(central(sorted, coverage))
}

fn check_sorted(operation: &'static str, sorted: &[f64]) -> Result<(), Error> {
    check_finite(operation, sorted)?;
    match sorted.windows(2).position(|pair| pair[0] > pair[1]) {
        Some(i) => {
            let found = format!("{} before {}", sorted[i], sorted[i + 1]);
            Err(Error::argument(operation, "sorted numbers", found))
        }
        None => Ok(()),
    }
}

fn check_share(operation: &'static str, what: &str, share: f64) -> Result<(), Error> {
    match (0.0..=1.0).contains(&share) {
        true => Ok(()),
        false => Err(Error::argument(operation, format!("{what} from 0 to 1"), share)),
    }
}

/// [`interval`] of numbers that are known to be sorted.
pub(crate) fn central(sorted: &[f64], coverage: f64) -> [f64; 2] {
    central_levels(coverage).map(|level| of_sorted(sorted, level))
}

/// The levels of the ends of a central interval.
pub(crate) fn central_levels(coverage: f64) -> [f64; 2] {
    [(1.0 - coverage) / 2.0, (1.0 + coverage) / 2.0]
}

/// [`quantile`] of numbers that are known to be sorted.
pub(crate) fn of_sorted(sorted: &[f64], level: f64) -> f64 {
    let last = sorted.len() - 1;
    let at = level * last as f64;
    let below = at as usize;
    let (a, b) = (sorted[below.min(last)], sorted[(below + 1).min(last)]);
    let share = at - below as f64;
    // From the nearer end, so that the result never leaves the two.
    if share < 0.5 { a + (b - a) * share } else { b - (b - a) * (1.0 - share) }
}
