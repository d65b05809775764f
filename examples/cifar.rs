//! CIFAR-10 or CIFAR-100 from a folder of its binary files, by the paper's network and any variant.
//!
//! ```text
//! cargo run --release --example cifar -- --data path/to/cifar-10-batches-bin --checkpoints runs/cifar
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::learn::{Classifies, How, learn, result};
use dfdx_noprop::{
    data::{Augment, Pixels, Split},
    head::SuitsHead,
    nn::{
        Denoises,
        image::{PaperNetCt, PaperNetDt, PaperNetFm, PaperTrunk32, PlainTrunk32},
    },
    prelude::*,
};
use rand_chacha::ChaCha8Rng;

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
    #[command(flatten)]
    training: common::Training,
    /// The folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or with train.bin and test.bin of CIFAR-100,
    /// as they are or gzipped
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
}

const EPOCHS: usize = 100;

fn main() -> Result<(), Error> {
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
    let (optimizer, seed) = (options.training.optimizer(), options.training.seed);
    match options.variant {
        Kind::Dt => {
            let blocks = options.blocks;
            let variant = DiscreteTime { blocks, optimizer, seed, ..DiscreteTime::default() };
            train::<DiscreteTime, PaperNetDt<C, PaperTrunk32>, C>(variant, name, data, options)
        }
        Kind::Ct => {
            let variant = ContinuousTime { optimizer, seed, ..ContinuousTime::default() };
            train::<ContinuousTime, PaperNetCt<C, PlainTrunk32>, C>(variant, name, data, options)
        }
        Kind::Fm => {
            let variant = FlowMatching { optimizer, seed, ..FlowMatching::default() };
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
    V: Classifies<3072, C>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, C>,
    AutoDevice: Runs<V, M, C, 3072>,
{
    let training = &options.training;
    let augment = Augment { shift: 4, flip: true, ..Augment::default() };
    let change = |images: &mut [[f32; 3072]], rng: &mut ChaCha8Rng| {
        augment.apply(Pixels::<3, 32, 32>, images, rng);
    };
    let mut how = How { checkpoints: training.checkpoints.as_deref(), change: None };
    if !options.as_they_are {
        how.change = Some(&change);
    }
    let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
    let fit = Fit { learning_rate, ..training.fit(EPOCHS) };
    let learned = learn::<V, M, 3072, C>(variant, data, &fit, how)?;
    let report = &learned.report;
    println!("{:.2} % of {} test images", 100.0 * report.accuracy, report.rows);
    if training.json {
        let about = [V::NAME, name];
        println!("{}", result(about, data, &learned, report.accuracy, (training, EPOCHS)));
    }
    Ok(())
}
