//! Digits, or MNIST, with the blocks on several processes or machines.
//!
//! ```text
//! cargo build --release --features mpi --example distributed
//! mpirun -n 4 target/release/examples/distributed
//! mpirun -n 4 target/release/examples/distributed --data path/to/mnist --checkpoints runs/mpi
//! ```
//!
//! Each rank prints what it holds, what it has sent, and what the whole model reaches.

mod common;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::Split,
    distributed::{Communicator, Rows, Settings},
    head::{Classification, Head},
    observe::Progress,
    prelude::*,
    train::{Checkpoints, Every},
    variant::Variant,
};
use serde_json::json;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Discrete time: each rank has some of the blocks
    Dt,
    /// Continuous time: each rank has the network, and learns from its part of each batch
    Ct,
    /// Flow matching: the same
    Fm,
}

/// Trains NoProp on all processes that mpirun starts
#[derive(Parser)]
struct Options {
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Dt)]
    variant: Kind,
    /// T, the number of blocks, in discrete time
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Learn the embedding of the classes too: its gradient is the one thing that blocks share
    #[arg(long)]
    learned: bool,
    /// Each rank keeps its part of the training rows alone
    #[arg(long)]
    own_rows: bool,
    /// The seconds that a rank waits for another before it takes it for dead
    #[arg(long, default_value_t = 300.0)]
    time_out: f64,
    /// Write the weights of the whole model into this file, as safetensors
    #[arg(long)]
    export: Option<PathBuf>,
    /// The folder of MNIST's four files; the digits that the crate carries if not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// How often each row is learned from
    #[arg(long, default_value_t = 40)]
    epochs: usize,
    /// How many threads each rank has; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// The seed of the weights, of the noise, of the order of the rows, and of the choice of digits
    /// for the test
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder for checkpoints, one an epoch: a run that was stopped goes on from its last one, on
    /// any number of ranks
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    /// Print the result of each rank as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("process {}: {error}", std::process::id()));
            ExitCode::FAILURE
        }
    }
}

/// A line on stderr, in one piece, so that other processes' pieces do not come between.
fn say(line: String) {
    // Nobody has to read it.
    let _ = std::io::stderr().write_all((line + "\n").as_bytes());
}

fn train() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    let time_out = Duration::try_from_secs_f64(options.time_out).unwrap_or_default();
    let rows = if options.own_rows { Rows::Own } else { Rows::All };
    let ranks = Communicator::mpi(Settings { time_out, rows })?;
    match &options.data {
        None => with_data(&options, &ranks, &data::digits_with_seed(options.seed)?),
        Some(folder) => with_data(&options, &ranks, &data::mnist(folder)?),
    }
}

fn with_data<const X: usize>(
    options: &Options,
    ranks: &Communicator,
    data: &Split<X, Labels<10>>,
) -> Result<(), Error> {
    let Options { blocks, seed, .. } = *options;
    match (options.variant, options.learned) {
        (Kind::Dt, false) => {
            let variant = DiscreteTime { blocks, seed, ..DiscreteTime::default() };
            run::<DiscreteTime, ConditionalResNetDt<10, X, 128>, X>(options, ranks, data, variant)
        }
        (Kind::Dt, true) => {
            type Variant = DiscreteTime<Learned<10>>;
            let variant = Variant { blocks, seed, ..Variant::default() };
            run::<Variant, ConditionalResNetDt<10, X, 128>, X>(options, ranks, data, variant)
        }
        (Kind::Ct, _) => {
            let variant = ContinuousTime { seed, ..ContinuousTime::default() };
            run::<ContinuousTime, ConditionalResNetCt<10, X, 128>, X>(options, ranks, data, variant)
        }
        (Kind::Fm, _) => {
            let variant = FlowMatching { seed, ..FlowMatching::default() };
            run::<FlowMatching, ConditionalResNetFm<10, X, 128>, X>(options, ranks, data, variant)
        }
    }
}

fn run<V, M, const X: usize>(
    options: &Options,
    ranks: &Communicator,
    data: &Split<X, Labels<10>>,
    variant: V,
) -> Result<(), Error>
where
    V: Variant<10, X>,
    V::Head: Head<10, f32, Targets = Labels<10>, Evaluation = Classification>,
    M: Suits<V, 10, X>,
{
    let rank = ranks.rank();
    let mut model = M::distributed(&AutoDevice::seed_from_u64(options.seed), variant, ranks)?;
    let own: Vec<_> = model.blocks().iter().map(|block| block.t()).collect();
    let process = std::process::id();
    say(format!("rank {rank} of {}: process {process}, blocks {own:?}", ranks.ranks()));
    let rows = match options.own_rows {
        true => &data.train.part(rank, ranks.ranks())?,
        false => &data.train,
    };
    let mut saving = match &options.checkpoints {
        Some(folder) => Some(Checkpoints::new(folder, Every::Epochs(1), 2)?),
        None => None,
    };
    if let Some(saving) = &mut saving {
        saving.resume(&mut model)?;
    }
    let Options { epochs, threads, seed, .. } = *options;
    let (fit, mut progress) = (Fit { epochs, threads, seed, ..Fit::default() }, Progress::plain());
    let mut training = model.training(&fit).validation(&data.test);
    if rank == 0 {
        training = training.observer(&mut progress);
    }
    if let Some(saving) = &mut saving {
        training = training.checkpoints(saving);
    }
    let reports = training.run(rows)?.epochs;
    let seconds: f64 = reports.iter().map(|report| report.seconds).sum();
    let (sent, link) = (ranks.traffic(), ranks.measure()?);
    let report = model.evaluate(&data.test)?;
    if let Some(path) = &options.export {
        model.export(path)?;
    }
    if rank == 0 {
        println!("accuracy {:.2} % on {} test rows", 100.0 * report.accuracy, report.rows);
    }
    if options.json {
        let output = json!({
            "rank": rank,
            "ranks": ranks.ranks(),
            "blocks": own,
            "parameters": model.parameters(),
            "test_accuracy": report.accuracy,
            "train_seconds": seconds,
            "bytes_sent": sent,
            "link": link,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{output}");
    }
    Ok(())
}
