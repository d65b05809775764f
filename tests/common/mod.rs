//! What several tests share: the golden values, and small data.
#![allow(dead_code)]

use dfdx::nn::{RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorRef};
use dfdx_noprop::{device::Real, prelude::*};
use serde_json::Value;

/// The reference values: `tests/golden/golden.json`, or the file that `NOPROP_GOLDEN` names.
pub fn golden() -> Value {
    let text = match std::env::var("NOPROP_GOLDEN") {
        Ok(path) => std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")),
        Err(_) => include_str!("../golden/golden.json").to_owned(),
    };
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("the golden values: {e}"))
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

/// Every number that a module holds, in the order in which dfdx visits its tensors.
pub fn weights<M: TensorCollection<E, D>, E: Real, D: Device<E>>(module: &M) -> Vec<E> {
    struct Collect<E>(Vec<E>);
    impl<E: Real, D: Device<E>> TensorVisitor<E, D> for Collect<E> {
        type Viewer = ViewTensorRef;
        type Err = std::convert::Infallible;
        type E2 = E;
        type D2 = D;

        fn visit<S: Shape>(
            &mut self,
            _: TensorOptions<S, E, D>,
            tensor: &Tensor<S, E, D>,
        ) -> Result<Option<Tensor<S, E, D>>, Self::Err> {
            self.0.extend(tensor.as_vec());
            Ok(None)
        }
    }
    let mut collect = Collect(Vec::new());
    M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut collect }).unwrap();
    collect.0
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
