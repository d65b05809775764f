//! Flow matching on the handwritten digits: one network moves noise to the target along straight lines.
//!
//! ```text
//! cargo run --release --example fm
//! ```

mod common;

use clap::Parser;
use common::{
    learn::{learn_digits, result},
    time::{Prediction, Solving, flow},
};
use dfdx_noprop::{
    head::{OneHot, SuitsHead, Velocity},
    prelude::*,
    variant::Predictor,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

type Block = ConditionalResNetFm<10, 64, 128>;

/// Trains NoProp (flow matching) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    #[command(flatten)]
    solving: Solving,
    /// What the network estimates
    #[arg(long, value_enum, default_value_t = Prediction::Velocity)]
    predictor: Prediction,
    /// The weight of the cross-entropy on the extrapolated target; 0 for the squared error alone
    #[arg(long)]
    cross_entropy: Option<f64>,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1)]
    repeats: u64,
    /// In the place of all this: 200 steps written by hand, on the squared error alone, in which the target's samples
    /// are given as tensors
    #[arg(long)]
    by_hand: bool,
}

const EPOCHS: usize = 60;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    if options.by_hand {
        return by_hand(&options);
    }
    match options.predictor.estimate() {
        Some(estimate) => train(estimate, &options),
        None => train(Velocity::default(), &options),
    }
}

fn train<P>(predictor: P, options: &Options) -> Result<(), Error>
where
    P: Predictor<OneHot, 10, f32> + Default,
    Width<10>: SuitsHead<P::Reader, 10>,
{
    let (training, solving) = (&options.training, &options.solving);
    let variant = |seed| {
        let predictor = predictor.clone();
        flow(predictor, solving, options.cross_entropy, training.optimizer(), seed)
    };
    let (digits, learned, accuracy) =
        learn_digits::<_, Block>(training, options.repeats, &training.fit(EPOCHS), variant)?;
    watch(&learned.model, &digits.test)?;
    if training.json {
        let about = ["fm", "digits"];
        let mut result = result(about, &digits, &learned, accuracy, (training, EPOCHS));
        result["solver"] = solving.solver.name().into();
        println!("{result}");
    }
    Ok(())
}

/// Five draws of z for the first test digit: where the flow takes noise, and what it is read as.
fn watch<P>(
    model: &NoProp<FlowMatching<OneHot, P>, Block, 10, 64>,
    test: &Dataset<64, Labels<10>>,
) -> Result<(), Error>
where
    P: Predictor<OneHot, 10, f32>,
{
    println!("\nfive draws of z_1 for the first test digit, a {}:", test.targets().as_slice()[0]);
    for z in model.sample(&[test.samples()[0]; 5], 0)? {
        let row: String = z.iter().map(|z| format!("{z:6.2}")).collect();
        println!("  {row}");
    }
    Ok(())
}

/// The step beneath `fit`: noise z_0, samples z_1 of the target distribution and times t are the caller's own.
fn by_hand(options: &Options) -> Result<(), Error> {
    const ROWS: usize = 128;
    let digits = data::digits_with_seed(options.training.seed)?;
    let device = AutoDevice::default();
    let variant = flow(
        Velocity::default(),
        &options.solving,
        options.cross_entropy,
        options.training.optimizer(),
        options.training.seed,
    );
    let mut model = NoProp::<FlowMatching, Block, 10, 64>::new(&device, variant)?;
    let mut rng = StdRng::seed_from_u64(options.training.seed);
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
    println!("{:.2} % of {} test digits", 100.0 * report.accuracy, report.rows);
    Ok(())
}
