//! Training any variant on classes, and the result as one JSON object.

use dfdx_noprop::{
    data::Split,
    head::{Classification, Head},
    prelude::*,
    variant::Variant,
};
use serde_json::{Value, json};

use crate::{peak_rss_mb, show};

/// A variant whose targets are `C` classes, with a latent as wide.
pub trait Classifies<const X: usize, const C: usize = 10>:
    Variant<C, X, f32, AutoDevice, Head = Self::Classes>
{
    type Classes: Head<C, f32, Targets = Labels<C>, Evaluation = Classification>;
}

impl<V, const X: usize, const C: usize> Classifies<X, C> for V
where
    V: Variant<C, X>,
    V::Head: Head<C, f32, Targets = Labels<C>, Evaluation = Classification>,
{
    type Classes = V::Head;
}

/// A trained model, what it reaches on the test rows, and how long training took, evaluation apart.
pub struct Learned<V: Classifies<X, C>, M, const X: usize, const C: usize = 10>
where
    M: BuildOnDevice<AutoDevice, f32>,
{
    pub model: NoProp<V, M, C, X>,
    pub report: Classification,
    pub seconds: f64,
}

/// Trains on the training rows, with the accuracy on the test rows after each epoch on stderr.
pub fn learn<V, M, const X: usize, const C: usize>(
    variant: V,
    data: &Split<X, Labels<C>>,
    fit: &Fit,
) -> Result<Learned<V, M, X, C>, Error>
where
    V: Classifies<X, C>,
    M: Suits<V, C, X>,
{
    let mut model = M::model(&AutoDevice::seed_from_u64(fit.seed), variant)?;
    let reports = model.fit_with(&data.train, fit, |model, report| {
        let accuracy = 100.0 * model.evaluate(&data.test)?.accuracy;
        show(report, &format!("test accuracy {accuracy:6.2} %"))
    })?;
    let seconds = reports.iter().map(|report| report.seconds).sum();
    let report = model.evaluate(&data.test)?;
    Ok(Learned { model, report, seconds })
}

/// What a program says of its last model, with `accuracy` the mean where there were several.
pub fn result<V: Classifies<X, C>, M, const X: usize, const C: usize>(
    [variant, dataset]: [&str; 2],
    data: &Split<X, Labels<C>>,
    learned: &Learned<V, M, X, C>,
    accuracy: f64,
    fit: &Fit,
) -> Value
where
    M: BuildOnDevice<AutoDevice, f32>,
{
    json!({
        "variant": variant,
        "dataset": dataset,
        "train_rows": data.train.rows(),
        "test_rows": data.test.rows(),
        "test_accuracy": accuracy,
        "network_calls": learned.report.network_calls,
        "epochs": fit.epochs,
        "train_seconds": learned.seconds,
        "parameters": learned.model.parameters(),
        "threads": fit.thread_count(),
        "seed": fit.seed,
        "peak_rss_mb": peak_rss_mb(),
    })
}
