//! One thing that is trained (a block, the embedding, the schedule) as named tensors, and back.

use std::path::Path;

use dfdx::prelude::*;

use crate::{
    block::Away,
    device::{Backend, NamedValues, Real, Tensors},
    error::Error,
    file::{self, DraftBytes, DraftTensor, FileTensors, NamedTensor, NumberType},
    optim::{Optimizer, OptimizerState},
};

/// What the means of gradients and of their squares are called.
const FIRST: &str = "optimizer.first";
const SECOND: &str = "optimizer.second";

/// What is kept beside the weights, by name.
const KINDS: [&str; 3] = [FIRST, SECOND, "average"];

/// All tensors of a module, in dfdx's order.
pub(super) fn entries<E: Real, D: Backend<E>>(
    module: &dyn Tensors<E, D>,
) -> Result<Vec<NamedValues<E, D>>, Error> {
    module.named().map_err(Error::device("reading the weights"))
}

/// The weights as tensors, named `PREFIX` and their path.
pub(super) fn weights<E: Real, D: Backend<E>>(
    prefix: &str,
    module: &dyn Tensors<E, D>,
) -> Result<Vec<NamedTensor>, Error> {
    let named = |e: NamedValues<E, D>| tensor(join(prefix, &e.path), e.shape, &e.values.as_vec());
    entries(module)?.into_iter().map(named).collect()
}

/// The weights, what the optimiser remembers of them, and their averages, where there are any.
pub(super) fn unit<E: Real, D: Backend<E>>(
    name: &str,
    module: &dyn Tensors<E, D>,
    state: &OptimizerState<E, D>,
) -> Result<Vec<NamedTensor>, Error> {
    let entries = entries(module)?;
    let mut tensors = Vec::new();
    let lists = [state.first_moments(), state.second_moments(), state.averages()];
    for (kind, list) in KINDS.into_iter().zip(lists) {
        for (entry, memory) in entries.iter().filter(|e| e.trained).zip(list) {
            let name = join(&join(kind, name), &entry.path);
            tensors.push(tensor(name, entry.shape.clone(), &memory.as_vec())?);
        }
    }
    tensors.extend(weights(name, module)?);
    Ok(tensors)
}

/// The same of a block that lies in a file, whose tensors are these.
pub(super) fn unit_in_file<'a, E: Real, D: Backend<E>>(
    name: &str,
    entries: &[NamedValues<E, D>],
    away: &'a Away,
) -> Vec<DraftTensor<'a>> {
    let mut tensors = Vec::new();
    for (list, kind) in std::iter::once("").chain(KINDS).enumerate() {
        let entries = entries.iter().filter(|entry| list == 0 || entry.trained);
        for (i, entry) in entries.take(away.count(list)).enumerate() {
            let name = join(&join(kind, name), &entry.path);
            let named = name.clone();
            let read = move || {
                let bytes = away.bytes(list, i)?;
                check_finite(&named, &E::from_bytes(&bytes))?;
                Ok(bytes)
            };
            let (dtype, length) = (NumberType::of_real::<E>(), away.length(list, i));
            let (shape, bytes) = (entry.shape.clone(), DraftBytes::Read(Box::new(read)));
            tensors.push(DraftTensor { name, dtype, shape, length, bytes });
        }
    }
    tensors
}

/// Whether a tensor of this name is one of weights, and not what an optimiser remembers.
pub(super) fn is_weights(name: &str) -> bool {
    !["optimizer.", "average."].iter().any(|kind| name.starts_with(kind))
}

fn join(prefix: &str, path: &str) -> String {
    match (prefix.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{path}"),
    }
}

/// A tensor for a file, which holds finite numbers only.
fn tensor<E: Real>(name: String, shape: Vec<usize>, values: &[E]) -> Result<NamedTensor, Error> {
    check_finite(&name, values)?;
    Ok(NamedTensor::new(name, shape, values))
}

fn check_finite<E: Real>(name: &str, values: &[E]) -> Result<(), Error> {
    let Some(bad) = values.iter().find(|v| !v.is_finite()) else { return Ok(()) };
    let expected = "finite numbers; go on from an older checkpoint, with a smaller rate";
    Err(Error::not_finite("saving the model", expected, format!("{bad} in `{name}`")))
}

/// What a file holds of one unit, checked against the module that it is for.
pub(super) struct Restored<E: Real, D: Backend<E>> {
    values: Vec<Vec<E>>,
    state: OptimizerState<E, D>,
}

/// What the file holds of the weights alone, or else which tensor is wrong.
pub(super) fn restore_weights<E: Real, D: Backend<E>>(
    name: &str,
    module: &dyn Tensors<E, D>,
    tensors: &mut FileTensors,
) -> Result<Restored<E, D>, Mismatch> {
    let entries = entries(module).map_err(Mismatch::Other)?;
    let weights = |e: &NamedValues<E, D>| take(tensors, join(name, &e.path), &e.shape);
    let values = entries.iter().map(weights).collect::<Result<_, _>>()?;
    Ok(Restored { values, state: OptimizerState::default() })
}

/// What an optimiser must have left.
#[derive(Clone, Copy)]
pub(super) struct Remembered {
    pub(super) steps: u64,
    /// Whether it keeps a mean of squares.
    pub(super) squares: bool,
}

impl Remembered {
    /// That after so many steps.
    pub(super) fn new(optimizer: &Optimizer, steps: u64) -> Self {
        Self { steps, squares: matches!(optimizer, Optimizer::AdamW(_)) }
    }
}

/// Whether a file has means of some kind.
#[derive(Clone, Copy)]
enum Kept {
    Always,
    Perhaps,
    /// And why.
    Never(&'static str),
}

/// The same with what the optimiser remembers.
pub(super) fn restore<E: Real, D: Backend<E>>(
    name: &str,
    module: &dyn Tensors<E, D>,
    device: &D,
    remembered: Remembered,
    tensors: &mut FileTensors,
) -> Result<Restored<E, D>, Mismatch> {
    let Remembered { steps, squares } = remembered;
    let mut restored = restore_weights(name, module, tensors)?;
    let entries = entries(module).map_err(Mismatch::Other)?;
    let trained: Vec<&NamedValues<E, D>> = entries.iter().filter(|e| e.trained).collect();
    let mut list = |kind: &str, kept: Kept| -> Result<Vec<Tensor<(usize,), E, D>>, Mismatch> {
        let full = |e: &NamedValues<E, D>| join(&join(kind, name), &e.path);
        let found = trained.iter().map(|e| full(e)).find(|name| tensors.contains_key(name));
        match (kept, found) {
            (Kept::Never(why), Some(found)) => {
                let expected = format!("no tensors `{kind}.{name}`, {why}");
                return Err(Mismatch::Tensor(expected, format!("`{found}`")));
            }
            (Kept::Perhaps | Kept::Never(_), None) => return Ok(Vec::new()),
            _ => {}
        }
        let one = |e: &&NamedValues<E, D>| {
            let values: Vec<E> = take(tensors, full(e), &e.shape)?;
            if kind == SECOND
                && let Some(bad) = values.iter().find(|v| **v < E::zero())
            {
                let expected = format!("means of squares in the tensor `{}`", full(e));
                return Err(Mismatch::Tensor(expected, bad.to_string()));
            }
            let shape = (values.len(),);
            let tensor = device.try_tensor_from_vec(values, shape);
            tensor.map_err(|e| Mismatch::Other(Error::device("loading a checkpoint")(e)))
        };
        trained.iter().map(one).collect()
    };
    let moments = match steps {
        0 => Kept::Never("since its optimiser has taken no step"),
        _ => Kept::Always,
    };
    let first = list(FIRST, moments)?;
    let second = list(SECOND, if squares { moments } else { Kept::Never("which SGD has not") })?;
    let average = list("average", Kept::Perhaps)?;
    restored.state = OptimizerState { steps, first, second, average };
    Ok(restored)
}

/// What is wrong with a tensor, or whatever else went wrong.
pub(super) enum Mismatch {
    /// What was expected, and what came.
    Tensor(String, String),
    Other(Error),
}

impl Mismatch {
    /// The error of a file.
    pub(super) fn of(self, path: &Path) -> Error {
        match self {
            Self::Tensor(expected, found) => Error::file(path, expected, found),
            Self::Other(error) => error,
        }
    }
}

fn take<E: Real>(
    tensors: &mut FileTensors,
    name: String,
    shape: &[usize],
) -> Result<Vec<E>, Mismatch> {
    let wrong = |[expected, found]: [String; 2]| Mismatch::Tensor(expected, found);
    file::take(tensors, &name, shape).map_err(wrong)
}

impl<E: Real, D: Backend<E>> Restored<E, D> {
    /// Puts the numbers in their place; everything was checked before.
    pub(super) fn put(
        self,
        module: &mut dyn Tensors<E, D>,
        state: &mut OptimizerState<E, D>,
    ) -> Result<(), Error> {
        let filled = module.fill(&mut self.values.into_iter());
        filled.map_err(Error::device("loading a checkpoint"))?;
        *state = self.state;
        Ok(())
    }
}
