//! Training any variant on classes, and the result as one JSON object.

use std::path::Path;

use dfdx_noprop::{
    data::Split,
    head::{Classification, Head, SuitsHead},
    nn::Denoises,
    observe::ctrl_c,
    prelude::*,
    train::{Checkpoints, Every},
    variant::Variant,
};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Training, peak_rss_mb, show};

/// A variant whose targets are `C` classes, with a latent as wide.
pub trait Classifies<const X: usize, const C: usize = 10>:
    Variant<C, X, f32, AutoDevice, Head = Self::Classes>
{
    type Classes: Head<C, f32, Targets = Labels<C>, Evaluation = Classification>;
}

impl<V, const X: usize, const C: usize> Classifies<X, C> for V
where
    V: Variant<C, X, f32, AutoDevice>,
    V::Head: Head<C, f32, Targets = Labels<C>, Evaluation = Classification>,
{
    type Classes = V::Head;
}

/// A trained model, what it reaches on the test rows, and how long training took, evaluation apart.
pub struct Learned<V: Classifies<X, C>, M, const X: usize, const C: usize = 10>
where
    M: dfdx::nn::BuildOnDevice<AutoDevice, f32>,
{
    pub model: NoProp<V, M, C, X>,
    pub report: Classification,
    pub seconds: f64,
}

/// Where checkpoints go, if anywhere, and what is done to the images of a batch before they are learned from.
#[derive(Default)]
pub struct How<'a, const X: usize> {
    pub checkpoints: Option<&'a Path>,
    #[allow(clippy::type_complexity)]
    pub change: Option<&'a dyn Fn(&mut [[f32; X]], &mut ChaCha8Rng)>,
}

/// Trains on the training rows, with the accuracy on the test rows after each epoch on stderr.
pub fn learn<V, M, const X: usize, const C: usize>(
    variant: V,
    data: &Split<X, Labels<C>>,
    fit: &Fit,
    how: How<'_, X>,
) -> Result<Learned<V, M, X, C>, Error>
where
    V: Classifies<X, C>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, C>,
    AutoDevice: Runs<V, M, C, X>,
{
    let mut model = NoProp::<V, M, C, X>::new(&AutoDevice::seed_from_u64(fit.seed), variant)?;
    let mut saving = match how.checkpoints {
        Some(folder) => Some(Checkpoints::new(folder, Every::Epochs(1), 2)?),
        None => None,
    };
    let found = saving.as_mut().map_or(Ok(false), |saving| saving.resume(&mut model))?;
    let mut seconds = 0.0;
    if !found || model.is_unfinished() {
        let mut training = model.training(fit).each_epoch(|model, report| {
            seconds += report.seconds;
            let accuracy = 100.0 * model.evaluate(&data.test)?.accuracy;
            show(report, &format!("test accuracy {accuracy:6.2} %"))
        });
        if let Some(change) = how.change {
            training = training.each_batch(|batch, rng| change(batch.inputs_mut(), rng));
        }
        if let Some(saving) = &mut saving {
            training = training.checkpoints(saving).interrupt(ctrl_c()?);
        }
        training.run(&data.train)?;
    }
    let report = model.evaluate(&data.test)?;
    Ok(Learned { model, report, seconds })
}

/// What every classifying example says of its last model, with `accuracy` the mean where there were several.
pub fn result<V: Classifies<X, C>, M, const X: usize, const C: usize>(
    [variant, dataset]: [&str; 2],
    data: &Split<X, Labels<C>>,
    learned: &Learned<V, M, X, C>,
    accuracy: f64,
    (training, epochs): (&Training, usize),
) -> Value
where
    M: dfdx::nn::BuildOnDevice<AutoDevice, f32>,
{
    let fit = training.fit(epochs);
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
        "seed": training.seed,
        "peak_rss_mb": peak_rss_mb(),
    })
}

/// The digits with seeds from `training.seed` on, trained as `fit` says: the last split and model, and the mean of the accuracies.
#[allow(clippy::type_complexity)]
pub fn learn_digits<V, M>(
    training: &Training,
    repeats: u64,
    fit: &Fit,
    variant: impl Fn(u64) -> V,
) -> Result<(Split<64, Labels<10>>, Learned<V, M, 64>, f64), Error>
where
    V: Classifies<64>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 10>,
    AutoDevice: Runs<V, M, 10, 64>,
{
    let (mut sum, mut seed) = (0.0, training.seed);
    loop {
        let digits = data::digits_with_seed(seed)?;
        let fit = Fit { seed, ..fit.clone() };
        let learned = learn::<V, M, 64, 10>(variant(seed), &digits, &fit, How::default())?;
        let report = &learned.report;
        println!("seed {seed}: {:.2} % of {} test digits", 100.0 * report.accuracy, report.rows);
        sum += report.accuracy;
        seed += 1;
        let done = seed - training.seed;
        if done >= repeats {
            let mean = sum / done as f64;
            if done > 1 {
                println!("mean of {done} seeds: {:.2} %", 100.0 * mean);
            }
            return Ok((digits, learned, mean));
        }
    }
}
