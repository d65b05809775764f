//! A whole run from a file of settings, into a folder that holds all of it, and on from there after
//! a stop.
//!
//! ```text
//! cargo run --release --example train -- --config examples/train/digits.json
//! cargo run --release --example train -- --config examples/train/digits.json --resume
//! ```
//!
//! A run that Ctrl-C has stopped ends with status 130.

mod config;
#[path = "../common/quiet.rs"]
mod quiet;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;
use config::{Config, Data, Mathematics};
use dfdx_noprop::{
    data::Split,
    head::{Classification, Head},
    observe::{Csv, JsonLines, Plots, Progress, ctrl_c, exit_status},
    prelude::*,
    train::{Checkpoints, Ended, Observer},
    variant::Variant,
};

/// Trains from a file of settings; Ctrl-C stops with a checkpoint
#[derive(Parser)]
struct Options {
    /// The settings, as JSON: `data` is "digits" or {"idx": "path/to/mnist"}, `mathematics` has
    /// `discrete_time`, `continuous_time` or `flow_matching`. What is left out has its default; all
    /// settings are written into the run's folder
    #[arg(long)]
    config: PathBuf,
    /// Go on with the last checkpoint in the run's folder
    #[arg(long)]
    resume: bool,
    /// A line for each epoch instead of a progress bar
    #[arg(long)]
    plain: bool,
}

fn main() -> Answer {
    quiet::when_stdout_closes();
    let options = Options::parse();
    let config = config::read(&options.config)?;
    match &config.data {
        Data::Digits => {
            let data = data::digits_with_seed(config.fit.seed)?;
            by_variant::<64, ConditionalResNetDt<10, 64, 128>, ConditionalResNetCt<10, 64, 128>>(
                &config, data, &options,
            )
        }
        Data::Idx(folder) => {
            let data = data::mnist(folder)?;
            by_variant::<784, ConditionalResNetDt<10, 784, 256>, ConditionalResNetCt<10, 784, 256>>(
                &config, data, &options,
            )
        }
    }
}

type Answer = Result<ExitCode, Box<dyn std::error::Error>>;

fn by_variant<const X: usize, Untimed, Timed>(
    config: &Config,
    data: Split<X, Labels<10>>,
    options: &Options,
) -> Answer
where
    Untimed: Suits<DiscreteTime, 10, X>,
    Timed: Suits<ContinuousTime, 10, X> + Suits<FlowMatching, 10, X>,
{
    match config.mathematics.clone() {
        Mathematics::DiscreteTime(v) => run::<_, Untimed, X>(v, config, data, options),
        Mathematics::ContinuousTime(v) => run::<_, Timed, X>(*v, config, data, options),
        Mathematics::FlowMatching(v) => run::<_, Timed, X>(v, config, data, options),
    }
}

fn run<V, M, const X: usize>(
    variant: V,
    config: &Config,
    data: Split<X, Labels<10>>,
    options: &Options,
) -> Answer
where
    V: Variant<10, X>,
    V::Head: Head<10, f32, Targets = Labels<10>, Evaluation = Classification>,
    M: Suits<V, 10, X>,
{
    let folder = &config.folder;
    let mut saving =
        Checkpoints::new(folder.join("checkpoints"), config.checkpoint, config.keep_last)?;
    let mut model = M::model(&AutoDevice::seed_from_u64(config.fit.seed), variant)?;
    let found = saving.folder().latest()?.is_some();
    if found && !options.resume {
        let folder = folder.display();
        return Err(format!(
            "{folder} holds a run: go on with it by --resume, or name another folder"
        )
        .into());
    }
    if options.resume && saving.resume(&mut model)? {
        println!("on from step {}, epoch {}", model.steps(), model.epochs());
    }
    fs::write(folder.join("config.json"), config::text(config)?)?;
    if !found || model.is_unfinished() {
        let split = data.train.split_stratified(config.validation, config.fit.seed)?;
        let bar = if options.plain { Progress::plain() } else { Progress::new() };
        let mut observers: Vec<Box<dyn Observer>> = vec![
            Box::new(bar),
            Box::new(JsonLines::append(folder.join("metrics.jsonl"))?),
            Box::new(Csv::epochs(folder.join("epochs.csv"))?),
            Box::new(Plots::new(folder.join("plots"))?),
        ];
        let mut training = model.training(&config.fit).validation(&split.test);
        for observer in &mut observers {
            training = training.observer(observer);
        }
        let training = training.checkpoints(&mut saving).interrupt(ctrl_c()?);
        let ended = training.run(&split.train)?.ended;
        println!("{ended}");
        if ended == Ended::Interrupted {
            let config = options.config.display();
            println!("to go on with it: --config {config} --resume");
            return Ok(ExitCode::from(exit_status().unwrap_or(130)));
        }
    }
    let answer = match config.fit.average {
        Some(_) => model.averaged()?.evaluate(&data.test)?,
        None => model.evaluate(&data.test)?,
    };
    println!("accuracy {:.2} % on {} test rows", 100.0 * answer.accuracy, answer.rows);
    println!("negative log-likelihood {:.4} nats", answer.negative_log_likelihood);
    println!("calibration error {:.4} (0 to 1)", answer.calibration_error);
    println!("everything is in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}
