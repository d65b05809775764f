//! What observers cost: the same run with and without observers, in turns.
//!
//! ```text
//! cargo run --release -p experiments --bin observing
//! ```

use std::time::Instant;

use clap::Parser;
use dfdx_noprop::{
    observe::{Csv, JsonLines, Plots, Progress},
    prelude::*,
};

type Block = ConditionalResNetDt<10, 64, 128>;
type Model = NoProp<DiscreteTime, Block, 10, 64>;

/// Times runs with and without a progress bar, metrics of every step, and plots
#[derive(Parser)]
struct Options {
    /// How many runs of each kind
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// How many epochs a run has
    #[arg(long, default_value_t = 20)]
    epochs: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let digits = data::digits()?;
    let folder = std::env::temp_dir().join(format!("noprop-observing-{}", std::process::id()));
    let fit = Fit { epochs: options.epochs, ..Fit::default() };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for run in 0..2 * options.runs {
        let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
        let start = Instant::now();
        if run % 2 == 0 {
            model.training(&fit).run(&digits.train)?;
            without.push(start.elapsed().as_secs_f64());
        } else {
            model
                .training(&fit)
                .observer(&mut Progress::new())
                .observer(&mut JsonLines::create(folder.join("metrics.jsonl"))?)
                .observer(&mut Csv::steps(folder.join("steps.csv"))?)
                .observer(&mut Csv::epochs(folder.join("epochs.csv"))?)
                .observer(&mut Plots::new(&folder)?)
                .run(&digits.train)?;
            with.push(start.elapsed().as_secs_f64());
        }
    }
    std::fs::remove_dir_all(&folder)?;
    let (a, b) = (summary("without observers", without), summary("with all of them", with));
    println!("observers cost {:.1} % (of the medians)", 100.0 * (b / a - 1.0));
    Ok(())
}

/// Prints and returns the median.
fn summary(what: &str, mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
    println!(
        "a run {what} takes {median:.3} s (median of {}; from {least:.3} to {most:.3})",
        seconds.len()
    );
    median
}
