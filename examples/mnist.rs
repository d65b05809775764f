//! MNIST or Fashion-MNIST from a folder of idx files, by any variant.
//!
//! ```text
//! cargo run --release --example mnist -- --data path/to/mnist
//! cargo run --release --example mnist -- --data path/to/mnist --variant ct
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::{Augment, Pixels, Split},
    head::{Classification, Head},
    nn::image::{PaperNetCt, PaperNetDt, SmallNetCt, SmallNetDt},
    observe::{Progress, ctrl_c, exit_status},
    prelude::*,
    train::{Checkpoints, Ended, Every},
    variant::{Predicts, Variant},
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Net {
    /// The conditional ResNet, one hidden width of 256
    Mlp,
    /// Two convolutions with batch norm
    Small,
    /// The paper's network: three convolutions
    Paper,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Discrete time
    Dt,
    /// Continuous time
    Ct,
    /// Flow matching
    Fm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Weight {
    /// The same at all times
    Uniform,
    /// The paper's: half the slope of the SNR
    SnrSlope,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Prediction {
    /// The velocity v
    Velocity,
    /// The target, with the same weight at all times
    Estimate,
}

/// Trains NoProp on MNIST or Fashion-MNIST
#[derive(Parser)]
struct Options {
    /// The folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    /// t10k-labels-idx1-ubyte, as they are or gzipped
    #[arg(long)]
    data: PathBuf,
    /// The folder holds Fashion-MNIST: changes nothing but the name in the result
    #[arg(long)]
    fashion: bool,
    /// Train on this many rows only, the first ones; on all if not given
    #[arg(long)]
    rows: Option<usize>,
    /// Shift each training image by up to this many pixels, at random
    #[arg(long, default_value_t = 0)]
    shift: usize,
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Dt)]
    variant: Kind,
    /// Which network
    #[arg(long, value_enum, default_value_t = Net::Mlp)]
    net: Net,
    /// T, the number of blocks (discrete time)
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// The weight of the cross-entropy on a network's own logits, 0 for the squared error alone; if
    /// not given 1 in discrete time, 5 in continuous time, and 50 in flow matching
    #[arg(long)]
    cross_entropy: Option<f64>,
    /// The weight of the squared error over time (continuous time)
    #[arg(long, value_enum, default_value_t = Weight::Uniform)]
    weighting: Weight,
    /// What the network estimates (flow matching)
    #[arg(long, value_enum, default_value_t = Prediction::Velocity)]
    predictor: Prediction,
    /// After training, the accuracy for several solvers and numbers of calls (continuous time, flow
    /// matching)
    #[arg(long)]
    sweep: bool,
    /// How often each image is learned from
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// How many rows make a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// How many threads train blocks; all of the processor's if not given. The weights do not
    /// depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Round the operands of the training's large products to bfloat16
    #[arg(long)]
    bf16: bool,
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

type Data = Split<784, Labels<10>>;

fn main() -> Result<(), Error> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    let mut data = data::mnist(&options.data)?;
    if let Some(rows) = options.rows {
        let rows: Vec<usize> = (0..rows.min(data.train.rows())).collect();
        data.train = data.train.select(&rows);
    }
    match options.net {
        Net::Mlp => by_variant::<
            ConditionalResNetDt<10, 784, 256>,
            ConditionalResNetCt<10, 784, 256>,
        >(&options, &data),
        Net::Small => by_variant::<SmallNetDt<10>, SmallNetCt<10>>(&options, &data),
        Net::Paper => by_variant::<PaperNetDt<10>, PaperNetCt<10>>(&options, &data),
    }
}

fn by_variant<Untimed, InTime>(options: &Options, data: &Data) -> Result<(), Error>
where
    Untimed: Suits<DiscreteTime, 10, 784>,
    InTime: Suits<ContinuousTime, 10, 784>
        + Suits<FlowMatching, 10, 784>
        + Suits<FlowMatching<OneHot, Estimate>, 10, 784>,
{
    let Options { blocks, seed, .. } = *options;
    match (options.variant, options.predictor) {
        (Kind::Dt, _) => {
            let mut variant = DiscreteTime { blocks, seed, ..DiscreteTime::default() };
            variant.cross_entropy = options.cross_entropy.unwrap_or(variant.cross_entropy);
            train::<DiscreteTime, Untimed>(variant, options, data)?;
        }
        (Kind::Ct, _) => {
            let mut variant = ContinuousTime { seed, ..ContinuousTime::default() };
            variant.cross_entropy = options.cross_entropy.unwrap_or(variant.cross_entropy);
            variant.weighting = match options.weighting {
                Weight::Uniform => Weighting::Uniform,
                Weight::SnrSlope => Weighting::SnrSlope,
            };
            let mut model = train::<ContinuousTime, InTime>(variant, options, data)?;
            if options.sweep {
                let set = |model: &mut NoProp<_, _, 10, 784>, solver| {
                    model.set_inference(Inference::Ode(solver))
                };
                sweep(&mut model, data, set)?;
            }
        }
        (Kind::Fm, Prediction::Velocity) => flow::<Velocity, InTime>(options, data)?,
        (Kind::Fm, Prediction::Estimate) => flow::<Estimate, InTime>(options, data)?,
    }
    Ok(())
}

/// Flow matching, whose network estimates `P`.
fn flow<P, M>(options: &Options, data: &Data) -> Result<(), Error>
where
    P: Predicts<OneHot, 10, f32> + Default,
    M: Suits<FlowMatching<OneHot, P>, 10, 784>,
{
    let mut variant = FlowMatching::<OneHot, P> { seed: options.seed, ..FlowMatching::default() };
    variant.cross_entropy = options.cross_entropy.unwrap_or(variant.cross_entropy);
    let mut model = train::<FlowMatching<OneHot, P>, M>(variant, options, data)?;
    if options.sweep {
        let set = |model: &mut NoProp<FlowMatching<OneHot, P>, M, 10, 784>, solver| {
            model.set_solver(solver)?;
            Ok(())
        };
        sweep(&mut model, data, set)?;
    }
    Ok(())
}

fn train<V, M>(variant: V, options: &Options, data: &Data) -> Result<NoProp<V, M, 10, 784>, Error>
where
    V: Variant<10, 784>,
    V::Head: Head<10, f32, Targets = Labels<10>, Evaluation = Classification>,
    M: Suits<V, 10, 784>,
{
    let device = AutoDevice::seed_from_u64(options.seed);
    let mut model = M::model(&device, variant)?;
    let fit = Fit {
        epochs: options.epochs,
        batch_size: options.batch,
        threads: options.threads,
        seed: options.seed,
        precision: if options.bf16 { Precision::Bf16 } else { Precision::F32 },
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
        if options.shift > 0 {
            // Black, as it is after the standardisation of MNIST's pixels.
            let augment = Augment { shift: options.shift, background: -0.4242, flip: false };
            training = training.each_batch(move |batch, rng| {
                augment.apply(Pixels::<1, 28, 28>, batch.inputs_mut(), rng);
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
    println!(
        "accuracy {:.2} %, negative log-likelihood {:.3} nats, on {} test images",
        100.0 * report.accuracy,
        report.negative_log_likelihood,
        report.rows
    );
    if options.json {
        let result = serde_json::json!({
            "variant": format!("{:?}", options.variant).to_lowercase(),
            "dataset": if options.fashion { "fashion-mnist" } else { "mnist" },
            "net": format!("{:?}", options.net).to_lowercase(),
            "train_rows": data.train.rows(),
            "test_rows": report.rows,
            "test_accuracy": report.accuracy,
            "negative_log_likelihood": report.negative_log_likelihood,
            "calibration_error": report.calibration_error,
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
    Ok(model)
}

/// Accuracy against calls of the network: one training, many ways from noise to target.
fn sweep<V, M>(
    model: &mut NoProp<V, M, 10, 784>,
    data: &Data,
    set: impl Fn(&mut NoProp<V, M, 10, 784>, Solver) -> Result<(), Error>,
) -> Result<(), Error>
where
    V: Variant<10, 784>,
    V::Head: Head<10, f32, Targets = Labels<10>, Evaluation = Classification>,
    M: Suits<V, 10, 784>,
{
    let fixed = [
        ("euler", Method::Euler, [1, 2, 5, 10, 20, 40]),
        ("heun", Method::Heun, [1, 2, 3, 5, 10, 20]),
        ("rk4", Method::Rk4, [1, 2, 3, 4, 5, 10]),
    ];
    let fixed = fixed.into_iter().flat_map(|(name, method, counts)| {
        counts.map(|count| (name, method, Steps::Fixed(count), format!("{count} steps")))
    });
    let adaptive = [1e-1, 1e-2, 1e-3, 1e-4].map(|tolerance| {
        let steps = Steps::adaptive(tolerance, tolerance);
        ("tsitouras", Method::Tsitouras, steps, format!("tolerance {tolerance:e}"))
    });
    println!("\n| solver | steps | network calls | test accuracy |\n|---|---|---|---|");
    for (name, method, steps, how) in fixed.chain(adaptive) {
        set(model, Solver { method, steps, save: Save::End })?;
        let report = model.evaluate(&data.test)?;
        let (calls, accuracy) = (report.network_calls, 100.0 * report.accuracy);
        println!("| {name} | {how} | {calls:.0} | {accuracy:.2} % |");
    }
    Ok(())
}
