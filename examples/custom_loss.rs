//! A block trained by a loss of your own, on z and x as you give them: the step beneath `fit`.
//!
//! ```text
//! cargo run --release --example custom_loss
//! ```

use clap::Parser;
use dfdx_noprop::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

/// The latent is 32 wide, the input 16, and so is what a block gives: 32 numbers.
type Block = ConditionalResNetDt<32, 16, 64>;
type Model = NoProp<DiscreteTime<Regression>, Block, 32, 16>;

/// Trains single blocks of a discrete-time model with a loss written here
#[derive(Parser)]
struct Options {
    /// How many steps each block takes
    #[arg(long, default_value_t = 200)]
    steps: usize,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let device = AutoDevice::seed_from_u64(0);
    let mut model = Model::new(&device, DiscreteTime { blocks: 3, ..DiscreteTime::default() })?;
    let mut rng = StdRng::seed_from_u64(0);
    let z: Tensor<(usize, Const<32>), f32, _> = device.sample_normal_like(&(32, Const));
    let x: Tensor<(usize, Const<16>), f32, _> = device.sample_normal_like(&(32, Const));

    for block in 1..=3 {
        for step in 1..=options.steps {
            // Any scalar of the block's output will do; here the mean of its square.
            let loss = model.train_step(
                block,
                (z.clone(), x.clone()),
                |output| output.try_square()?.try_mean(),
                &mut rng,
            )?;
            if step == 1 || step == options.steps {
                println!("block {block}, step {step:>4}: mean square of the output {loss:.6}");
            }
        }
    }
    Ok(())
}
