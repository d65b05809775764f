//! Counts of a checkpoint that contradict each other, and those that do not, however odd.

use std::{ops::ControlFlow, path::Path};

use dfdx_noprop::{
    checkpoint::Contents,
    distributed::{Communicator, Rows, Settings},
    prelude::*,
    train::{Observer, StepReport},
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::common::blobs;

type Block = ConditionalResNetDt<4, 5, 8>;
type Model<H = OneHot> = NoProp<DiscreteTime<H>, Block, 4, 5>;

fn variant<H: Default>() -> DiscreteTime<H> {
    DiscreteTime { blocks: 3, ..DiscreteTime::default() }
}

fn model() -> Model {
    Model::new(&AutoDevice::default(), variant()).unwrap()
}

fn learned() -> Model<Learned<4>> {
    Model::new(&AutoDevice::default(), variant()).unwrap()
}

/// 7 steps an epoch, stopped after 10.
fn fit() -> Fit {
    Fit { epochs: 3, batch_size: 8, step_limit: Some(10), ..Fit::default() }
}

fn progress(contents: &Contents) -> Value {
    serde_json::from_str(&contents.metadata["progress"]).unwrap()
}

fn with_progress(contents: &Contents, progress: &Value) -> Contents {
    let mut contents = contents.clone();
    contents.metadata.insert("progress".into(), progress.to_string());
    contents
}

/// What loading says where these places of the progress are changed.
fn refused<H>(whole: &Contents, model: &mut Model<H>, edits: &[(&str, Value)]) -> String
where
    H: dfdx_noprop::head::Head<4, f32>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.safetensors");
    let mut changed = progress(whole);
    for (place, value) in edits {
        *changed.pointer_mut(place).unwrap() = value.clone();
    }
    with_progress(whole, &changed).write(&path).unwrap();
    let steps = model.steps();
    let error = model.load(&path).expect_err(&format!("{edits:?}")).to_string();
    assert_eq!(model.steps(), steps);
    error
}

fn saved<V, M>(model: &NoProp<V, M, 4, 5>) -> Contents
where
    V: Variant<4, 5>,
    M: Suits<V, 4, 5>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    Contents::read(&path).unwrap()
}

#[test]
fn counters_out_of_step_with_each_other_are_refused() {
    let data = blobs::<4, 5>(50, 1);
    let mut stopped = model();
    stopped.training(&fit()).validation(&data).run(&data).unwrap();
    let whole = saved(&stopped);
    let before = progress(&whole);
    let counts = [&before["steps"], &before["epochs"], &before["position"]["means"]["steps"]];
    assert_eq!(counts, [&json!(10), &json!(1), &json!(3)]);

    let huge = json!(1u64 << 54);
    let means = |n: u64| ("/position/means/steps", json!(n));
    let cases: Vec<(Vec<(&str, Value)>, &str)> = vec![
        (vec![("/steps", huge.clone())], "at most 9007199254740992 steps"),
        (vec![("/steps", json!(u64::MAX))], "at most 9007199254740992 steps"),
        (vec![("/blocks/1", huge)], "at most 9007199254740992 steps of a block's optimiser"),
        (vec![("/epochs", json!(11))], "at most 10 epochs, one for each step, found 11"),
        (vec![("/steps", json!(9))], "at most 9 steps of the run, those of the trainer, found 10"),
        (vec![("/position/steps", json!(11))], "at most 10 steps of the run"),
        (vec![("/position/epochs_before", json!(2))], "at most 1 epochs before the run"),
        (vec![("/position/epochs_before", json!(1))], "at most 0 epochs before the run, one for"),
        (vec![("/epochs", json!(2))], "at most 1 epochs of the run, as its steps make, found 2"),
        (vec![("/epochs", json!(0))], "1 epochs, one for each 7 steps, found 0"),
        (vec![("/position/waited", json!(2))], "at most 1 validations without progress"),
        (vec![("/position/rows", json!(0))], "at least one of its rows, found 0"),
        (vec![("/position/batch_size", json!(0))], "at least one of its rows a batch, found 0"),
        (vec![means(2)], "means over 3 steps, found 2"),
        (vec![means(10)], "means over 3 steps, found 10"),
        (vec![("/position/data", Value::Null), means(11)], "means over at most 10 steps, found 11"),
        (vec![("/position/means/rows", json!(25))], "rows of 3 steps of up to 8, found 25"),
        (vec![("/position/means/rows", json!(2))], "rows of 3 steps of up to 8, found 2"),
        (vec![("/position/means/blocks", json!([]))], "means of 3 blocks, over 3 steps, found 0"),
        (vec![("/position/means/blocks/2/accuracy", json!(25.0))], "up to 24 right answers"),
        (vec![("/position/means/blocks/0/gradient_norm", json!(-1.0))], "sums of 0 or more"),
        (vec![("/embedding", json!(1))], "no steps of the embedding, which is not trained"),
        (vec![("/schedule", json!(1))], "no steps of the schedule, which is not trained"),
        (vec![("/blocks/1", json!(0))], "no tensors `optimizer.first.block.2`, since its optim"),
    ];
    let mut other = model();
    for (edits, expected) in cases {
        let error = refused(&whole, &mut other, &edits);
        assert!(error.contains(expected), "{edits:?}: {error}");
        assert!(error.contains("edited.safetensors: expected"), "{error}");
    }

    let mut stopped = learned();
    stopped.training(&fit()).run(&data).unwrap();
    let error = refused(&saved(&stopped), &mut learned(), &[("/embedding", json!(11))]);
    assert!(error.contains("at most 10 steps of the embedding, those of each block"), "{error}");
}

#[test]
fn squares_that_sgd_does_not_keep_are_refused() {
    let optimizer = Sgd::default().into();
    let variant = || DiscreteTime { optimizer, ..variant::<OneHot>() };
    let new = || Model::new(&AutoDevice::default(), variant()).unwrap();
    let (mut trained, mut adam) = (new(), model());
    let data = blobs::<4, 5>(50, 1);
    trained.fit(&data, &fit()).unwrap();
    adam.fit(&data, &fit()).unwrap();
    let mut contents = saved(&trained);
    let squares = saved(&adam).tensors.into_iter();
    contents.tensors.extend(squares.filter(|t| t.name.starts_with("optimizer.second.block.1")));
    let error = refused(&contents, &mut new(), &[]);
    assert!(error.contains("no tensors `optimizer.second.block.1`, which SGD has not"), "{error}");
}

/// Fails at the last step of the first epoch.
struct Failing;

impl Observer for Failing {
    fn step(&mut self, report: &StepReport) -> Result<ControlFlow<()>, Error> {
        if report.step < 7 {
            return Ok(ControlFlow::Continue(()));
        }
        Err(Error::Io { path: "o".into(), operation: "write", source: std::io::Error::other("!") })
    }
}

/// Loads into a new trainer, and is the same then.
fn loads<H>(what: &str, model: &Model<H>)
where
    H: dfdx_noprop::head::Head<4, f32>,
    Block: Suits<DiscreteTime<H>, 4, 5>,
    Model<H>: Clone,
{
    loads_as(what, &saved(model), model);
}

fn loads_as<H>(what: &str, contents: &Contents, model: &Model<H>)
where
    H: dfdx_noprop::head::Head<4, f32>,
    Block: Suits<DiscreteTime<H>, 4, 5>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.safetensors");
    contents.write(&path).unwrap();
    let mut other =
        <Block as Suits<_, 4, 5>>::model(&AutoDevice::default(), model.variant().clone()).unwrap();
    other.load(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(saved(&other).tensors, contents.tensors, "{what}");
}

fn by_hand(model: &mut Model, t: usize) {
    let dev = AutoDevice::default();
    let input = (dev.sample_normal_like(&(6, Const)), dev.sample_normal_like(&(6, Const)));
    let mut rng = StdRng::seed_from_u64(1);
    model.train_step(t, input, |output| output.try_square()?.try_mean(), &mut rng).unwrap();
}

#[test]
fn counters_that_a_program_can_leave_load() {
    let data = blobs::<4, 5>(50, 1);
    loads("nothing learned", &model());
    let mut odd = model();
    by_hand(&mut odd, 2);
    loads("one block by hand", &odd);
    odd.fit(&data, &fit()).unwrap();
    by_hand(&mut odd, 3);
    loads("by hand and in a run", &odd);
    // As a file of 0.1.0 has it.
    let (whole, mut old) = (saved(&odd), progress(&saved(&odd)));
    for later in ["data", "settings", "processor"] {
        old["position"].as_object_mut().unwrap().remove(later).unwrap();
    }
    loads_as("an older file", &with_progress(&whole, &old), &odd);
    odd.set_optimizer(Sgd::default()).unwrap();
    loads("another optimiser in the midst of a run", &odd);
    by_hand(&mut odd, 1);
    loads("and a step", &odd);
    odd.forget_run();
    odd.fit(&data, &Fit { epochs: 1, average: Some(0.5), ..fit() }).unwrap();
    loads("a second run", &odd);
    loads("averages", &odd.averaged().unwrap());

    let mut learning = learned();
    let average = Some(0.5);
    learning.fit(&data, &Fit { average, ..fit() }).unwrap();
    loads("a learned embedding", &learning);
    loads("its averages", &learning.averaged().unwrap());

    for epochs in 1..3 {
        let mut odd = model();
        let run = odd
            .training(&Fit { step_limit: None, epochs, ..fit() })
            .observer(&mut Failing)
            .run(&data);
        assert!(run.is_err());
        loads("an epoch without its end", &odd);
        assert!(odd.training(&fit()).observer(&mut Failing).run(&data).is_err());
        loads("and further", &odd);
    }
    let huge = Sgd { learning_rate: 1e30, momentum: 0.0, ..Sgd::default() };
    let mut diverged = model();
    diverged.set_optimizer(huge).unwrap();
    assert!(diverged.fit(&data, &fit()).is_err());
    loads("a run that diverged", &diverged);
}

#[test]
fn counters_of_several_ranks_load() {
    let folder = tempfile::tempdir().unwrap();
    for (n, rows) in [(2, Rows::All), (6, Rows::All), (6, Rows::Own)] {
        let path = folder.path().join("ranks.safetensors");
        let settings = Settings { rows, ..Settings::default() };
        let all = Communicator::threads(n, settings).unwrap();
        let work = |communicator: Communicator, path: &Path| {
            let data = blobs::<4, 5>(50, 1);
            let device = AutoDevice::default();
            let mut model =
                Model::<OneHot>::distributed(&device, variant(), &communicator).unwrap();
            model.fit(&data, &fit()).unwrap();
            model.save(path).unwrap();
        };
        std::thread::scope(|scope| {
            all.into_iter().for_each(|one| drop(scope.spawn(|| work(one, &path))));
        });
        loads_as(&format!("{n} ranks, {rows:?}"), &Contents::read(&path).unwrap(), &model());
    }
}
