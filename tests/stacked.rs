//! Blocks as one computation: the weights and reports of the blocks one by one, within rounding.

mod common;

use common::{assert_close, blobs, weights};
use dfdx::{
    nn::BuildOnDevice,
    prelude::{BatchNorm1D, Dropout, Linear, Repeated, Residual, Tanh},
};
use dfdx_noprop::{
    head::{Head, SuitsHead},
    nn::{
        Denoises,
        image::{AvgPool2d, BatchNorm, Conv2d, Flatten, MaxPool2d, Planes, SmallNetDt},
    },
    prelude::*,
    train::StepReport,
    variant::Variant,
};

type Trainer<M, H = OneHot> = NoProp<DiscreteTime<H>, M, 3, 4, f64, Cpu>;

fn data() -> Dataset<4, Labels<3>, f64> {
    // The last batch is smaller.
    blobs(150, 1).to_dtype()
}

/// What a run leaves: is it stacked, all that the blocks hold, and the reports of its steps.
type Ends = (bool, Vec<Vec<f64>>, Vec<StepReport>);

/// How a model is told to train.
#[derive(Clone, Copy)]
enum Way {
    OneByOne,
    Stacked,
    Late,
}

fn train<M, H>(
    variant: &DiscreteTime<H>,
    fit: &Fit,
    data: &Dataset<4, H::Targets, f64>,
    way: Way,
) -> Ends
where
    H: Head<3, f64>,
    M: Denoises<dfdx_noprop::nn::Pair<3, 4>, f64, Cpu>,
    M::Gives: SuitsHead<H, 3, f64, Cpu>,
    Cpu: Runs<DiscreteTime<H>, M, 3, 4, f64>,
{
    let mut model = Trainer::<M, H>::new(&Cpu::default(), variant.clone()).unwrap();
    model.set_stacked(matches!(way, Way::Stacked));
    model.set_late_reports(matches!(way, Way::Late));
    let (all, reports) = ends(&mut model, fit, data);
    (model.is_stacked(), all, reports)
}

fn ends<V, M>(
    model: &mut NoProp<V, M, 3, 4, f64, Cpu>,
    fit: &Fit,
    data: &Dataset<4, <V::Head as Head<3, f64>>::Targets, f64>,
) -> (Vec<Vec<f64>>, Vec<StepReport>)
where
    V: Variant<3, 4, f64, Cpu>,
    M: BuildOnDevice<Cpu, f64>,
    Cpu: Runs<V, M, 3, 4, f64>,
{
    struct Keep(Vec<StepReport>);
    impl dfdx_noprop::train::Observer for Keep {
        fn step(&mut self, report: &StepReport) -> Result<std::ops::ControlFlow<()>, Error> {
            self.0.push(report.clone());
            Ok(std::ops::ControlFlow::Continue(()))
        }
    }
    let mut keep = Keep(Vec::new());
    model.training(fit).observer(&mut keep).run(data).unwrap();
    let all = model.blocks().iter().flat_map(|block| {
        let state = block.optimizer();
        let kinds = [state.first_moments(), state.second_moments(), state.averages()];
        let memory = kinds.into_iter().flatten().flat_map(|tensor| tensor.as_vec()).collect();
        [weights(block.module()), memory]
    });
    (all.collect(), keep.0)
}

/// Holds the stacked blocks to those one by one.
#[track_caller]
fn same<M, H>(variant: DiscreteTime<H>, fit: Fit, data: &Dataset<4, H::Targets, f64>)
where
    H: Head<3, f64>,
    M: Denoises<dfdx_noprop::nn::Pair<3, 4>, f64, Cpu>,
    M::Gives: SuitsHead<H, 3, f64, Cpu>,
    Cpu: Runs<DiscreteTime<H>, M, 3, 4, f64>,
{
    let (_, expected, reports) = train::<M, H>(&variant, &fit, data, Way::OneByOne);
    let (stacked, found, stacked_reports) = train::<M, H>(&variant, &fit, data, Way::Stacked);
    assert!(stacked);
    close(variant.blocks, (found, stacked_reports), (expected, reports));
}

#[track_caller]
fn close(
    blocks: usize,
    (found, other_reports): (Vec<Vec<f64>>, Vec<StepReport>),
    (expected, reports): (Vec<Vec<f64>>, Vec<StepReport>),
) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(!found.is_empty());
        assert_close(&format!("tensors {i}"), found, expected, 1e-9);
    }
    assert_eq!(reports.len(), other_reports.len());
    for (found, expected) in other_reports.iter().zip(&reports) {
        assert_eq!(found.blocks.len(), blocks);
        assert_close("terms without a block", &found.terminal, &expected.terminal, 1e-9);
        for (found, expected) in found.blocks.iter().zip(&expected.blocks) {
            let numbers = |b: &dfdx_noprop::train::BlockReport| {
                [b.denoising, b.cross_entropy, b.gradient_norm].map(|v| v)
            };
            assert_close("a report", &numbers(found), &numbers(expected), 1e-9);
            let counts = |b: &dfdx_noprop::train::BlockReport| (b.block, b.correct, b.rows);
            assert_eq!(counts(found), counts(expected));
        }
    }
}

fn dt<H: Default>(blocks: usize) -> DiscreteTime<H> {
    DiscreteTime { blocks, ..DiscreteTime::default() }
}

fn fit() -> Fit {
    Fit { epochs: 2, batch_size: 32, ..Fit::default() }
}

fn everything() -> Fit {
    Fit {
        clip: Some(0.3),
        average: Some(0.9),
        class_weights: Some(vec![1.0, 0.25, 3.0]),
        learning_rate: LearningRate { warm_up: 3, decay: Decay::Cosine { floor: 0.1 } },
        ..fit()
    }
}

#[test]
fn stacked_blocks_are_the_blocks_one_by_one() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    same::<Block, OneHot>(dt(5), fit(), &data());
    same::<Block, OneHot>(dt(1), fit(), &data());
    // One row in a batch, as many as there are blocks, and one for each.
    same::<Block, OneHot>(dt(2), Fit { batch_size: 1, epochs: 1, ..fit() }, &data());
    same::<Block, OneHot>(dt(5), Fit { batch_size: 5, epochs: 1, ..fit() }, &data());
}

#[test]
fn every_setting_holds_for_a_stack_too() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    same::<Block, OneHot>(dt(4), everything(), &data());
    let sgd = Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 1e-2, ..Sgd::default() };
    let variant = DiscreteTime { optimizer: sgd.into(), cross_entropy: 0.0, ..dt(3) };
    same::<Block, OneHot>(variant, everything(), &data());
    let heavy = AdamW { weight_decay: 0.3, ..AdamW::default() };
    same::<Block, OneHot>(DiscreteTime { optimizer: heavy.into(), ..dt(3) }, fit(), &data());
}

#[test]
fn layers_in_layers_are_stacked() {
    type Deep = (
        Condition<(Dense<3, 6>, Tanh), (Linear<4, 5>, ReLU, Dense<5, 6>)>,
        Repeated<Residual<(Dense<6, 6>, ReLU, Linear<6, 6>)>, 2>,
        (ReLU, Dense<6, 3>),
    );
    same::<Deep, OneHot>(dt(3), fit(), &data());
    let numbers =
        Dataset::new(data().inputs().to_vec(), Values::new(vec![0.5; 450]).unwrap()).unwrap();
    same::<ConditionalResNetDt<3, 4, 8>, Regression>(dt(3), fit(), &numbers);
}

#[test]
fn image_layers_are_stacked() {
    // The first convolution sees the same images for all blocks, the second those of each; one goes
    // over the edge with strides.
    type Trunk = (
        Planes<1, 2, 2>,
        (Conv2d<1, 5, 2, 2>, BatchNorm<5>, ReLU, MaxPool2d<3, 3, 2, 1, 1>),
        (Conv2d<5, 3, 2, 2, 3, 2, 1>, ReLU, AvgPool2d<1, 1>),
        (Flatten<3>, Dense<3, 6>),
    );
    type Block = (Condition<Dense<3, 6>, Trunk>, BatchNorm<6>, ReLU, Dense<6, 3>);
    // A bias before a batch norm has no gradient but by rounding, which AdamW would scale up by 1 /
    // ε.
    let adamw = AdamW { epsilon: 1e-4, ..AdamW::default() };
    let dt = |blocks| DiscreteTime { optimizer: adamw.into(), ..dt(blocks) };
    same::<Block, OneHot>(dt(3), fit(), &data());
    same::<Block, OneHot>(dt(2), everything(), &data());
    same::<Block, OneHot>(dt(1), fit(), &data());
    // One number for each channel of the second batch norm: its running variance stays.
    same::<Block, OneHot>(dt(2), Fit { batch_size: 1, epochs: 1, ..fit() }, &data());
    // Statistics of what all blocks share.
    type Shared = (Condition<Dense<3, 6>, (BatchNorm<4>, Dense<4, 6>)>, ReLU, Dense<6, 3>);
    same::<Shared, OneHot>(dt(3), fit(), &data());
}

#[test]
fn a_published_network_is_stacked() {
    type Model = NoProp<DiscreteTime, SmallNetDt<10>, 10, 784, f64, Cpu>;
    let data: Dataset<784, Labels<10>, f64> = blobs(12, 3).to_dtype();
    let run = |stacked: bool| {
        let mut model = Model::new(&Cpu::default(), dt(2)).unwrap();
        model.set_stacked(stacked);
        model.fit(&data, &Fit { epochs: 1, batch_size: 4, ..fit() }).unwrap();
        assert_eq!(model.is_stacked(), stacked);
        model.blocks().iter().flat_map(|block| weights(block.module())).collect::<Vec<_>>()
    };
    assert_close("weights", &run(true), &run(false), 1e-9);
}

#[test]
fn what_cannot_be_stacked_goes_one_by_one() {
    fn refused<M, H>(variant: DiscreteTime<H>)
    where
        H: Head<3, f64, Targets = Labels<3>>,
        M: Denoises<dfdx_noprop::nn::Pair<3, 4>, f64, Cpu>,
        M::Gives: SuitsHead<H, 3, f64, Cpu>,
        Cpu: Runs<DiscreteTime<H>, M, 3, 4, f64>,
    {
        let (_, expected, _) = train::<M, H>(&variant, &fit(), &data(), Way::OneByOne);
        let (_, found, _) = train::<M, H>(&variant, &fit(), &data(), Way::Stacked);
        assert!(found == expected);
    }
    type Normed = (Condition<Dense<3, 6>, Dense<4, 6>>, BatchNorm1D<6>, ReLU, Dense<6, 3>);
    refused::<Normed, OneHot>(dt(2));
    // x has no weights of its own on its way.
    type Bare = (Condition<(Dense<3, 4>, ReLU), Tanh>, Dense<4, 3>);
    refused::<Bare, OneHot>(dt(2));
    refused::<ConditionalResNetDt<3, 4, 8>, Learned<3>>(dt(2));
    let noise = WeightNoise { directions: 1, ..WeightNoise::default() };
    refused::<ConditionalResNetDt<3, 4, 8>, OneHot>(DiscreteTime {
        estimator: noise.into(),
        ..dt(2)
    });
}

#[test]
fn dropout_is_drawn_for_each_block() {
    type Dropped = (Condition<Dense<3, 6>, Dense<4, 6>>, Dropout, Dense<6, 3>);
    let mut model = Trainer::<Dropped>::new(&Cpu::default(), dt(3)).unwrap();
    model.set_stacked(true);
    model.fit(&data(), &fit()).unwrap();
    assert!(model.is_stacked());
    assert!(model.blocks().iter().all(|b| weights(b.module()).iter().all(|w| w.is_finite())));
}

#[test]
fn a_block_that_diverges_stays_as_it_was_and_is_named() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let mut model = Trainer::<Block>::new(&Cpu::default(), dt(3)).unwrap();
    model.set_stacked(true);
    let mut spoilt = weights(model.blocks()[1].module());
    let nan = f64::NAN;
    model.blocks_mut()[1].module_mut().3.bias.copy_from(&[nan; 3]);
    let before: Vec<_> = model.blocks().iter().map(|b| weights(b.module())).collect();
    let error = model.fit(&data(), &fit()).unwrap_err();
    assert!(matches!(error, Error::Diverged { block: 2, step: 1, .. }), "{error}");
    let after: Vec<_> = model.blocks().iter().map(|b| weights(b.module())).collect();
    let last = spoilt.len() - 3;
    spoilt.truncate(last);
    assert_eq!(after[1][..last], spoilt[..], "the others' gradients did not leak into it");
    assert!(after[1][last..].iter().all(|b| b.is_nan()));
    let moments = model.blocks()[1].optimizer().first_moments();
    assert!(moments.iter().all(|moment| moment.as_vec().iter().all(|m| *m == 0.0)));
    assert_ne!(after[0], before[0], "the others have learned");
    assert!(after[0].iter().chain(&after[2]).all(|w| w.is_finite()));
}

#[test]
fn a_run_may_go_on_in_the_other_way_and_back() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let run = |ways: [bool; 3]| {
        let mut model = Trainer::<Block>::new(&Cpu::default(), dt(3)).unwrap();
        for stacked in ways {
            model.set_stacked(stacked);
            model.fit(&data(), &fit()).unwrap();
            assert_eq!(model.is_stacked(), stacked);
        }
        model.blocks().iter().flat_map(|block| weights(block.module())).collect::<Vec<f64>>()
    };
    assert_close("weights", &run([false, true, false]), &run([false; 3]), 1e-9);
}

#[test]
fn large_parameters_are_stacked_beside_small_ones() {
    // Two blocks of a matrix of 2.25 million numbers each, which is moved by itself.
    type Block = ConditionalResNetDt<3, 4, 1500>;
    let one_epoch = Fit { epochs: 1, batch_size: 75, clip: Some(0.3), ..fit() };
    same::<Block, OneHot>(dt(2), one_epoch, &data());
}

#[test]
fn a_layer_that_no_gradient_reaches_does_not_decay_in_a_stack() {
    type Block = (Condition<Dense<3, 6>, Dense<4, 6>>, ReLU, Dense<6, 3>);
    let heavy = AdamW { weight_decay: 0.3, ..AdamW::default() };
    let run = |stacked: bool| {
        let variant = DiscreteTime { optimizer: heavy.into(), ..dt(3) };
        let mut model = Trainer::<Block>::new(&Cpu::default(), variant).unwrap();
        model.set_stacked(stacked);
        // In the first step nothing comes through these, in one of the blocks.
        let last = &mut model.blocks_mut()[1].module_mut().2;
        last.weight.fill_with_zeros();
        let before: Vec<_> = model.blocks().iter().map(|block| weights(block.module())).collect();
        model.fit(&data(), &Fit { epochs: 1, batch_size: 150, ..fit() }).unwrap();
        assert_eq!(model.is_stacked(), stacked);
        let after: Vec<_> = model.blocks().iter().map(|block| weights(block.module())).collect();
        let moved = before.iter().zip(&after).map(|(before, after)| before[..48] != after[..48]);
        assert_eq!(moved.collect::<Vec<_>>(), [true, false, true]);
        after.concat()
    };
    assert_close("weights", &run(true), &run(false), 1e-9);
}

#[test]
fn each_run_has_its_own_rows_and_a_hook_has_its_say() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let run = |stacked: bool| {
        let mut model = Trainer::<Block>::new(&Cpu::default(), dt(3)).unwrap();
        model.set_stacked(stacked);
        let mut data = data();
        model.fit(&data, &fit()).unwrap();
        // Other rows at the same place in memory.
        let other = blobs::<3, 4>(150, 2).to_dtype();
        data.clone_from(&other);
        model.fit(&data, &fit()).unwrap();
        let hook = |batch: &mut dfdx_noprop::train::Batch<_, 3, 4, f64, _>, _: &mut _| {
            batch.inputs_mut().iter_mut().flatten().for_each(|x| *x *= 0.5);
        };
        model.training(&fit()).each_batch(hook).run(&data).unwrap();
        assert_eq!(model.is_stacked(), stacked);
        model.blocks().iter().flat_map(|block| weights(block.module())).collect::<Vec<f64>>()
    };
    assert_close("weights", &run(true), &run(false), 1e-9);
}

/// The weights after a run in two parts or in one, with the device's own noise or the host's.
fn noised<V, M>(
    variant: &V,
    stacked: fn(&mut NoProp<V, M, 3, 4, f64, Cpu>),
    limits: &[u64],
) -> Vec<f64>
where
    V: Variant<3, 4, f64, Cpu, Head = OneHot>,
    M: Denoises<V::Input, f64, Cpu>,
    M::Gives: SuitsHead<V::Reader, 3, f64, Cpu>,
    Cpu: Runs<V, M, 3, 4, f64>,
{
    let mut model = NoProp::<V, M, 3, 4, f64, Cpu>::new(&Cpu::default(), variant.clone()).unwrap();
    assert!(!model.has_device_noise(), "the processor has the host's noise");
    stacked(&mut model);
    for &limit in limits {
        model.fit(&data(), &Fit { step_limit: Some(limit), ..fit() }).unwrap();
    }
    assert_eq!(model.steps(), 10);
    model.blocks().iter().flat_map(|block| weights(block.module())).collect()
}

#[test]
fn noise_of_the_device_is_the_same_in_either_way_and_after_a_pause() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    type Way = fn(&mut Trainer<Block>);
    let one_by_one: Way = |model| model.set_device_noise(true);
    let stacked: Way = |model| {
        model.set_device_noise(true);
        model.set_stacked(true);
    };
    let expected = noised(&dt::<OneHot>(3), one_by_one, &[10]);
    let found = noised(&dt(3), stacked, &[10]);
    assert_close("stacked", &found, &expected, 1e-9);
    // In single steps too, for which other rows are drawn together.
    for way in [one_by_one, stacked] {
        let whole = noised(&dt(3), way, &[10]);
        assert_eq!(noised(&dt(3), way, &[4, 3, 1, 1, 1]), whole);
    }
    let host = noised(&dt(3), |_: &mut Trainer<Block>| {}, &[10]);
    assert!(host.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-4));
    let other = Fit { seed: 1, ..fit() };
    let mut model = Trainer::<Block>::new(&Cpu::default(), dt(3)).unwrap();
    stacked(&mut model);
    model.fit(&data(), &other).unwrap();
    model.forget_run();
    model.fit(&data(), &fit()).unwrap();
    assert!(model.blocks().iter().all(|b| weights(b.module()).iter().all(|w| w.is_finite())));
}

#[test]
fn one_network_has_noise_of_the_device_too() {
    type Block = ConditionalResNetCt<3, 4, 8>;
    fn check<V>(variant: V)
    where
        V: Variant<3, 4, f64, Cpu, Head = OneHot>,
        Block: Denoises<V::Input, f64, Cpu>,
        <Block as Denoises<V::Input, f64, Cpu>>::Gives: SuitsHead<V::Reader, 3, f64, Cpu>,
        Cpu: Runs<V, Block, 3, 4, f64>,
    {
        let whole = noised::<V, Block>(&variant, |model| model.set_device_noise(true), &[10]);
        let paused = noised::<V, Block>(&variant, |model| model.set_device_noise(true), &[3, 1, 6]);
        assert_eq!(paused, whole);
        let host = noised::<V, Block>(&variant, |_| {}, &[10]);
        assert!(host.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-4));
    }
    check(ContinuousTime::default());
    let flow: FlowMatching = FlowMatching::default();
    check(flow);
    // With the directions of an estimator shared out among threads.
    let noise = WeightNoise { directions: 2, ..WeightNoise::default() };
    check(ContinuousTime { estimator: noise.into(), ..ContinuousTime::default() });
}

#[test]
fn numbers_may_stay_on_the_device_for_a_span() {
    fn check<M>(variant: DiscreteTime, fit: Fit)
    where
        M: Denoises<dfdx_noprop::nn::Pair<3, 4>, f64, Cpu>,
        M::Gives: SuitsHead<OneHot, 3, f64, Cpu>,
        Cpu: Runs<DiscreteTime, M, 3, 4, f64>,
    {
        let (_, expected, reports) = train::<M, OneHot>(&variant, &fit, &data(), Way::OneByOne);
        let (_, found, late_reports) = train::<M, OneHot>(&variant, &fit, &data(), Way::Late);
        close(variant.blocks, (found, late_reports), (expected, reports));
    }
    check::<ConditionalResNetDt<3, 4, 8>>(dt(3), fit());
    // What is no stack: with running means, and dfdx's own layers.
    type Normed = (Condition<Dense<3, 6>, Linear<4, 6>>, BatchNorm1D<6>, ReLU, Dense<6, 3>);
    check::<Normed>(dt(2), everything());
    let sgd = Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 1e-2, ..Sgd::default() };
    let sgd = DiscreteTime { optimizer: sgd.into(), cross_entropy: 0.0, ..dt(3) };
    check::<ConditionalResNetDt<3, 4, 8>>(sgd, everything());
}

#[test]
fn the_numbers_of_one_network_may_stay_there_too() {
    type Block = ConditionalResNetCt<3, 4, 8>;
    fn check<V>(variant: V, fit: &Fit)
    where
        V: Variant<3, 4, f64, Cpu, Head = OneHot>,
        Block: Denoises<V::Input, f64, Cpu>,
        <Block as Denoises<V::Input, f64, Cpu>>::Gives: SuitsHead<V::Reader, 3, f64, Cpu>,
        Cpu: Runs<V, Block, 3, 4, f64>,
    {
        let run = |late: bool| {
            let mut model =
                NoProp::<V, Block, 3, 4, f64, Cpu>::new(&Cpu::default(), variant.clone()).unwrap();
            model.set_late_reports(late);
            ends(&mut model, fit, &data())
        };
        close(1, run(true), run(false));
    }
    for fit in [fit(), everything()] {
        check(ContinuousTime::default(), &fit);
        let flow: FlowMatching = FlowMatching::default();
        check(flow, &fit);
        // A schedule that learns needs its numbers.
        let schedule = GammaSchedule {
            path: Path::Learned(MonotoneNetwork::default()),
            ..GammaSchedule::default()
        };
        check(ContinuousTime { schedule, ..ContinuousTime::default() }, &fit);
    }
}

#[test]
fn a_late_report_names_the_block_that_diverges() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let mut model = Trainer::<Block>::new(&Cpu::default(), dt(3)).unwrap();
    model.set_late_reports(true);
    model.blocks_mut()[1].module_mut().3.bias.copy_from(&[f64::NAN; 3]);
    let before: Vec<_> = model.blocks().iter().map(|b| weights(b.module())).collect();
    let error = model.fit(&data(), &fit()).unwrap_err();
    assert!(matches!(error, Error::Diverged { block: 2, step: 1, .. }), "{error}");
    let after: Vec<_> = model.blocks().iter().map(|b| weights(b.module())).collect();
    let last = before[1].len() - 3;
    assert_eq!(after[1][..last], before[1][..last]);
    assert_ne!(after[0], before[0], "the others have learned");
    type Network = ConditionalResNetCt<3, 4, 8>;
    let mut model =
        NoProp::<ContinuousTime, Network, 3, 4, f64, Cpu>::new(&Cpu::default(), Default::default())
            .unwrap();
    model.set_late_reports(true);
    model.blocks_mut()[0].module_mut().3.bias.copy_from(&[f64::NAN; 3]);
    let error = model.fit(&data(), &fit()).unwrap_err();
    assert!(matches!(error, Error::Diverged { block: 1, step: 1, .. }), "{error}");
}
