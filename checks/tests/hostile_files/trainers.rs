//! Edited checkpoints, loaded into a trainer and made a trainer of, which then learns and answers.

use std::path::{Path as FilePath, PathBuf};

use dfdx_noprop::{
    checkpoint::Contents,
    head::{HasClasses, Head, SuitsHead},
    nn::Denoises,
    prelude::*,
};
use rand::{SeedableRng, rngs::StdRng};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cases::{Counts, case, given, limited},
    changes::changed,
    common::blobs,
    edits, in_memory, rounds,
};

type Untimed = ConditionalResNetDt<4, 5, 4>;
type Timed = ConditionalResNetCt<4, 5, 4>;

fn fit() -> Fit {
    let average = Some(0.9);
    Fit {
        epochs: 3,
        batch_size: 8,
        step_limit: Some(5),
        average,
        threads: Some(2),
        ..Fit::default()
    }
}

/// Whether a trainer that took a file is what the file says, and goes on with finite numbers.
fn right<V, M>(
    mut model: NoProp<V, M, 4, 5>,
    file: &FilePath,
    contents: &Contents,
) -> Result<bool, Error>
where
    V: Variant<4, 5>,
    V::Head: Head<4, f32, Targets = Labels<4>, Row = [f32; 4]> + HasClasses,
    M: Suits<V, 4, 5>,
{
    let progress: Value = serde_json::from_str(&contents.metadata["progress"]).unwrap();
    let again = file.with_extension("again");
    model.save(&again)?;
    let again = Contents::read(&again)?;
    if again.tensors != contents.tensors
        || progress["steps"].as_u64() != Some(model.steps())
        || progress["epochs"].as_u64() != Some(model.epochs())
    {
        return Ok(false);
    }
    let data = blobs::<4, 5>(20, 1);
    let answers = |model: &NoProp<V, M, 4, 5>| match model.predict_proba(data.samples()) {
        Ok(rows) => rows.iter().flatten().all(|p| p.is_finite()),
        Err(_) => true,
    };
    let before = answers(&model);
    // It may well diverge, or be of a run with other settings.
    let went_on = model.fit(&data, &Fit { step_limit: Some(2), ..fit() });
    Ok(before && answers(&model) && went_on.iter().flatten().all(|epoch| epoch.loss.is_finite()))
}

fn hostile<V, M>(counts: &mut Counts, variant: V)
where
    V: Variant<4, 5> + DeserializeOwned + dfdx_noprop::Config,
    V::Head: Head<4, f32, Targets = Labels<4>, Row = [f32; 4]> + HasClasses,
    M: Suits<V, 4, 5> + Denoises<V::Input> + 'static,
    M::Gives: SuitsHead<V::Reader, 4>,
    AutoDevice: Runs<V, M, 4, 5>,
{
    let folder = in_memory();
    let path = folder.path().join("edited.safetensors");
    let device = AutoDevice::default();
    let mut model = M::model(&device, variant.clone()).unwrap();
    let data = blobs::<4, 5>(20, 1);
    model.training(&fit()).validation(&data).run(&data).unwrap();
    model.save(&path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let whole = Contents::read(&path).unwrap();
    assert!(
        right::<V, M>(NoProp::from_checkpoint(&device, &path).unwrap(), &path, &whole).unwrap()
    );

    let mut try_it = |name: &str, path: &PathBuf, contents: Contents| {
        let (loaded, made) = (variant.clone(), (path.clone(), contents.clone()));
        let path = path.clone();
        case(counts, &format!("{}, loaded: {name}", V::NAME), move || {
            let mut model = M::model(&AutoDevice::default(), loaded)?;
            model.load(&path)?;
            right::<V, M>(model, &path, &contents)
        });
        let (path, contents) = made;
        case(counts, &format!("{}, made: {name}", V::NAME), move || {
            right::<V, M>(NoProp::from_checkpoint(&AutoDevice::default(), &path)?, &path, &contents)
        });
    };
    for (name, contents) in edits::all(&whole, if rounds(1) > 1 { 1 } else { 7 }) {
        if contents.write(&path).is_ok() {
            try_it(&name, &path, contents);
        }
    }
    damaged(counts, &file, &whole);
}

/// Damage that the checksum finds, or that is none.
fn damaged(counts: &mut Counts, file: &Vec<u8>, whole: &Contents) {
    let mut damaged = edits::headers(file);
    let mut rng = StdRng::seed_from_u64(1);
    let random = (0..rounds(1000))
        .map(|i| (format!("damage {i}"), changed(std::slice::from_ref(file), &mut rng)));
    damaged.extend(random);
    for (name, bytes) in damaged {
        let whole = whole.clone();
        case(counts, &name, move || {
            Ok(Contents::from_bytes(&bytes, FilePath::new("damaged"))? == whole)
        });
    }
}

fn edited(kind: &str) {
    print!("{}", limited("trainers::checkpoints", kind, 1024, 10 + rounds(1) as u64));
}

#[test]
fn edited_checkpoints_of_discrete_time() {
    edited("discrete");
}

#[test]
fn edited_checkpoints_without_derivatives() {
    edited("noise");
}

#[test]
fn edited_checkpoints_of_continuous_time() {
    edited("continuous");
}

#[test]
fn edited_checkpoints_of_flow_matching() {
    edited("flow");
}

#[test]
#[ignore = "the child process of another test"]
fn checkpoints() {
    let Some(kind) = given() else { return };
    let mut counts = Counts::default();
    let blocks = 2;
    match &kind[..] {
        "discrete" => hostile::<DiscreteTime<Learned<4>>, Untimed>(
            &mut counts,
            DiscreteTime { blocks, ..Default::default() },
        ),
        "noise" => {
            let estimator = WeightNoise::default().into();
            let sampler = Sampler::Stochastic { draws: 2, seed: 1 };
            let optimizer = Sgd::default().into();
            let variant =
                DiscreteTime { blocks, estimator, sampler, optimizer, ..Default::default() };
            hostile::<DiscreteTime, Untimed>(&mut counts, variant);
        }
        "continuous" => {
            let network = MonotoneNetwork::default();
            let schedule = GammaSchedule { path: Path::Learned(network), ..Default::default() };
            hostile::<ContinuousTime, Timed>(
                &mut counts,
                ContinuousTime { schedule, ..Default::default() },
            );
        }
        _ => hostile::<FlowMatching, Timed>(&mut counts, FlowMatching::default()),
    }
    println!("{kind}: {counts:?}");
    assert!(counts.refused > 1000 && counts.answered > 100 && counts.failed == 0, "{counts:?}");
}
