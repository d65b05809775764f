//! Burn: its layers and its AdamW on its backend Flex, a thread for each half of the blocks.
//!
//! NdArray was slower. Flex's own threads (its feature `rayon`) were no clear gain: on a machine that others used too, alone as
//! fast as these, and beside these up to a third faster or none.
//!
//! ```text
//! cargo run --release --bin burn_mlp -- --batch 128 --steps 20
//! ```

use std::time::Instant;

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{
        Device, Distribution, Tensor, TensorData,
        activation::{log_softmax, relu, softmax},
    },
};
use clap::Parser;
use peers::{H, Options, T, X, Z, alpha_bars, data, measure, side_by_side, threads, weight};

#[derive(Module, Debug)]
struct Model {
    of_z: Linear,
    of_x: Linear,
    a: Linear,
    b: Linear,
    o: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            of_z: linear(Z, H),
            of_x: linear(X, H),
            a: linear(H, H),
            b: linear(H, H),
            o: linear(H, Z),
        }
    }

    fn forward(&self, z: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let h = relu(self.of_z.forward(z) + self.of_x.forward(x));
        let h = h.clone() + self.b.forward(relu(self.a.forward(h)));
        self.o.forward(h)
    }
}

struct Block {
    // The optimiser takes the model, and gives it back.
    model: Option<Model>,
    optimizer: ModuleOptimizer,
}

impl Block {
    fn new(device: &Device) -> Self {
        let config = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(1e-3);
        Self { model: Some(Model::new(device)), optimizer: config.init() }
    }

    fn step(
        &mut self,
        t: usize,
        bar: f64,
        x: &Tensor<2>,
        u: &Tensor<2>,
    ) -> Result<f32, &'static str> {
        let model = self.model.take().ok_or("a block lost its model")?;
        let noise = u.random_like(Distribution::Normal(0.0, 1.0));
        let z = u.clone() * bar.sqrt() + noise * (1.0 - bar).sqrt();
        let logits = model.forward(z, x.clone());
        let error = (softmax(logits.clone(), 1) - u.clone()).square().sum_dim(1).mean();
        let ce = (log_softmax(logits, 1) * u.clone()).sum_dim(1).mean();
        let loss = error * weight(t) - ce;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        Ok(loss.into_scalar())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let options = Options::parse();
    let (device, bars) = (Device::flex().autodiff(), alpha_bars());
    let (x, one_hot) = data(options.batch);
    let x = Tensor::<2>::from_data(TensorData::new(x, [options.batch, X]), &device);
    let u = Tensor::<2>::from_data(TensorData::new(one_hot, [options.batch, Z]), &device);
    let mut blocks: Vec<Block> = (0..T).map(|_| Block::new(&device)).collect();
    let threads = threads();
    measure("burn", start, &options, || {
        let step = |t: usize, block: &mut Block| block.step(t, bars[t], &x, &u);
        Ok(side_by_side(&mut blocks, threads, step)?)
    })
}
