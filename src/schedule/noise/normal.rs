//! The normal distribution, and σ that is log-normal between two ends.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Φ(x) = P(N(0, 1) ≤ x), with full relative precision in the lower tail; the upper one is Φ(−x).
pub(super) fn below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Φ⁻¹(p) for p from 0 to ½.
pub(super) fn lower_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    // Abramowitz, Stegun 1964, 26.2.23: within 4.5e-4, from where two steps of Halley's method,
    // each of which takes the error to its third power, are exact.
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515517 + t * (0.802853 + t * 0.010328);
    let mut x = above / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for _ in 0..2 {
        let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
        let error = (below(x) - p) / density;
        x -= error / (1.0 + 0.5 * x * error);
    }
    x
}

/// ln σ ~ N(mean, std²).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogNormal {
    pub(super) mean: f64,
    pub(super) std: f64,
}

impl LogNormal {
    /// How many standard deviations ln σ lies above its mean.
    fn standard(self, sigma: f64) -> f64 {
        (sigma.ln() - self.mean) / self.std
    }

    /// P(lo ≤ σ ≤ hi), by the tail in which both are small.
    pub(super) fn probability(self, [lo, hi]: [f64; 2]) -> f64 {
        let [a, b] = [self.standard(lo), self.standard(hi)];
        if a > 0.0 { below(-a) - below(-b) } else { below(b) - below(a) }
    }

    /// The σ of [lo, hi] below which a share `u` of its probability lies.
    pub(super) fn quantile(self, [lo, hi]: [f64; 2], u: f64) -> f64 {
        let [a, b] = [self.standard(lo), self.standard(hi)];
        let under = below(a) + u * (below(b) - below(a));
        let x = match under <= 0.5 {
            true => lower_quantile(under),
            // 1 − Φ instead of Φ, which is too close to 1 to tell them apart.
            false => -lower_quantile(below(-b) + (1.0 - u) * (below(-a) - below(-b))),
        };
        (self.mean + self.std * x).exp().clamp(lo, hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_function_is_that_of_tables() {
        // By mpmath with 50 digits.
        for (x, expected) in [
            (-8.0, 6.220960574271785e-16),
            (-3.0, 1.3498980316300945e-3),
            (-1.0, 0.15865525393145705),
            (0.0, 0.5),
            (1.96, 0.9750021048517795),
        ] {
            assert!((below(x) / expected - 1.0).abs() < 1e-14, "{x}: {}", below(x));
        }
    }

    #[test]
    fn the_quantile_takes_the_distribution_function_back() {
        for i in 0..=3700 {
            let x = -0.01 * f64::from(i);
            let found = lower_quantile(below(x));
            assert!((found - x).abs() < 1e-12 * x.abs().max(1.0), "{x}: {found}");
        }
        assert_eq!(lower_quantile(0.0), f64::NEG_INFINITY);
    }

    #[test]
    fn quantiles_hold_in_both_tails() {
        let noise = LogNormal { mean: 0.0, std: 1.0 };
        for span in [[1e-9_f64, 2e-9], [0.3, 5.0], [1e8, 1e9]] {
            let mut before = span[0];
            for i in 0..=100 {
                let (u, sigma) = (f64::from(i) / 100.0, noise.quantile(span, f64::from(i) / 100.0));
                assert!(sigma >= before && sigma <= span[1], "{u}: {sigma} after {before}");
                let share = noise.probability([span[0], sigma]) / noise.probability(span);
                assert!((share - u).abs() < 1e-9, "{u}: {share} at {sigma}");
                before = sigma;
            }
        }
    }
}
