//! What the programs share: options, progress on stderr, memory, and the result as one JSON object.

mod learn;

use std::{io::Write, ops::ControlFlow};

use clap::Args;
use dfdx_noprop::{prelude::*, train::EpochReport};
pub use learn::{Classifies, Learned, learn, result};
use serde_json::{Value, json};

/// What every program that trains can be told.
#[derive(Args, Clone, Debug)]
pub struct Training {
    /// How many rows make a step
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// The seed of the weights, of the order of the rows, of the noise, and of the split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The weight decay of AdamW
    #[arg(long, default_value_t = 1e-3)]
    pub weight_decay: f64,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    pub json: bool,
}

impl Training {
    /// A run of this many epochs.
    pub fn fit(&self, epochs: usize) -> Fit {
        let Self { batch: batch_size, threads, seed, .. } = *self;
        let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
        Fit { epochs, batch_size, threads, seed, learning_rate, ..Fit::default() }
    }

    /// AdamW with this step size.
    pub fn optimizer(&self, learning_rate: f64) -> Optimizer {
        let weight_decay = self.weight_decay;
        AdamW { learning_rate, weight_decay, ..AdamW::default() }.into()
    }
}

/// One line for an epoch, on stderr.
pub fn show(report: &EpochReport, score: &str) -> Result<ControlFlow<()>, Error> {
    say(format!(
        "epoch {:>3}/{}   loss minimised {:8.4}   {score}   {:5.2} s",
        report.epoch, report.epochs, report.minimised, report.seconds
    ));
    Ok(ControlFlow::Continue(()))
}

/// A line on stderr, in one piece, so that other processes' pieces do not come between.
pub fn say(line: String) {
    // Nobody has to read it.
    let _ = std::io::stderr().write_all((line + "\n").as_bytes());
}

/// The most memory that this process has held, in MB; null where the system does not say.
pub fn peak_rss_mb() -> Value {
    memory_mb("VmHWM:")
}

/// The memory that this process holds, in MB; null where the system does not say.
pub fn rss_mb() -> Value {
    memory_mb("VmRSS:")
}

/// Makes the peak what is held now, where the system can do it (proc(5), `clear_refs`).
pub fn forget_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn memory_mb(name: &str) -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(Value::Null, |kb| json!((kb / 102.4).round() / 10.0))
}
