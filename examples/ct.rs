//! Continuous time on the handwritten digits: one network on (z, x, t), and an ODE from noise to the answer.
//!
//! ```text
//! cargo run --release --example ct
//! ```

mod common;

use clap::Parser;
use common::{
    learn::{learn_digits, result},
    time::{Continuous, Solving, continuous},
};
use dfdx_noprop::prelude::*;

type Block = ConditionalResNetCt<10, 64, 128>;
type Model = NoProp<ContinuousTime, Block, 10, 64>;

/// Trains NoProp (continuous time) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    #[command(flatten)]
    solving: Solving,
    #[command(flatten)]
    continuous: Continuous,
    /// The weight of the cross-entropy on the network's own logits; 0 for the paper's loss
    #[arg(long)]
    cross_entropy: Option<f64>,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1)]
    repeats: u64,
}

const EPOCHS: usize = 60;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let (training, solving) = (&options.training, &options.solving);
    let variant = |seed| {
        let how = (&options.continuous, solving);
        continuous(how, options.cross_entropy, training.optimizer(), seed)
    };
    let (digits, mut learned, accuracy) = learn_digits::<ContinuousTime, Block>(
        training,
        options.repeats,
        &training.fit(EPOCHS),
        variant,
    )?;
    watch(&mut learned.model, &digits.test, solving.solver())?;
    if training.json {
        let about = ["ct", "digits"];
        let mut result = result(about, &digits, &learned, accuracy, (training, EPOCHS));
        result["solver"] = options.continuous.solver(solving).into();
        println!("{result}");
    }
    Ok(())
}

/// How z of the first test digit grows from nothing to the embedding of its class, along the probability-flow ODE.
fn watch(model: &mut Model, test: &Dataset<64, Labels<10>>, solver: Solver) -> Result<(), Error> {
    model.set_inference(Inference::Ode(Solver { save: Save::Steps, ..solver }))?;
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
