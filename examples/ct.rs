//! Continuous time on the handwritten digits: one network on (z, x, t), and an ODE from noise to
//! the answer.
//!
//! ```text
//! cargo run --release --example ct
//! cargo run --release --example ct -- --sde --schedule learned
//! ```

mod common;

use clap::{Parser, ValueEnum};
use dfdx_noprop::prelude::*;

/// û(z, x, t): z has a number for each class, x has 8 × 8 pixels, the hidden layers are 128 wide.
type Network = ConditionalResNetCt<10, 64, 128>;
type Model = NoProp<ContinuousTime, Network, 10, 64>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Curve {
    Linear,
    Cosine,
    Sigmoid,
    /// Trained with the network
    Learned,
}

/// Trains NoProp (continuous time) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    /// How often each digit is learned from
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// How the noise falls with time
    #[arg(long, value_enum, default_value_t = Curve::Cosine)]
    schedule: Curve,
    /// Read answers off the SDE, from noise by Euler-Maruyama, instead of the ODE, from zero by
    /// Heun's method
    #[arg(long)]
    sde: bool,
    /// How many steps of equal length inference takes
    #[arg(long, default_value_t = 10)]
    steps: usize,
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
        let mut model = Model::new(&AutoDevice::seed_from_u64(seed), variant(&options, seed))?;
        let fit = Fit { epochs: options.epochs, seed, ..Fit::default() };
        let reports = model.fit(&digits.train, &fit)?;

        let report = model.evaluate(&digits.test)?;
        println!(
            "seed {seed}: accuracy {:.2} % on {} test digits",
            100.0 * report.accuracy,
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
        watch(&mut model, &digits.test, options.steps)?;
        if options.json {
            let result = serde_json::json!({
                "variant": "ct",
                "dataset": "digits",
                "train_rows": digits.train.rows(),
                "test_rows": report.rows,
                "test_accuracy": accuracy,
                "network_calls": report.network_calls,
                "solver": if options.sde { "euler-maruyama" } else { "heun" },
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

fn variant(options: &Options, seed: u64) -> ContinuousTime {
    let path = match options.schedule {
        Curve::Linear => Path::Linear,
        Curve::Cosine => Path::Cosine,
        Curve::Sigmoid => Path::Sigmoid,
        Curve::Learned => Path::Learned(MonotoneNetwork::default()),
    };
    let inference = match options.sde {
        true => Inference::Sde { steps: options.steps, draws: 1, seed },
        false => Inference::Ode(heun(options.steps, Save::End)),
    };
    let schedule = GammaSchedule { path, ..GammaSchedule::default() };
    ContinuousTime { schedule, inference, seed, ..ContinuousTime::default() }
}

fn heun(steps: usize, save: Save) -> Solver {
    Solver { method: Method::Heun, steps: Steps::Fixed(steps), save }
}

/// How z of the first test digit grows from nothing to the embedding of its class, along the
/// probability-flow ODE.
fn watch(model: &mut Model, test: &Dataset<64, Labels<10>>, steps: usize) -> Result<(), Error> {
    model.set_inference(Inference::Ode(heun(steps, Save::Steps)))?;
    let device = AutoDevice::default();
    let x = device.tensor_from_vec(test.input(0).to_vec(), (1, Const::<64>));
    let z0 = device.zeros_like(&(1, Const::<10>));
    let path = model.integrate_trajectory(z0, x, 0.0, 1.0)?;
    println!("\nz of the first test digit, a {}, over t:", test.targets().as_slice()[0]);
    for (t, z) in path.times.iter().zip(&path.states) {
        let row: String = z.as_vec().iter().map(|z| format!("{z:6.2}")).collect();
        println!("  t = {t:4.2}  {row}");
    }
    println!("{} steps, {} calls of the network, {}", path.accepted, path.calls, path.status);
    Ok(())
}
