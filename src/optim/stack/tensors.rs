//! Tensors of several blocks side by side.

use std::ops::Range;

use dfdx::prelude::*;

use super::super::OptimizerState;
use crate::device::{Backend, Real, Slot, Tensors};

pub(super) type Flat<E, D> = Tensor<(usize,), E, D>;
/// A row for each block.
pub(super) type Stacked<E, D> = Tensor<(usize, usize), E, D>;

/// Parameters `[T, numbers]` in one tensor, each filled up with zeros to whole chunks.
pub(super) fn joined<E: Real, D: Backend<E>>(
    device: &D,
    parts: Vec<Stacked<E, D>>,
    chunk: usize,
) -> Result<Stacked<E, D>, D::Err> {
    let mut pieces = Vec::with_capacity(2 * parts.len());
    for part in parts {
        let (blocks, numbers) = *part.shape();
        pieces.push(part);
        match numbers.next_multiple_of(chunk.max(1)) - numbers {
            0 => {}
            rest => pieces.push(device.try_zeros_like(&(blocks, rest))?),
        }
    }
    // In pairs, so that a number is copied log₂ n times.
    while pieces.len() > 1 {
        let mut pairs = Vec::with_capacity(pieces.len().div_ceil(2));
        let mut rest = pieces.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => (left, right).try_concat_along(Axis::<1>)?,
                None => left,
            });
        }
        pieces = pairs;
    }
    match pieces.pop() {
        Some(all) => Ok(all),
        None => device.try_zeros_like(&(0, 0)),
    }
}

/// Some numbers of one block.
pub(super) fn row<E: Real, D: Backend<E>>(
    all: Stacked<E, D>,
    block: usize,
    numbers: Range<usize>,
) -> Result<Flat<E, D>, D::Err> {
    if all.shape().0 == 1 && numbers.len() == all.shape().1 {
        return flat(all);
    }
    flat(all.try_slice((block..block + 1, numbers))?)
}

pub(super) fn flat<E: Real, D: Backend<E>>(stacked: Stacked<E, D>) -> Result<Flat<E, D>, D::Err> {
    let numbers = stacked.shape().num_elements();
    stacked.try_reshape_like(&(numbers,))
}

/// How many tensors of each kind there are.
pub(super) fn lengths<E: Real, D: Backend<E>>(state: &OptimizerState<E, D>) -> [usize; 3] {
    [state.first.len(), state.second.len(), state.average.len()]
}

/// The i-th tensors of all blocks as rows of one, for each i.
pub(super) fn side_by_side<'a, E: Real, D: Backend<E>>(
    blocks: impl Iterator<Item = &'a [Flat<E, D>]> + Clone,
) -> Result<Vec<Stacked<E, D>>, D::Err> {
    let count = blocks.clone().next().map_or(0, <[_]>::len);
    let one =
        |i: usize| blocks.clone().map(|block| block[i].clone()).collect::<Vec<_>>().try_stack();
    (0..count).map(one).collect()
}

/// The tensors of a module, flat.
pub(super) struct Collected<E: Real, D: Backend<E>> {
    pub(super) weights: Vec<Flat<E, D>>,
    pub(super) running: Vec<Flat<E, D>>,
    pub(super) matrices: Vec<bool>,
}

impl<E: Real, D: Backend<E>> Collected<E, D> {
    pub(super) fn new(module: &dyn Tensors<E, D>) -> Result<Self, D::Err> {
        let mut all = Self { weights: Vec::new(), running: Vec::new(), matrices: Vec::new() };
        for tensor in module.named()?.into_iter().filter(|tensor| !tensor.shape.is_empty()) {
            if tensor.trained {
                all.matrices.push(tensor.shape.len() > 1);
                all.weights.push(tensor.values);
            } else {
                all.running.push(tensor.values);
            }
        }
        Ok(all)
    }
}

/// Replaces the tensors of a module by flat ones.
pub(super) fn put<E: Real, D: Backend<E>>(
    module: &mut dyn Tensors<E, D>,
    weights: Vec<Flat<E, D>>,
    running: Vec<Flat<E, D>>,
) -> Result<(), D::Err> {
    let (mut weights, mut running) = (weights.into_iter(), running.into_iter());
    module.visit_mut(&mut |slot| match slot {
        Slot::Trained(tensor) => weights.next().map_or(Ok(()), |new| tensor.replace(new)),
        Slot::Running(tensor) => running.next().map_or(Ok(()), |new| tensor.replace(new)),
        Slot::Scalar(_) => Ok(()),
    })
}
