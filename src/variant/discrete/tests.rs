//! Discrete time against the golden values and finite differences.

use super::*;
use crate::{
    head::Learned,
    nn::Takes,
    plan::{Inputs, handle},
    variant::golden::{
        Built, Network, assert_close, assert_gradients, golden, network, numbers, operations,
        target,
    },
};
use dfdx::nn::{BuildOnDevice, ZeroGrads};
use serde_json::Value;

/// The mathematics of a model whose first block takes this ᾱ, with this increase of the SNR.
fn mathematics<H: Head<4, E>, E: Real>(
    variant: DiscreteTime<H>,
    alpha_bar: f64,
    snr_increment: f64,
) -> Discrete
where
    Cpu: Backend<E>,
{
    let snr = alpha_bar / (1.0 - alpha_bar) + snr_increment;
    let mut levels = vec![snr / (1.0 + snr); variant.blocks + 1];
    levels[0] = alpha_bar;
    let variant = DiscreteTime { schedule: Schedule::AlphaBar(levels), ..variant };
    match Variant::<4, 6, E, Cpu>::mathematics(&variant).unwrap() {
        Mathematics::Discrete(discrete) => discrete,
        _ => panic!("of another variant"),
    }
}

fn golden_block<const C: usize, E: Real>(case: &Value, tolerance: f64)
where
    Cpu: Backend<E>,
    Network<C>: Takes<Pair<4, 6>, E, Cpu> + BuildOnDevice<Cpu, E, Built = Built<C, E>>,
{
    let dev = Cpu::default();
    let number = |what: &str| case[what].as_f64().unwrap();
    let rows = case["B"].as_u64().unwrap() as usize;
    let variant = DiscreteTime::<Learned<C>> {
        blocks: case["T"].as_u64().unwrap() as usize,
        eta: number("eta"),
        cross_entropy: 0.0,
        ..Default::default()
    };
    let discrete = mathematics::<_, E>(variant, number("alpha_bar"), number("snr_increment"));
    let table: Tensor<Rank2<C, 4>, E, _> =
        dev.tensor_from_vec(numbers(&case["embedding"]), Default::default());
    let embedding = handle(&table, (C, 4)).unwrap();
    let draw = Draw {
        target: target::<C, E>(&case["labels"], &embedding),
        noise: dev.tensor_from_vec(numbers(&case["eps"]), (rows, 4)),
        end_noise: None,
        times: None,
    };
    let x = dev.tensor_from_vec(numbers(&case["x"]), (rows, 6));
    let mut built = network::<C, E>(&case["params"]);
    let mut gradients = built.alloc_grads();
    table.zero_grads(&mut gradients);
    let loss = {
        let mut plan = operations(&mut built);
        let forward: TracedForward<'_, E, Cpu> =
            &mut |z| Inputs { z, x: x.clone(), t: None }.through(&mut plan);
        discrete.loss(1, draw, None, gradients, forward).unwrap()
    };
    assert_close("loss", &[loss.terms()[0]], &case["loss"], tolerance);
    let gradients = loss.total.backward();

    assert_gradients(&built, &gradients, &case["grad_params"], tolerance);
    let found = gradients.get(&table).as_vec();
    assert_close("embedding", &found, &case["grad_embedding"], tolerance);
}

#[test]
fn block_agrees_with_the_golden_values() {
    for case in golden()["dt_block"].as_array().unwrap() {
        match case["C"].as_u64().unwrap() {
            4 => {
                golden_block::<4, f64>(case, 1e-9);
                golden_block::<4, f32>(case, 1e-4);
            }
            7 => {
                golden_block::<7, f64>(case, 1e-9);
                golden_block::<7, f32>(case, 1e-4);
            }
            other => panic!("no block for {other} classes"),
        }
    }
}

/// The loss of a block on fixed noise, with cross-entropy, as a function of nothing: for finite
/// differences.
fn block_loss(built: &mut Built<4, f64>) -> (f64, Gradients<f64, Cpu>) {
    let dev = Cpu::seed_from_u64(7);
    // Half of T η (SNR(1) − SNR(0)) is 1.7.
    let variant =
        DiscreteTime::<OneHot> { blocks: 1, eta: 1.7, cross_entropy: 0.6, ..Default::default() };
    let discrete = mathematics::<_, f64>(variant, 0.4, 2.0);
    let unused = dev.zeros_like(&(4, 4));
    let u: Matrix<f64, _> = dev.tensor_from_vec(vec![0., 1., 0., 0., 0., 0., 0., 1.], (2, 4));
    let target = Target { u: u.clone(), one_hot: Some(u), embedding: &unused, weights: None };
    let noise = dev.sample_normal_like(&(2, 4));
    let x: Matrix<f64, _> = dev.sample_normal_like(&(2, 6));
    let gradients = built.alloc_grads();
    let draw = Draw { target, noise, end_noise: None, times: None };
    let mut plan = operations(built);
    let forward: TracedForward<'_, f64, Cpu> =
        &mut |z| Inputs { z, x: x.clone(), t: None }.through(&mut plan);
    let loss = discrete.loss(1, draw, None, gradients, forward).unwrap();
    let value = loss.total.as_vec()[0];
    let [denoising, cross_entropy] = loss.terms();
    assert!((value - denoising - cross_entropy).abs() < 1e-12);
    assert!(denoising > 0.0 && cross_entropy > 0.0);
    (value, loss.total.backward())
}

#[test]
fn gradient_agrees_with_finite_differences() {
    let mut built = network::<4, f64>(&golden()["dt_block"][0]["params"]);
    let (_, gradients) = block_loss(&mut built);
    macro_rules! check {
        ($($field:tt).+) => {
            let exact = gradients.get(&built.$($field).+).as_vec();
            let start = built.$($field).+.as_vec();
            for i in 0..start.len() {
                let mut at = |step: f64| {
                    let mut moved = start.clone();
                    moved[i] += step;
                    built.$($field).+.copy_from(&moved);
                    block_loss(&mut built).0
                };
                let estimate = (at(1e-5) - at(-1e-5)) / 2e-5;
                let error = (estimate - exact[i]).abs() / exact[i].abs().max(1.0);
                assert!(error < 1e-7, "{}[{i}]: {} and not {estimate}", stringify!($($field).+), exact[i]);
            }
            built.$($field).+.copy_from(&start);
        };
    }
    check!(0.z.weight);
    check!(0.x.weight);
    check!(0.x.bias);
    check!(2.0.0.weight);
    check!(3.weight);
    check!(3.bias);
}
