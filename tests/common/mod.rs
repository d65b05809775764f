//! What several tests share: the golden values, and small data.
#![allow(dead_code)]

use dfdx_noprop::prelude::*;
use serde_json::Value;

/// The reference values: `tests/golden/golden.json`, or the file that `NOPROP_GOLDEN` names.
pub fn golden() -> Value {
    let path = std::env::var("NOPROP_GOLDEN").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/golden.json").to_string()
    });
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A number, or all numbers of nested lists, row-major.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        other => panic!("numbers expected, found {other}"),
    }
}

/// Asserts that two lists agree, relative to the largest of the expected numbers.
#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: the number of values");
    let scale = expected.iter().fold(0f64, |m, v| m.max(v.abs())).max(1e-300);
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let error = (f - e).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}]: {f} and not {e}, {error:e} relative");
    }
}

/// Rows of noise around one of `C` corners, which a straight line separates.
pub fn blobs<const C: usize, const X: usize>(rows: usize, seed: u64) -> Dataset<X, Labels<C>> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let label = rng.gen_range(0..C);
        labels.push(label as u32);
        inputs.extend((0..X).map(|i| {
            let corner = if i % C == label { 2.0 } else { 0.0 };
            corner + 0.5 * rng.sample::<f32, _>(rand_distr::StandardNormal)
        }));
    }
    Dataset::new(inputs, Labels::new(labels).unwrap()).unwrap()
}
