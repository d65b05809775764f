//! Plain dfdx 0.13: its own layers, its own Adam, its own threads (in matrix products).
//!
//! ```text
//! cargo run --release --bin dfdx_mlp -- --batch 128 --steps 20
//! ```

use std::time::Instant;

use clap::Parser;
use dfdx::{
    optim::{Adam, AdamConfig, WeightDecay},
    prelude::*,
};
use peers::{H, Options, T, X, Z, alpha_bars, data, measure, weight};

type Rest = (ReLU, Residual<(Linear<H, H>, ReLU, Linear<H, H>)>, Linear<H, Z>);
type Declared = ((Linear<Z, H>, Linear<X, H>), Rest);
type Built = <Declared as BuildOnDevice<Cpu, f32>>::Built;

struct Block {
    model: Built,
    optimizer: Adam<Built, f32, Cpu>,
    gradients: Option<Gradients<f32, Cpu>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let options = Options::parse();
    let (dev, batch, bars) = (Cpu::seed_from_u64(0), options.batch, alpha_bars());
    let config =
        AdamConfig { weight_decay: Some(WeightDecay::Decoupled(1e-3)), ..AdamConfig::default() };
    let block = |_| {
        let model = dev.build_module::<Declared, f32>();
        let gradients = Some(model.alloc_grads());
        Block { optimizer: Adam::new(&model, config), model, gradients }
    };
    let mut blocks: Vec<Block> = (0..T).map(block).collect();
    let (x, one_hot) = data(batch);
    let x = dev.tensor_from_vec(x, (batch, Const::<X>));
    let u = dev.tensor_from_vec(one_hot, (batch, Const::<Z>));
    // One after the other: the optimiser cannot go to another thread.
    measure("dfdx", start, &options, || {
        let mut sum = 0.0;
        for (t, block) in blocks.iter_mut().enumerate() {
            let noise: Tensor<(usize, Const<Z>), f32, _> = dev.sample_normal_like(&(batch, Const));
            let z = u.clone() * bars[t].sqrt() as f32 + noise * (1.0 - bars[t]).sqrt() as f32;
            let Some(gradients) = block.gradients.take() else { continue };
            let ((of_z, of_x), rest) = &block.model;
            let h =
                of_z.forward(z.traced(gradients)) + of_x.forward(x.retaped::<OwnedTape<_, _>>());
            let logits = rest.forward(h);
            let error = (logits.with_empty_tape().softmax::<Axis<1>>() - u.clone())
                .square()
                .sum::<(usize,), Axis<1>>()
                .mean();
            let ce =
                (logits.log_softmax::<Axis<1>>() * u.clone()).sum::<(usize,), Axis<1>>().mean();
            let loss = error * weight(t) as f32 - ce;
            sum += loss.array();
            let mut gradients = loss.backward();
            block.optimizer.update(&mut block.model, &gradients)?;
            block.model.zero_grads(&mut gradients);
            block.gradients = Some(gradients);
        }
        Ok(sum)
    })
}
