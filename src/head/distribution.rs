//! Draws from a predictive distribution against the truth.

use crate::{
    device::Real,
    error::Error,
    score::{DrawErrors, central},
};

/// How well draws of each target stand for it: means over rows and columns, in the targets' unit.
///
/// The scores are proper: the distribution that the targets come from has the best one (Gneiting,
/// Raftery 2007, *Strictly proper scoring rules, prediction, and estimation*).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DistributionScores {
    /// How many draws of each row there were: 2 or more.
    pub draws: usize,
    /// The continuous ranked probability score, E|s − y| − ½ E|s − s′|, of the draws as they are: 0
    /// is perfect, and it is larger the fewer draws there are ([`crps`](crate::score::crps)).
    pub crps: f64,
    /// The same for the distribution that the draws come from, however many there are: to compare
    /// with other models' ([`fair_crps`](crate::score::fair_crps)).
    pub fair_crps: f64,
    /// The share of targets within the central 90 % interval of their draws, from 0 to 1. Of a
    /// distribution that is right it is 0.9 (n − 1) / (n + 1) with n draws, and 0.9 with many.
    pub coverage_90: f64,
    /// The mean width of that interval, from the 5 % to the 95 % quantile: less is better at the
    /// same coverage ([`interval`](crate::score::interval)).
    pub interval_width_90: f64,
}

impl DistributionScores {
    /// From draws, row-major, `[rows, draws, Z]`, as [`sample`](crate::NoProp::sample) gives them,
    /// and the truth, `[rows, Z]`.
    ///
    /// # Errors
    /// [`Error::Argument`] without a truth, for fewer than two draws of each target, for rows that
    /// are not whole, and for numbers that are not finite.
    pub fn new<E: Real>(draws: &[E], truth: &[E], width: usize) -> Result<Self, Error> {
        const OPERATION: &str = "DistributionScores::new";
        let targets = truth.len();
        let count = draws.len().checked_div(targets).unwrap_or_default();
        let is_whole = width > 0 && targets.is_multiple_of(width);
        if !is_whole || count < 2 || count * targets != draws.len() {
            let expected = format!("two draws or more of each of {targets} targets, {width} a row");
            return Err(Error::argument(OPERATION, expected, format!("{} numbers", draws.len())));
        }
        if !draws.iter().chain(truth).all(|v| v.is_finite()) {
            return Err(Error::argument(OPERATION, "finite numbers", "one that is not"));
        }
        let (mut own, mut sums) = (vec![0.0; count], [0.0; 4]);
        for (i, y) in truth.iter().map(|y| y.as_f64()).enumerate() {
            let row = &draws[i / width * count * width..][..count * width];
            let of_target = row.iter().skip(i % width).step_by(width);
            own.iter_mut().zip(of_target).for_each(|(place, s)| *place = s.as_f64());
            own.sort_unstable_by(f64::total_cmp);
            let errors = DrawErrors::new(&own, y);
            let [low, high] = central(&own, 0.9);
            let inside = f64::from(u8::from((low..=high).contains(&y)));
            let scores = [errors.crps(), errors.fair_crps(), inside, high - low];
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
        }
        let [crps, fair_crps, coverage_90, interval_width_90] =
            sums.map(|sum| sum / targets as f64);
        Ok(Self { draws: count, crps, fair_crps, coverage_90, interval_width_90 })
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::score;

    #[test]
    fn scores_are_means_over_rows_and_columns() {
        let mut rng = StdRng::seed_from_u64(0);
        let (draws, targets, z) = (7, 6, 2);
        let mut numbers =
            |count: usize| -> Vec<f32> { (0..count).map(|_| rng.gen_range(-1.0..1.0)).collect() };
        let (all, truth) = (numbers(draws * targets), numbers(targets));
        let found = DistributionScores::new(&all, &truth, z).unwrap();
        let (mut crps, mut fair_crps, mut inside, mut width) = (0.0, 0.0, 0.0, 0.0);
        for (i, y) in truth.iter().map(|y| f64::from(*y)).enumerate() {
            let at = |k: usize| (i / z * draws + k) * z + i % z;
            let mut own: Vec<f64> = (0..draws).map(|k| all[at(k)].into()).collect();
            crps += score::crps(&own, y).unwrap();
            fair_crps += score::fair_crps(&own, y).unwrap();
            own.sort_unstable_by(f64::total_cmp);
            let [low, high] = score::interval(&own, 0.9).unwrap();
            inside += f64::from(u8::from(low <= y && y <= high));
            width += high - low;
        }
        let close = |found: f64, sum: f64| (found - sum / 6.0).abs() < 1e-12;
        assert!(close(found.crps, crps) && close(found.fair_crps, fair_crps), "{found:?}");
        assert!(close(found.coverage_90, inside), "{found:?}");
        assert!(close(found.interval_width_90, width) && found.draws == draws, "{found:?}");
    }

    #[test]
    fn a_distribution_that_is_right_covers_what_it_says() {
        let mut rng = StdRng::seed_from_u64(1);
        let (draws, targets) = (19, 20_000);
        let mut numbers =
            |count: usize| -> Vec<f64> { (0..count).map(|_| rng.gen_range(0.0..1.0)).collect() };
        let (all, truth) = (numbers(draws * targets), numbers(targets));
        let found = DistributionScores::new(&all, &truth, 1).unwrap();
        assert!((found.coverage_90 - 0.9 * 18.0 / 20.0).abs() < 0.01, "{found:?}");
        assert!((found.interval_width_90 - 0.9 * 18.0 / 20.0).abs() < 0.01, "{found:?}");
        // ½ E|s − s′| of a uniform distribution.
        assert!((found.fair_crps - 1.0 / 6.0).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn draws_that_do_not_fit_are_errors() {
        for (draws, truth, text) in [
            (vec![], vec![], "two draws or more of each of 0 targets, 1 a row, found 0 numbers"),
            (vec![1.0; 3], vec![0.0; 2], "of each of 2 targets, 1 a row, found 3 numbers"),
            (vec![1.0; 2], vec![0.0; 2], "of each of 2 targets, 1 a row, found 2 numbers"),
            (vec![1.0; 5], vec![0.0; 2], "of each of 2 targets, 1 a row, found 5 numbers"),
            (vec![1.0, f32::NAN], vec![0.0], "finite numbers"),
            (vec![1.0, 2.0], vec![f32::INFINITY], "finite numbers"),
        ] {
            let error = DistributionScores::new(&draws, &truth, 1).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
            assert!(error.to_string().contains(text), "`{text}` is not in `{error}`");
        }
    }
}
