//! Gradients without derivatives, beside those of reverse mode.

mod common;

use std::ops::ControlFlow;

use common::{blobs, weights};
use dfdx::{
    nn::{BuildOnDevice, ZeroSizedModule},
    prelude::*,
};
use dfdx_noprop::{
    Error, Fit, NoProp, Runs,
    device::Rows,
    gradient::{ActivityNoise, Estimator, Noise, Shaping, WeightNoise},
    head::{OneHot, Regression, SuitsHead},
    nn::{
        Condition, ConditionalResNetCt, ConditionalResNetDt, Custom, Denoises, Dense, Pair, Width,
    },
    optim::{AdamW, Sgd},
    prelude::{Learned, MonotoneNetwork, Path},
    train::{Observer, StepReport},
    variant::{ContinuousTime, DiscreteTime, FlowMatching, Variant},
};
use rand::{SeedableRng, rngs::StdRng};

type Small = ConditionalResNetDt<3, 4, 6>;
type Model<M, E = f64> = NoProp<DiscreteTime<Regression>, M, 3, 4, E, Cpu>;

/// Steps of the gradient itself: what a step takes off the weights is the estimate.
fn plain() -> Sgd {
    Sgd { learning_rate: 1.0, momentum: 0.0, weight_decay: 0.0, ..Sgd::default() }
}

fn model<M>(estimator: impl Into<Estimator>) -> Model<M>
where
    M: BuildOnDevice<Cpu, f64>,
    M: Denoises<Pair<3, 4>, f64, Cpu>,
    M::Gives: SuitsHead<Regression, 3, f64, Cpu>,
    Cpu: Runs<DiscreteTime<Regression>, M, 3, 4, f64>,
{
    let variant = DiscreteTime {
        blocks: 1,
        optimizer: plain().into(),
        estimator: estimator.into(),
        ..DiscreteTime::default()
    };
    Model::<M>::new(&Cpu::default(), variant).unwrap()
}

const ROWS: usize = 5;

/// A batch, and a loss of each row that is neither even nor odd in the output.
struct Batch {
    z: Tensor<(usize, Const<3>), f64, Cpu>,
    x: Tensor<(usize, Const<4>), f64, Cpu>,
}

impl Batch {
    fn new() -> Self {
        let dev = Cpu::seed_from_u64(7);
        let (z, x) =
            (dev.sample_normal_like(&(ROWS, Const)), dev.sample_normal_like(&(ROWS, Const)));
        Self { z, x }
    }

    fn losses(output: &[f64]) -> Vec<f64> {
        let row =
            |row: &[f64]| row.iter().zip([1.0, -2.0, 0.5]).map(|(o, c)| (o - c).powi(2)).sum();
        output.chunks(3).map(row).collect()
    }

    /// The same on the tape, as a mean over the rows.
    fn loss<T: Tape<f64, Cpu>>(
        output: Tensor<(usize, Const<3>), f64, Cpu, T>,
    ) -> Result<Tensor<(), f64, Cpu, T>, CpuError> {
        let aim = output.device().tensor([1.0, -2.0, 0.5]).broadcast_like(&(ROWS, Const::<3>));
        output.try_sub(aim)?.try_square()?.try_sum::<(), _>()?.try_mul(1.0 / ROWS as f64)
    }

    fn exact(&self) -> Vec<f64> {
        let mut model = model::<Small>(Estimator::Local);
        let before = weights(model.blocks()[0].module());
        let input = (self.z.clone(), self.x.clone());
        model.train_step(1, input, Self::loss, &mut StdRng::seed_from_u64(0)).unwrap();
        difference(&before, &weights(model.blocks()[0].module()))
    }

    /// `count` estimates of the gradient at the initial weights.
    fn estimates(&self, estimator: impl Into<Estimator>, count: usize) -> Vec<Vec<f64>> {
        let mut model = model::<Small>(estimator);
        let start = model.blocks()[0].module().clone();
        let before = weights(&start);
        let mut rng = StdRng::seed_from_u64(1);
        let estimate = |_| {
            *model.blocks_mut()[0].module_mut() = start.clone();
            let input = (self.z.clone(), self.x.clone());
            model.train_step_by_losses(1, input, Self::losses, &mut rng).unwrap();
            difference(&before, &weights(model.blocks()[0].module()))
        };
        (0..count).map(estimate).collect()
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn mean(estimates: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; estimates[0].len()];
    for estimate in estimates {
        mean.iter_mut().zip(estimate).for_each(|(m, e)| *m += e / estimates.len() as f64);
    }
    mean
}

/// The mean squared distance from the exact gradient.
fn variance(estimates: &[Vec<f64>], exact: &[f64]) -> f64 {
    let distance = |estimate: &Vec<f64>| {
        let d = difference(estimate, exact);
        dot(&d, &d)
    };
    estimates.iter().map(distance).sum::<f64>() / estimates.len() as f64
}

/// Whether the mean of the estimates is the exact gradient, as far as their own spread can tell: in
/// no coordinate of some 150 more than five standard errors off. By chance that happens less than
/// once in 10,000 runs, and the seeds are fixed.
fn assert_unbiased(what: &str, estimates: &[Vec<f64>], exact: &[f64]) {
    let (count, mean) = (estimates.len() as f64, mean(estimates));
    for (i, (mean, exact)) in mean.iter().zip(exact).enumerate() {
        let square = estimates.iter().map(|e| (e[i] - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (square / count).sqrt();
        // What is no more than rounding of the differences of losses.
        let off = (mean - exact).abs();
        assert!(off < 5.0 * error + 1e-6, "{what}, weight {i}: {mean} ± {error}, not {exact}");
    }
}

const TINY: f64 = 1e-5;

#[test]
fn weight_noise_is_unbiased_and_its_variance_is_that_of_theory() {
    let batch = Batch::new();
    let exact = batch.exact();
    let square = dot(&exact, &exact);
    for noise in [Noise::Signs, Noise::Normal] {
        for directions in [1, 4, 16] {
            let estimator =
                WeightNoise { noise_scale: TINY, directions, noise, shaping: Shaping::Losses };
            let estimates = batch.estimates(estimator, 2000);
            assert_unbiased(&format!("{estimator:?}"), &estimates, &exact);
            // Σ_i (‖g‖² ∓ g_i²) / D over n weights.
            let n = exact.len() as f64;
            let expected = square * if noise == Noise::Signs { n - 1.0 } else { n + 1.0 };
            let ratio = variance(&estimates, &exact) / (expected / directions as f64);
            assert!((ratio - 1.0).abs() < 0.15, "{estimator:?}: {ratio} of the variance of theory");
        }
    }
}

#[test]
fn activity_noise_is_unbiased_and_has_less_variance() {
    let batch = Batch::new();
    let exact = batch.exact();
    let of_weights = WeightNoise { noise_scale: TINY, directions: 4, ..WeightNoise::default() };
    let of_weights = variance(&batch.estimates(of_weights, 1000), &exact);
    for noise in [Noise::Signs, Noise::Normal] {
        let estimator = |directions| ActivityNoise { noise_scale: TINY, directions, noise };
        let few = batch.estimates(estimator(4), 2000);
        assert_unbiased(&format!("{noise:?}"), &few, &exact);
        let many = batch.estimates(estimator(16), 2000);
        let fall = variance(&few, &exact) / variance(&many, &exact);
        assert!((fall - 4.0).abs() < 0.6, "{noise:?}: the variance falls by {fall}, not by 4");
        assert!(variance(&few, &exact) < 0.5 * of_weights);
    }
}

#[test]
fn one_loss_for_all_rows_serves_activity_noise_too() {
    let batch = Batch::new();
    let exact = batch.exact();
    let estimator = ActivityNoise { noise_scale: TINY, directions: 8, ..ActivityNoise::default() };
    let mut model = model::<Small>(estimator);
    let start = model.blocks()[0].module().clone();
    let mut rng = StdRng::seed_from_u64(1);
    let estimate = |_| {
        *model.blocks_mut()[0].module_mut() = start.clone();
        let input = (batch.z.clone(), batch.x.clone());
        model.train_step(1, input, Batch::loss, &mut rng).unwrap();
        difference(&weights(&start), &weights(model.blocks()[0].module()))
    };
    let estimates: Vec<_> = (0..2000).map(estimate).collect();
    assert_unbiased("one loss", &estimates, &exact);
}

/// The norm of the first block's gradient in the last step.
struct Norms(f64);

impl Observer for Norms {
    fn step(&mut self, report: &StepReport) -> Result<ControlFlow<()>, Error> {
        self.0 = report.blocks[0].gradient_norm;
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn clipping_scales_an_estimate_to_its_norm() {
    // By a fit, which is where clipping is asked for.
    let data = blobs::<3, 4>(64, 0).to_dtype();
    let run = |clip: Option<f64>| {
        let variant: DiscreteTime = DiscreteTime {
            blocks: 1,
            optimizer: plain().into(),
            estimator: WeightNoise::default().into(),
            ..DiscreteTime::default()
        };
        let mut model = NoProp::<DiscreteTime, ConditionalResNetDt<3, 4, 6>, 3, 4, f64, Cpu>::new(
            &Cpu::default(),
            variant,
        )
        .unwrap();
        let before = weights(model.blocks()[0].module());
        let mut norms = Norms(0.0);
        let fit = Fit { epochs: 1, batch_size: 64, clip, ..Fit::default() };
        model.training(&fit).observer(&mut norms).run(&data).unwrap();
        (difference(&before, &weights(model.blocks()[0].module())), norms.0)
    };
    let (whole, norm) = run(None);
    assert!((dot(&whole, &whole).sqrt() / norm - 1.0).abs() < 1e-9);
    let (clipped, of_clipped) = run(Some(0.25 * norm));
    assert!((of_clipped / norm - 1.0).abs() < 1e-9);
    for (clipped, whole) in clipped.iter().zip(&whole) {
        assert!((clipped - 0.25 * whole).abs() < 1e-9, "{clipped} {whole}");
    }
}

#[test]
fn weights_come_back_bit_for_bit() {
    for noise_scale in [1e-4, 0.03, 10.0] {
        for noise in [Noise::Signs, Noise::Normal] {
            let estimator = WeightNoise { noise_scale, noise, ..WeightNoise::default() };
            let variant = DiscreteTime::<Regression> {
                blocks: 1,
                optimizer: Sgd { learning_rate: 0.0, ..plain() }.into(),
                estimator: estimator.into(),
                ..DiscreteTime::default()
            };
            let mut model = NoProp::<_, ConditionalResNetDt<3, 4, 70>, 3, 4, f32, Cpu>::new(
                &Cpu::default(),
                variant,
            )
            .unwrap();
            let dev = Cpu::seed_from_u64(7);
            let (z, x) =
                (dev.sample_normal_like(&(ROWS, Const)), dev.sample_normal_like(&(ROWS, Const)));
            let mut rng = StdRng::seed_from_u64(0);
            let mut step = |model: &mut NoProp<
                DiscreteTime<Regression>,
                ConditionalResNetDt<3, 4, 70>,
                3,
                4,
                f32,
                Cpu,
            >| {
                let losses = |o: &[f32]| o.chunks(3).map(|row| f64::from(row[0])).collect();
                model.train_step_by_losses(1, (z.clone(), x.clone()), losses, &mut rng).unwrap();
            };
            let before: Vec<f32> = weights(model.blocks()[0].module());
            step(&mut model);
            // The first step puts the weights on their grid.
            let on_grid = weights(model.blocks()[0].module());
            let spacing = 2.0 * (1.0 + noise_scale * 8.0) as f32 * f32::EPSILON;
            assert!(before.iter().zip(&on_grid).all(|(a, b)| (a - b).abs() <= spacing));
            for _ in 0..3 {
                step(&mut model);
                assert_eq!(weights(model.blocks()[0].module()), on_grid, "{estimator:?}");
            }
        }
    }
}

#[test]
fn a_loss_that_fails_leaves_the_block_as_it_was() {
    let batch = Batch::new();
    for estimator in [Estimator::from(WeightNoise::default()), ActivityNoise::default().into()] {
        let mut model = model::<Small>(estimator);
        let mut rng = StdRng::seed_from_u64(0);
        let input = || (batch.z.clone(), batch.x.clone());
        // On the grid first.
        model.train_step_by_losses(1, input(), |_| vec![0.0; ROWS], &mut rng).unwrap();
        let before = weights(model.blocks()[0].module());
        let calls = std::cell::Cell::new(0);
        let later = |_: &[f64]| {
            calls.set(calls.get() + 1);
            vec![if calls.get() > 2 { f64::NAN } else { calls.get() as f64 }; ROWS]
        };
        let error = model.train_step_by_losses(1, input(), later, &mut rng).unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
        assert_eq!(weights(model.blocks()[0].module()), before);
        let error = model.train_step_by_losses(1, input(), |_| vec![0.0; 3], &mut rng).unwrap_err();
        assert_eq!(
            error.to_string(),
            "NoProp::train_step_by_losses: expected a loss for each of the 5 rows, or one for all, found 3"
        );
        assert_eq!(weights(model.blocks()[0].module()), before);
    }
}

#[test]
fn settings_out_of_range_say_so() {
    let message = |estimator: Estimator| {
        let variant = DiscreteTime::<OneHot> { estimator, ..DiscreteTime::default() };
        NoProp::<_, Small, 3, 4, f64, Cpu>::new(&Cpu::default(), variant).err().unwrap().to_string()
    };
    let scaled = |noise_scale| WeightNoise { noise_scale, ..WeightNoise::default() };
    assert_eq!(
        message(scaled(0.0).into()),
        "noise_scale: expected a finite number above 0, found 0"
    );
    assert_eq!(
        message(ActivityNoise { noise_scale: f64::NAN, ..ActivityNoise::default() }.into()),
        "noise_scale: expected a finite number above 0, found NaN"
    );
    let none = WeightNoise { directions: 0, ..WeightNoise::default() };
    assert_eq!(message(none.into()), "directions: expected at least 1, found 0");

    let estimator = ActivityNoise::default().into();
    let learned = DiscreteTime::<Learned<3>> { estimator, ..DiscreteTime::default() };
    let error =
        NoProp::<_, ConditionalResNetDt<2, 4, 6, 3>, 2, 4, f64, Cpu>::new(&Cpu::default(), learned);
    let error = error.err().unwrap().to_string();
    assert!(
        error.starts_with(
            "Estimator: expected Local, since the embedding is learned through the blocks"
        ),
        "{error}"
    );
    let mut learned = ContinuousTime::<OneHot> { estimator, ..ContinuousTime::default() };
    learned.schedule.path = Path::Learned(MonotoneNetwork::default());
    let error =
        NoProp::<_, ConditionalResNetCt<3, 4, 6>, 3, 4, f64, Cpu>::new(&Cpu::default(), learned);
    assert!(error.err().unwrap().to_string().contains("since the schedule is learned"));

    let batch = Batch::new();
    let mut local = model::<Small>(Estimator::Local);
    let mut rng = StdRng::seed_from_u64(0);
    let error = local.train_step_by_losses(1, (batch.z, batch.x), Batch::losses, &mut rng);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Estimator: expected WeightNoise or ActivityNoise, since the loss has no derivative, found Local"
    );
}

fn estimators() -> [Estimator; 3] {
    [
        WeightNoise::default().into(),
        WeightNoise { shaping: Shaping::Ranks, ..WeightNoise::default() }.into(),
        ActivityNoise::default().into(),
    ]
}

/// The accuracy after some epochs on blobs.
fn accuracy<V, M>(variant: V) -> f64
where
    V: Variant<3, 4, f32, AutoDevice, Head = OneHot>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 3>,
    AutoDevice: Runs<V, M, 3, 4>,
{
    let fit = Fit { epochs: 15, batch_size: 32, ..Fit::default() };
    let mut model = NoProp::<V, M, 3, 4>::new(&AutoDevice::default(), variant).unwrap();
    model.fit(&blobs::<3, 4>(600, 0), &fit).unwrap();
    model.evaluate(&blobs::<3, 4>(300, 1)).unwrap().accuracy
}

#[test]
fn every_variant_learns_without_a_derivative() {
    let optimizer = AdamW { learning_rate: 5e-3, ..AdamW::default() }.into();
    for estimator in estimators() {
        let discrete = DiscreteTime { blocks: 4, optimizer, estimator, ..DiscreteTime::default() };
        let discrete = accuracy::<_, ConditionalResNetDt<3, 4, 16>>(discrete);
        assert!(discrete > 0.95, "discrete time, {estimator:?}: {discrete}");

        let continuous = ContinuousTime { optimizer, estimator, ..ContinuousTime::default() };
        let continuous = accuracy::<_, ConditionalResNetCt<3, 4, 16>>(continuous);
        assert!(continuous > 0.95, "continuous time, {estimator:?}: {continuous}");

        let flow: FlowMatching = FlowMatching { optimizer, estimator, ..FlowMatching::default() };
        let flow = accuracy::<_, ConditionalResNetCt<3, 4, 16>>(flow);
        assert!(flow > 0.95, "flow matching, {estimator:?}: {flow}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let train = blobs::<3, 4>(200, 0);
    for estimator in estimators() {
        let discrete = |threads| {
            let variant: DiscreteTime =
                DiscreteTime { blocks: 3, estimator, ..DiscreteTime::default() };
            let mut model = NoProp::<_, ConditionalResNetDt<3, 4, 16>, 3, 4, f32, Cpu>::new(
                &Cpu::default(),
                variant,
            )
            .unwrap();
            let fit = Fit { epochs: 2, batch_size: 64, threads: Some(threads), ..Fit::default() };
            model.fit(&train, &fit).unwrap();
            model.blocks().iter().flat_map(|block| weights(block.module())).collect::<Vec<f32>>()
        };
        let one = discrete(1);
        for threads in [2, 3, 7] {
            assert!(discrete(threads) == one, "{threads} threads, {estimator:?}");
        }
        let flow = |threads| {
            let variant: FlowMatching = FlowMatching { estimator, ..FlowMatching::default() };
            let mut model = NoProp::<_, ConditionalResNetCt<3, 4, 16>, 3, 4, f32, Cpu>::new(
                &Cpu::default(),
                variant,
            )
            .unwrap();
            let fit = Fit { epochs: 2, batch_size: 64, threads: Some(threads), ..Fit::default() };
            model.fit(&train, &fit).unwrap();
            weights(model.blocks()[0].module())
        };
        let one = flow(1);
        for threads in [2, 5] {
            assert!(flow(threads) == one, "{threads} threads, {estimator:?}");
        }
    }
}

/// 1 where x > 0, and 0 elsewhere: a layer without a derivative.
#[derive(Clone, Debug, Default)]
struct Step;

type Hidden<T> = Rows<Const<16>, f32, Cpu, T>;

impl ZeroSizedModule for Step {}
impl NonMutableModule for Step {}
impl<T: Tape<f32, Cpu>> Module<Hidden<T>> for Step {
    type Output = Hidden<T>;
    type Error = CpuError;

    fn try_forward(&self, x: Hidden<T>) -> Result<Hidden<T>, CpuError> {
        let (x, tape) = x.split_tape();
        let steps = x.as_vec().into_iter().map(|x| f32::from(u8::from(x > 0.0))).collect();
        Ok(x.device().tensor_from_vec(steps, *x.shape()).put_tape(tape))
    }
}

#[test]
fn steps_in_the_place_of_slopes_are_learned_through() {
    type Block = (
        Condition<Dense<3, 16>, Dense<4, 16>>,
        Custom<Step, Width<16>, Width<16>>,
        Dense<16, 16>,
        Custom<Step, Width<16>, Width<16>>,
        Dense<16, 3>,
    );
    let train = blobs::<3, 4>(600, 0);
    let moved = |estimator: Estimator| {
        let optimizer = AdamW { learning_rate: 1e-2, ..AdamW::default() }.into();
        let variant: DiscreteTime =
            DiscreteTime { blocks: 2, optimizer, estimator, ..DiscreteTime::default() };
        let mut model = NoProp::<_, Block, 3, 4, f32, Cpu>::new(&Cpu::default(), variant).unwrap();
        let before = model.blocks()[1].module().0.clone();
        model.fit(&train, &Fit { epochs: 30, batch_size: 32, ..Fit::default() }).unwrap();
        let after = &model.blocks()[1].module().0;
        let moved = before.x.weight.as_vec() != after.x.weight.as_vec();
        (moved, model.evaluate(&blobs::<3, 4>(300, 1)).unwrap().accuracy)
    };
    // Reverse mode finds no way to the first layer.
    assert!(!moved(Estimator::Local).0);
    for estimator in [
        WeightNoise { noise_scale: 0.1, ..WeightNoise::default() }.into(),
        ActivityNoise { noise_scale: 0.1, ..ActivityNoise::default() }.into(),
    ] {
        let (moved, accuracy) = moved(estimator);
        assert!(moved && accuracy > 0.95, "{estimator:?}: {accuracy}");
    }
}
