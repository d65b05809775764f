//! What the examples share: options, progress on stderr, and the result as one JSON object.
#![allow(dead_code)]

pub mod learn;
pub mod time;

use std::ops::ControlFlow;

use clap::Args;
use dfdx_noprop::{prelude::*, train::EpochReport};
use serde_json::{Value, json};

/// What every training example can be told.
#[derive(Args, Clone, Debug)]
pub struct Training {
    /// How often each row is learned from
    #[arg(long)]
    pub epochs: Option<usize>,
    /// How many rows make a step
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// How many threads train blocks; all of the processor's if not given. The weights do not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// The seed of the weights, of the order of the rows, of the noise, and of the split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The step size of AdamW, in the place of the example's own
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// The weight decay of AdamW
    #[arg(long, default_value_t = 1e-3)]
    pub weight_decay: f64,
    /// A folder for checkpoints, one an epoch: a run that was stopped goes on from its last one
    #[arg(long)]
    pub checkpoints: Option<std::path::PathBuf>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    pub json: bool,
}

impl Training {
    pub fn fit(&self, epochs: usize) -> Fit {
        Fit {
            epochs: self.epochs.unwrap_or(epochs),
            batch_size: self.batch,
            threads: self.threads,
            seed: self.seed,
            ..Fit::default()
        }
    }

    /// AdamW with a step size of 1e-3.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer_at(1e-3)
    }

    /// AdamW with this step size, unless another was asked for.
    pub fn optimizer_at(&self, learning_rate: f64) -> Optimizer {
        AdamW {
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            weight_decay: self.weight_decay,
            ..AdamW::default()
        }
        .into()
    }
}

/// One line for an epoch, on stderr.
pub fn show(report: &EpochReport, score: &str) -> Result<ControlFlow<()>, Error> {
    say(format!(
        "epoch {:>3}/{}   loss {:8.4}   {score}   {:5.2} s",
        report.epoch, report.epochs, report.loss, report.seconds
    ));
    Ok(ControlFlow::Continue(()))
}

/// A line on stderr, in one piece: `eprintln!` writes it in several, and other processes' pieces may come between.
pub fn say(line: String) {
    eprint!("{}", line + "\n");
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
