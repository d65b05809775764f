//! Settings at their extremes, as data, and changed after the model was made.
#![cfg(feature = "serde")]

mod common;

use common::{blobs, weights};
use dfdx_noprop::{
    gradient::{Estimator, WeightNoise},
    head::Prototypes,
    prelude::*,
    solver::{Solver, Steps},
    train::Ended,
};

type Block = ConditionalResNetDt<3, 4, 8>;
type Dt = NoProp<DiscreteTime, Block, 3, 4>;

fn model() -> Dt {
    Dt::new(&AutoDevice::default(), DiscreteTime { blocks: 2, ..Default::default() }).unwrap()
}

fn of(model: &Dt) -> Vec<f32> {
    model.blocks().iter().flat_map(|block| weights(block.module())).collect()
}

#[test]
fn the_largest_counts_do_not_overflow() {
    let data = blobs(40, 1);
    let mut first = model();
    let fit = Fit { epochs: usize::MAX, time_limit: Some(1e-9), ..Fit::default() };
    let outcome = first.training(&fit).run(&data).unwrap();
    assert_eq!(outcome.ended, Ended::OutOfTime);

    // A run of three epochs, stopped after a step, and gone on with to its end.
    let mut stopped = model();
    let fit = Fit { epochs: 3, batch_size: 10, step_limit: Some(1), ..Fit::default() };
    stopped.fit(&data, &fit).unwrap();
    let fit = Fit { step_limit: Some(u64::MAX), ..fit };
    let outcome = stopped.training(&fit).run(&data).unwrap();
    assert_eq!((outcome.ended, stopped.steps()), (Ended::Finished, 12));
}

#[test]
fn errors_are_shown_as_sentences() {
    let error = Dt::new(&AutoDevice::default(), DiscreteTime { blocks: 0, ..Default::default() });
    let error = error.unwrap_err();
    assert_eq!(format!("{error:?}"), "DiscreteTime::blocks: expected at least 1, found 0");
}

#[test]
fn settings_from_files_need_only_what_differs() {
    let variant: DiscreteTime = serde_json::from_str(r#"{"blocks": 5}"#).unwrap();
    assert_eq!(variant, DiscreteTime { blocks: 5, ..DiscreteTime::default() });
    let variant: ContinuousTime<Learned<3>> =
        serde_json::from_str(r#"{"eta": 2.0, "head": {}}"#).unwrap();
    assert_eq!(variant, ContinuousTime { eta: 2.0, ..ContinuousTime::default() });
    let variant: FlowMatching<Regression> = serde_json::from_str("{}").unwrap();
    assert_eq!(variant, FlowMatching::default());
    assert!(serde_json::from_str::<DiscreteTime>(r#"{"block": 5}"#).is_err());
    let given: Fit = serde_json::from_str(r#"{"clip": 1.0}"#).unwrap();
    assert_eq!(given, Fit { clip: Some(1.0), ..Fit::default() });
}

#[test]
fn prototypes_that_were_not_given_are_asked_for() {
    let variant = DiscreteTime::<Prototypes<3, 3>>::default();
    let text = NoProp::<_, Block, 3, 4>::new(&AutoDevice::default(), variant);
    let text = text.unwrap_err().to_string();
    assert!(text.contains("Prototypes") && text.contains("medoids"), "{text}");
}

#[test]
fn a_rate_can_be_changed_between_runs() {
    let (data, fit) = (blobs(40, 1), Fit { epochs: 1, ..Fit::default() });
    let small = AdamW { learning_rate: 1e-5, ..AdamW::default() };
    let (mut changed, mut kept) = (model(), model());
    changed.fit(&data, &fit).unwrap();
    kept.fit(&data, &fit).unwrap();
    let before = of(&changed);
    assert_eq!(before, of(&kept));
    changed.set_optimizer(small).unwrap();
    changed.fit(&data, &fit).unwrap();
    kept.fit(&data, &fit).unwrap();
    let far = |after: Vec<f32>| -> f32 {
        after.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // A step of AdamW moves a weight by about the rate.
    let (changed_by, kept_by) = (far(of(&changed)), far(of(&kept)));
    assert!(changed_by < 3e-5 && kept_by > 3e-4, "{changed_by} and {kept_by}");
    let text = changed.set_optimizer(AdamW { beta1: 2.0, ..small }).unwrap_err().to_string();
    assert!(text.contains("AdamW::beta1"), "{text}");
    assert_eq!(changed.variant().optimizer, small.into());
    // Another kind begins anew: momentum of the old kind would mean something else.
    changed.set_optimizer(Sgd::default()).unwrap();
    assert!(changed.blocks()[0].optimizer().first_moments().is_empty());
    changed.fit(&data, &fit).unwrap();
}

#[test]
fn a_clone_is_a_model_of_its_own() {
    let data = blobs(40, 1);
    let fit = Fit { epochs: 2, batch_size: 10, step_limit: Some(3), ..Fit::default() };
    let mut first = model();
    first.fit(&data, &fit).unwrap();
    let mut second = first.clone();
    let before = of(&first);
    let rest = Fit { step_limit: None, ..fit };
    second.fit(&data, &rest).unwrap();
    assert_eq!(of(&first), before);
    // Both go on with the same run.
    first.fit(&data, &rest).unwrap();
    assert_eq!(of(&first), of(&second));
    let text = format!("{first:?}");
    assert!(text.contains("DiscreteTime") && text.contains("steps: 8"), "{text}");
}

/// A table of Z × Z numbers would be 2.4 GB here.
#[test]
fn wide_numbers_have_no_table() {
    const WIDE: usize = 24_576;
    type Wide = (Condition<Dense<WIDE, 2>, Dense<1, 2>>, ReLU, Dense<2, WIDE>);
    let variant = DiscreteTime { blocks: 1, ..DiscreteTime::default().with_head(Regression) };
    let targets = Values::<WIDE>::new(vec![0.5; 2 * WIDE]).unwrap();
    let data = Dataset::<1, _>::new(vec![0.0, 1.0], targets).unwrap();
    let mut model = NoProp::<_, Wide, WIDE, 1>::new(&AutoDevice::default(), variant).unwrap();
    model.fit(&data, &Fit { epochs: 1, ..Fit::default() }).unwrap();
    assert!(model.embedding().is_empty());
    assert!(model.evaluate(&data).unwrap().mean_squared_error.is_finite());
}

#[test]
fn counts_that_nobody_has_room_for_are_refused_by_name() {
    let device = AutoDevice::default();
    let refused = |error: Error, name: &str| {
        let text = error.to_string();
        assert!(matches!(error, Error::Config { .. }) && text.contains(name), "{text}");
    };
    for blocks in [usize::MAX, 1_000_000_000] {
        let variant = DiscreteTime { blocks, ..DiscreteTime::default() };
        refused(Dt::new(&device, variant).unwrap_err(), "DiscreteTime::blocks");
    }
    let mut model = model();
    let sampler = Sampler::Stochastic { draws: usize::MAX, seed: 0 };
    refused(model.set_sampler(sampler).unwrap_err(), "draws");
    let noise = WeightNoise { directions: usize::MAX, ..WeightNoise::default() };
    refused(model.set_estimator(Estimator::WeightNoise(noise)).unwrap_err(), "directions");
    let sde = Inference::Sde { steps: usize::MAX, draws: 1, seed: 0 };
    let variant = ContinuousTime { inference: sde, ..ContinuousTime::default() };
    let made = NoProp::<ContinuousTime, ConditionalResNetCt<3, 4, 8>, 3, 4>::new(&device, variant);
    refused(made.unwrap_err(), "Sde::steps");
    let mut model = NoProp::<FlowMatching, ConditionalResNetCt<3, 4, 8>, 3, 4>::new(
        &device,
        Default::default(),
    )
    .unwrap();
    let before = model.variant().clone();
    let solver = Solver { steps: Steps::Fixed(1 << 40), ..Solver::default() };
    refused(model.set_solver(solver).unwrap_err(), "Steps::Fixed");
    assert_eq!(*model.variant(), before);
    assert!(model.predict(&[[0.0; 4]]).is_ok());
}
