//! Flow matching on the handwritten digits: one network moves noise to the target along straight
//! lines.
//!
//! ```text
//! cargo run --release --example fm
//! cargo run --release --example fm -- --by-hand
//! ```

mod common;

use clap::Parser;
use dfdx_noprop::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// v(z, x, t): z has a number for each class, x has 8 × 8 pixels, the hidden layers are 128 wide.
type Network = ConditionalResNetFm<10, 64, 128>;
type Model = NoProp<FlowMatching, Network, 10, 64>;

/// Trains NoProp (flow matching) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    /// How often each digit is learned from
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// How many steps of Heun's method take noise to the target
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Tsitouras' method instead, with steps as long as this relative and absolute tolerance allows
    #[arg(long)]
    tolerance: Option<f64>,
    /// The seed of the weights, of the noise, of the order of the digits, and of the choice of
    /// those for the test
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// Instead of all this, 200 steps written by hand: noise, samples of the target and times are
    /// given as tensors
    #[arg(long)]
    by_hand: bool,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    if options.by_hand {
        return by_hand(options.seed);
    }
    let (name, method, steps) = match options.tolerance {
        None => ("heun", Method::Heun, Steps::Fixed(options.steps)),
        Some(t) => ("tsitouras", Method::Tsitouras, Steps::adaptive(t, t)),
    };
    let solver = Solver { method, steps, save: Save::End };
    let (mut sum, mut loss) = (0.0, 0.0);
    for round in 1..=options.repeats {
        let seed = options.seed + round - 1;
        let digits = data::digits_with_seed(seed)?;
        let variant = FlowMatching { solver: solver.clone(), seed, ..FlowMatching::default() };
        let mut model = Model::new(&AutoDevice::seed_from_u64(seed), variant)?;
        let fit = Fit { epochs: options.epochs, seed, ..Fit::default() };
        let reports = model.fit(&digits.train, &fit)?;

        let report = model.evaluate(&digits.test)?;
        println!(
            "seed {seed}: accuracy {:.2} %, negative log-likelihood {:.3} nats, on {} test digits",
            100.0 * report.accuracy,
            report.negative_log_likelihood,
            report.rows
        );
        sum += report.accuracy;
        loss += report.negative_log_likelihood;
        if round < options.repeats {
            continue;
        }

        let [accuracy, loss] = [sum, loss].map(|sum| sum / options.repeats as f64);
        if options.repeats > 1 {
            println!(
                "mean of {} seeds: accuracy {:.2} %, negative log-likelihood {loss:.3} nats",
                options.repeats,
                100.0 * accuracy
            );
        }
        watch(&model, &digits.test)?;
        if options.json {
            let result = serde_json::json!({
                "variant": "fm",
                "dataset": "digits",
                "train_rows": digits.train.rows(),
                "test_rows": report.rows,
                "test_accuracy": accuracy,
                "negative_log_likelihood": loss,
                "network_calls": report.network_calls,
                "solver": name,
                "epochs": options.epochs,
                "train_seconds": reports.iter().map(|report| report.seconds).sum::<f64>(),
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

/// Five draws of z for the first test digit: where the flow takes noise.
fn watch(model: &Model, test: &Dataset<64, Labels<10>>) -> Result<(), Error> {
    println!("\nfive draws of z_1 for the first test digit, a {}:", test.targets().as_slice()[0]);
    for z in model.sample(&test.samples()[..1], 5, 0)?.concat() {
        let row: String = z.iter().map(|z| format!("{z:6.2}")).collect();
        println!("  {row}");
    }
    Ok(())
}

/// The step beneath `fit`, on the squared error alone: noise z_0, samples z_1 of the target
/// distribution and times t are the caller's own.
fn by_hand(seed: u64) -> Result<(), Error> {
    const ROWS: usize = 128;
    let digits = data::digits_with_seed(seed)?;
    let device = AutoDevice::seed_from_u64(seed);
    let mut model = Model::new(&device, FlowMatching { seed, ..FlowMatching::default() })?;
    let mut rng = StdRng::seed_from_u64(seed);
    for step in 1..=200 {
        let rows: Vec<usize> = (0..ROWS).map(|_| rng.gen_range(0..digits.train.rows())).collect();
        let batch = digits.train.select(&rows);
        let z1 = batch.targets().as_slice().iter().flat_map(|&y| {
            let mut row = [0.0; 10];
            row[y as usize] = 1.0;
            row
        });
        let z0 = device.sample_normal_like(&(ROWS, Const::<10>));
        let z1 = device.tensor_from_vec(z1.collect(), (ROWS, Const::<10>));
        let t = device.sample_uniform_like(&(ROWS,));
        let x = device.tensor_from_vec(batch.inputs().to_vec(), (ROWS, Const::<64>));
        let loss = model.train_step((z0, z1, t), x, &mut rng)?;
        if step % 40 == 0 {
            println!("step {step:>3}: squared error of the velocity {loss:.3}");
        }
    }
    let report = model.evaluate(&digits.test)?;
    println!("accuracy {:.2} % on {} test digits", 100.0 * report.accuracy, report.rows);
    Ok(())
}
