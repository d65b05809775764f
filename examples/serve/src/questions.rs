//! What can be asked of a model.

use dfdx_noprop::{AnyPredictor, Error};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The answers.
    Answer,
    /// The answers on the way from noise to target.
    Along,
}

/// Times from 0 (noise) to 1 (target), each with answers, row-major.
pub type Points = Vec<(f64, Vec<f32>)>;

/// The model's answers to rows; for [`Question::Answer`] one point, at time 1.
///
/// # Errors
/// Those of [`AnyPredictor::predict_proba`].
pub fn compute(model: &AnyPredictor, question: Question, rows: &[f32]) -> Result<Points, Error> {
    match question {
        Question::Along => model.predict_along(rows),
        Question::Answer if model.has_classes() => Ok(vec![(1.0, model.predict_proba(rows)?)]),
        Question::Answer => Ok(vec![(1.0, model.predict_values(rows)?)]),
    }
}

/// Whether a row has the same answer, but for rounding, whatever other rows come with it. Not so
/// where noise depends on the place of a row, nor where a solver chooses its steps for all rows
/// together.
///
/// # Errors
/// Those of [`compute`].
pub fn rows_are_independent(model: &AnyPredictor) -> Result<bool, Error> {
    let rows = vec![0.0; 2 * model.inputs()];
    let answers = compute(model, Question::Answer, &rows)?;
    let (first, second) = answers[0].1.split_at(model.outputs());
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * a.abs().max(b.abs());
    Ok(first.iter().zip(second).all(close) && !model.predict_along(&rows)?.is_empty())
}
