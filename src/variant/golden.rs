//! What tests of losses share: the golden values, and the golden network.

use dfdx::{nn::BuildOnDevice, prelude::*};
use serde_json::Value;

use super::Target;
use crate::{
    data::Labels,
    device::{Matrix, Real},
    head::{Head, Learned},
    nn::{BuiltDense, Condition, ConditionalResNetDt, Pair, Takes},
    plan::{Borrowed, Operation},
};

/// The reference values: `tests/golden/golden.json`, or the file that `NOPROP_GOLDEN` names.
pub(super) fn golden() -> Value {
    values("NOPROP_GOLDEN", "golden.json")
}

/// Those of blocks by noise level: `tests/golden/golden_blocks.json`, or the file that
/// `NOPROP_GOLDEN_BLOCKS` names.
pub(super) fn golden_blocks() -> Value {
    values("NOPROP_GOLDEN_BLOCKS", "golden_blocks.json")
}

fn values(variable: &str, file: &str) -> Value {
    let path = std::env::var(variable)
        .unwrap_or_else(|_| format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR")));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A number, or all numbers of nested lists, row-major.
pub(super) fn numbers<E: Real>(value: &Value) -> Vec<E> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![E::of(other.as_f64().unwrap())],
    }
}

/// Asserts that two lists agree, relative to the largest of the expected numbers.
#[track_caller]
pub(super) fn assert_close<E: Real>(what: &str, found: &[E], expected: &Value, tolerance: f64) {
    let expected: Vec<f64> = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}: the number of values");
    let scale = expected.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().map(|f| f.as_f64()).zip(&expected).enumerate() {
        let error = (f - e).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}]: {f} and not {e}, {error:e} relative");
    }
}

pub(super) type Network<const C: usize> = ConditionalResNetDt<4, 6, 5, C>;
pub(super) type Built<const C: usize, E> = (
    Condition<BuiltDense<4, 5, E, Cpu>, BuiltDense<6, 5, E, Cpu>>,
    ReLU,
    Residual<(BuiltDense<5, 5, E, Cpu>, ReLU, BuiltDense<5, 5, E, Cpu>)>,
    BuiltDense<5, C, E, Cpu>,
);

/// The golden network with these weights.
pub(super) fn network<const C: usize, E: Real>(params: &Value) -> Built<C, E>
where
    Cpu: Device<E>,
    Network<C>: BuildOnDevice<Cpu, E, Built = Built<C, E>>,
{
    fn set<const I: usize, const O: usize, E: Real>(
        dense: &mut BuiltDense<I, O, E, Cpu>,
        [weight, bias]: [&Value; 2],
    ) where
        Cpu: Device<E>,
    {
        dense.weight.copy_from(&numbers::<E>(weight));
        dense.bias.copy_from(&numbers::<E>(bias));
    }
    let mut built = Network::<C>::try_build_on_device(&Cpu::default()).unwrap();
    set(&mut built.0.z, [&params["wz"], &params["bz"]]);
    set(&mut built.0.x, [&params["wx"], &params["bx"]]);
    set(&mut built.2.0.0, [&params["w1"], &params["b1"]]);
    set(&mut built.2.0.2, [&params["w2"], &params["b2"]]);
    set(&mut built.3, [&params["wo"], &params["bo"]]);
    built
}

/// Asserts that the gradients of its weights are these.
#[track_caller]
pub(super) fn assert_gradients<const C: usize, E: Real>(
    built: &Built<C, E>,
    gradients: &Gradients<E, Cpu>,
    expected: &Value,
    tolerance: f64,
) where
    Cpu: crate::device::Backend<E>,
{
    let check = |what: &str, found: Vec<E>| assert_close(what, &found, &expected[what], tolerance);
    check("wz", gradients.get(&built.0.z.weight).as_vec());
    check("bz", gradients.get(&built.0.z.bias).as_vec());
    check("wx", gradients.get(&built.0.x.weight).as_vec());
    check("bx", gradients.get(&built.0.x.bias).as_vec());
    check("w1", gradients.get(&built.2.0.0.weight).as_vec());
    check("b1", gradients.get(&built.2.0.0.bias).as_vec());
    check("w2", gradients.get(&built.2.0.2.weight).as_vec());
    check("b2", gradients.get(&built.2.0.2.bias).as_vec());
    check("wo", gradients.get(&built.3.weight).as_vec());
    check("bo", gradients.get(&built.3.bias).as_vec());
}

/// Its operations.
pub(super) fn operations<const C: usize, E: Real>(built: &mut Built<C, E>) -> Operation<'_, E, Cpu>
where
    Cpu: crate::device::Backend<E>,
    Network<C>: Takes<Pair<4, 6>, E, Cpu> + BuildOnDevice<Cpu, E, Built = Built<C, E>>,
{
    Network::<C>::lower(Borrowed::Mutable(built)).unwrap()
}

/// Labels as targets with an embedding that is learned.
pub(super) fn target<'a, const C: usize, E: Real>(
    labels: &Value,
    embedding: &'a Matrix<E, Cpu>,
) -> Target<'a, E, Cpu>
where
    Cpu: crate::device::Backend<E>,
{
    let dev = Cpu::default();
    let labels: Vec<u32> = numbers::<f64>(labels).into_iter().map(|y| y as u32).collect();
    let (labels, rows) = (Labels::<C>::new(labels.clone()).unwrap(), labels.len());
    let targets = <Learned<C> as Head<4, E>>::target_rows(&labels);
    let reading = <Learned<C> as Head<4, E>>::reading();
    let u = reading.embed(&embedding.as_vec(), &targets);
    Target {
        u: dev.tensor_from_vec(u, (rows, 4)),
        one_hot: Some(dev.tensor_from_vec(reading.one_hot(&targets), (rows, C))),
        embedding,
        weights: None,
    }
}
