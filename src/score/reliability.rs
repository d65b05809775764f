//! How often a model is right when it says how sure it is.

use super::check_finite;
use crate::error::Error;

/// How many bins of equal width there are.
const BINS: usize = 15;

/// A reliability diagram as data: rows by how sure the model is of its answer, with the share of
/// them that is right.
///
/// A model is calibrated if of the answers that it is 80 % sure of 80 % are right (Guo et al. 2017,
/// *On calibration of modern neural networks*, section 2).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Reliability {
    bins: Vec<ReliabilityBin>,
}

/// Rows with about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ReliabilityBin {
    /// The least confidence that belongs here: b/15 for the b-th of 15 bins, counted from 0.
    pub from: f64,
    /// The end of the bin, (b + 1)/15, which belongs to the next one; 1 belongs to the last.
    pub to: f64,
    /// How many rows are in it: at least one.
    pub count: usize,
    /// The mean of their confidences, from 0 to 1.
    pub confidence: f64,
    /// The share of them that is right, from 0 to 1.
    pub accuracy: f64,
}

impl Reliability {
    /// From the confidence of each row, which is its largest probability, and whether its answer is
    /// right.
    ///
    /// # Errors
    /// [`Error::Argument`] without rows, for other numbers of them, and for a confidence that is not
    /// from 0 to 1.
    pub fn new(confidences: &[f64], right: &[bool]) -> Result<Self, Error> {
        const OPERATION: &str = "Reliability::new";
        check_finite(OPERATION, confidences)?;
        if confidences.len() != right.len() {
            let expected = format!("{} rows, as there are confidences", confidences.len());
            return Err(Error::argument(OPERATION, expected, right.len()));
        }
        // A mean of probabilities may miss 1 by rounding in `f32`.
        let wrong = confidences.iter().find(|c| !(0.0..=1.0 + 1e-6).contains(*c));
        if let Some(confidence) = wrong {
            return Err(Error::argument(OPERATION, "confidences from 0 to 1", confidence));
        }
        Ok(Self::of(confidences.iter().copied().zip(right.iter().copied())))
    }

    /// From each row's confidence, and whether it is right.
    pub(crate) fn of(rows: impl Iterator<Item = (f64, bool)>) -> Self {
        let mut sums = [(0_usize, 0.0, 0_usize); BINS];
        for (confidence, right) in rows {
            let (count, confidences, correct) =
                &mut sums[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *count += 1;
            *confidences += confidence;
            *correct += usize::from(right);
        }
        let edge = |bin: usize| bin as f64 / BINS as f64;
        let bins = sums.into_iter().enumerate().filter(|(_, (count, ..))| *count > 0);
        let bins = bins.map(|(bin, (count, confidences, correct))| ReliabilityBin {
            from: edge(bin),
            to: edge(bin + 1),
            count,
            confidence: confidences / count as f64,
            accuracy: correct as f64 / count as f64,
        });
        Self { bins: bins.collect() }
    }

    /// The bins that have rows, by rising confidence: 15 at most.
    pub fn bins(&self) -> &[ReliabilityBin] {
        &self.bins
    }

    /// The expected calibration error, Σ_b n_b/n |accuracy_b − confidence_b|: how far, on average,
    /// the model's confidence is from the share that it gets right; from 0 to 1, NaN without rows
    /// (Guo et al. 2017, eq. 3, with 15 bins).
    pub fn calibration_error(&self) -> f64 {
        let rows: usize = self.bins.iter().map(|bin| bin.count).sum();
        let gap = |bin: &ReliabilityBin| bin.count as f64 * (bin.accuracy - bin.confidence).abs();
        match rows {
            0 => f64::NAN,
            _ => self.bins.iter().map(gap).sum::<f64>() / rows as f64,
        }
    }
}
