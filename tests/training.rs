//! Runs: what can be asked of them, and that a run which was stopped goes on exactly.

mod common;

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
};

use common::blobs;
use dfdx_noprop::{
    device::Module,
    head::{Head, SuitsHead},
    nn::Denoises,
    optim::Stepping,
    prelude::*,
    train::{EarlyStopping, Ended, EpochReport, Observer, Outcome, RunReport, StepReport},
    variant::Variant,
};

type Block = ConditionalResNetDt<4, 5, 8>;
type Timed = ConditionalResNetCt<4, 5, 8>;
type Data = Dataset<5, Labels<4>>;

/// All that a run changes: weights and their averages, the embedding; the schedule shows in the
/// predictions.
fn weights<V, M>(model: &NoProp<V, M, 4, 5>) -> Vec<f32>
where
    V: Variant<4, 5, f32, AutoDevice>,
    M: BuildOnDevice<AutoDevice, f32>,
{
    let mut all = model.embedding();
    for block in model.blocks() {
        all.extend(common::weights(block.module()));
        all.extend(block.optimizer().averages().iter().flat_map(|average| average.as_vec()));
        all.extend(block.optimizer().first_moments().iter().flat_map(|moment| moment.as_vec()));
    }
    all
}

fn fit() -> Fit {
    Fit {
        epochs: 3,
        batch_size: 8,
        seed: 3,
        learning_rate: LearningRate { warm_up: 5, decay: Decay::Cosine { floor: 0.1 } },
        clip: Some(0.5),
        average: Some(0.9),
        class_weights: Some(vec![1.0, 2.0, 0.5, 1.0]),
        ..Fit::default()
    }
}

/// Trains in one go and stopped at `stops`, with a hook on each batch, and compares all that there
/// is.
fn goes_on_exactly<V, M>(variant: V, stops: &[u64])
where
    V: Variant<4, 5, f32, AutoDevice>,
    V::Head: Head<4, f32, Targets = Labels<4>>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 4>,
    AutoDevice: Runs<V, M, 4, 5>,
{
    use rand::Rng;
    let data = blobs::<4, 5>(50, 1); // 7 steps an epoch, the last with 2 rows
    let build = || NoProp::<V, M, 4, 5>::new(&AutoDevice::default(), variant.clone()).unwrap();
    let run = |model: &mut NoProp<V, M, 4, 5>, fit: &Fit| {
        let training = model.training(fit).each_batch(|batch, rng| {
            batch.inputs_mut().as_flattened_mut().iter_mut().for_each(|x| {
                *x += rng.gen_range(-0.1..0.1);
            })
        });
        training.run(&data).unwrap()
    };
    let mut whole = build();
    assert_eq!(run(&mut whole, &fit()).ended, Ended::Finished);
    assert!(!whole.is_unfinished());
    let mut parts = build();
    for &steps in stops {
        let limited = Fit { step_limit: Some(steps), threads: Some(1), ..fit() };
        assert_eq!(run(&mut parts, &limited).ended, Ended::OutOfSteps);
        assert!(parts.is_unfinished());
    }
    assert_eq!(run(&mut parts, &fit()).ended, Ended::Finished);
    assert_eq!((whole.steps(), whole.epochs()), (21, 3));
    assert_eq!((parts.steps(), parts.epochs()), (21, 3));
    let bits = |model: &NoProp<V, M, 4, 5>| -> Vec<u32> {
        weights(model).into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(bits(&whole), bits(&parts));
    let along = |model: &NoProp<V, M, 4, 5>| model.averaged().unwrap().evaluate_along(&data);
    assert_eq!(along(&whole).unwrap(), along(&parts).unwrap());
}

#[test]
fn a_run_that_was_stopped_goes_on_exactly() {
    for stops in [&[1][..], &[7], &[6, 2, 9], &[13, 1, 1, 1]] {
        goes_on_exactly::<DiscreteTime, Block>(DiscreteTime::default(), stops);
        let learned = DiscreteTime::<dfdx_noprop::head::Learned<4>>::default();
        goes_on_exactly::<_, Block>(learned, stops);
        let schedule = GammaSchedule {
            path: Path::Learned(MonotoneNetwork::default()),
            ..GammaSchedule::default()
        };
        let variant = ContinuousTime::<Learned<4>> { schedule, ..Default::default() };
        goes_on_exactly::<_, Timed>(variant, stops);
        goes_on_exactly::<FlowMatching, Timed>(FlowMatching::default(), stops);
    }
}

#[test]
fn another_run_does_not_go_on_with_this_one() {
    let data = blobs::<4, 5>(50, 1);
    let mut model = model();
    model.fit(&data, &Fit { step_limit: Some(3), ..fit() }).unwrap();
    for (other, what) in [
        (Fit { batch_size: 10, ..fit() }, "batch_size = 8"),
        (Fit { seed: 4, ..fit() }, "seed = 3"),
    ] {
        let error = model.fit(&data, &other).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let error = model.fit(&blobs::<4, 5>(49, 1), &fit()).unwrap_err().to_string();
    assert!(error.contains("rows = 50") && error.contains("found 49"), "{error}");
    assert!(model.is_unfinished());
    model.forget_run();
    let epochs = model.fit(&data, &Fit { batch_size: 10, ..fit() }).unwrap();
    assert_eq!((epochs.len(), model.steps()), (3, 3 + 15));
}

fn model() -> NoProp<DiscreteTime, Block, 4, 5> {
    let variant = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
    NoProp::new(&AutoDevice::default(), variant).unwrap()
}

#[test]
fn averages_are_those_of_the_weights_after_each_step() {
    let data = blobs::<4, 5>(40, 2);
    let mut model = model();
    let fit = Fit { average: Some(0.3), batch_size: 8, epochs: 2, ..Fit::default() };
    let mut expected: Vec<f64> = Vec::new();
    for k in 1..=10u32 {
        model.fit(&data, &Fit { step_limit: Some(1), ..fit.clone() }).unwrap();
        let now = common::weights(model.blocks()[1].module());
        if k == 1 {
            expected = now.iter().map(|&w| w.into()).collect();
            continue;
        }
        let memory = (f64::from(1 + k) / f64::from(10 + k)).min(0.3);
        for (average, &w) in expected.iter_mut().zip(&now) {
            *average = memory * *average + (1.0 - memory) * f64::from(w);
        }
    }
    let averaged = model.averaged().unwrap();
    let found = common::weights(averaged.blocks()[1].module());
    assert_ne!(found, common::weights(model.blocks()[1].module()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} and not {expected}");
    }
}

/// Takes the reports of a run.
#[derive(Default)]
struct Notes {
    run: Option<RunReport>,
    steps: Vec<StepReport>,
    epochs: Vec<EpochReport>,
    outcome: Option<Outcome>,
    /// Ends the run after this many steps, or epochs.
    most_steps: Option<usize>,
    most_epochs: Option<usize>,
}

impl Observer for Notes {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.run = Some(run.clone());
        Ok(())
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        self.steps.push(step.clone());
        Ok(flow(self.most_steps, self.steps.len()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        self.epochs.push(epoch.clone());
        Ok(flow(self.most_epochs, self.epochs.len()))
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.outcome = Some(outcome.clone());
        Ok(())
    }
}

fn flow(most: Option<usize>, count: usize) -> ControlFlow<()> {
    if most == Some(count) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[test]
fn observers_see_every_step_and_epoch() {
    let (data, validation) = (blobs::<4, 5>(50, 1), blobs::<4, 5>(20, 2));
    let mut model = model();
    let (mut first, mut second) = (Notes::default(), Notes::default());
    let fit = Fit { epochs: 4, validate_every: 3, ..fit() };
    let training = model.training(&fit).validation(&validation);
    let outcome = training.observer(&mut first).observer(&mut second).run(&data).unwrap();
    let about = first.run.unwrap();
    assert_eq!((about.variant, about.blocks, about.rows), ("discrete time", 3, 50));
    assert_eq!((about.steps_per_epoch, about.epochs, about.steps_done), (7, 4, 0));
    assert_eq!(about.schedule.len(), 4);
    assert_eq!(first.steps, second.steps);
    assert_eq!(first.steps.iter().map(|s| s.step).collect::<Vec<_>>(), Vec::from_iter(1..=28));
    let rows: Vec<usize> = first.steps.iter().map(StepReport::rows).collect();
    assert_eq!(rows[..7], [8, 8, 8, 8, 8, 8, 2]);
    for step in &first.steps {
        assert_eq!(step.epoch, (step.step - 1) / 7 + 1);
        let share = fit.learning_rate.share(step.step, 28);
        assert!((step.learning_rate - 1e-3 * share).abs() < 1e-12);
        assert!(step.blocks.iter().all(|block| block.gradient_norm > 0.0));
    }
    // The epoch's means are those of its steps.
    let epoch = &first.epochs[1];
    let mean = |value: fn(&StepReport) -> f64| {
        first.steps[7..14].iter().map(|s| s.rows() as f64 * value(s)).sum::<f64>() / 50.0
    };
    assert!((epoch.loss - mean(StepReport::loss)).abs() < 1e-9);
    assert!((epoch.blocks[2].denoising - mean(|s| s.blocks[2].denoising)).abs() < 1e-9);
    assert_eq!((epoch.epoch, epoch.epochs, epoch.rows, epoch.steps), (2, 4, 50, 7));
    // On their turn, and after the last.
    let validated: Vec<bool> = first.epochs.iter().map(|e| e.validation.is_some()).collect();
    assert_eq!(validated, [false, false, true, true]);
    assert_eq!(first.outcome.as_ref(), Some(&outcome));
    assert_eq!(outcome.epochs, first.epochs);
    let last = outcome.epochs[3].validation.clone().unwrap();
    assert_eq!(outcome.along.last().unwrap().evaluation, last);
    let averaged = model.averaged().unwrap().evaluate(&validation).unwrap();
    assert_eq!(last, averaged.into());
}

#[test]
fn a_run_ends_when_it_is_asked_to() {
    let data = blobs::<4, 5>(50, 1);
    let mut observer = Notes { most_steps: Some(9), ..Notes::default() };
    let mut model = model();
    let outcome = model.training(&fit()).observer(&mut observer).run(&data).unwrap();
    // Steps are reported in spans, which end with the epoch.
    assert_eq!((outcome.ended, observer.steps.len()), (Ended::Observer, 14));
    assert!(observer.outcome.is_some() && model.is_unfinished());

    let mut observer = Notes { most_epochs: Some(1), ..Notes::default() };
    let outcome = model.training(&fit()).observer(&mut observer).run(&data).unwrap();
    assert_eq!((outcome.ended, observer.steps.len()), (Ended::Observer, 7));
    assert_eq!(observer.run.unwrap().steps_done, 14);

    let mut model = self::model();
    let hurried = Fit { time_limit: Some(1e-9), ..fit() };
    assert_eq!(model.training(&hurried).run(&data).unwrap().ended, Ended::OutOfTime);
    let flag = AtomicBool::new(true);
    let fit = fit();
    let training = model.training(&fit);
    // The hook on the first batch is never called.
    let hook = |_: &mut _, _: &mut _| panic!("the run was interrupted before it began");
    assert_eq!(
        training.interrupt(&flag).each_batch(hook).run(&data).unwrap().ended,
        Ended::Interrupted
    );
    let training = model.training(&fit).interrupt(&flag);
    flag.store(false, Ordering::Relaxed);
    let set = |_: &NoProp<_, _, 4, 5>, epoch: &EpochReport| {
        flag.store(epoch.epoch == 2, Ordering::Relaxed);
        Ok(ControlFlow::Continue(()))
    };
    let outcome = training.each_epoch(set).run(&data).unwrap();
    assert_eq!((outcome.ended, outcome.epochs.len()), (Ended::Interrupted, 2));
    assert_eq!(model.steps(), 14);
}

#[test]
fn a_run_without_progress_ends() {
    let (data, validation) = (blobs::<4, 5>(50, 1), blobs::<4, 5>(20, 2));
    let mut model = model();
    // Nothing moves, so no validation after the first is better.
    let optimizer = AdamW { learning_rate: 0.0, weight_decay: 0.0, ..AdamW::default() }.into();
    let variant = DiscreteTime { optimizer, ..DiscreteTime::default() };
    let mut still =
        NoProp::<DiscreteTime, Block, 4, 5>::new(&AutoDevice::default(), variant).unwrap();
    let stop = EarlyStopping { patience: 3, least: 0.0 };
    // Averages of weights that stand still differ from them by rounding.
    let fit = Fit { epochs: 50, early_stopping: Some(stop), average: None, ..fit() };
    let outcome = still.training(&fit).validation(&validation).run(&data).unwrap();
    assert_eq!((outcome.ended, outcome.epochs.len()), (Ended::NoProgress, 4));
    assert!(!still.is_unfinished());
    // One that learns goes on for longer.
    let outcome = model.training(&fit).validation(&validation).run(&data).unwrap();
    assert!(outcome.epochs.len() > 10, "{}", outcome.epochs.len());
}

#[test]
fn gradients_are_clipped_to_the_norm_asked_for() {
    let dev = AutoDevice::default();
    for (clip, expected) in [(None, 5.0), (Some(10.0), 5.0), (Some(2.0), 2.0)] {
        // The gradient of 3a + 4b is (3, 4), with norm 5; plain descent moves by rate times norm.
        let pair: (Tensor<Rank1<1>, f64, _>, Tensor<Rank2<1, 1>, f64, _>) =
            (dev.tensor([1.0]), dev.tensor([[1.0]]));
        let loss = pair.0.leaky_trace().sum::<(), _>() * 3.0;
        let loss = loss + pair.1.leaky_trace().sum::<(), _>() * 4.0;
        let sgd = Sgd { learning_rate: 0.1, momentum: 0.0, ..Sgd::default() };
        let stepping = Stepping { clip, rate: 0.5, ..Optimizer::from(sgd).into() };
        let mut state = dfdx_noprop::optim::OptimizerState::default();
        let mut pair = Module(pair);
        let norm = state.update(&stepping, &mut pair, &mut loss.backward()).unwrap();
        let Module(pair) = pair;
        assert!((norm - 5.0).abs() < 1e-12);
        let moved = (pair.0.as_vec()[0] - 1.0).hypot(pair.1.as_vec()[0] - 1.0);
        assert!((moved - 0.05 * expected).abs() < 1e-12, "{clip:?}: {moved}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_moves_nothing() {
    let dev = AutoDevice::default();
    let w: Tensor<Rank1<2>, f64, _> = dev.tensor([1.0, 0.0]);
    // The slope of √w at 0 is infinite.
    let loss = w.leaky_trace().sqrt().sum::<(), _>();
    let mut state = dfdx_noprop::optim::OptimizerState::default();
    let stepping = Optimizer::default().into();
    let mut w = Module(w);
    let norm = state.update(&stepping, &mut w, &mut loss.backward()).unwrap();
    assert!(!norm.is_finite());
    assert_eq!((w.0.as_vec(), state.steps()), (vec![1.0, 0.0], 0));
}

#[test]
fn biases_do_not_decay_unless_asked_to() {
    let dev = AutoDevice::default();
    let step = |weight_decay, decay_biases| {
        let pair: (Tensor<Rank1<1>, f64, _>, Tensor<Rank2<1, 1>, f64, _>) =
            (dev.tensor([1.0]), dev.tensor([[1.0]]));
        let loss = pair.0.leaky_trace().sum::<(), _>() + pair.1.leaky_trace().sum::<(), _>();
        let mut state = dfdx_noprop::optim::OptimizerState::default();
        let adamw = AdamW { learning_rate: 0.1, weight_decay, decay_biases, ..AdamW::default() };
        let stepping = Optimizer::from(adamw).into();
        let mut pair = Module(pair);
        state.update(&stepping, &mut pair, &mut loss.backward()).unwrap();
        let Module(pair) = pair;
        [pair.0.as_vec()[0], pair.1.as_vec()[0]]
    };
    let (without, weights, both) = (step(0.0, false), step(0.5, false), step(0.5, true));
    // Decay takes η λ = 0.05 off a weight of 1.
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert_eq!(weights[0], without[0]);
    assert!(close(weights[1], without[1] - 0.05));
    assert!(close(both[0], without[0] - 0.05) && close(both[1], without[1] - 0.05));
}

#[test]
fn the_learning_rate_goes_as_it_should() {
    let constant = LearningRate::default();
    assert_eq!([1, 50, 100].map(|k| constant.share(k, 100)), [1.0; 3]);
    let warm = LearningRate { warm_up: 4, decay: Decay::Constant };
    assert_eq!([1, 2, 3, 4, 5].map(|k| warm.share(k, 100)), [0.25, 0.5, 0.75, 1.0, 1.0]);
    let steps = LearningRate { warm_up: 2, decay: Decay::Step { every: 3, factor: 0.1 } };
    let found = [3, 5, 6, 8, 9].map(|k| steps.share(k, 100));
    for (found, expected) in found.into_iter().zip([1.0, 1.0, 0.1, 0.1, 0.01]) {
        assert!((found - expected).abs() < 1e-12);
    }
    let cosine = LearningRate { warm_up: 10, decay: Decay::Cosine { floor: 0.2 } };
    assert!((cosine.share(11, 110) - 1.0).abs() < 1e-12);
    assert!((cosine.share(61, 110) - 0.6).abs() < 1e-12, "half way");
    assert!(cosine.share(110, 110) < 0.201);
    let falls = (11..110).all(|k| cosine.share(k + 1, 110) < cosine.share(k, 110));
    assert!(falls);
}

#[test]
fn rows_of_a_class_without_weight_teach_nothing() {
    let data = blobs::<4, 5>(40, 1);
    let moved = |inputs: &[f32]| {
        let inputs = inputs.chunks(5).zip(data.targets().as_slice());
        let inputs =
            inputs.flat_map(|(row, &y)| row.iter().map(move |x| if y == 2 { x + 7.0 } else { *x }));
        Dataset::<5, Labels<4>>::new(inputs.collect(), data.targets().clone()).unwrap()
    };
    let moved = moved(data.inputs());
    let after = |data: &Data, class_weights: Option<Vec<f64>>| {
        let mut model = model();
        let fit = Fit { class_weights, epochs: 1, batch_size: 8, ..Fit::default() };
        let reports = model.fit(data, &fit).unwrap();
        (weights(&model), reports[0].blocks[0].gradient_norm)
    };
    let none = Some(vec![1.0, 1.0, 0.0, 1.0]);
    assert_eq!(after(&data, none.clone()).0, after(&moved, none).0);
    assert_ne!(after(&data, None).0, after(&moved, None).0);
    assert_eq!(after(&data, None), after(&data, Some(vec![1.0; 4])));
    // All twice as heavy: the gradient of the first step is twice as large, and AdamW does not
    // care.
    let timed = |weight: f64| {
        let mut notes = Notes::default();
        let variant = FlowMatching::<OneHot>::default();
        let mut model = NoProp::<_, Timed, 4, 5>::new(&AutoDevice::default(), variant).unwrap();
        let class_weights = Some(vec![weight; 4]);
        let fit = Fit { class_weights, step_limit: Some(1), ..Fit::default() };
        model.training(&fit).observer(&mut notes).run(&data).unwrap();
        notes.steps[0].blocks[0].gradient_norm
    };
    assert!((timed(2.0) / timed(1.0) - 2.0).abs() < 1e-5);
}

#[test]
fn bad_settings_are_errors_that_name_them() {
    let data = blobs::<4, 5>(8, 1);
    let message = |fit: Fit| model().fit(&data, &fit).unwrap_err().to_string();
    for (fit, expected) in [
        (Fit { clip: Some(0.0), ..fit() }, "Fit::clip: expected a finite number above 0"),
        (Fit { average: Some(1.0), ..fit() }, "Fit::average: expected a number from 0 to below 1"),
        (Fit { validate_every: 0, ..fit() }, "Fit::validate_every: expected at least 1"),
        (Fit { time_limit: Some(f64::NAN), ..fit() }, "Fit::time_limit"),
        (
            Fit { class_weights: Some(vec![1.0; 3]), ..fit() },
            "4 weights, one for each class, found 3",
        ),
        (
            Fit { class_weights: Some(vec![-1.0; 4]), ..fit() },
            "finite numbers, 0 or more, found -1",
        ),
        (
            Fit { early_stopping: Some(EarlyStopping { patience: 0, least: 0.0 }), ..fit() },
            "EarlyStopping::patience",
        ),
        (
            Fit {
                learning_rate: LearningRate {
                    warm_up: 0,
                    decay: Decay::Step { every: 0, factor: 0.1 },
                },
                ..fit()
            },
            "Decay::Step::every",
        ),
    ] {
        let message = message(fit);
        assert!(message.contains(expected), "{message} and not {expected}");
    }
}

#[test]
fn the_way_to_the_answer_can_be_looked_at() {
    let (data, test) = (blobs::<4, 5>(400, 1), blobs::<4, 5>(100, 2));
    let quick = Fit { epochs: 30, batch_size: 16, ..Fit::default() };
    let mut discrete = model();
    discrete.fit(&data, &quick).unwrap();
    let along = discrete.evaluate_along(&test).unwrap();
    assert_eq!(along.iter().map(|p| p.calls).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    assert_eq!(along[2].evaluation, discrete.evaluate(&test).unwrap().into());
    assert!((along[0].t - 1.0 / 3.0).abs() < 1e-12 && along[2].t == 1.0);

    let mut timed = NoProp::<ContinuousTime, Timed, 4, 5>::new(
        &AutoDevice::default(),
        ContinuousTime::default(),
    )
    .unwrap();
    timed.fit(&data, &quick).unwrap();
    let along = timed.evaluate_along(&test).unwrap();
    assert_eq!(along.len(), 11);
    // Heun's method calls twice a step, and the mean over the calls is the answer.
    assert_eq!(along.last().unwrap().calls, 20.0);
    assert_eq!(along.last().unwrap().evaluation, timed.evaluate(&test).unwrap().into());

    let mut flow =
        NoProp::<FlowMatching, Timed, 4, 5>::new(&AutoDevice::default(), FlowMatching::default())
            .unwrap();
    flow.fit(&data, &quick).unwrap();
    let along = flow.evaluate_along(&test).unwrap();
    // At t = 1 nothing is left to extrapolate over.
    let accuracy = flow.evaluate(&test).unwrap().accuracy;
    assert_eq!(along.last().unwrap().evaluation.accuracy(), Some(accuracy));
    flow.set_solver(Solver {
        method: Method::Tsitouras,
        steps: Steps::adaptive(1e-2, 1e-2),
        save: Save::End,
    })
    .unwrap();
    assert!(flow.evaluate_along(&test).unwrap().is_empty());
}

#[cfg(feature = "serde")]
mod as_data {
    use super::*;
    use dfdx_noprop::Config;

    fn returns<T: Config + PartialEq + std::fmt::Debug>(value: T) {
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
    }

    #[test]
    fn settings_go_to_text_and_back() {
        returns(fit());
        returns(Fit {
            early_stopping: Some(EarlyStopping::default()),
            time_limit: Some(1.5),
            ..Fit::default()
        });
        returns(DiscreteTime::<OneHot> {
            schedule: Schedule::AlphaBar(vec![0.1, 0.2]),
            sampler: Sampler::Stochastic { draws: 2, seed: 3 },
            optimizer: Sgd::default().into(),
            ..Default::default()
        });
        returns(DiscreteTime::<Prototypes<2, 3>> {
            blocks: 2,
            schedule: Schedule::Linear,
            eta: 0.5,
            cross_entropy: 0.0,
            preconditioned: false,
            sampler: Sampler::Deterministic,
            reverse_variance: ReverseVariance::Posterior,
            probabilities: Probabilities::Last,
            optimizer: Optimizer::default(),
            estimator: ActivityNoise { directions: 3, ..ActivityNoise::default() }.into(),
            head: Prototypes::new(&[[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]]).unwrap(),
            seed: 1,
        });
        let path = Path::Learned(MonotoneNetwork::default());
        returns(ContinuousTime::<Learned<4>> {
            schedule: GammaSchedule { path, ..GammaSchedule::default() },
            weighting: Weighting::SnrSlope,
            inference: Inference::Sde { steps: 4, draws: 2, seed: 1 },
            times: TimeSampling::Antithetic,
            estimator: WeightNoise { noise_scale: 0.5, ..WeightNoise::default() }.into(),
            ..Default::default()
        });
        let solver = Solver {
            method: Method::Tsitouras,
            steps: Steps::adaptive(1e-3, 1e-4),
            save: Save::Times(vec![0.5]),
        };
        let predictor = Estimate { weighting: EstimateWeighting::Velocity };
        let flow: FlowMatching<Regression, Estimate> =
            FlowMatching { solver, predictor, ..Default::default() };
        returns(flow);
    }

    #[test]
    fn settings_that_are_not_known_are_errors() {
        let error = serde_json::from_str::<Fit>(r#"{"epoch": 3}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `epoch`"), "{error}");
        let partial: Fit = serde_json::from_str(r#"{"epochs": 3}"#).unwrap();
        assert_eq!(partial, Fit { epochs: 3, ..Fit::default() });
        let same = "[[1.0, 2.0], [1.0, 2.0]]";
        let error = serde_json::from_str::<Prototypes<2, 2>>(same).unwrap_err().to_string();
        assert!(error.contains("the same row for the classes 0 and 1"), "{error}");
        let error = serde_json::from_str::<Prototypes<3, 2>>(same).unwrap_err().to_string();
        assert!(error.contains("expected 3 rows of 2 numbers"), "{error}");
    }
}
