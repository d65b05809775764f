//! Scores of answers that are distributions: how wide, how sure, and how right they are.
//!
//! Pure functions of numbers. Of draws: [`crps`], [`fair_crps`], [`quantile`] and [`interval`]. Of
//! probabilities of classes: [`Reliability`], [`temperature`] and [`conformal_threshold`].
//!
//! ```
//! use dfdx_noprop::score;
//!
//! # fn main() -> Result<(), dfdx_noprop::Error> {
//! let mut draws = vec![0.9, 1.4, 1.1, 0.2, 1.0];
//! println!("CRPS {:.3}", score::crps(&draws, 1.2)?);
//! draws.sort_unstable_by(f64::total_cmp);
//! let [low, high] = score::interval(&draws, 0.9)?;
//! assert!(low < 1.2 && 1.2 < high);
//! # Ok(())
//! # }
//! ```

mod conformal;
mod crps;
mod quantile;
mod reliability;
mod temperature;
#[cfg(test)]
mod tests;

pub use conformal::conformal_threshold;
pub(crate) use crps::DrawErrors;
pub use crps::{crps, fair_crps};
pub(crate) use quantile::{central, central_levels, of_sorted};
pub use quantile::{interval, quantile};
pub use reliability::{Reliability, ReliabilityBin};
pub use temperature::temperature;

use crate::error::Error;

/// [`Error::Argument`] unless there are numbers, all of which are finite.
fn check_finite(operation: &'static str, numbers: &[f64]) -> Result<(), Error> {
    let expected = "one finite number or more";
    if numbers.is_empty() {
        return Err(Error::argument(operation, expected, "none"));
    }
    match numbers.iter().position(|v| !v.is_finite()) {
        Some(i) => {
            Err(Error::argument(operation, expected, format!("{} at index {i}", numbers[i])))
        }
        None => Ok(()),
    }
}
