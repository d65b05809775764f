//! Each fast operation against the plain one in dfdx's own operations, and against dfdx's own
//! layers.

use dfdx::prelude::*;

use super::RUN;
use crate::{
    device::{
        Backend, Column, Matrix, Module, Real, TensorMut, plain_adamw, plain_adamw_by,
        plain_combined, plain_cross_entropy, plain_dense, plain_is_finite, plain_move_gradient,
        plain_sgd, plain_sgd_by,
    },
    optim::{AdamW, Optimizer, OptimizerState, Sgd},
};

/// The largest difference, relative to the largest number.
fn difference<E: Real>(a: &[E], b: &[E]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-30, |m: f64, v| m.max(v.as_f64().abs()));
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a.as_f64() - b.as_f64()).abs() / scale))
}

/// y, ∂W, ∂b and ∂x of mean(y²).
fn dense_both_ways<E: Real>(
    rows: usize,
    (inputs, outputs): (usize, usize),
    fast: bool,
) -> [Vec<E>; 4]
where
    Cpu: Backend<E>,
{
    let dev = Cpu::seed_from_u64(rows as u64);
    let draw = || Uniform::new(E::of(-1.0), E::of(1.0));
    let x: Matrix<E, _> = dev.try_sample_like(&(rows, inputs), draw()).unwrap();
    let w: Matrix<E, _> = dev.try_sample_like(&(outputs, inputs), draw()).unwrap();
    let b: Column<E, _> = dev.try_sample_like(&(outputs,), draw()).unwrap();
    let y = if fast {
        Cpu::dense(x.leaky_trace(), &w, &b, true)
    } else {
        plain_dense(x.leaky_trace(), &w, &b)
    };
    let y = y.unwrap();
    let out = y.as_vec();
    let g = y.square().mean().backward();
    [out, g.get(&w).as_vec(), g.get(&b).as_vec(), g.get(&x).as_vec()]
}

use rand_distr::Uniform;

fn check_dense(inputs: usize, outputs: usize) {
    let widths = (inputs, outputs);
    for rows in [1, 2, 7, 128] {
        let both = |fast| dense_both_ways::<f64>(rows, widths, fast);
        for (fast, plain) in both(true).iter().zip(both(false)) {
            assert!(difference(fast, &plain) < 1e-13, "f64, {rows} rows, {inputs} to {outputs}");
        }
        let both = |fast| dense_both_ways::<f32>(rows, widths, fast);
        for (fast, plain) in both(true).iter().zip(both(false)) {
            assert!(difference(fast, &plain) < 1e-5, "f32, {rows} rows, {inputs} to {outputs}");
        }
    }
}

/// y and all gradients of mean(y²) for y = V u + v + (W x + b), and where `kept` of mean(y² + (V
/// u + v)²).
fn onto_both_ways<E: Real>(rows: usize, fast: bool, kept: bool) -> Vec<Vec<E>>
where
    Cpu: Backend<E>,
{
    let dev = Cpu::seed_from_u64(rows as u64);
    let draw = || Uniform::new(E::of(-1.0), E::of(1.0));
    let matrix = |shape| -> Matrix<E, _> { dev.try_sample_like(&shape, draw()).unwrap() };
    let (u, x, v, w) = (matrix((rows, 4)), matrix((rows, 9)), matrix((33, 4)), matrix((33, 9)));
    let [c, b]: [Column<E, _>; 2] = [0, 1].map(|_| dev.try_sample_like(&(33,), draw()).unwrap());
    let sum = Cpu::dense(u.leaky_trace(), &v, &c, true).unwrap();
    let (sum, tape) = sum.split_tape();
    let other = kept.then(|| sum.clone());
    let (sum, x) = (sum.put_tape(tape), x.leaky_trace());
    let y = if fast {
        Cpu::dense_onto(x.with_empty_tape(), &w, &b, sum, true).unwrap()
    } else {
        sum + plain_dense(x.with_empty_tape(), &w, &b).unwrap()
    };
    let out = y.as_vec();
    let loss = y.square().mean();
    let loss = match other {
        Some(other) => loss + other.leaky_trace().square().mean(),
        None => loss,
    };
    let g = loss.backward();
    let matrices = [g.get(&v).as_vec(), g.get(&w).as_vec(), g.get(&u).as_vec(), g.get(&x).as_vec()];
    matrices.into_iter().chain([out, g.get(&b).as_vec(), g.get(&c).as_vec()]).collect()
}

#[test]
fn a_dense_layer_added_to_a_sum_is_the_plain_one() {
    for rows in [1, 7, 40] {
        for kept in [false, true] {
            let both = |fast| onto_both_ways::<f64>(rows, fast, kept);
            for (fast, plain) in both(true).iter().zip(both(false)) {
                assert!(difference(fast, &plain) < 1e-13, "f64, {rows} rows");
            }
            let both = |fast| onto_both_ways::<f32>(rows, fast, kept);
            for (fast, plain) in both(true).iter().zip(both(false)) {
                assert!(difference(fast, &plain) < 1e-5, "f32, {rows} rows");
            }
        }
    }
}

#[test]
fn weights_laid_out_are_those_of_the_plain_layer() {
    let dev = Cpu::seed_from_u64(5);
    for rows in [1, 7, 40] {
        let matrix = |shape| -> Matrix<f64, Cpu> { dev.sample_normal_like(&shape) };
        let (x, w, sum) = (matrix((rows, 9)), matrix((33, 9)), matrix((rows, 33)));
        let b: Column<f64, _> = dev.sample_normal_like(&(33,));
        let laid_out = Cpu::transposed(&w).unwrap();
        let plain = plain_dense(x.clone(), &w, &b).unwrap();
        let alone = Cpu::dense_transposed(x.clone(), &laid_out, &b, None).unwrap();
        assert!(difference(&alone.as_vec(), &plain.as_vec()) < 1e-13);
        let before = sum.as_vec();
        let onto = Cpu::dense_transposed(x, &laid_out, &b, Some(sum.clone())).unwrap();
        assert!(difference(&onto.as_vec(), &(sum.clone() + plain).as_vec()) < 1e-13);
        assert_eq!(sum.as_vec(), before);
    }
}

#[test]
fn dense_is_the_plain_one() {
    check_dense(1, 1);
    check_dense(3, 5);
    check_dense(10, 64);
    check_dense(65, 10);
}

/// y, ∂W, ∂b, ∂x, and the weights after a step of AdamW with the norm of its gradient, in a pool of
/// some threads.
fn step_on(threads: usize, rows: usize, (inputs, outputs): (usize, usize)) -> Vec<Vec<u32>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let dev = Cpu::seed_from_u64(7);
        let x: Matrix<f32, _> = dev.sample_normal_like(&(rows, inputs));
        let mut w: Matrix<f32, _> = dev.sample_normal_like(&(outputs, inputs));
        let b: Column<f32, _> = dev.sample_normal_like(&(outputs,));
        let y = Cpu::relu(Cpu::dense(x.leaky_trace(), &w, &b, true).unwrap()).unwrap();
        let y = Cpu::sum(y.with_empty_tape(), y).unwrap();
        let out = y.as_vec();
        let mut g = y.square().mean().backward();
        let norm = Cpu::squared_gradient(&w.flat().unwrap(), &mut g).unwrap();
        let mut all = vec![out, g.get(&w).as_vec(), g.get(&b).as_vec(), g.get(&x).as_vec()];
        let count = outputs * inputs;
        let (mut m, mut v) = (dev.zeros_like(&(count,)), dev.zeros_like(&(count,)));
        Cpu::adamw(&mut w, &mut g, &mut m, &mut v, &AdamW::default().step(1)).unwrap();
        all.extend([w.as_vec(), m.as_vec(), v.as_vec(), vec![norm as f32]]);
        all.into_iter().map(|v| v.into_iter().map(f32::to_bits).collect()).collect()
    })
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    fn check(inputs: usize, outputs: usize, rows: usize) {
        let one = step_on(1, rows, (inputs, outputs));
        for threads in [2, 3, 5, 16] {
            let many = step_on(threads, rows, (inputs, outputs));
            assert!(many == one, "{threads} threads, {rows} rows");
        }
    }
    // The shapes of the MLP, what does not divide, long sums, few and many rows.
    check(784, 256, 128);
    check(256, 256, 129);
    check(1100, 300, 70);
    check(256, 66, 1024);
    check(64, 1000, 37);
    check(60, 200, 1200);
}

#[test]
fn dense_computes_no_input_gradient_unless_asked() {
    let dev = Cpu::default();
    let x: Matrix<f32, _> = dev.sample_normal_like(&(4, 3));
    let w: Matrix<f32, _> = dev.sample_normal_like(&(2, 3));
    let b: Column<f32, _> = dev.sample_normal_like(&(2,));
    for asked in [true, false] {
        let y = Cpu::dense(x.leaky_trace(), &w, &b, asked).unwrap();
        let mut g = y.square().mean().backward();
        g.get_or_alloc_mut(&x).unwrap();
        assert_eq!(g.get(&x).as_vec().iter().any(|g| *g != 0.0), asked);
        assert!(g.get(&w).as_vec().iter().all(|g| *g != 0.0));
    }
}

#[test]
fn dense_takes_what_is_not_contiguous() {
    let dev = Cpu::default();
    let w: Matrix<f32, _> = dev.sample_normal_like(&(2, 3));
    let b: Column<f32, _> = dev.sample_normal_like(&(2,));
    let row: Column<f32, _> = dev.sample_normal_like(&(3,));
    let broadcast = row.clone().broadcast_like::<(usize, usize), Axis<0>>(&(4, 3));
    assert!(!super::contiguous(&broadcast));
    let same: Matrix<f32, _> = dev
        .tensor_from_vec([row.as_vec(), row.as_vec(), row.as_vec(), row.as_vec()].concat(), (4, 3));
    assert!(super::contiguous(&same));
    let run = |x| Cpu::dense::<NoneTape>(x, &w, &b, true).unwrap().as_vec();
    assert!(difference(&run(broadcast), &run(same)) < 1e-6);
    let permuted: Matrix<f32, _> = w.clone().permute::<_, Axes2<1, 0>>();
    assert!(!super::contiguous(&permuted));
}

#[test]
fn dense_takes_an_empty_batch() {
    let dev = Cpu::default();
    let x: Matrix<f32, _> = dev.zeros_like(&(0, 3));
    let w: Matrix<f32, _> = dev.sample_normal_like(&(2, 3));
    let b: Column<f32, _> = dev.sample_normal_like(&(2,));
    assert_eq!(Cpu::dense(x, &w, &b, true).unwrap().shape().0, 0);
}

#[test]
fn a_layer_is_the_linear_layer_of_dfdx() {
    use dfdx::nn::{DeviceBuildExt, Module as _};
    let dev = Cpu::default();
    let linear = dev.build_module::<Linear<6, 5>, f64>();
    let mut dense = dev.build_module::<crate::nn::Dense<6, 5>, f64>();
    (dense.weight, dense.bias) = (linear.weight.clone(), linear.bias.clone());
    let x: Tensor<(usize, Const<6>), f64, _> = dev.sample_normal_like(&(3, Const));
    let (a, b) = (dense.forward(x.leaky_trace()), linear.forward(x.leaky_trace()));
    assert!(difference(&a.as_vec(), &b.as_vec()) < 1e-14);
    let (a, b) = (a.exp().mean().backward(), b.exp().mean().backward());
    assert!(difference(&a.get(&dense.weight).as_vec(), &b.get(&linear.weight).as_vec()) < 1e-13);
    assert!(difference(&a.get(&x).as_vec(), &b.get(&x).as_vec()) < 1e-13);
}

/// Weights after 20 steps on a quadratic bowl.
fn descend(mut step: impl FnMut(&mut Tensor<Rank1<5>, f64, Cpu>, Gradients<f64, Cpu>)) -> Vec<f64> {
    let dev = Cpu::default();
    let mut w: Tensor<Rank1<5>, f64, _> = dev.tensor([1.0, -2.0, 3.0, 0.5, -0.1]);
    let curvature: Tensor<Rank1<5>, f64, _> = dev.tensor([1.0, 10.0, 0.1, 3.0, 2.0]);
    for _ in 0..20 {
        let loss = (w.leaky_trace().square() * curvature.clone()).sum();
        step(&mut w, loss.backward());
    }
    w.as_vec()
}

fn ours(optimizer: Optimizer) -> Vec<f64> {
    let mut state = OptimizerState::default();
    descend(|w, mut g| {
        let mut module = Module(w.clone());
        state.update(&optimizer.into(), &mut module, &mut g).unwrap();
        *w = module.0;
    })
}

#[test]
fn adamw_is_that_of_dfdx_and_the_plain_one() {
    use dfdx::optim::{Adam, AdamConfig, Optimizer as _, WeightDecay};
    let config =
        AdamW { learning_rate: 0.05, weight_decay: 0.1, decay_biases: true, ..AdamW::default() };
    let start: Tensor<Rank1<5>, f64, Cpu> = Cpu::default().zeros();
    let mut theirs = Adam::new(
        &start,
        AdamConfig {
            lr: config.learning_rate,
            betas: [config.beta1, config.beta2],
            eps: config.epsilon,
            weight_decay: Some(WeightDecay::Decoupled(config.weight_decay)),
        },
    );
    let expected = descend(|w, g| theirs.update(w, &g).unwrap());
    assert!(difference(&ours(config.into()), &expected) < 1e-12);

    let dev = Cpu::default();
    let zeros = || dev.zeros_like(&(5,));
    let (mut m, mut v, mut k): (Tensor<(usize,), f64, _>, _, _) = (zeros(), zeros(), 0);
    let plain = descend(|w, mut g| {
        k += 1;
        plain_adamw(w, &mut g, &mut m, &mut v, &config.step(k)).unwrap();
    });
    assert!(difference(&ours(config.into()), &plain) < 1e-12);
}

#[test]
fn sgd_is_that_of_dfdx_and_the_plain_one() {
    use dfdx::optim::{Momentum, Optimizer as _, SgdConfig, WeightDecay};
    let config = Sgd { learning_rate: 0.01, momentum: 0.8, weight_decay: 0.1, decay_biases: true };
    let start: Tensor<Rank1<5>, f64, Cpu> = Cpu::default().zeros();
    let mut theirs = dfdx::optim::Sgd::new(
        &start,
        SgdConfig {
            lr: config.learning_rate,
            momentum: Some(Momentum::Classic(config.momentum)),
            weight_decay: Some(WeightDecay::Decoupled(config.weight_decay)),
        },
    );
    let expected = descend(|w, g| theirs.update(w, &g).unwrap());
    assert!(difference(&ours(config.into()), &expected) < 1e-12);

    let mut velocity: Tensor<(usize,), f64, _> = Cpu::default().zeros_like(&(5,));
    let plain = descend(|w, mut g| plain_sgd(w, &mut g, &mut velocity, &config.step()).unwrap());
    assert!(difference(&ours(config.into()), &plain) < 1e-12);
}

#[test]
fn what_took_no_part_stays_as_it_is() {
    let dev = Cpu::default();
    for optimizer in [
        Optimizer::from(AdamW { weight_decay: 0.5, ..AdamW::default() }),
        Optimizer::from(Sgd { weight_decay: 0.5, ..Sgd::default() }),
    ] {
        let pair: (Tensor<Rank1<2>, f64, Cpu>, Tensor<Rank1<3>, f64, Cpu>) =
            (dev.ones(), dev.ones());
        let mut state = OptimizerState::default();
        let mut g = pair.0.leaky_trace().square().sum().backward();
        let mut pair = Module(pair);
        state.update(&optimizer.into(), &mut pair, &mut g).unwrap();
        assert!(pair.0.0.as_vec().iter().all(|w| *w < 1.0));
        assert_eq!(pair.0.1.as_vec(), [1.0; 3]);
        assert_eq!(state.steps(), 1);
        assert_eq!(state.first_moments().len(), 2);
    }
}

/// relu(x + y) + x, with x shared and not, both ways: value and gradients.
fn sums_both_ways<E: Real>(fast: bool) -> [Vec<E>; 3]
where
    Cpu: Backend<E>,
{
    let dev = Cpu::seed_from_u64(3);
    let draw = || Uniform::new(E::of(-1.0), E::of(1.0));
    let x: Tensor<(usize, Const<33>), E, _> = dev.try_sample_like(&(5, Const), draw()).unwrap();
    let y: Tensor<(usize, Const<33>), E, _> = dev.try_sample_like(&(5, Const), draw()).unwrap();
    let two = |x: &Tensor<(usize, Const<33>), E, Cpu>| x.leaky_trace() * E::of(2.0);
    let (a, b) = (two(&x), two(&y));
    let skip = a.with_empty_tape();
    let out = if fast {
        let sum = Cpu::sum(a, b).unwrap();
        let again = sum.with_empty_tape();
        // Once on numbers that are shared, once on those that are not.
        let h = Cpu::sum(skip, Cpu::relu(sum).unwrap()).unwrap();
        Cpu::sum(Cpu::relu(h).unwrap(), again).unwrap()
    } else {
        let sum = a + b;
        let again = sum.with_empty_tape();
        (skip + sum.relu()).relu() + again
    };
    let value = out.as_vec();
    let g = out.square().mean().backward();
    [value, g.get(&x).as_vec(), g.get(&y).as_vec()]
}

#[test]
fn sums_and_rectifiers_are_the_plain_ones() {
    for (fast, plain) in sums_both_ways::<f64>(true).iter().zip(sums_both_ways::<f64>(false)) {
        assert!(difference(fast, &plain) < 1e-13);
    }
    for (fast, plain) in sums_both_ways::<f32>(true).iter().zip(sums_both_ways::<f32>(false)) {
        assert!(difference(fast, &plain) < 1e-5);
    }
}

/// softmax(2 o), CE(2 o, y), and the gradient of the mean of ‖p‖² and of the weighted CE.
fn classes_both_ways<E: Real>(fast: bool) -> [Vec<E>; 3]
where
    Cpu: Backend<E>,
{
    let dev = Cpu::seed_from_u64(6);
    let draw = || Uniform::new(E::of(-4.0), E::of(4.0));
    let o: Matrix<E, _> = dev.try_sample_like(&(5, 10), draw()).unwrap();
    let y: Matrix<E, _> = dev.try_sample_like(&(5, 10), draw()).unwrap();
    let weights: Column<E, _> = dev.try_sample_like(&(5,), draw()).unwrap();
    let logits = o.leaky_trace() * E::of(2.0);
    let again = logits.with_empty_tape();
    let (p, ce) = if fast {
        (Cpu::softmax(logits).unwrap(), Cpu::cross_entropy(again, y).unwrap())
    } else {
        (logits.softmax::<Axis<1>>(), plain_cross_entropy(again, y).unwrap())
    };
    let values = [p.as_vec(), ce.as_vec()];
    let g = (p.square().mean() + (ce * weights).mean()).backward();
    let [p, ce] = values;
    [p, ce, g.get(&o).as_vec()]
}

#[test]
fn classes_are_the_plain_ones() {
    let both = [classes_both_ways::<f64>(true), classes_both_ways::<f64>(false)];
    for (fast, plain) in both[0].iter().zip(&both[1]) {
        assert!(difference(fast, plain) < 1e-13);
    }
    let both = [classes_both_ways::<f32>(true), classes_both_ways::<f32>(false)];
    for (fast, plain) in both[0].iter().zip(&both[1]) {
        assert!(difference(fast, plain) < 1e-6);
    }
    // A number that is none stays one, and no rows have no loss.
    let dev = Cpu::default();
    let o: Matrix<f32, _> = dev.tensor_from_vec(vec![0.0, f32::NAN, 1.0, 2.0], (2, 2));
    let y: Matrix<f32, _> = dev.tensor_from_vec(vec![1.0, 0.0, 0.0, 1.0], (2, 2));
    let loss = Cpu::cross_entropy(o, y).unwrap().as_vec();
    assert!(loss[0].is_nan() && (loss[1] - 0.313_261_7).abs() < 1e-6, "{loss:?}");
    let none: Matrix<f32, _> = dev.zeros_like(&(0, 3));
    assert_eq!(*Cpu::cross_entropy(none.clone(), none).unwrap().shape(), (0,));
}

#[test]
fn the_gradient_is_zero_after_a_step() {
    let dev = Cpu::default();
    for optimizer in [Optimizer::from(AdamW::default()), Optimizer::from(Sgd::default())] {
        let w: Tensor<Rank1<40>, f64, Cpu> = dev.ones();
        let mut gradients = w.leaky_trace().square().sum().backward();
        let (mut state, mut w) = (OptimizerState::default(), Module(w));
        state.update(&optimizer.into(), &mut w, &mut gradients).unwrap();
        assert_eq!(gradients.get(&w.0).as_vec(), [0.0; 40]);
    }
    let mut w: Tensor<Rank1<40>, f64, Cpu> = dev.ones();
    let mut gradients = w.leaky_trace().square().sum().backward();
    let (mut m, mut v) = (dev.zeros_like(&(40,)), dev.zeros_like(&(40,)));
    plain_adamw(&mut w, &mut gradients, &mut m, &mut v, &AdamW::default().step(1)).unwrap();
    assert_eq!(gradients.get(&w).as_vec(), [0.0; 40]);
}

#[test]
fn means_without_a_gradient_end_at_zero() {
    let dev = Cpu::default();
    let mut w: Tensor<Rank1<2>, f32, Cpu> = dev.ones();
    let (mut m, mut v) = (dev.zeros_like(&(2,)), dev.zeros_like(&(2,)));
    let mut gradients = w.leaky_trace().square().sum().backward();
    for step in 1..=1200 {
        // The other weight keeps its gradient, so that the tensor takes part.
        gradients.get_or_alloc_mut(&w).unwrap()[1] = 1.0;
        Cpu::adamw(&mut w, &mut gradients, &mut m, &mut v, &AdamW::default().step(step)).unwrap();
        assert!(m.as_vec().iter().chain(&v.as_vec()).all(|mean| !mean.is_subnormal()));
    }
    assert_eq!(m.as_vec()[0], 0.0);
    assert!(v.as_vec()[0] > 0.0);
}

#[test]
fn one_row_is_added_to_all_as_the_plain_one_does() {
    let dev = Cpu::seed_from_u64(3);
    let a: Matrix<f64, _> = dev.sample_normal_like(&(4, 5));
    let b: Matrix<f64, _> = dev.sample_normal_like(&(1, 5));
    let fast = Cpu::add_row(a.clone(), b.clone()).unwrap();
    let plain = crate::device::plain_add_row(a.clone(), b).unwrap();
    assert_eq!(fast.as_vec(), plain.as_vec());
    assert!(Cpu::add_row(a.clone(), a).is_err());
}

#[test]
fn times_are_embedded_as_the_plain_one_does() {
    let dev = Cpu::default();
    let times = vec![0.0, 0.25, 0.25, 0.25, 1.0, 0.9];
    let times: Tensor<(usize,), f64, Cpu> = dev.tensor_from_vec(times, (6,));
    for width in [2, 4, 64] {
        let fast = Cpu::time_embedding(times.clone(), width).unwrap();
        let plain = crate::device::plain_time_embedding::<f64, Cpu>(times.clone(), width).unwrap();
        assert!(difference(&fast.as_vec(), &plain.as_vec()) < 1e-13);
    }
}

#[test]
fn a_gradient_that_is_made_as_it_goes_steps_like_one_that_is_kept() {
    let (dev, n) = (Cpu::seed_from_u64(5), 2 * RUN + 17);
    let normal = || -> Tensor<(usize,), f64, Cpu> { dev.sample_normal_like(&(n,)) };
    let (start, gradient, first) = (normal(), normal(), normal());
    let second = normal().square();
    let values = gradient.as_vec();
    let kept = || (start.clone().leaky_traced() * gradient.clone()).sum().backward();
    let made = |step: &mut dyn FnMut(&mut dyn FnMut(&mut [f64]))| {
        let mut next = 0;
        step(&mut |run| {
            run.copy_from_slice(&values[next..next + run.len()]);
            next += run.len();
        });
        assert_eq!(next, n);
    };

    let step = AdamW { weight_decay: 0.1, ..AdamW::default() }.step(7);
    let (mut w, mut m, mut v) = (start.clone(), first.clone(), second.clone());
    Cpu::adamw(&mut w, &mut kept(), &mut m, &mut v, &step).unwrap();
    let (mut w2, mut m2, mut v2) = (start.clone(), first.clone(), second.clone());
    made(&mut |fill| Cpu::adamw_by(&mut w2, fill, &mut m2, &mut v2, &step).unwrap());
    assert_eq!([w2.as_vec(), m2.as_vec(), v2.as_vec()], [w.as_vec(), m.as_vec(), v.as_vec()]);
    let (mut w3, mut m3, mut v3) = (start.clone(), first.clone(), second);
    plain_adamw_by(&mut w3, gradient.clone(), &mut m3, &mut v3, &step).unwrap();
    assert!(difference(&w3.as_vec(), &w.as_vec()) < 1e-12);

    let step = Sgd { weight_decay: 0.1, ..Sgd::default() }.step();
    let (mut w, mut u) = (start.clone(), first.clone());
    Cpu::sgd(&mut w, &mut kept(), &mut u, &step).unwrap();
    let (mut w2, mut u2) = (start.clone(), first.clone());
    made(&mut |fill| Cpu::sgd_by(&mut w2, fill, &mut u2, &step).unwrap());
    assert_eq!([w2.as_vec(), u2.as_vec()], [w.as_vec(), u.as_vec()]);
    let (mut w3, mut u3) = (start.clone(), first);
    plain_sgd_by(&mut w3, gradient.clone(), &mut u3, &step).unwrap();
    assert!(difference(&w3.as_vec(), &w.as_vec()) < 1e-12);

    let mut doubled = start.clone();
    Cpu::change(&mut doubled, &mut |values| values.iter_mut().for_each(|v| *v *= 2.0)).unwrap();
    assert_eq!(doubled.as_vec(), (start.clone() * 2.0).as_vec());
    assert_ne!(start.as_vec(), doubled.as_vec());
}

#[test]
fn what_a_solver_does_is_bit_for_bit_the_plain_one() {
    let dev = Cpu::seed_from_u64(3);
    let draw = || -> Tensor<(usize, Const<7>), f32, _> { dev.sample_normal_like(&(5, Const)) };
    let (z, a, b) = (draw(), draw(), draw());
    for terms in [&[][..], &[(0.3, &a)], &[(0.3, &a), (-1.7, &b)]] {
        let plain = plain_combined(0.9, &z, terms).unwrap().as_vec();
        assert_eq!(Cpu::combined(0.9, &z, terms).unwrap().as_vec(), plain);
    }
    // A broadcast one too.
    let row: Tensor<Rank1<7>, f32, _> = dev.sample_normal();
    let wide = row.broadcast_like(&(5, Const::<7>));
    let plain = plain_combined(1.0, &z, &[(2.0, &wide)]).unwrap().as_vec();
    assert_eq!(Cpu::combined(1.0, &z, &[(2.0, &wide)]).unwrap().as_vec(), plain);

    // But for the exponentials, which are others.
    let fast = Cpu::softmax(z.clone() * 20.0).unwrap().as_vec();
    assert!(difference(&fast, &(z.clone() * 20.0).softmax::<Axis<1>>().as_vec()) < 5e-7);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = z.as_vec();
        assert!(Cpu::is_finite(&z).unwrap() && plain_is_finite(&z).unwrap());
        values[34] = bad;
        let z = dev.tensor_from_vec(values, (5, Const::<7>));
        assert!(!Cpu::is_finite(&z).unwrap() && !plain_is_finite(&z).unwrap());
    }
}

#[test]
fn a_gradient_moves_as_the_plain_one_does() {
    let moved = |fast: bool| {
        let dev = Cpu::seed_from_u64(4);
        let w: Tensor<Rank2<3, 5>, f64, _> = dev.sample_normal();
        let mut to = w.leaky_trace().square().sum().backward();
        let mut from = w.leaky_trace().exp().sum().backward();
        let flat = w.flat().unwrap();
        if fast {
            Cpu::move_gradient(&flat, &mut to, &mut from).unwrap();
        } else {
            plain_move_gradient(&flat, &mut to, &mut from).unwrap();
        }
        (to.get(&w).as_vec(), from.get(&w).as_vec())
    };
    let (fast, plain) = (moved(true), moved(false));
    assert!(difference(&fast.0, &plain.0) < 1e-15);
    assert_eq!((&fast.1, &plain.1), (&vec![0.0; 15], &vec![0.0; 15]));
}

#[test]
fn memory_that_is_kept_serves_the_next_tensor_of_its_size() {
    let dev = Cpu::default();
    let make = || -> Tensor<(usize,), f32, _> {
        super::filled(&dev, (1000,), |numbers| {
            assert!(numbers.iter().all(|number| *number == 0.0));
            numbers.fill(1.0);
            Ok(())
        })
        .unwrap()
    };
    let place = |tensor: &Tensor<(usize,), f32, Cpu>| std::ptr::from_ref(&tensor[[0]]);
    let reuse = super::reuse(10);
    let first = place(&make());
    // Would get that place if it had gone back to the allocator.
    let _other = std::hint::black_box(vec![0f32; 1000]);
    let both = (make(), make());
    assert_eq!(place(&both.0), first);
    assert_ne!(place(&both.1), first);
    drop(reuse);
    drop(both);
    // Those that nobody asked to be kept are not taken from there.
    let tensor = make();
    assert_eq!(tensor.as_vec(), vec![1.0; 1000]);
    let _reuse = super::reuse(10);
    assert_eq!(make().as_vec(), vec![1.0; 1000]);
}
