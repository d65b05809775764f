//! CIFAR-10 or CIFAR-100 from a folder of its binary files, by the paper's network and any variant.
//!
//! ```text
//! cargo run --release --example cifar -- --data path/to/cifar --checkpoints runs/cifar
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::{Augment, Pixels, Split},
    head::{Classification, Head},
    nn::image::{PaperNetCt, PaperNetDt, PaperNetFm, PaperTrunk32, PlainTrunk32},
    observe::{Progress, ctrl_c, exit_status},
    prelude::*,
    train::{Checkpoints, Ended, Every},
    variant::Variant,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Discrete time
    Dt,
    /// Continuous time
    Ct,
    /// Flow matching
    Fm,
}

/// Trains NoProp on CIFAR-10 or CIFAR-100
#[derive(Parser)]
struct Options {
    /// The folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or with train.bin
    /// and test.bin of CIFAR-100, as they are or gzipped
    #[arg(long)]
    data: PathBuf,
    /// The folder holds CIFAR-100: the 100 fine classes
    #[arg(long)]
    hundred: bool,
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Dt)]
    variant: Kind,
    /// T, the number of blocks (discrete time)
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Neither shift the training images by up to 4 pixels nor mirror half of them
    #[arg(long)]
    as_they_are: bool,
    /// How often each image is learned from
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// The seed of the weights, of the noise, and of the order and the shifts of the images
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder for checkpoints, one an epoch: a run that was stopped, by Ctrl-C or otherwise, goes
    /// on from its last one
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    if options.hundred {
        classes("cifar-100", &data::cifar100(&options.data)?, &options)
    } else {
        classes("cifar-10", &data::cifar10(&options.data)?, &options)
    }
}

/// By a latent as wide as there are classes.
fn classes<const C: usize>(
    name: &str,
    data: &Split<3072, Labels<C>>,
    options: &Options,
) -> Result<(), Error> {
    let Options { blocks, seed, .. } = *options;
    match options.variant {
        Kind::Dt => {
            let variant = DiscreteTime { blocks, seed, ..DiscreteTime::default() };
            train::<DiscreteTime, PaperNetDt<C, PaperTrunk32>, C>(variant, name, data, options)
        }
        Kind::Ct => {
            let variant = ContinuousTime { seed, ..ContinuousTime::default() };
            train::<ContinuousTime, PaperNetCt<C, PlainTrunk32>, C>(variant, name, data, options)
        }
        Kind::Fm => {
            let variant = FlowMatching { seed, ..FlowMatching::default() };
            train::<FlowMatching, PaperNetFm<C, PlainTrunk32>, C>(variant, name, data, options)
        }
    }
}

fn train<V, M, const C: usize>(
    variant: V,
    name: &str,
    data: &Split<3072, Labels<C>>,
    options: &Options,
) -> Result<(), Error>
where
    V: Variant<C, 3072>,
    V::Head: Head<C, f32, Targets = Labels<C>, Evaluation = Classification>,
    M: Suits<V, C, 3072>,
{
    let device = AutoDevice::seed_from_u64(options.seed);
    let mut model = M::model(&device, variant)?;
    let fit = Fit {
        epochs: options.epochs,
        threads: options.threads,
        seed: options.seed,
        // The last steps are small, so that the answer is not where the last batches left it.
        learning_rate: LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } },
        ..Fit::default()
    };
    let mut checkpoints = match &options.checkpoints {
        Some(folder) => Some(Checkpoints::new(folder, Every::Epochs(1), 2)?),
        None => None,
    };
    let found = checkpoints.as_mut().map_or(Ok(false), |saved| saved.resume(&mut model))?;
    let mut seconds = 0.0;
    if !found || model.is_unfinished() {
        let mut progress = Progress::plain();
        let mut training = model.training(&fit).validation(&data.test).observer(&mut progress);
        if let Some(checkpoints) = &mut checkpoints {
            training = training.checkpoints(checkpoints).interrupt(ctrl_c()?);
        }
        if !options.as_they_are {
            let augment = Augment { shift: 4, flip: true, ..Augment::default() };
            training = training.each_batch(move |batch, rng| {
                augment.apply(Pixels::<3, 32, 32>, batch.inputs_mut(), rng);
            });
        }
        let outcome = training.run(&data.train)?;
        if outcome.ended == Ended::Interrupted {
            println!("interrupted; the same command goes on with it");
            std::process::exit(exit_status().unwrap_or(130).into());
        }
        seconds = outcome.epochs.iter().map(|epoch| epoch.seconds).sum();
    }
    let report = model.evaluate(&data.test)?;
    println!("accuracy {:.2} % on {} test images", 100.0 * report.accuracy, report.rows);
    if options.json {
        let result = serde_json::json!({
            "variant": V::NAME,
            "dataset": name,
            "train_rows": data.train.rows(),
            "test_rows": report.rows,
            "test_accuracy": report.accuracy,
            "network_calls": report.network_calls,
            "epochs": options.epochs,
            "train_seconds": seconds,
            "parameters": model.parameters(),
            "threads": fit.thread_count(),
            "seed": options.seed,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}
