//! MNIST or Fashion-MNIST from a folder of idx files, by any variant.
//!
//! ```text
//! cargo run --release --example mnist -- --data path/to/mnist
//! cargo run --release --example mnist -- --data path/to/mnist --variant ct
//! ```

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::{
    learn::{Classifies, How, Learned, learn, result},
    time::{Continuous, Integrator, Prediction, Solving, continuous, flow},
};
use dfdx_noprop::{
    data::{Augment, Pixels, Split},
    head::SuitsHead,
    nn::{
        Denoises,
        image::{PaperNetCt, PaperNetDt, SmallNetCt, SmallNetDt},
    },
    prelude::*,
    variant::Predictor,
};
use rand_chacha::ChaCha8Rng;

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

/// Trains NoProp on MNIST or Fashion-MNIST
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// The folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    /// t10k-labels-idx1-ubyte, as they are or gzipped
    #[arg(long)]
    data: PathBuf,
    /// The folder holds Fashion-MNIST: changes nothing but the name in the result
    #[arg(long)]
    fashion: bool,
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Dt)]
    variant: Kind,
    /// Which network
    #[arg(long, value_enum, default_value_t = Net::Mlp)]
    net: Net,
    /// Shift each training image by up to this many pixels, at random
    #[arg(long, default_value_t = 0)]
    shift: usize,
    /// T, the number of blocks (discrete time)
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// The weight of the cross-entropy on a network's own logits; 0 for the squared error alone
    #[arg(long)]
    cross_entropy: Option<f64>,
    #[command(flatten)]
    solving: Solving,
    #[command(flatten)]
    continuous: Continuous,
    /// What the network estimates (flow matching)
    #[arg(long, value_enum, default_value_t = Prediction::Velocity)]
    predictor: Prediction,
    /// After training, the accuracy for several solvers and numbers of calls (continuous time, flow matching)
    #[arg(long)]
    sweep: bool,
    /// Train on this many rows only, the first ones
    #[arg(long)]
    rows: Option<usize>,
}

type Data = Split<784, Labels<10>>;
const EPOCHS: usize = 5;

fn main() -> Result<(), Error> {
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
    Untimed: Denoises<Pair<10, 784>>,
    Untimed::Gives: SuitsHead<OneHot, 10>,
    InTime: Denoises<Timed<10, 784>>,
    InTime::Gives: SuitsHead<OneHot, 10> + SuitsHead<Velocity, 10>,
    AutoDevice: Runs<DiscreteTime, Untimed, 10, 784>
        + Runs<ContinuousTime, InTime, 10, 784>
        + Runs<FlowMatching, InTime, 10, 784>
        + Runs<FlowMatching<OneHot, Estimate>, InTime, 10, 784>,
{
    let (training, seed) = (&options.training, options.training.seed);
    let optimizer = training.optimizer();
    match (options.variant, options.predictor.estimate()) {
        (Kind::Dt, _) => {
            let usual = DiscreteTime::default();
            let variant = DiscreteTime {
                blocks: options.blocks,
                cross_entropy: options.cross_entropy.unwrap_or(usual.cross_entropy),
                optimizer,
                seed,
                ..usual
            };
            train::<DiscreteTime, Untimed>(variant, options, data)?;
        }
        (Kind::Ct, _) => {
            let how = (&options.continuous, &options.solving);
            let variant = continuous(how, options.cross_entropy, optimizer, seed);
            let mut learned = train::<ContinuousTime, InTime>(variant, options, data)?;
            if options.sweep {
                sweep(&mut learned, data, |model, solver| {
                    model.set_inference(Inference::Ode(solver))
                })?;
            }
        }
        (Kind::Fm, Some(estimate)) => flow_matching::<_, InTime>(estimate, options, data)?,
        (Kind::Fm, None) => flow_matching::<_, InTime>(Velocity::default(), options, data)?,
    }
    Ok(())
}

fn flow_matching<P, M>(predictor: P, options: &Options, data: &Data) -> Result<(), Error>
where
    P: Predictor<OneHot, 10, f32> + Default,
    M: Denoises<Timed<10, 784>>,
    M::Gives: SuitsHead<P::Reader, 10>,
    AutoDevice: Runs<FlowMatching<OneHot, P>, M, 10, 784>,
{
    let (optimizer, seed) = (options.training.optimizer(), options.training.seed);
    let variant = flow(predictor, &options.solving, options.cross_entropy, optimizer, seed);
    let mut learned = train::<FlowMatching<OneHot, P>, M>(variant, options, data)?;
    if options.sweep {
        sweep(&mut learned, data, |model, solver| {
            model.set_solver(solver);
            Ok(())
        })?;
    }
    Ok(())
}

fn train<V, M>(variant: V, options: &Options, data: &Data) -> Result<Learned<V, M, 784>, Error>
where
    V: Classifies<784>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 10>,
    AutoDevice: Runs<V, M, 10, 784>,
{
    let training = &options.training;
    // The last steps are small, so that the answer is not where the last batches left it.
    let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
    let fit = Fit { learning_rate, ..training.fit(EPOCHS) };
    // Black, as it is after the standardisation of MNIST's pixels.
    let augment = Augment { shift: options.shift, background: -0.4242, flip: false };
    let change = |images: &mut [[f32; 784]], rng: &mut ChaCha8Rng| {
        augment.apply(Pixels::<1, 28, 28>, images, rng)
    };
    let mut how = How { checkpoints: training.checkpoints.as_deref(), change: None };
    if options.shift > 0 {
        how.change = Some(&change);
    }
    let learned = learn::<V, M, 784, 10>(variant, data, &fit, how)?;
    let report = &learned.report;
    println!("{:.2} % of {} test images", 100.0 * report.accuracy, report.rows);
    if training.json {
        let (variant, solver) = match options.variant {
            Kind::Dt => ("dt", None),
            Kind::Ct => ("ct", Some(options.continuous.solver(&options.solving))),
            Kind::Fm => ("fm", Some(options.solving.solver.name())),
        };
        let dataset = if options.fashion { "fashion-mnist" } else { "mnist" };
        let about = [variant, dataset];
        let net = format!("{:?}", options.net).to_lowercase();
        let mut result = result(about, data, &learned, report.accuracy, (training, EPOCHS));
        result["net"] = net.into();
        if let Some(solver) = solver {
            result["solver"] = solver.into();
        }
        println!("{result}");
    }
    Ok(learned)
}

/// Accuracy against calls of the network: one training, many ways from noise to target.
fn sweep<V, M>(
    learned: &mut Learned<V, M, 784>,
    data: &Data,
    set: impl Fn(&mut NoProp<V, M, 10, 784>, Solver) -> Result<(), Error>,
) -> Result<(), Error>
where
    V: Classifies<784>,
    M: Denoises<V::Input>,
{
    let fixed = [
        (Integrator::Euler, [1, 2, 5, 10, 20, 40]),
        (Integrator::Heun, [1, 2, 3, 5, 10, 20]),
        (Integrator::Rk4, [1, 2, 3, 4, 5, 10]),
    ];
    let fixed = fixed.into_iter().flat_map(|(method, counts)| {
        counts.map(|count| (method, Steps::Fixed(count), format!("{count} steps")))
    });
    let adaptive = [1e-1, 1e-2, 1e-3, 1e-4].map(|tolerance| {
        let steps = Steps::adaptive(tolerance, tolerance);
        (Integrator::Tsitouras, steps, format!("tolerance {tolerance:e}"))
    });
    println!("\n| solver | steps | network calls | test accuracy |\n|---|---|---|---|");
    for (method, steps, how) in fixed.chain(adaptive) {
        set(&mut learned.model, Solver { method: method.method(), steps, save: Save::End })?;
        let report = learned.model.evaluate(&data.test)?;
        let (calls, accuracy) = (report.network_calls, 100.0 * report.accuracy);
        println!("| {} | {how} | {calls:.0} | {accuracy:.2} % |", method.name());
    }
    Ok(())
}
