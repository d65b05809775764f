//! The temperature at which probabilities are as sure as they should be.

use crate::error::Error;

const OPERATION: &str = "score::temperature";
/// The temperature lies within these.
const LEAST: f64 = 1e-3;
const MOST: f64 = 1e3;

/// The temperature T > 0 at which softmax(logits / T) has the least mean negative log-likelihood of
/// the labels (Guo et al. 2017, *On calibration of modern neural networks*, section 4.2). Logits
/// are row-major, `[rows, classes]`; logarithms of probabilities are logits too.
///
/// From 1e-3 to 1e3: above 1 for a model that is too sure, below 1 for one that is not sure enough.
/// Where the likelihood grows up to an end, the end is the answer: 1e-3 if every row is right, since
/// the likelihood then grows as T goes to 0, and 1e3 if the logits are worse than none. It is 1 where
/// no T changes anything.
///
/// A logit of −∞, the logarithm of a probability that underflowed, counts as the row's largest
/// logit − 87, where probabilities of 32 bits end, or as the row's least finite logit, if that is
/// less: one row whose truth is said to be impossible has a limited say.
///
/// # Errors
/// [`Error::Argument`] without rows, for numbers of logits and labels that do not fit, for a label
/// that is no class, for a logit that is NaN or ∞, and for a row without a finite logit.
pub fn temperature(logits: &[f64], classes: usize, labels: &[u32]) -> Result<f64, Error> {
    check(logits, classes, labels)?;
    let rows = Rows::new(logits, classes, labels);
    // The loss is convex in 1/T, so its slope has one change of sign at most.
    let [at_most, at_least] = [MOST, LEAST].map(|t| rows.slope(1.0 / t));
    if at_most == 0.0 && at_least == 0.0 {
        return Ok(1.0);
    }
    if at_least <= 0.0 {
        return Ok(LEAST);
    }
    if at_most >= 0.0 {
        return Ok(MOST);
    }
    Ok(rows.root().exp())
}

fn check(logits: &[f64], classes: usize, labels: &[u32]) -> Result<(), Error> {
    if labels.is_empty() || classes == 0 {
        let found = format!("{} rows of {classes} classes", labels.len());
        return Err(Error::argument(OPERATION, "one row and one class, or more", found));
    }
    if labels.len().checked_mul(classes) != Some(logits.len()) {
        let expected = format!("{classes} logits for each of {} labels", labels.len());
        return Err(Error::argument(OPERATION, expected, logits.len()));
    }
    if let Some(label) = labels.iter().find(|y| **y as usize >= classes) {
        return Err(Error::argument(OPERATION, format!("labels below {classes}"), label));
    }
    if let Some(i) = logits.iter().position(|l| l.is_nan() || *l == f64::INFINITY) {
        let found = format!("{} in row {}", logits[i], i / classes);
        return Err(Error::argument(OPERATION, "logits below infinity", found));
    }
    let mut rows = logits.chunks_exact(classes);
    match rows.position(|row| row.iter().all(|l| l.is_infinite())) {
        Some(i) => Err(Error::argument(
            OPERATION,
            "a finite logit in each row",
            format!("none in row {i}"),
        )),
        None => Ok(()),
    }
}

/// Logits less the largest of their row, so that none is above 0.
struct Rows<'a> {
    below: Vec<f64>,
    classes: usize,
    labels: &'a [u32],
}

impl<'a> Rows<'a> {
    fn new(logits: &[f64], classes: usize, labels: &'a [u32]) -> Self {
        let mut below = logits.to_vec();
        for row in below.chunks_exact_mut(classes) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|l| *l -= largest);
            let finite = row.iter().copied().filter(|l| l.is_finite());
            let floor = finite.fold(f64::from(f32::MIN_POSITIVE).ln(), f64::min);
            row.iter_mut().for_each(|l| *l = l.max(floor));
        }
        Self { below, classes, labels }
    }

    /// d/dβ of the mean of ln Σ_c exp(β l_c) − β l_y with β = 1/T, which is that of E l − l_y under
    /// softmax(β l).
    fn slope(&self, beta: f64) -> f64 {
        let share = 1.0 / self.labels.len() as f64;
        let rows = self.below.chunks_exact(self.classes).zip(self.labels);
        rows.map(|(row, &y)| {
            let (mut sum, mut weighted) = (0.0, 0.0);
            for &l in row {
                let p = (beta * l).exp();
                sum += p;
                weighted += p * l;
            }
            share * (weighted / sum - row[y as usize])
        })
        .sum()
    }

    /// ln T at which the slope is 0, between ends at which it has different signs. By halves, since
    /// Newton's steps crawl where nearly all rows are right.
    fn root(&self) -> f64 {
        let (mut low, mut high) = (LEAST.ln(), MOST.ln());
        for _ in 0..52 {
            let middle = 0.5 * (low + high);
            // The loss rises with 1/T: T has to be larger.
            if self.slope((-middle).exp()) > 0.0 { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}
