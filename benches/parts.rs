//! The parts of a step, one by one: `cargo bench -p benches`.
//!
//! A dense layer and a convolution there and back, a step of AdamW, and a step of a solver, on one
//! thread, as in a block of ten.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dfdx::{
    nn::{DeviceBuildExt, ZeroGrads},
    prelude::*,
};
use dfdx_noprop::{
    device,
    nn::{
        Dense,
        image::{Conv2d, Images},
    },
    optim::{AdamW, Optimizer, OptimizerState},
    solver::{Method, Save, Solver, Steps},
};

fn dense(criterion: &mut Criterion) {
    dense_layer::<784, 256>(criterion, &[1, 128, 1024]);
    dense_layer::<256, 10>(criterion, &[1024]);
}

fn dense_layer<const I: usize, const O: usize>(criterion: &mut Criterion, batches: &[usize]) {
    let mut group = criterion.benchmark_group(format!("dense {I} to {O}, forward and back"));
    for &rows in batches {
        group.throughput(Throughput::Elements(rows as u64));
        let dev = Cpu::seed_from_u64(0);
        let x: Tensor<(usize, Const<I>), f32, _> = dev.sample_normal_like(&(rows, Const));
        let ours = dev.build_module::<Dense<I, O>, f32>();
        let theirs = dev.build_module::<Linear<I, O>, f32>();
        group.bench_function(BenchmarkId::new("this crate", rows), |bencher| {
            let mut gradients = Some(ours.alloc_grads());
            bencher.iter(|| {
                let traced =
                    x.clone().traced(gradients.take().unwrap_or_else(|| ours.alloc_grads()));
                gradients = Some(ours.forward(traced).sum().backward());
            });
        });
        group.bench_function(BenchmarkId::new("dfdx", rows), |bencher| {
            let mut gradients = Some(theirs.alloc_grads());
            bencher.iter(|| {
                let traced =
                    x.clone().traced(gradients.take().unwrap_or_else(|| theirs.alloc_grads()));
                gradients = Some(theirs.forward(traced).sum().backward());
            });
        });
    }
    group.finish();
}

/// The middle layer of the paper's network; beside it the product of its windows with its filters,
/// there and back, as a dense layer of as many rows.
fn convolution(criterion: &mut Criterion) {
    let dev = Cpu::seed_from_u64(0);
    let mut group = criterion.benchmark_group("convolution 14 × 14, 64 to 128, forward and back");
    group.sample_size(20).throughput(Throughput::Elements(32));
    let layer = dev.build_module::<Conv2d<64, 128, 14, 14>, f32>();
    let x: Images<64, 14, 14, f32, _> = dev.sample_normal_like(&(32, Const, Const, Const));
    group.bench_function("32 images", |bencher| {
        let mut gradients = Some(layer.alloc_grads());
        bencher.iter(|| {
            let traced = x.clone().traced(gradients.take().unwrap_or_else(|| layer.alloc_grads()));
            gradients = Some(layer.forward(traced).sum().backward());
        });
    });
    let dense = dev.build_module::<Dense<576, 128>, f32>();
    let rows: Tensor<(usize, Const<576>), f32, _> = dev.sample_normal_like(&(32 * 196, Const));
    group.bench_function("a dense layer of as many products", |bencher| {
        let mut gradients = Some(dense.alloc_grads());
        bencher.iter(|| {
            let traced =
                rows.clone().traced(gradients.take().unwrap_or_else(|| dense.alloc_grads()));
            gradients = Some(dense.forward(traced).sum().backward());
        });
    });
    group.finish();
}

fn adamw(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("AdamW, 784 × 256 weights");
    group.throughput(Throughput::Elements(784 * 256));
    let dev = Cpu::seed_from_u64(0);
    let config = AdamW::default();
    let mut module = device::Module(dev.build_module::<Dense<784, 256>, f32>());
    let x: Tensor<(usize, Const<784>), f32, _> = dev.sample_normal_like(&(8, Const));
    group.bench_function("this crate", |bencher| {
        let (mut state, stepping) = (OptimizerState::default(), Optimizer::from(config).into());
        let mut gradients = module.0.forward(x.leaky_trace()).sum().backward();
        bencher.iter(|| {
            // The gradients are spent by a step, so this fills them again, which counts too.
            if let Ok(gradient) = gradients.get_or_alloc_mut(&module.0.weight) {
                gradient.fill(1e-3);
            }
            state.update(&stepping, &mut module, &mut gradients)
        });
    });
    let mut linear = dev.build_module::<Linear<784, 256>, f32>();
    let gradients = linear.forward(x.leaky_trace()).sum().backward();
    group.bench_function("dfdx", |bencher| {
        use dfdx::optim::{Adam, AdamConfig, Optimizer as _, WeightDecay};
        let weight_decay = Some(WeightDecay::Decoupled(config.weight_decay));
        let mut adam = Adam::new(&linear, AdamConfig { weight_decay, ..AdamConfig::default() });
        bencher.iter(|| adam.update(&mut linear, &gradients));
    });
    group.finish();
}

fn solver(criterion: &mut Criterion) {
    let dev = Cpu::seed_from_u64(0);
    let z: Tensor<(usize, Const<10>), f32, _> = dev.sample_normal_like(&(256, Const));
    let mut group = criterion.benchmark_group("a solver's step on z: [256, 10], dz/dt = −z");
    for method in [Method::Euler, Method::Heun, Method::DormandPrince] {
        let solver = Solver { method, steps: Steps::Fixed(1), save: Save::End };
        group.bench_function(format!("{method:?}"), |bencher| {
            bencher.iter(|| {
                let drift = |_, z: &Tensor<(usize, Const<10>), f32, Cpu>| Ok(z.clone().negate());
                solver.integrate(drift, z.clone(), 0.0, 1.0)
            });
        });
    }
    group.finish();
}

/// As a block is trained: what is shared among threads stays on one.
fn parts(criterion: &mut Criterion) {
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(1).build_global() {
        eprintln!("several threads: {error}");
    }
    dense(criterion);
    convolution(criterion);
    adamw(criterion);
    solver(criterion);
}

criterion_group!(all, parts);
criterion_main!(all);
