//! Back-propagation end to end, as the example has it, beside finite differences.

#[path = "../examples/backprop/end_to_end.rs"]
mod end_to_end;

use dfdx::{nn::DeviceBuildExt, prelude::*};
use dfdx_noprop::{
    nn::ConditionalResNetDt,
    schedule::{NoiseLevels, Schedule},
};
use end_to_end::{Batch, loss, zeros};

type Block = ConditionalResNetDt<3, 4, 5>;
type Built = <Block as BuildOnDevice<Cpu, f64>>::Built;

fn value(blocks: &[Built], levels: &NoiseLevels, batch: &Batch<3, 4, f64, Cpu>) -> f64 {
    let mut blocks = blocks.to_vec();
    let loss = loss::<Block, 3, 4, _, _>(blocks.iter_mut(), levels, batch, Gradients::leaky());
    loss.unwrap().array()
}

#[test]
fn the_gradient_goes_through_all_blocks() {
    let dev = Cpu::seed_from_u64(3);
    let mut blocks: Vec<Built> = (0..3).map(|_| dev.build_module::<Block, f64>()).collect();
    let levels = Schedule::AlphaBar(vec![0.1, 0.3, 0.6, 0.9]).levels(3).unwrap();
    let truth = vec![1., 0., 0., 0., 0., 1.];
    let batch = Batch {
        x: dev.sample_normal_like(&(2, Const)),
        truth: dev.tensor_from_vec(truth, (2, Const)),
    };
    let gradients = zeros(&dev, blocks.iter()).unwrap();
    let total = loss::<Block, 3, 4, _, _>(blocks.iter_mut(), &levels, &batch, gradients).unwrap();
    let gradients = total.backward();
    for t in 0..3 {
        let exact = gradients.get(&blocks[t].0.z.weight).as_vec();
        let start = blocks[t].0.z.weight.as_vec();
        let mut at = |i: usize, step: f64| {
            let mut values = start.clone();
            values[i] += step;
            blocks[t].0.z.weight.copy_from(&values);
            value(&blocks, &levels, &batch)
        };
        for (i, exact) in exact.iter().enumerate() {
            let estimate = (at(i, 1e-5) - at(i, -1e-5)) / 2e-5;
            assert!((estimate - exact).abs() < 1e-8, "block {t}, {i}: {exact} and not {estimate}");
        }
        at(0, 0.0);
        // The first block sees no latent but 0.
        assert_eq!(exact.iter().any(|g| *g != 0.0), t > 0);
        let bias = gradients.get(&blocks[t].0.z.bias).as_vec();
        assert!(bias.iter().any(|g| *g != 0.0), "nothing comes to block {t}");
    }
}
