//! Ten blocks learn to read handwritten digits, each on its own: no signal crosses from one to the next.
//!
//! ```text
//! cargo run --release --example digits
//! ```

mod common;

use clap::Parser;
use dfdx_noprop::prelude::*;
use serde_json::json;

/// The latent z is one number for each class, the input x has 8 × 8 pixels, the hidden layers are 128 wide.
type Block = ConditionalResNetDt<10, 64, 128>;
type Model = NoProp<DiscreteTime, Block, 10, 64>;

/// Trains NoProp (discrete time) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Average this many noisy draws in inference; the answer without noise if not given
    #[arg(long)]
    draws: Option<usize>,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1)]
    repeats: u64,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut accuracies = Vec::new();
    let mut seconds = 0.0;
    let mut last = None;
    for seed in (options.training.seed..).take(options.repeats.max(1) as usize) {
        let raw = data::digits_rows()?.split_stratified(0.2, seed)?;
        let digits = raw.clone().standardised_overall()?;
        let variant = DiscreteTime {
            blocks: options.blocks,
            optimizer: options.training.optimizer(),
            sampler: match options.draws {
                Some(draws) => Sampler::Stochastic { draws, seed },
                None => Sampler::Deterministic,
            },
            seed,
            ..DiscreteTime::default()
        };
        let mut model = Model::new(&AutoDevice::default(), variant)?;
        let fit = Fit { seed, ..options.training.fit(40) };
        model.fit_with(&digits.train, &fit, |model, report| {
            seconds += report.seconds;
            let accuracy = 100.0 * model.evaluate(&digits.test)?.accuracy;
            common::show(report, &format!("test accuracy {accuracy:6.2} %"))
        })?;
        let accuracy = model.evaluate(&digits.test)?.accuracy;
        println!("seed {seed}: {:.2} % of {} test digits", 100.0 * accuracy, digits.test.rows());
        accuracies.push(accuracy);
        last = Some((model, digits, raw));
    }
    let Some((model, digits, raw)) = last else { return Ok(()) };
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    if accuracies.len() > 1 {
        println!("mean of {} seeds: {:.2} %", accuracies.len(), 100.0 * mean);
    }
    draw(&raw.test, &model.predict(&digits.test.samples()[..6])?);
    if options.training.json {
        let result = json!({
            "variant": "dt",
            "dataset": "digits",
            "train_rows": digits.train.rows(),
            "test_rows": digits.test.rows(),
            "test_accuracy": mean,
            "epochs": options.training.fit(40).epochs,
            "train_seconds": seconds,
            "parameters": model.parameters(),
            "threads": options.training.fit(40).thread_count(),
            "seed": options.training.seed,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}

/// The first test digits as text, side by side, with what they are and what they were taken for.
fn draw(test: &Dataset<64, Labels<10>>, predicted: &[u32]) {
    const SHADES: &[u8; 9] = b" .:-=+*%@";
    println!();
    for row in 0..8 {
        for digit in 0..predicted.len() {
            let pixels = &test.input(digit)[8 * row..8 * row + 8];
            // 0 to 16 in 9 shades, each twice as wide as it is high in most terminals.
            let shade = |pixel: &f32| SHADES[(*pixel as usize / 2).min(8)] as char;
            let line: String = pixels.iter().flat_map(|p| [shade(p); 2]).collect();
            print!("{line}  ");
        }
        println!();
    }
    for (digit, predicted) in predicted.iter().enumerate() {
        let truth = test.targets().as_slice()[digit];
        let verdict = if *predicted == truth { "" } else { " (wrong)" };
        print!("{:<18}", format!("{truth} read as {predicted}{verdict}"));
    }
    println!();
}
