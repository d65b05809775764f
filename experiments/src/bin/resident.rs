//! What it costs to have a few blocks in memory and the others in a file: the largest memory and
//! the time of a step, by the number of blocks. `--resident 0` is all of them in memory.

use clap::Parser;
use dfdx_noprop::{
    prelude::*,
    train::{Checkpoints, Every},
};
use experiments::peak_rss_mb;
use serde_json::json;

type Block = ConditionalResNetDt<10, 64, 256>;

/// Trains blocks of width 256 on the digits.
#[derive(Parser)]
struct Options {
    /// How many blocks there are.
    #[arg(long, default_value_t = 100)]
    blocks: usize,
    /// How many are in memory; 0 for all.
    #[arg(long, default_value_t = 2)]
    resident: usize,
    /// How often each row is learned from.
    #[arg(long, default_value_t = 2)]
    epochs: usize,
    /// Where checkpoints go, one for each epoch, and the file with the blocks; none for no
    /// checkpoints, and the system's folder for temporary files.
    #[arg(long)]
    checkpoints: Option<std::path::PathBuf>,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let digits = data::digits()?;
    let variant = DiscreteTime { blocks: options.blocks, ..DiscreteTime::default() };
    let mut model = NoProp::<DiscreteTime, Block, 10, 64>::new(&AutoDevice::default(), variant)?;
    let resident = (options.resident > 0).then_some(options.resident);
    let fit = Fit { epochs: options.epochs, resident, ..Fit::default() };
    let start = std::time::Instant::now();
    let reports = match &options.checkpoints {
        Some(folder) => {
            let mut checkpoints = Checkpoints::new(folder, Every::Epochs(1), 1)?;
            checkpoints.resume(&mut model)?;
            model.training(&fit).checkpoints(&mut checkpoints).run(&digits.train)?.epochs
        }
        None => model.fit(&digits.train, &fit)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let steps = (model.steps().max(1) * options.blocks as u64) as f64;
    // Of the last epoch: the first one has no file to read.
    let last = reports.last().map_or(0.0, |report| report.seconds);
    let trained = peak_rss_mb();
    let accuracy = model.evaluate(&digits.test)?.accuracy;
    println!(
        "{}",
        json!({
            "blocks": options.blocks,
            "resident": options.resident,
            "parameters": model.parameters(),
            "seconds": seconds,
            "milliseconds_per_step_and_block": 1e3 * last / (steps / options.epochs as f64),
            "peak_rss_mb_training": trained,
            "peak_rss_mb": peak_rss_mb(),
            "test_accuracy": accuracy,
        })
    );
    Ok(())
}
