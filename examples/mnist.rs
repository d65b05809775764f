//! MNIST or Fashion-MNIST from a folder of idx files.
//!
//! ```text
//! cargo run --release --example mnist -- --data path/to/mnist
//! ```

mod common;

use std::path::PathBuf;

use clap::Parser;
use dfdx_noprop::prelude::*;
use serde_json::json;

type Block = ConditionalResNetDt<10, 784, 256>;
type Model = NoProp<DiscreteTime, Block, 10, 784>;

/// Trains NoProp (discrete time) on MNIST or Fashion-MNIST
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// The folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    /// t10k-labels-idx1-ubyte, as they are or gzipped
    #[arg(long)]
    data: PathBuf,
    /// The folder holds Fashion-MNIST: changes nothing but the name in the result
    #[arg(long)]
    fashion: bool,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// The weight of the cross-entropy on each block's own logits; 0 for the paper's loss
    #[arg(long, default_value_t = 1.0)]
    cross_entropy: f64,
    /// Train on this many rows only, the first ones
    #[arg(long)]
    rows: Option<usize>,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut mnist = data::mnist(&options.data)?;
    if let Some(rows) = options.rows {
        let rows: Vec<usize> = (0..rows.min(mnist.train.rows())).collect();
        mnist.train = mnist.train.select(&rows);
    }
    let variant = DiscreteTime {
        blocks: options.blocks,
        cross_entropy: options.cross_entropy,
        optimizer: options.training.optimizer(),
        seed: options.training.seed,
        ..DiscreteTime::default()
    };
    let mut model = Model::new(&AutoDevice::default(), variant)?;
    let fit = options.training.fit(5);
    let mut seconds = 0.0;
    model.fit_with(&mnist.train, &fit, |model, report| {
        seconds += report.seconds;
        let accuracy = 100.0 * model.evaluate(&mnist.test)?.accuracy;
        common::show(report, &format!("test accuracy {accuracy:6.2} %"))
    })?;
    let test = model.evaluate(&mnist.test)?;
    println!("{:.2} % of {} test images", 100.0 * test.accuracy, test.rows);
    if options.training.json {
        let result = json!({
            "variant": "dt",
            "dataset": if options.fashion { "fashion-mnist" } else { "mnist" },
            "train_rows": mnist.train.rows(),
            "test_rows": mnist.test.rows(),
            "test_accuracy": test.accuracy,
            "epochs": fit.epochs,
            "train_seconds": seconds,
            "parameters": model.parameters(),
            "threads": fit.thread_count(),
            "seed": options.training.seed,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}
