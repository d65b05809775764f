//! What `evaluate` answers.

use std::collections::{BTreeMap, BTreeSet};

use super::DistributionScores;
use crate::score::Reliability;

/// Predicted classes against the true ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Classification {
    /// How many rows were looked at.
    pub rows: usize,
    /// How many of them were right.
    pub correct: usize,
    /// correct / rows: from 0 to 1.
    pub accuracy: f64,
    /// −mean ln p(y), in nats: 0 is perfect, ln C is chance.
    pub negative_log_likelihood: f64,
    /// Σ_b n_b/n |accuracy_b − confidence_b| over 15 equal bins of the largest probability: how
    /// far, on average, the model's confidence is from the share that it gets right; from 0 to 1
    /// ([`Reliability::calibration_error`]).
    pub calibration_error: f64,
    /// Those bins: how often the model is right when it says how sure it is.
    pub reliability: Reliability,
    /// How often rows of each class were taken for each.
    pub confusion: Confusion,
    /// How often a network was called for a row: T in discrete time, the steps of all blocks by noise
    /// level, the solver's calls elsewhere.
    pub network_calls: f64,
}

/// How often a row of one class was taken for another: what never happened takes no memory.
///
/// As data it is a list of `[truth, predicted, count]`. Printed it is a table of the classes that
/// there are rows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    counts: BTreeMap<(u32, u32), usize>,
}

impl Confusion {
    /// One more row of class `truth` that was taken for `predicted`.
    pub fn add(&mut self, truth: u32, predicted: u32) {
        *self.counts.entry((truth, predicted)).or_default() += 1;
    }

    /// How many rows of class `truth` were taken for `predicted`.
    pub fn count(&self, truth: u32, predicted: u32) -> usize {
        self.counts.get(&(truth, predicted)).copied().unwrap_or_default()
    }

    /// Truth, prediction, and how often, for all that happened, in order.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u32, usize)> + '_ {
        self.counts.iter().map(|(&(truth, predicted), &count)| (truth, predicted, count))
    }
}

impl std::fmt::Display for Confusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seen = self.counts.keys().flat_map(|&(truth, predicted)| [truth, predicted]);
        let classes: BTreeSet<u32> = seen.collect();
        let most = self.counts.values().copied().max().unwrap_or_default();
        let largest = classes.last().map_or(0, |&class| class as usize);
        let width = most.max(largest).to_string().len().max(5);
        write!(f, "{:>width$}", "truth")?;
        classes.iter().try_for_each(|class| write!(f, " {class:>width$}"))?;
        for &truth in &classes {
            write!(f, "\n{truth:>width$}")?;
            for &predicted in &classes {
                write!(f, " {:>width$}", self.count(truth, predicted))?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Confusion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.counts())
    }
}

/// Predicted numbers against the true ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Errors {
    /// How many rows were looked at.
    pub rows: usize,
    /// mean ‖û − u‖² / Z: the mean over rows and columns, in the squared unit of the targets.
    pub mean_squared_error: f64,
    /// 1 − Σ (û − u)² / Σ (u − ū)², with ū the mean of each column: 1 is perfect, 0 is as good as
    /// the mean, NaN says that the targets are all the same.
    pub r_squared: f64,
    /// How well draws stand for the targets; `None` where none were made.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub distribution: Option<DistributionScores>,
    /// How often a network was called for a row: T in discrete time, the steps of all blocks by noise
    /// level, the solver's calls elsewhere.
    pub network_calls: f64,
}

/// What `evaluate` answers, for those who take either.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum Evaluation {
    /// Of a head with classes.
    Classes(Classification),
    /// Of a head with numbers.
    Numbers(Errors),
}

impl From<Classification> for Evaluation {
    fn from(report: Classification) -> Self {
        Self::Classes(report)
    }
}

impl From<Errors> for Evaluation {
    fn from(report: Errors) -> Self {
        Self::Numbers(report)
    }
}

impl Evaluation {
    /// From 0 to 1, for classes.
    pub fn accuracy(&self) -> Option<f64> {
        match self {
            Self::Classes(report) => Some(report.accuracy),
            Self::Numbers(_) => None,
        }
    }

    /// The loss on rows that were not learned from: the negative log-likelihood for classes, the
    /// mean squared error for numbers. Less is better.
    pub fn loss(&self) -> f64 {
        match self {
            Self::Classes(report) => report.negative_log_likelihood,
            Self::Numbers(report) => report.mean_squared_error,
        }
    }

    /// The numbers in it, each with its name; `crps`, `coverage_90` and `interval_width_90` only
    /// where draws were made.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Classes(report) => vec![
                ("accuracy", report.accuracy),
                ("negative_log_likelihood", report.negative_log_likelihood),
                ("calibration_error", report.calibration_error),
                ("network_calls", report.network_calls),
            ],
            Self::Numbers(report) => {
                let mut metrics = vec![
                    ("mean_squared_error", report.mean_squared_error),
                    ("r_squared", report.r_squared),
                ];
                if let Some(scores) = &report.distribution {
                    metrics.extend([
                        ("crps", scores.crps),
                        ("coverage_90", scores.coverage_90),
                        ("interval_width_90", scores.interval_width_90),
                    ]);
                }
                metrics.push(("network_calls", report.network_calls));
                metrics
            }
        }
    }
}
