//! The image layers against values made by JAX, finite differences, and what they promise.

use dfdx::{
    nn::{DeviceBuildExt, ZeroGrads},
    prelude::*,
};
use dfdx_noprop::{
    device::{Backend, Window},
    nn::image::{AvgPool2d, BatchNorm, Conv2d, Flatten, Images, MaxPool2d, Planes},
};
use serde_json::Value;

fn golden(layer: &str) -> Vec<Value> {
    let file = include_str!("golden/images.json");
    serde_json::from_str::<Value>(file).unwrap()[layer].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-9 * scale, "{i}: {a} and not {b}");
    }
}

fn seed() -> Cpu {
    Cpu::seed_from_u64(11)
}

/// Σ w y, for the w of a case.
fn weighed<S: Shape>(
    y: Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>,
    case: &Value,
) -> Gradients<f64, Cpu> {
    assert_close(&y.as_vec(), &numbers(&case["y"]));
    let w = y.device().tensor_from_vec(numbers(&case["w"]), *y.shape());
    (y * w).sum().backward()
}

fn convolution<const I: usize, const O: usize, const K: usize>(
    case: &Value,
    [batch, height, width]: [usize; 3],
    (stride, padding): (usize, usize),
) {
    let dev = seed();
    let args: Vec<_> = case["args"].as_array().unwrap().iter().map(numbers).collect();
    let x: Tensor<(usize, usize), f64, _> =
        dev.tensor_from_vec(args[0].clone(), (batch, height * width * I));
    let f: Tensor<(usize, usize, usize, usize), f64, _> =
        dev.tensor_from_vec(args[1].clone(), (O, K, K, I));
    let b: Tensor<(usize,), f64, _> = dev.tensor_from_vec(args[2].clone(), (O,));
    let shape = numbers(&case["shape"]).iter().map(|v| *v as usize).collect::<Vec<_>>();
    let window = Window {
        height,
        width,
        channels: I,
        kernel: K,
        stride,
        padding,
        out_height: Window::count(height, K, stride, padding),
        out_width: Window::count(width, K, stride, padding),
    };
    assert_eq!([window.out_height, window.out_width], [shape[1], shape[2]]);
    let y = Cpu::convolution(x.leaky_trace(), &f, &b, window, true).unwrap();
    let g = weighed(y, case);
    let expected: Vec<_> = case["gradients"].as_array().unwrap().iter().map(numbers).collect();
    assert_close(&g.get(&x).as_vec(), &expected[0]);
    assert_close(&g.get(&f).as_vec(), &expected[1]);
    assert_close(&g.get(&b).as_vec(), &expected[2]);
}

#[test]
fn convolutions_are_those_of_jax() {
    let cases = golden("convolution");
    convolution::<3, 2, 3>(&cases[0], [2, 5, 4], (1, 1));
    convolution::<2, 3, 3>(&cases[1], [1, 7, 6], (2, 0));
    convolution::<1, 2, 1>(&cases[2], [3, 4, 4], (1, 0));
    convolution::<2, 2, 5>(&cases[3], [2, 6, 5], (3, 2));
}

#[test]
fn pools_are_those_of_jax() {
    let sizes = [([2, 6, 4, 3], 2, 2, 0), ([1, 7, 5, 2], 3, 2, 1), ([2, 5, 5, 1], 3, 1, 0)];
    for ((max, mean), (size, kernel, stride, padding)) in
        golden("max_pool").iter().zip(&golden("average_pool")).zip(sizes)
    {
        let [batch, height, width, channels] = size;
        let window = Window {
            height,
            width,
            channels,
            kernel,
            stride,
            padding,
            out_height: Window::count(height, kernel, stride, padding),
            out_width: Window::count(width, kernel, stride, padding),
        };
        let rows = (batch, height * width * channels);
        let x: Tensor<(usize, usize), f64, _> =
            seed().tensor_from_vec(numbers(&max["args"][0]), rows);
        let g = weighed(Cpu::max_pool(x.leaky_trace(), window).unwrap(), max);
        assert_close(&g.get(&x).as_vec(), &numbers(&max["gradients"][0]));
        let x: Tensor<(usize, usize), f64, _> =
            seed().tensor_from_vec(numbers(&mean["args"][0]), rows);
        let g = weighed(Cpu::average_pool(x.leaky_trace(), window).unwrap(), mean);
        assert_close(&g.get(&x).as_vec(), &numbers(&mean["gradients"][0]));
    }
}

#[test]
fn batch_norm_is_that_of_jax_with_its_running_statistics() {
    fn check<const C: usize, S: Shape>(case: &Value, shape: S)
    where
        dfdx_noprop::nn::image::BuiltBatchNorm<C, f64, Cpu>: Module<Tensor<S, f64, Cpu>, Output = Tensor<S, f64, Cpu>, Error = CpuError>
            + ModuleMut<
                Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>,
                Output = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>,
                Error = CpuError,
            >,
    {
        let dev = seed();
        let mut norm = dev.build_module::<BatchNorm<C>, f64>();
        let x = dev.tensor_from_vec(numbers(&case["args"][0]), shape);
        norm.scale.copy_from(&numbers(&case["args"][1]));
        norm.shift.copy_from(&numbers(&case["args"][2]));
        let g = weighed(norm.forward_mut(x.leaky_trace()), case);
        assert_close(&g.get(&x).as_vec(), &numbers(&case["gradients"][0]));
        assert_close(&g.get(&norm.scale).as_vec(), &numbers(&case["gradients"][1]));
        assert_close(&g.get(&norm.shift).as_vec(), &numbers(&case["gradients"][2]));
        assert_close(&norm.running_mean.as_vec(), &numbers(&case["running_mean"]));
        assert_close(&norm.running_variance.as_vec(), &numbers(&case["running_variance"]));
        // In inference the batch's own statistics, made the running ones, give what training gave.
        let (n, c) = (x.shape().num_elements() / C, C);
        let mean: Vec<f64> =
            (0..c).map(|j| x.as_vec().iter().skip(j).step_by(c).sum::<f64>() / n as f64).collect();
        let variance: Vec<f64> = (0..c)
            .map(|j| {
                let off = x.as_vec().into_iter().skip(j).step_by(c).map(|v| (v - mean[j]).powi(2));
                off.sum::<f64>() / n as f64
            })
            .collect();
        norm.running_mean.copy_from(&mean);
        norm.running_variance.copy_from(&variance);
        assert_close(&norm.forward(x).as_vec(), &numbers(&case["y"]));
    }
    let cases = golden("batch_norm");
    check::<3, _>(&cases[0], (2, Const::<3>, Const::<4>, Const::<3>));
    check::<2, _>(&cases[1], (1, Const::<3>, Const::<3>, Const::<2>));
    check::<4, _>(&cases[2], (5, Const::<4>));
    check::<4, _>(&cases[3], (1, Const::<4>));
}

/// A small network of all layers on images, as a function of x.
type Network = (
    Planes<2, 9, 7>,
    (Conv2d<2, 4, 5, 4, 3, 2, 1>, BatchNorm<4>, Tanh),
    Residual<(Conv2d<4, 4, 5, 4>, Tanh)>,
    (MaxPool2d<3, 2, 3, 2, 1>, AvgPool2d<1, 1>),
    Flatten<4>,
    Linear<4, 3>,
);

#[test]
fn a_network_of_all_layers_has_the_gradient_of_its_finite_differences() {
    let dev = seed();
    let mut network = dev.build_module::<Network, f64>();
    let x: Tensor<(usize, Const<126>), f64, _> = dev.sample_normal_like(&(3, Const));
    let loss = |network: &mut <Network as BuildOnDevice<Cpu, f64>>::Built,
                x: &Tensor<(usize, Const<126>), f64, Cpu>| {
        network.forward_mut(x.leaky_trace()).sin().sum::<(), _>()
    };
    let g = loss(&mut network, &x).backward();
    let exact = [
        g.get(&x).as_vec(),
        g.get(&network.1.0.weight).as_vec(),
        g.get(&network.1.0.bias).as_vec(),
        g.get(&network.1.1.scale).as_vec(),
        g.get(&network.2.0.0.weight).as_vec(),
    ];
    let step = 1e-5;
    for (which, exact) in exact.iter().enumerate() {
        let scale = exact.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        for i in (0..exact.len()).step_by(exact.len() / 20 + 1) {
            let moved = |by: f64| {
                let (mut network, mut x) = (network.clone(), x.clone());
                fn nudge<S: Shape>(t: &mut Tensor<S, f64, Cpu>, i: usize, by: f64) {
                    let mut values = t.as_vec();
                    values[i] += by;
                    t.copy_from(&values);
                }
                match which {
                    0 => nudge(&mut x, i, by),
                    1 => nudge(&mut network.1.0.weight, i, by),
                    2 => nudge(&mut network.1.0.bias, i, by),
                    3 => nudge(&mut network.1.1.scale, i, by),
                    _ => nudge(&mut network.2.0.0.weight, i, by),
                }
                loss(&mut network, &x).as_vec()[0]
            };
            let estimate = (moved(step) - moved(-step)) / (2.0 * step);
            // The bias in front of a norm has no gradient at all: there the scale is that of the
            // rest.
            assert!(
                (estimate - exact[i]).abs() < 1e-6 * scale.max(1.0),
                "{which} {i}: {} {estimate}",
                exact[i]
            );
        }
    }
}

#[test]
fn planes_become_pixels_of_all_channels() {
    let dev = seed();
    let x: Tensor<(usize, Const<12>), f32, _> =
        dev.tensor_from_vec((0..24).map(|v| v as f32).collect(), (2, Const));
    let images: Images<2, 2, 3, f32, _> = Planes::<2, 2, 3>.forward(x.clone());
    let first: Vec<f32> = images.as_vec().into_iter().take(12).collect();
    assert_eq!(first, [0., 6., 1., 7., 2., 8., 3., 9., 4., 10., 5., 11.]);
    let planes: Tensor<(usize, Const<2>, Const<2>, Const<3>), f32, _> =
        dev.tensor_from_vec(x.as_vec(), (2, Const, Const, Const));
    assert_eq!(Planes::<2, 2, 3>.forward(planes).as_vec(), images.as_vec());
    let g = Planes::<2, 2, 3>.forward(x.leaky_trace()).square().sum::<(), _>().backward();
    assert_eq!(g.get(&x).as_vec(), (0..24).map(|v| 2.0 * v as f32).collect::<Vec<_>>());
}

#[test]
fn the_gradient_of_a_pool_goes_to_one_of_those_that_are_largest() {
    let dev = seed();
    let x: Images<1, 2, 2, f32, _> = dev.ones_like(&(1, Const, Const, Const));
    let g = MaxPool2d::<1, 1>::default().forward(x.leaky_trace()).sum::<(), _>().backward();
    assert_eq!(g.get(&x).as_vec(), [1., 0., 0., 0.]);
}

#[test]
fn inference_does_not_move_the_running_statistics() {
    let dev = seed();
    let norm = dev.build_module::<BatchNorm<3>, f32>();
    let x: Images<3, 4, 4, f32, _> = dev.sample_normal_like(&(2, Const, Const, Const));
    norm.forward(x);
    assert_eq!(norm.running_mean.as_vec(), [0.0; 3]);
    assert_eq!(norm.running_variance.as_vec(), [1.0; 3]);
    let _: Gradients<f32, Cpu> = norm.alloc_grads();
}
