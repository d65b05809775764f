//! What all heads with classes share.

use num_traits::Float;

use super::{Classification, Confusion};
use crate::{device::Real, score::Reliability};

/// The row of the embedding of each label, `[rows, width]`.
pub(super) fn embed<E: Real>(embedding: &[E], width: usize, labels: &[u32]) -> Vec<E> {
    let rows: Vec<usize> = labels.iter().map(|&y| y as usize).collect();
    crate::data::select_wide(embedding, width, &rows)
}

/// 1 at the class of each row and 0 elsewhere, `[rows, classes]`.
pub(super) fn one_hot<E: Real>(classes: usize, labels: &[u32]) -> Vec<E> {
    let mut out = vec![E::zero(); labels.len() * classes];
    for (row, &y) in out.chunks_exact_mut(classes.max(1)).zip(labels) {
        row[y as usize] = E::one();
    }
    out
}

/// The class with the largest number in each row; the first of equals.
pub(crate) fn predictions<E: Real>(classes: usize, rows: &[E]) -> Vec<u32> {
    let largest = |row: &[E]| {
        let first = (0, E::neg_infinity());
        row.iter().enumerate().fold(first, |best, (c, &v)| if v > best.1 { (c, v) } else { best }).0
    };
    rows.chunks_exact(classes.max(1)).map(|row| largest(row) as u32).collect()
}

/// Probabilities, `[rows, classes]`, against the truth.
pub(super) fn evaluate<E: Real>(
    classes: usize,
    probabilities: &[E],
    labels: &[u32],
    calls: f64,
) -> Classification {
    let rows = labels.len();
    let of = |sum: f64| if rows == 0 { f64::NAN } else { sum / rows as f64 };
    // A probability that underflows counts as the smallest number there is, so that one row is not
    // everything.
    let log = |p: E| Float::max(p, E::min_positive_value()).as_f64().ln();
    let mut confusion = Confusion::default();
    let (mut likelihood, mut correct) = (0.0, 0);
    let predicted = predictions(classes, probabilities);
    for ((row, &y), &guess) in
        probabilities.chunks_exact(classes.max(1)).zip(labels).zip(&predicted)
    {
        likelihood += log(row[y as usize]);
        confusion.add(y, guess);
        correct += usize::from(y == guess);
    }
    let answers = probabilities.chunks_exact(classes.max(1));
    let confidences = answers.zip(&predicted).map(|(row, &guess)| row[guess as usize].as_f64());
    let right = labels.iter().zip(&predicted).map(|(y, guess)| y == guess);
    let reliability = Reliability::of(confidences.zip(right));
    Classification {
        rows,
        correct,
        accuracy: of(correct as f64),
        negative_log_likelihood: -of(likelihood),
        calibration_error: reliability.calibration_error(),
        reliability,
        confusion,
        network_calls: calls,
    }
}

/// The methods of [`Head`](super::Head) in which heads with classes do not differ.
macro_rules! class_methods {
    ($c:ident) => {
        type Targets = Labels<$c>;
        type Row = [E; $c];
        type Prediction = u32;
        #[cfg(feature = "ndarray")]
        type Predictions = ndarray::Array1<u32>;
        type Evaluation = Classification;
        const CLASSES: bool = true;

        fn target_rows(targets: &Labels<$c>) -> TargetRows<'_, E> {
            TargetRows::Labels(targets.as_slice().into())
        }

        fn rows(answers: &[E]) -> Vec<[E; $c]> {
            answers.as_chunks().0.to_vec()
        }

        fn predictions(answers: &[E]) -> Vec<u32> {
            classes::predictions($c, answers)
        }

        #[cfg(feature = "ndarray")]
        fn prediction_array(answers: &[E]) -> ndarray::Array1<u32> {
            classes::predictions($c, answers).into()
        }

        fn evaluation(evaluation: Evaluation) -> Option<Classification> {
            match evaluation {
                Evaluation::Classes(report) => Some(report),
                Evaluation::Numbers(_) => None,
            }
        }
    };
}
pub(super) use class_methods;
