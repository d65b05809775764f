//! Each training in a process of its own, since memory cannot be told apart within one; a table of
//! them all.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use dfdx_noprop::Error;
use serde_json::Value;

use super::{Options, Train, name};

/// All methods and seeds that are asked for, in turns, and a table of their means.
pub fn side_by_side(options: &Options) -> Result<(), Error> {
    let methods = match options.train {
        Train::Both => vec![Train::Noprop, Train::Backprop],
        one => vec![one],
    };
    let mut results = Vec::new();
    for seed in (options.training.seed..).take(options.repeats as usize) {
        for method in &methods {
            experiments::say(format!("{}, seed {seed}", name(*method)));
            results.push(train_apart(*method, seed)?);
        }
    }
    println!(
        "| trained by | test accuracy, % | training, s | peak memory, MB | of it before training \
         | parameters |\n\
         |---|---|---|---|---|---|"
    );
    for method in methods.into_iter().map(name) {
        let of_method = |key: &str| {
            let results = results.iter().filter(|result| result["method"] == method.as_str());
            results.filter_map(|result| result[key].as_f64()).collect::<Vec<_>>()
        };
        let [seconds, peak, before] =
            ["train_seconds", "peak_rss_mb", "rss_before_mb"].map(|key| range(of_method(key), 1.0));
        let (accuracy, parameters) = (of_method("test_accuracy"), of_method("parameters"));
        let (accuracy, parameters) = (range(accuracy, 100.0), parameters.first().unwrap_or(&0.0));
        println!("| {method} | {accuracy} | {seconds} | {peak} | {before} | {parameters} |");
    }
    if options.training.json {
        results.iter().for_each(|result| println!("{result}"));
    }
    Ok(())
}

/// The mean, and the smallest and the largest where there are several.
fn range(values: Vec<f64>, unit: f64) -> String {
    let mean = unit * values.iter().sum::<f64>() / values.len() as f64;
    let smallest = unit * values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = unit * values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values.len() {
        0 => "unknown".to_owned(),
        1 => format!("{mean:.1}"),
        _ => format!("{mean:.1} ({smallest:.1} to {largest:.1})"),
    }
}

/// This program again, with one method and one seed; the last line of what it prints is its result.
fn train_apart(method: Train, seed: u64) -> Result<Value, Error> {
    let io = |path: &Path, source| Error::Io { path: path.to_owned(), operation: "run", source };
    let program = std::env::current_exe().map_err(|source| io(Path::new("backprop"), source))?;
    let output = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .args(["--train", &name(method), "--seed", &seed.to_string(), "--repeats", "1", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| io(&program, source))?;
    if !output.status.success() {
        return Err(io(&program, io::Error::other(format!("it ended with {}", output.status))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|error| io(&program, error.into()))
}
