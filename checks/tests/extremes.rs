//! Settings at extremes: each number of each setting, alone, at values that somebody could pass in.
//! No panic, no hang, no answer that is not finite.

#![cfg(all(feature = "serde", unix))]

#[path = "common/cases.rs"]
mod cases;
mod common;

use cases::{Counts, case, given, limited};
use ciborium::Value;
use common::blobs;
use dfdx_noprop::{
    head::{HasClasses, Head},
    prelude::*,
    train::EarlyStopping,
};
use serde::{Serialize, de::DeserializeOwned};

const FLOATS: [f64; 13] = [
    0.0,
    -0.0,
    5e-324,
    1e-40,
    1.0,
    -1.0,
    1e4,
    1e30,
    1e300,
    -1e300,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];
const COUNTS: [u64; 6] = [0, 1, 2, (1 << 24) + 1, 1 << 40, u64::MAX];

/// The numbers of a setting, by where they are.
fn numbers(value: &Value, at: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    let parts: Vec<&Value> = match value {
        Value::Map(fields) => fields.iter().map(|(_, value)| value).collect(),
        Value::Array(items) => items.iter().collect(),
        Value::Integer(_) | Value::Float(_) => {
            found.push(at.clone());
            return;
        }
        _ => return,
    };
    for (i, part) in parts.into_iter().enumerate() {
        at.push(i);
        numbers(part, at, found);
        at.pop();
    }
}

/// A number, and what it is called.
fn number<'v>(value: &'v mut Value, at: &[usize]) -> (&'v mut Value, String) {
    let Some((first, rest)) = at.split_first() else { return (value, String::new()) };
    match value {
        Value::Map(fields) => {
            let (key, value) = &mut fields[*first];
            let name = key.as_text().unwrap_or_default().to_owned();
            let (found, below) = number(value, rest);
            (found, format!(".{name}{below}"))
        }
        Value::Array(items) => {
            let (found, below) = number(&mut items[*first], rest);
            (found, format!("[{first}]{below}"))
        }
        _ => unreachable!("a path leads to a number"),
    }
}

/// All settings that differ from these in one number, with what that is.
fn extremes<S: Serialize + DeserializeOwned>(setting: &S) -> Vec<(String, Option<S>)> {
    let usual = Value::serialized(setting).unwrap();
    let mut paths = Vec::new();
    numbers(&usual, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 5, "{paths:?}");
    let mut all = Vec::new();
    for path in paths {
        let mut changed = usual.clone();
        let values: Vec<Value> = match number(&mut changed, &path).0 {
            Value::Integer(_) => COUNTS.map(Value::from).into(),
            _ => FLOATS.map(Value::from).into(),
        };
        for value in values {
            let mut changed = usual.clone();
            let (place, name) = number(&mut changed, &path);
            let name = format!("{name} = {value:?}");
            *place = value;
            // What serde refuses is refused.
            all.push((name, changed.deserialized().ok()));
        }
    }
    all
}

/// Two steps and an answer.
fn tried<V, M>(variant: V, fit: &Fit) -> Result<bool, Error>
where
    V: Variant<4, 5>,
    V::Head: Head<4, f32, Targets = Labels<4>, Row = [f32; 4]> + HasClasses,
    M: Suits<V, 4, 5>,
{
    let data = blobs::<4, 5>(20, 1);
    let mut model = M::model(&AutoDevice::default(), variant)?;
    let limits = Fit { step_limit: Some(fit.step_limit.unwrap_or(2).min(2)), ..fit.clone() };
    model.training(&limits).validation(&data).run(&data)?;
    let rows = model.predict_proba(data.samples())?;
    Ok(rows.iter().flatten().all(|p| p.is_finite()))
}

fn variants<V, M>(counts: &mut Counts, usual: V)
where
    V: Variant<4, 5> + Serialize + DeserializeOwned,
    V::Head: Head<4, f32, Targets = Labels<4>, Row = [f32; 4]> + HasClasses,
    M: Suits<V, 4, 5> + 'static,
{
    let fit = Fit { epochs: 1, batch_size: 8, threads: Some(2), ..Fit::default() };
    for (name, variant) in extremes(&usual) {
        let Some(variant) = variant else {
            counts.refused += 1;
            continue;
        };
        let (name, fit) = (format!("{}{name}", V::NAME), fit.clone());
        case(counts, &name, move || tried::<V, M>(variant, &fit));
    }
}

type Untimed = ConditionalResNetDt<4, 5, 8>;
type Timed = ConditionalResNetCt<4, 5, 8>;

/// All cases in processes that have this much memory, of which threads reserve the most.
const MEGABYTES: u64 = 2048;

#[test]
fn every_number_of_the_variants() {
    print!("{}", limited("numbers_of_the_variants", "all", MEGABYTES, 5));
}

#[test]
fn every_number_of_fit() {
    print!("{}", limited("numbers_of_fit", "all", MEGABYTES, 5));
}

#[test]
#[ignore = "the child process of another test"]
fn numbers_of_the_variants() {
    if given().is_none() {
        return;
    }
    let mut counts = Counts::default();
    let blocks = 3;
    variants::<DiscreteTime, Untimed>(&mut counts, DiscreteTime { blocks, ..Default::default() });
    let estimators: [Estimator; 2] =
        [ActivityNoise::default().into(), WeightNoise::default().into()];
    for estimator in estimators {
        let sampler = Sampler::Stochastic { draws: 2, seed: 1 };
        let optimizer = Sgd::default().into();
        let usual = DiscreteTime { blocks, estimator, sampler, optimizer, ..Default::default() };
        variants::<DiscreteTime, Untimed>(&mut counts, usual);
    }
    type Learning = DiscreteTime<Learned<4>>;
    variants::<Learning, Untimed>(&mut counts, Learning { blocks, ..Default::default() });
    variants::<ContinuousTime, Timed>(&mut counts, ContinuousTime::default());
    let path = Path::Learned(MonotoneNetwork::default());
    let schedule = GammaSchedule { path, ..GammaSchedule::default() };
    variants::<ContinuousTime, Timed>(
        &mut counts,
        ContinuousTime { schedule, ..Default::default() },
    );
    let inference = Inference::Ode(Solver { steps: Steps::Fixed(3), ..Solver::default() });
    variants::<ContinuousTime, Timed>(
        &mut counts,
        ContinuousTime { inference, ..Default::default() },
    );
    variants::<FlowMatching, Timed>(&mut counts, FlowMatching::default());
    let edges = DiffusionBlocks {
        partition: Partition::Edges(vec![0.2, 0.5]),
        sigma_data: Some(0.5),
        ..Default::default()
    };
    variants::<DiffusionBlocks, Timed>(&mut counts, edges);
    let partition = Partition::EqualInformation;
    let informed = DiffusionBlocks { partition, ..Default::default() };
    variants::<DiffusionBlocks, Timed>(&mut counts, informed);
    println!("{counts:?}");
    assert!(counts.refused > 200 && counts.answered > 200, "{counts:?}");
}

#[test]
#[ignore = "the child process of another test"]
fn numbers_of_fit() {
    if given().is_none() {
        return;
    }
    let mut counts = Counts::default();
    let usual = Fit {
        epochs: 1,
        batch_size: 8,
        threads: Some(2),
        clip: Some(1.0),
        average: Some(0.9),
        time_limit: Some(20.0),
        step_limit: Some(2),
        class_weights: Some(vec![1.0; 4]),
        early_stopping: Some(EarlyStopping { patience: 2, least: 0.0 }),
        learning_rate: LearningRate { warm_up: 2, decay: Decay::Cosine { floor: 0.1 } },
        ..Fit::default()
    };
    for (name, fit) in extremes(&usual) {
        let Some(fit) = fit else {
            counts.refused += 1;
            continue;
        };
        let other = fit.clone();
        case(&mut counts, &format!("Fit{name}, discrete time"), move || {
            tried::<DiscreteTime, Untimed>(DiscreteTime { blocks: 3, ..Default::default() }, &fit)
        });
        case(&mut counts, &format!("Fit{name}, flow matching"), move || {
            tried::<FlowMatching, Timed>(FlowMatching::default(), &other)
        });
    }
    println!("{counts:?}");
    assert!(counts.refused > 50 && counts.answered > 50, "{counts:?}");
}
