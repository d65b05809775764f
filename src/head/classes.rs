//! What all heads with classes share.

use dfdx::prelude::*;
use num_traits::Float;

use super::Classification;
use crate::{
    data::{Labels, Targets},
    device::{Backend, Real, Rows},
};

pub(super) fn embed<const C: usize, const Z: usize, E: Real>(
    table: &[E],
    labels: &Labels<C>,
) -> Vec<E> {
    let rows: Vec<usize> = labels.as_slice().iter().map(|&y| y as usize).collect();
    crate::data::select_rows::<Z, E>(table, &rows)
}

pub(super) fn one_hot<const C: usize, E: Real>(labels: &Labels<C>) -> Vec<E> {
    let mut out = vec![E::zero(); labels.len() * C];
    for (row, &y) in out.chunks_exact_mut(C.max(1)).zip(labels.as_slice()) {
        row[y as usize] = E::one();
    }
    out
}

/// softmax(o) W.
pub(super) fn estimate<C: ConstDim, const Z: usize, E: Real, D: Backend<E>, T: Tape<E, D>>(
    output: Rows<C, E, D, T>,
    table: &Tensor<(C, Const<Z>), E, D>,
) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
    D::softmax(output)?.try_matmul(table.retaped::<T>())
}

/// κ (z · u_c − ‖u_c‖² / 2).
pub(super) fn read<C: ConstDim, const Z: usize, E: Real, D: Backend<E>, T: Tape<E, D>>(
    latent: Rows<Const<Z>, E, D, T>,
    table: &Tensor<(C, Const<Z>), E, D>,
    sharpness: f64,
) -> Result<Rows<C, E, D, T>, D::Err> {
    let shape = (latent.shape().0, C::default());
    let norms = table.retaped::<T>().try_square()?.try_sum::<(C,), Axis<1>>()?;
    let norms = norms.try_mul(E::of(0.5))?.try_broadcast_like::<_, Axis<0>>(&shape)?;
    let products = latent.try_matmul(table.retaped::<T>().try_permute()?)?;
    products.try_sub(norms)?.try_mul(E::of(sharpness))
}

/// The class with the largest number in each row; the first of equals.
pub(super) fn predictions<const C: usize, E: Real>(rows: &[E]) -> Vec<u32> {
    let largest = |row: &[E]| {
        let first = (0, E::neg_infinity());
        row.iter().enumerate().fold(first, |best, (c, &v)| if v > best.1 { (c, v) } else { best }).0
    };
    rows.chunks_exact(C.max(1)).map(|row| largest(row) as u32).collect()
}

pub(super) fn correct<const C: usize, E: Real>(output: &[E], labels: &Labels<C>) -> usize {
    let predicted = predictions::<C, E>(output);
    predicted.iter().zip(labels.as_slice()).filter(|(a, b)| a == b).count()
}

pub(super) fn evaluate<const C: usize, E: Real>(
    probabilities: &[E],
    labels: &Labels<C>,
    calls: f64,
) -> Classification {
    let rows = labels.len();
    let of = |sum: f64| if rows == 0 { f64::NAN } else { sum / rows as f64 };
    // A probability that underflows counts as the smallest number there is, so that one row is not everything.
    let log = |p: E| Float::max(p, E::min_positive_value()).as_f64().ln();
    let mut confusion = vec![vec![0; C]; C];
    let (mut likelihood, mut correct) = (0.0, 0);
    let mut bins = [Bin::default(); 15];
    let predicted = predictions::<C, E>(probabilities);
    for ((row, &y), &guess) in
        probabilities.chunks_exact(C.max(1)).zip(labels.as_slice()).zip(&predicted)
    {
        likelihood += log(row[y as usize]);
        confusion[y as usize][guess as usize] += 1;
        correct += usize::from(y == guess);
        let confidence = row[guess as usize].as_f64();
        let bin = &mut bins[((confidence * 15.0) as usize).min(14)];
        bin.confidence += confidence;
        bin.correct += f64::from(u8::from(y == guess));
    }
    let gaps = bins.iter().map(|bin| (bin.correct - bin.confidence).abs()).sum();
    Classification {
        rows,
        correct,
        accuracy: of(correct as f64),
        negative_log_likelihood: -of(likelihood),
        calibration_error: of(gaps),
        confusion,
        network_calls: calls,
    }
}

/// Rows with about the same confidence, summed.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    confidence: f64,
    correct: f64,
}

/// The methods of [`Head`](super::Head) in which heads with classes do not differ.
macro_rules! class_methods {
    ($c:ident) => {
        type Targets = Labels<$c>;
        type Row = [E; $c];
        type Prediction = u32;
        type Evaluation = Classification;
        const CLASSES: bool = true;

        fn embed(table: &[E], targets: &Labels<$c>) -> Vec<E> {
            classes::embed::<$c, Z, E>(table, targets)
        }

        fn one_hot(targets: &Labels<$c>) -> Vec<E> {
            classes::one_hot(targets)
        }

        fn read<D: Backend<E>, T: Tape<E, D>>(
            latent: Rows<Const<Z>, E, D, T>,
            table: &Tensor<(Const<$c>, Const<Z>), E, D>,
            sharpness: f64,
        ) -> Result<Rows<Const<$c>, E, D, T>, D::Err> {
            classes::read(latent, table, sharpness)
        }

        fn answer<D: Backend<E>>(
            output: Rows<Const<$c>, E, D>,
        ) -> Result<Rows<Const<$c>, E, D>, D::Err> {
            D::softmax(output)
        }

        fn rows(answers: &[E]) -> Vec<[E; $c]> {
            answers.as_chunks().0.to_vec()
        }

        fn predictions(answers: &[E]) -> Vec<u32> {
            classes::predictions::<$c, E>(answers)
        }

        fn row_weights(targets: &Labels<$c>, by_class: &[f64]) -> Vec<E> {
            targets.as_slice().iter().map(|&y| E::of(by_class[y as usize])).collect()
        }

        fn correct(output: &[E], targets: &Labels<$c>) -> usize {
            classes::correct(output, targets)
        }

        fn evaluate(answers: &[E], targets: &Labels<$c>, calls: f64) -> Classification {
            classes::evaluate(answers, targets, calls)
        }
    };
}
pub(super) use class_methods;
