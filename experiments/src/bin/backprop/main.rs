//! NoProp in discrete time beside back-propagation through the same network: accuracy, time and
//! memory.
//!
//! ```text
//! cargo run --release -p experiments --bin backprop -- --repeats 5
//! cargo run --release -p experiments --bin backprop -- --data path/to/mnist --net small --epochs 2
//! ```
//!
//! The same for both: the blocks and their initial weights, the walk of inference from z_0 to the
//! last block's logits, the rows, the batch size, the epochs, the optimiser with its schedule, and
//! the threads. Different: back-propagation learns by the cross-entropy of the last block's logits
//! alone, on the z that the blocks before it make; NoProp by a loss for each block, on targets with
//! noise. The order of the rows is random in both, by streams of their own.

mod end_to_end;
mod table;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::Split,
    device::Execute,
    head::SuitsHead,
    nn::{
        Denoises,
        image::{PaperNetDt, SmallNetDt},
    },
    prelude::*,
};
use end_to_end::EndToEnd;
use experiments::{Learned, Training, forget_peak_rss, learn, result, rss_mb, show};

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Net {
    /// The conditional ResNet: one hidden width of 128 for the digits, of 256 for MNIST
    Mlp,
    /// Two convolutions with batch norm, for MNIST
    Small,
    /// The paper's network: three convolutions, for MNIST
    Paper,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Train {
    /// Each block by itself
    Noprop,
    /// All blocks as one network, end to end
    Backprop,
    /// One after the other, each in a process of its own
    Both,
}

/// Trains the same network by NoProp (discrete time) and by back-propagation
#[derive(Parser)]
#[command(args_override_self = true)]
struct Options {
    #[command(flatten)]
    training: Training,
    /// How often each row is learned from; 40 times for the digits and 5 times for MNIST if not
    /// given
    #[arg(long)]
    epochs: Option<usize>,
    /// The step size of AdamW, at the start
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// A folder of idx files: MNIST or Fashion-MNIST. The digits that the crate carries if not
    /// given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which network
    #[arg(long, value_enum, default_value_t = Net::Mlp)]
    net: Net,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Noise on the way from z_0 to the answer, in back-propagation's training too, and this many
    /// draws averaged for an answer; no noise if not given
    #[arg(long)]
    draws: Option<usize>,
    /// What is trained
    #[arg(long, value_enum, default_value_t = Train::Both)]
    train: Train,
    /// Train with this many seeds, from --seed on
    #[arg(long, default_value_t = 1)]
    repeats: u64,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    if options.train == Train::Both || options.repeats != 1 {
        return table::side_by_side(&options);
    }
    match (&options.data, options.net) {
        (None, Net::Mlp) => {
            let digits = data::digits_with_seed(options.training.seed)?;
            train::<ConditionalResNetDt<10, 64, 128>, 64>(&options, ("digits", 40), &digits)
        }
        (None, _) => Err(Error::Config {
            setting: "--net",
            expected: "mlp for the digits, or --data".to_owned(),
            found: name(options.net),
        }),
        (Some(folder), net) => {
            let (mnist, about) = (data::mnist(folder)?, ("mnist", 5));
            match net {
                Net::Mlp => {
                    train::<ConditionalResNetDt<10, 784, 256>, 784>(&options, about, &mnist)
                }
                Net::Small => train::<SmallNetDt<10>, 784>(&options, about, &mnist),
                Net::Paper => train::<PaperNetDt<10>, 784>(&options, about, &mnist),
            }
        }
    }
}

/// The name of an option's value.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn train<M, const X: usize>(
    options: &Options,
    (dataset, epochs): (&str, usize),
    data: &Split<X, Labels<10>>,
) -> Result<(), Error>
where
    M: Denoises<Pair<10, X>>,
    M::Gives: SuitsHead<OneHot, 10>,
    AutoDevice: Runs<DiscreteTime, M, 10, X> + Execute<EndToEnd<M, 10, X>>,
{
    let (training, seed) = (&options.training, options.training.seed);
    let sampler = match options.draws {
        Some(draws) => Sampler::Stochastic { draws, seed },
        None => Sampler::Deterministic,
    };
    let variant = DiscreteTime {
        blocks: options.blocks,
        sampler,
        optimizer: training.optimizer(options.learning_rate),
        seed,
        ..DiscreteTime::default()
    };
    let fit = training.fit(options.epochs.unwrap_or(epochs));
    // The peak is that of training, not of reading files.
    let before = rss_mb();
    forget_peak_rss();
    let learned = match options.train {
        Train::Noprop => learn::<DiscreteTime, M, X, 10>(variant, data, &fit)?,
        _ => {
            // It is the last block's answer that the signal comes from.
            let variant = DiscreteTime { probabilities: Probabilities::Last, ..variant };
            learn_end_to_end::<M, X>(variant, data, &fit)?
        }
    };
    let (report, seconds) = (&learned.report, learned.seconds);
    let (method, accuracy) = (name(options.train), report.accuracy);
    println!(
        "{method}: accuracy {:.2} % on {} test rows, after {seconds:.1} s of training",
        100.0 * accuracy,
        report.rows
    );
    if training.json {
        let mut result = result(["dt", dataset], data, &learned, accuracy, &fit);
        result["method"] = method.into();
        result["net"] = name(options.net).into();
        result["rss_before_mb"] = before;
        println!("{result}");
    }
    Ok(())
}

/// [`learn`] by back-propagation.
fn learn_end_to_end<M, const X: usize>(
    variant: DiscreteTime,
    data: &Split<X, Labels<10>>,
    fit: &Fit,
) -> Result<Learned<DiscreteTime, M, X>, Error>
where
    M: Denoises<Pair<10, X>>,
    M::Gives: SuitsHead<OneHot, 10>,
    AutoDevice: Runs<DiscreteTime, M, 10, X> + Execute<EndToEnd<M, 10, X>>,
{
    let device = AutoDevice::seed_from_u64(fit.seed);
    let model = NoProp::<DiscreteTime, M, 10, X>::new(&device, variant)?;
    let mut whole = EndToEnd::new(device, model, fit.seed);
    let mut seconds = 0.0;
    whole.fit(&data.train, fit, |model, report| {
        seconds += report.seconds;
        let accuracy = 100.0 * model.evaluate(&data.test)?.accuracy;
        show(report, &format!("test accuracy {accuracy:6.2} %"))
    })?;
    let model = whole.model;
    let report = model.evaluate(&data.test)?;
    Ok(Learned { model, report, seconds })
}
