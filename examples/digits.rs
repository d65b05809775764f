//! Ten blocks learn to read handwritten digits, each on its own: no signal crosses from one to the next.
//!
//! ```text
//! cargo run --release --example digits
//! ```

mod common;

use clap::Parser;
use common::learn::{learn_digits, result};
use dfdx_noprop::prelude::*;

/// The latent z is one number for each class, the input x has 8 × 8 pixels, the hidden layers are 128 wide.
type Block = ConditionalResNetDt<10, 64, 128>;

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

const EPOCHS: usize = 40;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let training = &options.training;
    let variant = |seed| DiscreteTime {
        blocks: options.blocks,
        optimizer: training.optimizer(),
        sampler: match options.draws {
            Some(draws) => Sampler::Stochastic { draws, seed },
            None => Sampler::Deterministic,
        },
        seed,
        ..DiscreteTime::default()
    };
    let (digits, learned, accuracy) = learn_digits::<DiscreteTime, Block>(
        training,
        options.repeats,
        &training.fit(EPOCHS),
        variant,
    )?;
    draw(&digits.test, &learned.model.predict(&digits.test.samples()[..6])?);
    if training.json {
        let about = ["dt", "digits"];
        println!("{}", result(about, &digits, &learned, accuracy, (training, EPOCHS)));
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
            let largest = test.input(digit).iter().copied().fold(f32::MIN, f32::max);
            let smallest = test.input(digit).iter().copied().fold(f32::MAX, f32::min);
            // In 9 shades, each twice as wide as it is high in most terminals.
            let level = |pixel: f32| 8.99 * (pixel - smallest) / (largest - smallest);
            let shade = |pixel: &f32| SHADES[(level(*pixel) as usize).min(8)] as char;
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
