//! The settings of a run, as JSON.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use dfdx_noprop::{prelude::*, train::Every};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that decides what a run ends with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the run is kept: settings, metrics, plots, checkpoints.
    pub folder: PathBuf,
    pub data: Data,
    /// The share of the training rows that is kept for validation.
    pub validation: f64,
    pub checkpoint: Every,
    /// How many checkpoints are kept, besides the best.
    pub keep_last: usize,
    pub mathematics: Mathematics,
    pub fit: Fit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// Those that the crate carries.
    Digits,
    /// A folder of idx files: MNIST, Fashion-MNIST.
    Idx(PathBuf),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mathematics {
    DiscreteTime(DiscreteTime),
    ContinuousTime(Box<ContinuousTime>),
    FlowMatching(FlowMatching),
}

/// The settings in a file, with defaults for what is left out.
pub fn read(path: &Path) -> Result<Config, Box<dyn Error>> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
    let given: Value = serde_json::from_str(&text).map_err(|e| named(&e))?;
    let mathematics = match &given["mathematics"] {
        Value::Object(choice) if choice.contains_key("continuous_time") => {
            Mathematics::ContinuousTime(Box::default())
        }
        Value::Object(choice) if choice.contains_key("flow_matching") => {
            Mathematics::FlowMatching(FlowMatching::default())
        }
        _ => Mathematics::DiscreteTime(DiscreteTime::default()),
    };
    let usual = Config {
        folder: PathBuf::from("run"),
        data: Data::Digits,
        validation: 0.1,
        checkpoint: Every::Epochs(1),
        keep_last: 3,
        mathematics,
        fit: Fit { epochs: 40, ..Fit::default() },
    };
    let mut all = serde_json::to_value(usual)?;
    lay_over(&mut all, given);
    Ok(serde_json::from_value(all).map_err(|e| named(&e))?)
}

/// All settings, as they are in a file.
pub fn text(config: &Config) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(config)? + "\n")
}

/// Objects are merged key by key. One with a single key is a choice, which another choice replaces.
fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let choice = base.len() == 1 && over.len() == 1 && base.keys().ne(over.keys());
            if choice {
                *base = over;
                return;
            }
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(old) => lay_over(old, value),
                    None => drop(base.insert(key, value)),
                }
            }
        }
        (base, over) => *base = over,
    }
}
