//! Candle: its layers and its AdamW, a thread for each half of the blocks.
//!
//! ```text
//! cargo run --release --bin candle_mlp -- --batch 128 --steps 20
//! ```

use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear, ops};
use clap::Parser;
use peers::{H, Options, T, X, Z, alpha_bars, data, measure, side_by_side, threads, weight};

struct Block {
    layers: [Linear; 5],
    optimizer: AdamW,
}

impl Block {
    fn new(device: &Device) -> Result<Self> {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, device);
        let layers = [
            linear(Z, H, vb.pp("z"))?,
            linear(X, H, vb.pp("x"))?,
            linear(H, H, vb.pp("a"))?,
            linear(H, H, vb.pp("b"))?,
            linear(H, Z, vb.pp("o"))?,
        ];
        let config = ParamsAdamW { lr: 1e-3, weight_decay: 1e-3, ..ParamsAdamW::default() };
        Ok(Self { layers, optimizer: AdamW::new(variables.all_vars(), config)? })
    }

    fn forward(&self, z: &Tensor, x: &Tensor) -> Result<Tensor> {
        let [of_z, of_x, a, b, o] = &self.layers;
        let h = (of_z.forward(z)? + of_x.forward(x)?)?.relu()?;
        let h = (&h + b.forward(&a.forward(&h)?.relu()?)?)?;
        o.forward(&h)
    }

    fn step(&mut self, t: usize, bar: f64, x: &Tensor, u: &Tensor) -> Result<f32> {
        let noise = u.randn_like(0.0, 1.0)?;
        let z = ((u * bar.sqrt())? + (noise * (1.0 - bar).sqrt())?)?;
        let logits = self.forward(&z, x)?;
        let error = (ops::softmax(&logits, D::Minus1)? - u)?.sqr()?.sum(D::Minus1)?.mean_all()?;
        let ce = (ops::log_softmax(&logits, D::Minus1)? * u)?.sum(D::Minus1)?.mean_all()?;
        let loss = ((error * weight(t))? - ce)?;
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let options = Options::parse();
    let (device, bars) = (Device::Cpu, alpha_bars());
    let (x, one_hot) = data(options.batch);
    let x = Tensor::from_vec(x, (options.batch, X), &device)?;
    let u = Tensor::from_vec(one_hot, (options.batch, Z), &device)?;
    let mut blocks = (0..T).map(|_| Block::new(&device)).collect::<Result<Vec<_>>>()?;
    let threads = threads();
    measure("candle", start, &options, || {
        let step = |t: usize, block: &mut Block| block.step(t, bars[t], &x, &u);
        Ok(side_by_side(&mut blocks, threads, step)?)
    })
}
