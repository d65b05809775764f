//! The same network by NoProp and by back-propagation end to end: accuracy, time and memory side by side.
//!
//! ```text
//! cargo run --release --example backprop
//! cargo run --release --example backprop -- --data path/to/mnist --net small --epochs 2
//! ```
//!
//! Both have the same blocks with the same first weights, the same optimiser and learning rates, the same data in batches of the same
//! size, and answer in the same way: the walk through all blocks without noise. NoProp trains each block on a noised target of
//! its own; back-propagation sends the cross-entropy of the last block's logits back through all of them.

#[path = "../common/mod.rs"]
mod common;
mod end_to_end;

use std::{path::PathBuf, process::Command, time::Instant};

use clap::{Parser, ValueEnum};
use common::{
    learn::{How, learn},
    peak_rss_mb,
};
use dfdx_noprop::{
    data::Split,
    head::SuitsHead,
    nn::{
        Denoises,
        image::{PaperNetDt, SmallNetDt},
    },
    optim::{OptimizerState, Stepping},
    prelude::*,
};
use end_to_end::{Batch, loss, zeros};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Net {
    /// The conditional ResNet, one hidden width of 128 for digits and 256 for MNIST
    Mlp,
    /// Two convolutions with batch norm (MNIST)
    Small,
    /// The paper's network: three convolutions (MNIST)
    Paper,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Method {
    /// Each block by itself
    Noprop,
    /// Through all blocks
    Backprop,
    /// One after the other, in a process each, so that each has a peak of memory of its own
    Both,
}

/// Trains one network by NoProp (discrete time) and by back-propagation
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// The folder of MNIST's four files; the digits that the crate carries if not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which network
    #[arg(long, value_enum, default_value_t = Net::Mlp)]
    net: Net,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// How to train
    #[arg(long, value_enum, default_value_t = Method::Both)]
    train: Method,
}

const EPOCHS: usize = 5;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    if options.train == Method::Both {
        return both(options.training.json);
    }
    let result = match (&options.data, options.net) {
        (None, Net::Mlp) => {
            let digits = data::digits_with_seed(options.training.seed)?;
            one::<ConditionalResNetDt<10, 64, 128>, 64>(&options, &digits)?
        }
        (None, net) => {
            let expected = "--data DIR, since the digits have no images of 28 × 28 pixels";
            return Err(Error::Config {
                setting: "--net",
                expected: expected.into(),
                found: format!("{net:?}"),
            });
        }
        (Some(folder), net) => {
            let mnist = data::mnist(folder)?;
            match net {
                Net::Mlp => one::<ConditionalResNetDt<10, 784, 256>, 784>(&options, &mnist)?,
                Net::Small => one::<SmallNetDt<10>, 784>(&options, &mnist)?,
                Net::Paper => one::<PaperNetDt<10>, 784>(&options, &mnist)?,
            }
        }
    };
    println!("{result}");
    Ok(())
}

/// This program for each method, and a table of what they say.
fn both(json: bool) -> Result<(), Error> {
    let failed = |operation| move |source| Error::Io { path: "backprop".into(), operation, source };
    let program = std::env::current_exe().map_err(failed("find"))?;
    println!("| | test accuracy | training, s | peak memory, MB |\n|---|---|---|---|");
    let mut results = Vec::new();
    for method in ["noprop", "backprop"] {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1)).args(["--train", method]);
        let output =
            command.stderr(std::process::Stdio::inherit()).output().map_err(failed("run"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let Some(result) =
            said.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok())
        else {
            return Err(Error::Config {
                setting: "--train",
                expected: format!("a result of {method}"),
                found: output.status.to_string(),
            });
        };
        let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
        let accuracy = 100.0 * number("test_accuracy");
        let (seconds, memory) = (number("train_seconds"), number("peak_rss_mb"));
        println!("| {method} | {accuracy:.2} % | {seconds:.1} | {memory:.0} |");
        results.push(result);
    }
    if json {
        println!("{}", Value::from(results));
    }
    Ok(())
}

fn one<M, const X: usize>(options: &Options, data: &Split<X, Labels<10>>) -> Result<Value, Error>
where
    M: Denoises<Pair<10, X>>,
    M::Gives: SuitsHead<OneHot, 10>,
    AutoDevice: Runs<DiscreteTime, M, 10, X>,
{
    let training = &options.training;
    let variant = DiscreteTime {
        blocks: options.blocks,
        optimizer: training.optimizer(),
        seed: training.seed,
        ..DiscreteTime::default()
    };
    let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
    let fit = Fit { learning_rate, ..training.fit(EPOCHS) };
    let (accuracy, seconds, parameters) = match options.train {
        Method::Backprop => backprop::<M, X>(variant, data, &fit)?,
        _ => {
            let learned = learn::<DiscreteTime, M, X, 10>(variant, data, &fit, How::default())?;
            (learned.report.accuracy, learned.seconds, learned.model.parameters())
        }
    };
    Ok(json!({
        "method": format!("{:?}", options.train).to_lowercase(),
        "net": format!("{:?}", options.net).to_lowercase(),
        "dataset": if options.data.is_some() { "mnist" } else { "digits" },
        "blocks": options.blocks,
        "epochs": fit.epochs,
        "test_accuracy": accuracy,
        "train_seconds": seconds,
        "peak_rss_mb": peak_rss_mb(),
        "parameters": parameters,
        "threads": fit.thread_count(),
        "seed": training.seed,
    }))
}

/// Accuracy, seconds of training, and how many parameters there are.
fn backprop<M, const X: usize>(
    variant: DiscreteTime,
    data: &Split<X, Labels<10>>,
    fit: &Fit,
) -> Result<(f64, f64, usize), Error>
where
    M: Denoises<Pair<10, X>>,
    M::Gives: SuitsHead<OneHot, 10>,
    AutoDevice: Runs<DiscreteTime, M, 10, X>,
{
    let dev = AutoDevice::seed_from_u64(fit.seed);
    let (optimizer, blocks) = (variant.optimizer, variant.blocks);
    // Its blocks are trained from outside; it has the levels, and it answers.
    let mut model = NoProp::<DiscreteTime, M, 10, X>::new(&dev, variant)?;
    let levels = model.levels().clone();
    let failed = || device("back-propagation");
    let mut gradients =
        zeros(&dev, model.blocks().iter().map(|block| block.module())).map_err(failed())?;
    let mut states = vec![OptimizerState::default(); blocks];
    // The threads share large operations.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(fit.thread_count()).build_global();
    threads.map_err(device("starting threads"))?;
    let total = (fit.epochs * data.train.rows().div_ceil(fit.batch_size)) as u64;
    let (mut step, mut seconds) = (0, 0.0);
    let mut rng = rand::rngs::StdRng::seed_from_u64(fit.seed);
    let mut order: Vec<usize> = (0..data.train.rows()).collect();
    for epoch in 1..=fit.epochs {
        let (start, mut sum) = (Instant::now(), 0.0);
        order.shuffle(&mut rng);
        for rows in order.chunks(fit.batch_size) {
            step += 1;
            let rate = fit.learning_rate.share(step, total);
            let stepping = Stepping { rate, ..optimizer.into() };
            let batch = batch(&dev, &data.train.select(rows)).map_err(failed())?;
            let modules = model.blocks_mut().iter_mut().map(|block| block.module_mut());
            let loss = loss::<M, 10, X, _, _>(modules, &levels, &batch, gradients);
            let loss = loss.map_err(failed())?;
            sum += loss.array() * rows.len() as f32;
            gradients = loss.try_backward().map_err(failed())?;
            for (block, state) in model.blocks_mut().iter_mut().zip(&mut states) {
                let step = state.update(&stepping, block.module_mut(), &mut gradients);
                step.map_err(failed())?;
            }
        }
        seconds += start.elapsed().as_secs_f64();
        let accuracy = 100.0 * model.evaluate(&data.test)?.accuracy;
        eprintln!(
            "epoch {epoch:>3}/{}   loss {:8.4}   test accuracy {accuracy:6.2} %   {:5.2} s",
            fit.epochs,
            sum / data.train.rows() as f32,
            start.elapsed().as_secs_f64()
        );
    }
    Ok((model.evaluate(&data.test)?.accuracy, seconds, model.parameters()))
}

/// Rows on the device.
fn batch<const X: usize>(
    dev: &AutoDevice,
    rows: &Dataset<X, Labels<10>>,
) -> Result<Batch<10, X, f32, AutoDevice>, <AutoDevice as HasErr>::Err> {
    let x = dev.try_tensor_from_vec(rows.inputs().to_vec(), (rows.rows(), Const))?;
    let mut truth = vec![0.0; 10 * rows.rows()];
    for (row, &label) in truth.chunks_mut(10).zip(rows.targets().as_slice()) {
        row[label as usize] = 1.0;
    }
    Ok(Batch { x, truth: dev.try_tensor_from_vec(truth, (rows.rows(), Const))? })
}

fn device<S: std::fmt::Display>(operation: &'static str) -> impl FnOnce(S) -> Error {
    move |source| Error::Device { operation, message: source.to_string() }
}
