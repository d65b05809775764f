//! Continuous time against the golden values and finite differences.

use super::*;
use crate::{
    head::Learned,
    plan::{Inputs, handle},
    schedule::MonotoneNetwork,
    variant::{
        golden::{assert_close, golden, network, numbers, operations, target},
        mean,
    },
};
use dfdx::nn::ZeroGrads;

/// The paper's loss and its gradients with respect to network, embedding and learned schedule.
#[test]
fn the_loss_agrees_with_the_golden_values() {
    let case = &golden()["ct"][0];
    let close = |what: &str, found: Vec<f64>, expected| {
        assert_close(what, &found, expected, 1e-9);
    };
    let dev = Cpu::default();
    let eight = |what: &str| numbers(&case["schedule"][what]).try_into().unwrap();
    let gamma = MonotoneNetwork {
        v0: case["schedule"]["v0"].as_f64().unwrap(),
        v1: eight("v1"),
        v2: eight("v2"),
        c1: eight("c1"),
    };
    let schedule = GammaSchedule {
        gamma_0: case["schedule"]["g0"].as_f64().unwrap(),
        gamma_1: case["schedule"]["g1"].as_f64().unwrap(),
        path: Path::Learned(gamma.clone()),
    };
    let learned = LearnedGamma::<f64, Cpu>::new(&dev, &schedule, &gamma).unwrap();
    assert_eq!(learned.schedule(), schedule);
    let variant = ContinuousTime::<Learned<4>> {
        schedule,
        weighting: Weighting::SnrSlope,
        eta: case["eta"].as_f64().unwrap(),
        cross_entropy: 0.0,
        ..Default::default()
    };
    let mathematics = Variant::<4, 6, f64, Cpu>::mathematics(&variant).unwrap();
    let Mathematics::Continuous(continuous) = mathematics else { panic!("of another variant") };

    let host: Vec<f64> = numbers(&case["t"]);
    let rows = host.len();
    let mut built = network::<4, f64>(&case["params"]);
    let table: Tensor<Rank2<4, 4>, f64, _> =
        dev.tensor_from_vec(numbers(&case["embedding"]), Default::default());
    let embedding = handle(&table, (4, 4)).unwrap();
    let target = target::<4, f64>(&case["labels"], &embedding);
    let noise = dev.tensor_from_vec(numbers(&case["eps"]), (rows, 4));
    let x = dev.tensor_from_vec(numbers(&case["x"]), (rows, 6));
    let times = Times { device: dev.tensor_from_vec(host.clone(), (rows,)), host };

    let mut gradients = built.alloc_grads();
    learned.zero_grads(&mut gradients);
    table.zero_grads(&mut gradients);
    let loss = {
        let mut plan = operations(&mut built);
        let gamma = continuous.gamma(&times, Some(&learned)).unwrap();
        let forward: TracedForward<'_, f64, Cpu> =
            &mut |z| Inputs { z, x: x.clone(), t: None }.through(&mut plan);
        let (loss, _) = continuous.denoising(gamma, &target, noise, gradients, forward).unwrap();
        mean(loss).unwrap()
    };
    close("loss", loss.as_vec(), &case["loss"]);
    let gradients = loss.backward();
    close("embedding", gradients.get(&table).as_vec(), &case["grad_embedding"]);
    let network = &case["grad_params"];
    close("wz", gradients.get(&built.0.z.weight).as_vec(), &network["wz"]);
    close("bx", gradients.get(&built.0.x.bias).as_vec(), &network["bx"]);
    close("w1", gradients.get(&built.2.0.0.weight).as_vec(), &network["w1"]);
    close("wo", gradients.get(&built.3.weight).as_vec(), &network["wo"]);
    learned.assert_gradients(&gradients, |what, found| {
        close(what, found, &case["grad_schedule"][what]);
    });
}

#[test]
fn the_schedule_on_the_device_is_the_one_on_the_host() {
    let dev = Cpu::default();
    let network = MonotoneNetwork { v1: [0.3; 8], c1: [-0.7; 8], ..Default::default() };
    let path = Path::Learned(network.clone());
    let schedule = GammaSchedule { gamma_0: -3.0, gamma_1: 2.0, path };
    let learned = LearnedGamma::<f64, Cpu>::new(&dev, &schedule, &network).unwrap();
    let times = [0.0, 0.1, 0.5, 0.99, 1.0];
    let (gamma, slope) = learned.at(&dev.tensor_from_vec(times.to_vec(), (5,))).unwrap();
    for (i, t) in times.into_iter().enumerate() {
        let point = schedule.at(t);
        assert!((gamma.as_vec()[i] - point.gamma).abs() < 1e-12);
        assert!((slope.as_vec()[i] - point.slope).abs() < 1e-12);
    }
}
