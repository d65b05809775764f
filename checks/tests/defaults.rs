//! Every setting says its default in its documentation, and says the right one.
#![cfg(feature = "serde")]

use std::{fs, path::Path};

use dfdx_noprop::{
    Config,
    data::Augment,
    gradient::{ActivityNoise, WeightNoise},
    optim::{AdamW, LearningRate, Sgd},
    prelude::*,
    schedule::GammaSchedule,
    solver::{EulerMaruyama, Solver},
    train::EarlyStopping,
};
use serde_json::{Value, json};

/// The fields of a struct in a source, each with its documentation.
fn fields(file: &str, name: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src").join(file);
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("pub struct {name}")).unwrap();
    let (body, _) = rest.split_once("\n}\n").unwrap();
    let (mut found, mut docs) = (Vec::new(), String::new());
    for line in body.lines().skip(1).map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            docs += doc;
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (field, _) = field.split_once(':').unwrap();
            found.push((field.to_owned(), std::mem::take(&mut docs)));
        }
    }
    assert!(!found.is_empty(), "{name}");
    found
}

/// A value in Rust as serde writes it.
fn value(rust: &str) -> Value {
    let snake = |name: &str| -> String {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.extend(c.to_lowercase());
        }
        text
    };
    if rust == "None" {
        return Value::Null;
    }
    let Some((_, variant)) = rust.split_once("::") else { return rust.parse().unwrap() };
    match variant.split_once('(') {
        Some((name, inner)) => json!({ snake(name): value(inner.trim_end_matches(')')) }),
        None => json!(snake(variant)),
    }
}

#[track_caller]
fn check(file: &str, name: &str, default: impl Config) {
    let settings = serde_json::to_value(default).unwrap();
    for (field, docs) in fields(file, name) {
        let said = docs.split_once("Default: ").map(|(_, said)| said);
        let said = said.unwrap_or_else(|| panic!("{name}::{field} does not say its default"));
        // Others are in words: the default of another type.
        let Some(code) = said.strip_prefix('`').and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        let (said, is) = (value(code), &settings[&field]);
        let same = said == *is || (said.is_number() && said.as_f64() == is.as_f64());
        assert!(same, "{name}::{field} says {said} and is {is}");
    }
}

#[test]
fn defaults_are_what_their_documentation_says() {
    check("session/fit.rs", "Fit", Fit::default());
    check("session/fit.rs", "EarlyStopping", EarlyStopping::default());
    check("optim/rate.rs", "LearningRate", LearningRate::default());
    check("optim/adamw.rs", "AdamW", AdamW::default());
    check("optim/sgd.rs", "Sgd", Sgd::default());
    check("variant/discrete.rs", "DiscreteTime", DiscreteTime::<OneHot>::default());
    check("variant/continuous.rs", "ContinuousTime", ContinuousTime::<OneHot>::default());
    let blocks = DiffusionBlocks::<OneHot>::default();
    check("variant/diffusion_blocks/mod.rs", "DiffusionBlocks", blocks);
    check("variant/flow.rs", "FlowMatching", FlowMatching::<OneHot>::default());
    check("solver/integrate.rs", "Solver", Solver::default());
    check("solver/sde.rs", "EulerMaruyama", EulerMaruyama::default());
    check("gradient/weight_noise.rs", "WeightNoise", WeightNoise::default());
    check("gradient/activity_noise.rs", "ActivityNoise", ActivityNoise::default());
    let noise = NoiseDistribution::default();
    check("schedule/noise/partition.rs", "NoiseDistribution", noise);
    check("schedule/continuous.rs", "GammaSchedule", GammaSchedule::default());
    check("data/augment.rs", "Augment", Augment::default());
}
