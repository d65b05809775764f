//! Targets that are numbers.

use dfdx::prelude::*;

use super::{Errors, Head, Reads};
use crate::{
    data::{Targets, Values},
    device::{Backend, Real, Rows},
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
    type Evaluation = Errors;
    const LEARNED: bool = false;
    const CLASSES: bool = false;

    fn table(&self, _seed: u64) -> Result<Vec<E>, Error> {
        Ok(vec![E::zero(); Z * Z])
    }

    fn embed(_table: &[E], targets: &Values<Z, E>) -> Vec<E> {
        targets.as_slice().to_vec()
    }

    fn one_hot(_targets: &Values<Z, E>) -> Vec<E> {
        Vec::new()
    }

    fn estimate<D: Backend<E>, T: Tape<E, D>>(
        output: Rows<Const<Z>, E, D, T>,
        _table: &Tensor<(Const<Z>, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
        Ok(output)
    }

    fn read<D: Backend<E>, T: Tape<E, D>>(
        latent: Rows<Const<Z>, E, D, T>,
        _table: &Tensor<(Const<Z>, Const<Z>), E, D>,
        _sharpness: f64,
    ) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
        Ok(latent)
    }

    fn answer<D: Backend<E>>(output: Rows<Const<Z>, E, D>) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        Ok(output)
    }

    fn rows(answers: &[E]) -> Vec<[E; Z]> {
        answers.as_chunks().0.to_vec()
    }

    fn predictions(answers: &[E]) -> Vec<[E; Z]> {
        <Self as Head<Z, E>>::rows(answers)
    }

    fn row_weights(_targets: &Values<Z, E>, _by_class: &[f64]) -> Vec<E> {
        Vec::new()
    }

    fn correct(_output: &[E], _targets: &Values<Z, E>) -> usize {
        0
    }

    fn evaluate(answers: &[E], targets: &Values<Z, E>, calls: f64) -> Errors {
        let (rows, truth) = (targets.len(), targets.as_slice());
        let mut mean = [0.0; Z];
        for row in truth.chunks_exact(Z.max(1)) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v.as_f64() / rows as f64);
        }
        let square = |a: f64| a * a;
        let error: f64 =
            answers.iter().zip(truth).map(|(a, u)| square(a.as_f64() - u.as_f64())).sum();
        let spread: f64 =
            truth.iter().zip(mean.iter().cycle()).map(|(u, m)| square(u.as_f64() - m)).sum();
        Errors {
            rows,
            mean_squared_error: error / truth.len() as f64,
            r_squared: if spread > 0.0 { 1.0 - error / spread } else { f64::NAN },
            network_calls: calls,
        }
    }
}
