//! A block trained by a loss of your own, on z and x as you give them: the step beneath `fit`.
//!
//! ```text
//! cargo run --release --example dt
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
    /// T, the number of blocks
    #[arg(long, default_value_t = 3)]
    blocks: usize,
    /// The step size
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// The seed of weights and data
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let device = AutoDevice::default();
    let variant = DiscreteTime {
        blocks: options.blocks,
        optimizer: AdamW { learning_rate: options.learning_rate, ..AdamW::default() }.into(),
        seed: options.seed,
        ..DiscreteTime::default()
    };
    let mut model = Model::new(&device, variant)?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let z: Tensor<(usize, Const<32>), f32, _> = device.sample_normal_like(&(32, Const));
    let x: Tensor<(usize, Const<16>), f32, _> = device.sample_normal_like(&(32, Const));

    for block in 1..=options.blocks {
        for step in 1..=options.steps {
            // Any scalar of the block's output will do; here the mean of its square.
            let loss = model.train_step(
                block,
                (z.clone(), x.clone()),
                |output| output.try_square()?.try_mean(),
                &mut rng,
            )?;
            if step == 1 || step == options.steps {
                println!("block {block}, step {step:>4}: loss {loss:.6}");
            }
        }
    }
    Ok(())
}
