//! Digits, or MNIST, with no derivative at all: each block learns from how its loss changes under
//! noise.
//!
//! ```text
//! cargo run --release --example gradient_free
//! cargo run --release --example gradient_free -- --estimator weight
//! cargo run --release --example gradient_free -- --data path/to/mnist --epochs 10
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::Split,
    gradient::{Noise, Shaping},
    observe::Progress,
    prelude::*,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Reverse mode inside each block, to compare with
    Local,
    /// Noise on all weights at once
    Weight,
    /// Noise on what each layer gives, for each row
    Activity,
}

/// Trains NoProp (discrete time) without derivatives
#[derive(Parser)]
struct Options {
    /// How blocks get their gradient
    #[arg(long, value_enum, default_value_t = Kind::Activity)]
    estimator: Kind,
    /// σ, the size of the noise
    #[arg(long, default_value_t = 0.01)]
    noise_scale: f64,
    /// How many directions are tried in a step, each both ways: 8 for activity noise, 16 for weight
    /// noise if not given
    #[arg(long)]
    directions: Option<usize>,
    /// Draw directions from the normal distribution instead of from signs
    #[arg(long)]
    normal: bool,
    /// Weight noise: the ranks of the losses instead of the losses
    #[arg(long)]
    ranks: bool,
    /// How often each row is learned from
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// The step size of AdamW at the start: 0.005 for the digits, 0.002 for MNIST if not given
    #[arg(long)]
    learning_rate: Option<f64>,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// The seed of the weights, of the noise, of the order of the rows, and of the choice of digits
    /// for the test
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// The folder of MNIST's four files; the digits that the crate carries if not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    match &options.data {
        None => train("digits", &options, 5e-3, data::digits_with_seed),
        // More units, whose estimates have more noise in them: smaller steps.
        Some(folder) => train("mnist", &options, 2e-3, |_| data::mnist(folder)),
    }
}

fn train<const X: usize>(
    dataset: &str,
    options: &Options,
    learning_rate: f64,
    data: impl Fn(u64) -> Result<Split<X, Labels<10>>, Error>,
) -> Result<(), Error> {
    let learning_rate = options.learning_rate.unwrap_or(learning_rate);
    let mut sum = 0.0;
    for round in 1..=options.repeats {
        let seed = options.seed + round - 1;
        let data = data(seed)?;
        let variant = DiscreteTime {
            optimizer: AdamW { learning_rate, ..AdamW::default() }.into(),
            estimator: estimator(options),
            seed,
            ..DiscreteTime::default()
        };
        type Block<const X: usize> = ConditionalResNetDt<10, X, 64>;
        let device = AutoDevice::seed_from_u64(seed);
        let mut model = NoProp::<DiscreteTime, Block<X>, 10, X>::new(&device, variant)?;
        let fit = Fit {
            epochs: options.epochs,
            threads: options.threads,
            seed,
            // It falls along a cosine: the last steps average the noise of the estimates out.
            learning_rate: LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } },
            ..Fit::default()
        };
        let epochs = model.training(&fit).observer(&mut Progress::plain()).run(&data.train)?.epochs;

        let report = model.evaluate(&data.test)?;
        println!(
            "seed {seed}: accuracy {:.2} % on {} test rows",
            100.0 * report.accuracy,
            report.rows
        );
        sum += report.accuracy;
        if round < options.repeats {
            continue;
        }

        let accuracy = sum / options.repeats as f64;
        if options.repeats > 1 {
            println!("mean of {} seeds: accuracy {:.2} %", options.repeats, 100.0 * accuracy);
        }
        if options.json {
            let result = serde_json::json!({
                "variant": "dt",
                "dataset": dataset,
                "train_rows": data.train.rows(),
                "test_rows": report.rows,
                "test_accuracy": accuracy,
                "network_calls": report.network_calls,
                "epochs": options.epochs,
                "train_seconds": epochs.iter().map(|epoch| epoch.seconds).sum::<f64>(),
                "parameters": model.parameters(),
                "threads": fit.thread_count(),
                "seed": options.seed,
                "peak_rss_mb": common::peak_rss_mb(),
            });
            println!("{result}");
        }
    }
    Ok(())
}

fn estimator(options: &Options) -> Estimator {
    let noise_scale = options.noise_scale;
    let noise = if options.normal { Noise::Normal } else { Noise::Signs };
    match options.estimator {
        Kind::Local => Estimator::Local,
        Kind::Weight => {
            let directions = options.directions.unwrap_or(16);
            let shaping = if options.ranks { Shaping::Ranks } else { Shaping::Losses };
            WeightNoise { noise_scale, directions, noise, shaping }.into()
        }
        Kind::Activity => {
            let directions = options.directions.unwrap_or(8);
            ActivityNoise { noise_scale, directions, noise }.into()
        }
    }
}
