//! Digits, or MNIST, with no derivative at all: each block learns from how its loss changes under noise.
//!
//! ```text
//! cargo run --release --example gradient_free
//! cargo run --release --example gradient_free -- --estimator weight
//! cargo run --release --example gradient_free -- --data path/to/mnist --epochs 10
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::learn::{How, learn, learn_digits, result};
use dfdx_noprop::{
    gradient::{Noise, Shaping},
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
    #[command(flatten)]
    training: common::Training,
    /// How blocks get their gradient
    #[arg(long, value_enum, default_value_t = Kind::Activity)]
    estimator: Kind,
    /// σ, the size of the noise
    #[arg(long)]
    noise_scale: Option<f64>,
    /// How many directions are tried in a step, each both ways: 8 for activity noise, 16 for weight noise if not given
    #[arg(long)]
    directions: Option<usize>,
    /// Draw directions from the normal distribution, and not from signs
    #[arg(long)]
    normal: bool,
    /// Weight noise: the ranks of the losses in the place of the losses
    #[arg(long)]
    ranks: bool,
    /// The weight of the cross-entropy on each block's own logits
    #[arg(long, default_value_t = 1.0)]
    cross_entropy: f64,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies (digits)
    #[arg(long, default_value_t = 1)]
    repeats: u64,
    /// The folder of MNIST's four files, in the place of the digits
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Options {
    fn estimator(&self) -> Estimator {
        let noise = if self.normal { Noise::Normal } else { Noise::Signs };
        match self.estimator {
            Kind::Local => Estimator::Local,
            Kind::Weight => WeightNoise {
                noise_scale: self.noise_scale.unwrap_or(0.01),
                directions: self.directions.unwrap_or(16),
                noise,
                shaping: if self.ranks { Shaping::Ranks } else { Shaping::Losses },
            }
            .into(),
            Kind::Activity => ActivityNoise {
                noise_scale: self.noise_scale.unwrap_or(0.01),
                directions: self.directions.unwrap_or(8),
                noise,
            }
            .into(),
        }
    }

    /// The learning rate falls along a cosine: the last steps average the noise of the estimates out.
    fn fit(&self, epochs: usize) -> Fit {
        let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
        Fit { learning_rate, ..self.training.fit(epochs) }
    }

    fn variant(&self, seed: u64) -> DiscreteTime {
        DiscreteTime {
            blocks: self.blocks,
            cross_entropy: self.cross_entropy,
            // MNIST has more units, whose estimates have more noise in them.
            optimizer: self.training.optimizer_at(if self.data.is_some() { 2e-3 } else { 5e-3 }),
            estimator: self.estimator(),
            seed,
            ..DiscreteTime::default()
        }
    }
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let training = &options.training;
    let output = match &options.data {
        None => {
            type Block = ConditionalResNetDt<10, 64, 64>;
            let variant = |seed| options.variant(seed);
            let (digits, learned, accuracy) = learn_digits::<DiscreteTime, Block>(
                training,
                options.repeats,
                &options.fit(EPOCHS),
                variant,
            )?;
            result(["dt", "digits"], &digits, &learned, accuracy, (training, EPOCHS))
        }
        Some(folder) => {
            type Block = ConditionalResNetDt<10, 784, 64>;
            let mnist = data::mnist(folder)?;
            let fit = options.fit(EPOCHS);
            let how = How { checkpoints: training.checkpoints.as_deref(), change: None };
            let variant = options.variant(training.seed);
            let learned = learn::<DiscreteTime, Block, 784, 10>(variant, &mnist, &fit, how)?;
            let accuracy = learned.report.accuracy;
            println!("{:.2} % of {} test images", 100.0 * accuracy, learned.report.rows);
            result(["dt", "mnist"], &mnist, &learned, accuracy, (training, EPOCHS))
        }
    };
    if training.json {
        println!("{output}");
    }
    Ok(())
}

const EPOCHS: usize = 100;
