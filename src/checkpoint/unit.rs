//! One thing that is trained (a block, the embedding, the schedule) as named tensors, and back.

use std::collections::BTreeMap;

use dfdx::{
    nn::{
        RecursiveWalker, ScalarOptions, TensorCollection, TensorOptions, TensorVisitor,
        ViewTensorMut, ViewTensorName, ViewTensorRef,
    },
    prelude::*,
};
use num_traits::NumCast;

use super::{NamedTensor, NumberType};
use crate::{
    device::{Backend, Real},
    error::Error,
    optim::OptimizerState,
};

/// A tensor of a module, with its path in it.
struct Entry<E> {
    path: String,
    shape: Vec<usize>,
    values: Vec<E>,
    /// Whether the optimiser moves it.
    trained: bool,
}

/// All tensors of a module, in dfdx's order.
fn entries<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    module: &M,
) -> Result<Vec<Entry<E>>, Error> {
    let mut collect = Collect(Vec::new());
    M::iter_tensors(&mut RecursiveWalker { m: (module, String::new()), f: &mut collect })
        .map_err(Error::device("reading the weights"))?;
    Ok(collect.0)
}

struct Collect<E>(Vec<Entry<E>>);

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Collect<E> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        (tensor, path): (&Tensor<S, E, D>, String),
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        self.0.push(Entry {
            path,
            shape: tensor.shape().concrete().into_iter().collect(),
            values: tensor.as_vec(),
            trained: options.do_gradient_update,
        });
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _options: ScalarOptions<N>,
        (value, path): (&N, String),
    ) -> Result<Option<N>, D::Err> {
        let values = vec![E::of(value.to_f64().unwrap_or(f64::NAN))];
        self.0.push(Entry { path, shape: Vec::new(), values, trained: false });
        Ok(None)
    }
}

/// Puts numbers into a module, in dfdx's order.
struct Fill<I>(I);

impl<E: Real, D: Backend<E>, I: Iterator<Item = Vec<E>>> TensorVisitor<E, D> for Fill<I> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        _options: TensorOptions<S, E, D>,
        tensor: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if let Some(values) = self.0.next() {
            tensor.copy_from(&values);
        }
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _options: ScalarOptions<N>,
        scalar: &mut N,
    ) -> Result<Option<N>, D::Err> {
        let value = self.0.next().and_then(|values| values.first().map(|v| v.as_f64()));
        if let Some(value) = value.and_then(N::from) {
            *scalar = value;
        }
        Ok(None)
    }
}

/// The weights as tensors, named `PREFIX` and their path.
pub(super) fn weights<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    prefix: &str,
    module: &M,
) -> Result<Vec<NamedTensor>, Error> {
    let entries = entries(module)?;
    Ok(entries.into_iter().map(|e| tensor(join(prefix, &e.path), e.shape, &e.values)).collect())
}

/// The weights, what the optimiser remembers of them, and their averages, where there are any.
pub(super) fn unit<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    name: &str,
    module: &M,
    state: &OptimizerState<E, D>,
) -> Result<Vec<NamedTensor>, Error> {
    let entries = entries(module)?;
    let mut tensors = Vec::new();
    for (kind, list) in kinds(state) {
        for (entry, memory) in entries.iter().filter(|e| e.trained).zip(list) {
            let name = join(&join(kind, name), &entry.path);
            tensors.push(tensor(name, entry.shape.clone(), &memory.as_vec()));
        }
    }
    let weights = |e: Entry<E>| tensor(join(name, &e.path), e.shape, &e.values);
    tensors.extend(entries.into_iter().map(weights));
    Ok(tensors)
}

/// What an optimiser remembers, by name.
fn kinds<E: Real, D: Backend<E>>(
    state: &OptimizerState<E, D>,
) -> [(&'static str, &[Tensor<(usize,), E, D>]); 3] {
    [
        ("optimizer.first", state.first_moments()),
        ("optimizer.second", state.second_moments()),
        ("average", state.averages()),
    ]
}

fn join(prefix: &str, path: &str) -> String {
    match (prefix.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{path}"),
    }
}

/// How the file calls numbers of this type.
pub(super) fn number_type<E: Real>() -> NumberType {
    if size_of::<E>() == size_of::<f64>() { NumberType::F64 } else { NumberType::F32 }
}

fn tensor<E: Real>(name: String, shape: Vec<usize>, values: &[E]) -> NamedTensor {
    NamedTensor { name, dtype: number_type::<E>(), shape, bytes: E::to_bytes(values) }
}

/// Tensors of a file by name, each of which can be taken once.
pub(super) type Tensors = BTreeMap<String, NamedTensor>;

/// What a file holds of one unit, checked against the module that it is for.
pub(super) struct Restored<E: Real, D: Backend<E>> {
    values: Vec<Vec<E>>,
    state: OptimizerState<E, D>,
}

/// What the file holds of the weights alone, or else which tensor is wrong.
pub(super) fn restore_weights<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    name: &str,
    module: &M,
    tensors: &mut Tensors,
) -> Result<Restored<E, D>, Mismatch> {
    let entries = entries(module).map_err(Mismatch::Other)?;
    let weights = |e: &Entry<E>| take(tensors, join(name, &e.path), &e.shape);
    let values = entries.iter().map(weights).collect::<Result<_, _>>()?;
    Ok(Restored { values, state: OptimizerState::default() })
}

/// The same with what the optimiser remembers, which has taken `steps` steps.
pub(super) fn restore<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    name: &str,
    (module, device): (&M, &D),
    steps: u64,
    tensors: &mut Tensors,
) -> Result<Restored<E, D>, Mismatch> {
    let mut restored = restore_weights(name, module, tensors)?;
    let entries = entries(module).map_err(Mismatch::Other)?;
    let trained: Vec<&Entry<E>> = entries.iter().filter(|e| e.trained).collect();
    let mut list = |kind: &str| -> Result<Vec<Tensor<(usize,), E, D>>, Mismatch> {
        let full = |e: &Entry<E>| join(&join(kind, name), &e.path);
        if !trained.iter().any(|e| tensors.contains_key(&full(e))) {
            return Ok(Vec::new());
        }
        let one = |e: &&Entry<E>| {
            let values = take(tensors, full(e), &e.shape)?;
            let shape = (values.len(),);
            let tensor = device.try_tensor_from_vec(values, shape);
            tensor.map_err(|e| Mismatch::Other(Error::device("loading a checkpoint")(e)))
        };
        trained.iter().map(one).collect()
    };
    let (first, second) = (list("optimizer.first")?, list("optimizer.second")?);
    let average = list("average")?;
    restored.state = OptimizerState { steps, first, second, average };
    Ok(restored)
}

/// What is wrong with a tensor, or whatever else went wrong.
pub(super) enum Mismatch {
    /// What was expected, and what came.
    Tensor(String, String),
    Other(Error),
}

fn take<E: Real>(tensors: &mut Tensors, name: String, shape: &[usize]) -> Result<Vec<E>, Mismatch> {
    let expected = format!("the tensor `{name}` of {:?} numbers, {shape:?}", number_type::<E>());
    let Some(found) = tensors.remove(&name) else {
        return Err(Mismatch::Tensor(expected, "none of this name".to_owned()));
    };
    let wrong = format!("{:?} numbers, {:?}", found.dtype, found.shape);
    if found.dtype != number_type::<E>() || found.shape != shape {
        return Err(Mismatch::Tensor(expected, wrong));
    }
    Ok(E::from_bytes(&found.bytes))
}

impl<E: Real, D: Backend<E>> Restored<E, D> {
    /// Puts the numbers in their place; everything was checked before.
    pub(super) fn put<M: TensorCollection<E, D>>(
        self,
        module: &mut M,
        state: Option<&mut OptimizerState<E, D>>,
    ) -> Result<(), Error> {
        let mut fill = Fill(self.values.into_iter());
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut fill })
            .map_err(Error::device("loading a checkpoint"))?;
        if let Some(state) = state {
            *state = self.state;
        }
        Ok(())
    }
}
