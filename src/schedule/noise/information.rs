//! How much of the label a noised embedding holds, by Monte Carlo.

use crate::{
    device::Real,
    error::Error,
    random::{Purpose, normals, stream},
};

/// How many draws of the noise, shared out among the classes.
const DRAWS: usize = 10_000;

/// I(y; u_y + σ ε) / ln C for each σ, with equal priors on the rows u_c of an embedding.
pub(in crate::schedule) fn shares<const Z: usize, E: Real>(
    operation: &'static str,
    embedding: &[[E; Z]],
    sigmas: &[f64],
) -> Result<Vec<f64>, Error> {
    let rows: Vec<f64> = embedding.as_flattened().iter().map(|v| v.as_f64()).collect();
    let draws = Draws::new(operation, &rows, Z)?;
    Ok(sigmas.iter().map(|&sigma| draws.share(sigma)).collect())
}

/// Draws of ε, the same for all noise levels, so that what is found falls with σ as it should.
pub(super) struct Draws {
    classes: usize,
    /// u_a · u_b, `[C, C]`.
    products: Vec<f64>,
    /// ε · u_c, `[draws, C]`: of ε and −ε in turns, two of each class after the other, since what is
    /// linear in ε is then 0 as it should.
    noise: Vec<f64>,
}

impl Draws {
    /// Of the rows of an embedding, `[C, width]`.
    pub(super) fn new(operation: &'static str, rows: &[f64], width: usize) -> Result<Self, Error> {
        Self::of(DRAWS, operation, rows, width)
    }

    fn of(
        count: usize,
        operation: &'static str,
        rows: &[f64],
        width: usize,
    ) -> Result<Self, Error> {
        let classes = rows.len() / width.max(1);
        if classes < 2 {
            return Err(Error::argument(operation, "an embedding of 2 classes or more", classes));
        }
        if let Some(bad) = rows.iter().find(|v| !v.is_finite()) {
            return Err(Error::argument(operation, "an embedding of finite numbers", bad));
        }
        let of_all = |with: &[f64]| -> Vec<f64> {
            let dot = |row: &[f64]| row.iter().zip(with).map(|(a, b)| a * b).sum();
            rows.chunks_exact(width).map(dot).collect()
        };
        let products = rows.chunks_exact(width).flat_map(of_all).collect();
        let mut rng = stream(0, Purpose::Information, 0, 0);
        let pairs = (count / 2).next_multiple_of(classes);
        let pair = |_| {
            let one = of_all(&normals::<f64>(&mut rng, width));
            let other: Vec<f64> = one.iter().map(|v| -v).collect();
            one.into_iter().chain(other)
        };
        let noise = (0..pairs).flat_map(pair).collect();
        Ok(Self { classes, products, noise })
    }

    /// What `of` makes of ln p(c | z), averaged over the draws of z.
    fn mean(&self, sigma: f64, of: impl Fn(&[f64]) -> f64) -> f64 {
        let (classes, precision) = (self.classes, sigma.powi(-2));
        let mut log = vec![0.0; classes];
        let mut sum = 0.0;
        for (n, noise) in self.noise.chunks_exact(classes).enumerate() {
            let y = n / 2 % classes;
            let with = &self.products[y * classes..][..classes];
            // −‖z − u_c‖² / 2σ² but for what all classes share, with z = u_y + σ ε.
            for c in 0..classes {
                let norm = self.products[c * classes + c];
                log[c] = precision * (with[c] + sigma * noise[c] - 0.5 * norm);
            }
            let largest = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total = log.iter().map(|l| (l - largest).exp()).sum::<f64>().ln() + largest;
            log.iter_mut().for_each(|l| *l -= total);
            sum += of(&log);
        }
        sum / (self.noise.len() / classes) as f64
    }

    /// I(y; z) / ln C = 1 − E H(y | z) / ln C. The entropy of all classes varies less from draw to
    /// draw than −ln p of the right one, and has the same mean.
    pub(super) fn share(&self, sigma: f64) -> f64 {
        let entropy = |log: &[f64]| -> f64 { log.iter().map(|l| -l * l.exp()).sum() };
        (1.0 - self.mean(sigma, entropy) / (self.classes as f64).ln()).clamp(0.0, 1.0)
    }

    /// The B − 1 edges between which the share rises by the same amount, of B parts of `range`.
    pub(super) fn edges(&self, [lo, hi]: [f64; 2], blocks: usize) -> Vec<f64> {
        /// Points of a curve that is smooth in ln σ; between them it is taken as straight.
        const POINTS: usize = 200;
        let at = |i: usize| lo * (hi / lo).powf(i as f64 / POINTS as f64);
        let mut curve: Vec<[f64; 2]> = (0..=POINTS).map(|i| [at(i).ln(), 0.0]).collect();
        // From the most noise down, where the share never falls but for the draws.
        let mut most = 0.0_f64;
        for [log, share] in curve.iter_mut().rev() {
            most = most.max(self.share(log.exp()));
            *share = most;
        }
        let (first, last) = (curve[0][1], curve[POINTS][1]);
        let edge = |b: usize| {
            let wanted = first + (last - first) * b as f64 / blocks as f64;
            let i = curve.partition_point(|[_, share]| *share > wanted).clamp(1, POINTS);
            let ([log_a, a], [log_b, b]) = (curve[i - 1], curve[i]);
            let part = if a > b { (a - wanted) / (a - b) } else { 0.5 };
            (log_a + part * (log_b - log_a)).exp()
        };
        (1..blocks).map(edge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    const ONE_HOT: [[f64; 10]; 10] = {
        let mut rows = [[0.0; 10]; 10];
        let mut c = 0;
        while c < 10 {
            rows[c][c] = 1.0;
            c += 1;
        }
        rows
    };

    /// E ‖u_y − E[u | z]‖² = E (Σ_c p_c ‖u_c‖² − ‖Σ_c p_c u_c‖²), by the same draws.
    fn mmse(draws: &Draws, sigma: f64) -> f64 {
        draws.mean(sigma, |log| {
            let classes = draws.classes;
            let term = |i: usize| {
                let [a, b] = [i / classes, i % classes];
                let own = if a == b { log[a].exp() } else { 0.0 };
                (own - (log[a] + log[b]).exp()) * draws.products[i]
            };
            (0..classes * classes).map(term).sum()
        })
    }

    /// The area under ½ mmse over the signal-to-noise ratio is the information (Guo, Shamai, Verdú
    /// 2005, *Mutual information and minimum mean-square error in Gaussian channels*).
    fn area(rows: &[f64], width: usize) -> f64 {
        let draws = Draws::of(10_000, "a test", rows, width).unwrap();
        // Over ln SNR, in which mmse · SNR is smooth and vanishes at both ends.
        let (lo, hi, n) = (1e-4_f64.ln(), 1e3_f64.ln(), 80);
        let at = |i: usize| {
            let snr = (lo + (hi - lo) * i as f64 / f64::from(n as u32)).exp();
            0.5 * snr * mmse(&draws, snr.powf(-0.5))
        };
        let inner: f64 = (1..n).map(at).sum();
        (inner + 0.5 * (at(0) + at(n))) * (hi - lo) / n as f64
    }

    #[test]
    fn half_the_least_error_over_the_snr_is_the_whole_information() {
        let found = area(ONE_HOT.as_flattened(), 10);
        assert!((found / 10f64.ln() - 1.0).abs() < 0.01, "{found} and not ln 10");
        let rows = [0.9, -0.2, -1.1, 0.4, 0.1, 1.3, 0.6, -1.7, 2.0, 1.0];
        let found = area(&rows, 2);
        assert!((found / 5f64.ln() - 1.0).abs() < 0.01, "{found} and not ln 5");
    }

    #[test]
    fn blocks_of_discrete_time_hold_what_was_found_by_other_means() {
        // 200,000 draws of another program, in per cent.
        let expected = [0.0, 0.5, 2.0, 5.0, 10.0, 18.0, 32.0, 55.0, 87.0, 100.0];
        let found = Schedule::Cosine.levels(10).unwrap().information(&ONE_HOT).unwrap();
        for (t, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((100.0 * found - expected).abs() < 1.0, "z_{t}: {found} and not {expected} %");
        }
    }

    #[test]
    fn two_classes_have_the_information_of_their_channel() {
        // −1 and 1: I = ln 2 − E ln(1 + exp(−2(1 + σ ε)/σ²)), by the trapezoid rule.
        let draws = Draws::of(20_000, "a test", &[-1.0, 1.0], 1).unwrap();
        for sigma in [0.3, 0.7, 1.0, 2.0] {
            let term = |i: i32| {
                let e = f64::from(i) * 0.01;
                let density = (-0.5 * e * e).exp() / (2.0 * std::f64::consts::PI).sqrt();
                density * (-2.0 * (1.0 + sigma * e) / (sigma * sigma)).exp().ln_1p() * 0.01
            };
            let exact = 1.0 - (-900..=900).map(term).sum::<f64>() / 2f64.ln();
            let found = draws.share(sigma);
            assert!((found - exact).abs() < 0.01, "{sigma}: {found} and not {exact}");
        }
    }

    #[test]
    fn an_embedding_without_information_is_refused() {
        for (rows, what) in [(vec![1.0], "2 classes"), (vec![1.0, f64::NAN], "finite")] {
            let error = Draws::new("a test", &rows, 1).err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
