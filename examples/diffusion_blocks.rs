//! Blocks that each denoise their own part of the noise, on the handwritten digits or MNIST.
//!
//! ```text
//! cargo run --release --example diffusion_blocks
//! cargo run --release --example diffusion_blocks -- --blocks 6 --partition information --repeats 5
//! cargo run --release --example diffusion_blocks -- --data path/to/mnist
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{data::Split, prelude::*};

/// û(z, x, σ): z has a number for each class, x has 8 × 8 pixels, the hidden layers are 128 wide.
type OnDigits = ConditionalResNetCt<10, 64, 128>;
/// The same for MNIST's 28 × 28 pixels, 256 wide.
type OnMnist = ConditionalResNetCt<10, 784, 256>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Parts {
    /// As much of the noise that is drawn for each block
    Probability,
    /// As much of the label's information for each block
    Information,
    /// Parts of the same width in ln σ
    Widths,
}

/// Trains DiffusionBlocks on the 1,797 handwritten digits that the crate carries, or on MNIST
#[derive(Parser)]
struct Options {
    /// A folder with MNIST's four files, gzipped or not, to train on instead of the digits
    #[arg(long)]
    data: Option<PathBuf>,
    /// B, the number of blocks
    #[arg(long, default_value_t = 3)]
    blocks: usize,
    /// How the noise is shared out among the blocks
    #[arg(long, value_enum, default_value_t = Parts::Probability)]
    partition: Parts,
    /// How many steps of Euler's method each block takes in inference
    #[arg(long, default_value_t = 1)]
    steps: usize,
    /// How often each image is learned from; if not given 60 for the digits, 5 for MNIST
    #[arg(long)]
    epochs: Option<usize>,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// The seed of the weights, of the noise, of the order of the images, and of the choice of
    /// those digits for the test
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
    match &options.data {
        Some(folder) => {
            let mnist = data::mnist(folder)?;
            // The last steps are small, so that the answer is not where the last batches left it.
            let decay = Decay::Cosine { floor: 0.01 };
            let fit = Fit {
                epochs: options.epochs.unwrap_or(5),
                learning_rate: LearningRate { warm_up: 0, decay },
                ..Fit::default()
            };
            repeat::<OnMnist, 784>(&options, "mnist", fit, |_| Ok(mnist.clone()))
        }
        None => {
            let fit = Fit { epochs: options.epochs.unwrap_or(60), ..Fit::default() };
            repeat::<OnDigits, 64>(&options, "digits", fit, data::digits_with_seed)
        }
    }
}

/// Trains with each seed, on what `split` gives for it.
fn repeat<M: Suits<DiffusionBlocks, 10, X>, const X: usize>(
    options: &Options,
    dataset: &str,
    fit: Fit,
    split: impl Fn(u64) -> Result<Split<X, Labels<10>>, Error>,
) -> Result<(), Error> {
    let (mut accuracies, mut losses, mut seconds) = (Vec::new(), Vec::new(), 0.0);
    for round in 1..=options.repeats {
        let seed = options.seed + round - 1;
        let data = split(seed)?;
        let device = AutoDevice::seed_from_u64(seed);
        let mut model = M::model(&device, variant(options, seed))?;
        let fit = Fit { threads: options.threads, seed, ..fit.clone() };
        let reports = model.fit(&data.train, &fit)?;
        seconds += reports.iter().map(|report| report.seconds).sum::<f64>();

        let report = model.evaluate(&data.test)?;
        println!(
            "seed {seed}: accuracy {:.2} %, negative log-likelihood {:.3} nats, on {} test images",
            100.0 * report.accuracy,
            report.negative_log_likelihood,
            report.rows
        );
        accuracies.push(report.accuracy);
        losses.push(report.negative_log_likelihood);
        if round < options.repeats {
            continue;
        }

        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        let (accuracy, loss) = (mean(&accuracies), mean(&losses));
        if options.repeats > 1 {
            let least = accuracies.iter().copied().fold(f64::INFINITY, f64::min);
            let most = accuracies.iter().copied().fold(0.0, f64::max);
            println!(
                "mean of {} seeds: accuracy {:.2} % ({:.1} to {:.1}), negative log-likelihood \
                 {loss:.3} nats",
                options.repeats,
                100.0 * accuracy,
                100.0 * least,
                100.0 * most
            );
        }
        let shares = parts(&model)?;
        if options.json {
            let result = serde_json::json!({
                "variant": "blocks",
                "dataset": dataset,
                "partition": format!("{:?}", options.partition).to_lowercase(),
                "blocks": options.blocks,
                "edges": model.noise_parts().edges(),
                "information": shares,
                "train_rows": data.train.rows(),
                "test_rows": report.rows,
                "test_accuracy": accuracy,
                "negative_log_likelihood": loss,
                "network_calls": report.network_calls,
                "epochs": fit.epochs,
                "train_seconds": seconds,
                "parameters": model.parameters(),
                "threads": fit.thread_count(),
                "seed": options.seed,
                "repeats": options.repeats,
                "peak_rss_mb": common::peak_rss_mb(),
            });
            println!("{result}");
        }
    }
    Ok(())
}

fn variant(options: &Options, seed: u64) -> DiffusionBlocks {
    let (blocks, noise) = (options.blocks, NoiseDistribution::default());
    let partition = match options.partition {
        Parts::Probability => Partition::EqualProbability,
        Parts::Information => Partition::EqualInformation,
        Parts::Widths => {
            let ratio = noise.sigma_max / noise.sigma_min;
            let edge = |b: usize| noise.sigma_min * ratio.powf(b as f64 / blocks as f64);
            Partition::Edges((1..blocks).map(edge).collect())
        }
    };
    let solver =
        Solver { method: Method::Euler, steps: Steps::Fixed(options.steps), save: Save::End };
    DiffusionBlocks { blocks, partition, noise, solver, seed, ..DiffusionBlocks::default() }
}

/// Each block's part of the noise, and what its z says of the label before x is looked at.
fn parts<M: Suits<DiffusionBlocks, 10, X>, const X: usize>(
    model: &NoProp<DiffusionBlocks, M, 10, X>,
) -> Result<Vec<f64>, Error> {
    let parts = model.noise_parts();
    let shares = parts.information(model.embedding().as_chunks::<10>().0)?;
    println!("\n| block | σ from | to | of the label in z | to |\n|---|---|---|---|---|");
    for t in 1..=parts.blocks() {
        let ([lo, hi], low) = (parts.part(t), parts.blocks() - t);
        let [most, least] = [shares[low], shares[low + 1]].map(|share| 100.0 * share);
        println!("| {t} | {hi:.4} | {lo:.4} | {least:.1} % | {most:.1} % |");
    }
    Ok(shares)
}
