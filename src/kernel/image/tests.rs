//! Each fast operation against the plain one in dfdx's own operations, there and back, and on any
//! number of threads.

use dfdx::prelude::*;

use crate::device::{
    Backend, Filters, Window, plain_average_pool, plain_batch_norm, plain_channels_last,
    plain_convolution, plain_max_pool, plain_scale_and_shift,
};

type Traced<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;

fn draw<S: Shape>(shape: S, seed: u64) -> Tensor<S, f64, Cpu> {
    Cpu::seed_from_u64(seed).sample_normal_like(&shape)
}

/// y, and the gradient of Σ sin y with respect to each input.
fn both_ways<S: Shape, A: Shape>(
    y: Traced<S>,
    inputs: &[&Tensor<A, f64, Cpu>],
) -> (Vec<f64>, Gradients<f64, Cpu>, Vec<Vec<f64>>) {
    let values = y.as_vec();
    let g = y.sin().sum().backward();
    let gradients = inputs.iter().map(|input| g.get(*input).as_vec()).collect();
    (values, g, gradients)
}

fn assert_close(fast: &[f64], plain: &[f64]) {
    assert_eq!(fast.len(), plain.len());
    for (a, b) in fast.iter().zip(plain) {
        assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{a} and not {b}");
    }
}

/// Windows, the shape of three images as rows, and a number of filters.
fn windows() -> impl Iterator<Item = (Window, (usize, usize), usize)> {
    let sizes = [
        (7, 5, 3, 4, 3, 1, 1),
        (8, 8, 2, 3, 3, 2, 1),
        (5, 9, 1, 2, 5, 3, 2),
        (6, 4, 4, 1, 2, 2, 0),
    ];
    sizes.into_iter().map(|(height, width, channels, filters, kernel, stride, padding)| {
        let out_height = Window::count(height, kernel, stride, padding);
        let out_width = Window::count(width, kernel, stride, padding);
        let window =
            Window { height, width, channels, kernel, stride, padding, out_height, out_width };
        (window, (3, window.image()), filters)
    })
}

#[test]
fn convolutions_are_the_plain_ones() {
    for (window, size, filters) in windows() {
        let x = draw(size, 1);
        let f = draw((filters, window.kernel, window.kernel, window.channels), 2);
        let b = draw((filters,), 3);
        let fast = Cpu::convolution(x.leaky_trace(), &f, &b, window, true).unwrap();
        let plain = plain_convolution(x.leaky_trace(), &f, &b, window, true).unwrap();
        let (fast, plain) = (both_ways(fast, &[&x]), both_ways(plain, &[&x]));
        assert_close(&fast.0, &plain.0);
        assert_close(&fast.2[0], &plain.2[0]);
        assert_close(&fast.1.get(&f).as_vec(), &plain.1.get(&f).as_vec());
        assert_close(&fast.1.get(&b).as_vec(), &plain.1.get(&b).as_vec());
    }
}

#[test]
fn no_gradient_of_the_input_unless_asked() {
    let (window, size, filters) = windows().next().unwrap();
    let x = draw(size, 1);
    let f = draw((filters, window.kernel, window.kernel, window.channels), 2);
    let b = draw((filters,), 3);
    let y = Cpu::convolution(x.leaky_trace(), &f, &b, window, false).unwrap();
    let mut g = y.sin().sum().backward();
    assert!(g.get_or_alloc_mut(&x).unwrap().iter().all(|g| *g == 0.0));
    assert!(g.get(&f).as_vec().iter().all(|g| *g != 0.0));
}

#[test]
fn pools_are_the_plain_ones() {
    for (window, size, _) in windows() {
        let x = draw(size, 4);
        let fast = both_ways(Cpu::max_pool(x.leaky_trace(), window).unwrap(), &[&x]);
        let plain = both_ways(plain_max_pool(x.leaky_trace(), window).unwrap(), &[&x]);
        assert_close(&fast.0, &plain.0);
        assert_close(&fast.2[0], &plain.2[0]);
        let fast = both_ways(Cpu::average_pool(x.leaky_trace(), window).unwrap(), &[&x]);
        let plain = both_ways(plain_average_pool(x.leaky_trace(), window).unwrap(), &[&x]);
        assert_close(&fast.0, &plain.0);
        assert_close(&fast.2[0], &plain.2[0]);
    }
}

#[test]
fn batch_norms_are_the_plain_ones() {
    let (x, scale, shift) = (draw((3, 40), 5), draw((5,), 6), draw((5,), 7));
    let (fast, stats) = Cpu::batch_norm(x.leaky_trace(), &scale, &shift, 1e-5).unwrap();
    let (plain, plain_stats) = plain_batch_norm(x.leaky_trace(), &scale, &shift, 1e-5).unwrap();
    for (a, b) in stats.iter().zip(&plain_stats) {
        assert_close(&a.as_vec(), &b.as_vec());
    }
    let (fast, plain) = (both_ways(fast, &[&x]), both_ways(plain, &[&x]));
    assert_close(&fast.0, &plain.0);
    assert_close(&fast.2[0], &plain.2[0]);
    for parameter in [&scale, &shift] {
        assert_close(&fast.1.get(parameter).as_vec(), &plain.1.get(parameter).as_vec());
    }
    let fast = Cpu::scale_and_shift(x.clone(), &scale, &shift).unwrap();
    assert_close(&fast.as_vec(), &plain_scale_and_shift(x, &scale, &shift).unwrap().as_vec());
}

#[test]
fn channels_go_last_as_the_plain_ones_do() {
    let x = draw((2, 24), 8);
    let fast = both_ways(Cpu::channels_last(x.leaky_trace(), 3).unwrap(), &[&x]);
    let plain = both_ways(plain_channels_last(x.leaky_trace(), 3).unwrap(), &[&x]);
    assert_close(&fast.0, &plain.0);
    assert_close(&fast.2[0], &plain.2[0]);
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let size = (9, 14 * 14 * 32);
    let window = Window {
        height: 14,
        width: 14,
        channels: 32,
        kernel: 3,
        stride: 1,
        padding: 1,
        out_height: 14,
        out_width: 14,
    };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let dev = Cpu::seed_from_u64(3);
            let x: Tensor<(usize, usize), f32, Cpu> = dev.sample_normal_like(&size);
            let f: Filters<f32, Cpu> = dev.sample_normal_like(&(64, 3, 3, 32));
            let b: Tensor<(usize,), f32, Cpu> = dev.sample_normal_like(&(64,));
            let y = Cpu::convolution(x.leaky_trace(), &f, &b, window, true).unwrap();
            let values = y.as_vec();
            let g = y.sum().backward();
            let all = [values, g.get(&x).as_vec(), g.get(&f).as_vec(), g.get(&b).as_vec()];
            all.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    let one = on(1);
    for threads in [2, 3, 7] {
        assert!(on(threads) == one, "{threads} threads");
    }
}
