//! Targets that are numbers.

use dfdx::prelude::Const;

use super::{Errors, Evaluation, Head, Reading, Reads};
use crate::{
    data::{TargetRows, Values},
    device::Real,
    error::Error,
};

/// Real-valued targets, as wide as the latent: u is the target itself, û = o.
///
/// The noise has variance 1, so the targets should have about that: see
/// [`Standardiser`](crate::data::Standardiser).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "super::NoSettings", into = "super::NoSettings"))]
pub struct Regression;

impl<const Z: usize> Reads<Z> for Regression {
    type Out = Const<Z>;
}

impl<const Z: usize, E: Real> Head<Z, E> for Regression {
    type Targets = Values<Z, E>;
    type Row = [E; Z];
    type Prediction = [E; Z];
    #[cfg(feature = "ndarray")]
    type Predictions = ndarray::Array2<E>;
    type Evaluation = Errors;
    const LEARNED: bool = false;
    const CLASSES: bool = false;

    fn table(&self, _seed: u64) -> Result<Vec<E>, Error> {
        Ok(vec![E::zero(); Z])
    }

    fn reading() -> Reading {
        Reading::numbers(Z)
    }

    fn target_rows(targets: &Values<Z, E>) -> TargetRows<'_, E> {
        TargetRows::Values(targets.as_slice().into(), Z)
    }

    fn rows(answers: &[E]) -> Vec<[E; Z]> {
        answers.as_chunks().0.to_vec()
    }

    fn predictions(answers: &[E]) -> Vec<[E; Z]> {
        <Self as Head<Z, E>>::rows(answers)
    }

    #[cfg(feature = "ndarray")]
    fn prediction_array(answers: &[E]) -> ndarray::Array2<E> {
        <Self as Head<Z, E>>::rows(answers).into()
    }

    fn evaluation(evaluation: Evaluation) -> Option<Errors> {
        match evaluation {
            Evaluation::Numbers(report) => Some(report),
            Evaluation::Classes(_) => None,
        }
    }
}

/// Answers, `[rows, width]`, against the truth.
pub(super) fn evaluate<E: Real>(width: usize, answers: &[E], truth: &[E], calls: f64) -> Errors {
    let rows = truth.len() / width.max(1);
    let mut mean = vec![0.0; width];
    for row in truth.chunks_exact(width.max(1)) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v.as_f64() / rows as f64);
    }
    let square = |a: f64| a * a;
    let error: f64 = answers.iter().zip(truth).map(|(a, u)| square(a.as_f64() - u.as_f64())).sum();
    let spread: f64 =
        truth.iter().zip(mean.iter().cycle()).map(|(u, m)| square(u.as_f64() - m)).sum();
    Errors {
        rows,
        mean_squared_error: error / truth.len() as f64,
        r_squared: if spread > 0.0 { 1.0 - error / spread } else { f64::NAN },
        distribution: None,
        network_calls: calls,
    }
}
