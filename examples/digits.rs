//! Ten blocks learn to read handwritten digits, each on its own: no signal crosses from one to the
//! next.
//!
//! ```text
//! cargo run --release --example digits
//! ```

mod common;

use clap::Parser;
use dfdx_noprop::prelude::*;

/// The latent z is one number for each class, the input x has 8 × 8 pixels, the hidden layers are
/// 128 wide.
type Block = ConditionalResNetDt<10, 64, 128>;
type Model = NoProp<DiscreteTime, Block, 10, 64>;

/// Trains NoProp (discrete time) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    /// How often each digit is learned from
    #[arg(long, default_value_t = 40)]
    epochs: usize,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// The seed of the weights, of the noise, of the order of the digits, and of the choice of
    /// those for the test
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    let mut sum = 0.0;
    for round in 1..=options.repeats {
        let seed = options.seed + round - 1;
        let digits = data::digits_with_seed(seed)?;
        let variant = DiscreteTime { blocks: options.blocks, seed, ..DiscreteTime::default() };
        let mut model = Model::new(&AutoDevice::seed_from_u64(seed), variant)?;

        let Options { epochs, threads, .. } = options;
        let fit = Fit { epochs, threads, seed, ..Fit::default() };
        let reports = model.fit(&digits.train, &fit)?;
        let seconds: f64 = reports.iter().map(|report| report.seconds).sum();

        let report = model.evaluate(&digits.test)?;
        let percent = 100.0 * report.accuracy;
        println!(
            "seed {seed}: accuracy {percent:.2} % on {} test digits, after {seconds:.1} s of training",
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
        draw(&digits.test, &model.predict(&digits.test.samples()[..6])?);
        if options.json {
            let result = serde_json::json!({
                "variant": "dt",
                "dataset": "digits",
                "train_rows": digits.train.rows(),
                "test_rows": report.rows,
                "test_accuracy": accuracy,
                "network_calls": report.network_calls,
                "epochs": epochs,
                "train_seconds": seconds,
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

/// The first test digits as text, side by side; below each what it is, and what it was taken for.
fn draw(test: &Dataset<64, Labels<10>>, predicted: &[u32]) {
    /// As wide as the longest text, and two spaces.
    const PLACE: usize = 18;
    const SHADES: &[u8; 9] = b" .:-=+*%@";
    println!();
    for row in 0..8 {
        for digit in 0..predicted.len() {
            let pixels = &test.input(digit)[8 * row..8 * row + 8];
            let largest = test.input(digit).iter().copied().fold(f32::MIN, f32::max);
            let smallest = test.input(digit).iter().copied().fold(f32::MAX, f32::min);
            // In 9 shades, each twice as wide as it is high in most terminals.
            let level = |pixel: f32| 8.99 * (pixel - smallest) / (largest - smallest);
            let shade = |pixel: &f32| SHADES[(level(*pixel) as usize).min(8)] as char;
            let line: String = pixels.iter().flat_map(|p| [shade(p); 2]).collect();
            print!("{line:<PLACE$}");
        }
        println!();
    }
    let truth = test.targets().as_slice();
    for truth in &truth[..predicted.len()] {
        print!("{:<PLACE$}", format!("this is a {truth},"));
    }
    println!();
    for (predicted, truth) in predicted.iter().zip(truth) {
        let verdict = if predicted == truth { "right" } else { "wrong" };
        print!("{:<PLACE$}", format!("read as {predicted}: {verdict}"));
    }
    println!();
}
