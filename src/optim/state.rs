//! What an optimiser remembers of one block.

use dfdx::{
    nn::{RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut},
    prelude::*,
};

use super::{AdamWStep, Optimizer, SgdStep};
use crate::device::{Backend, Real};

/// The running means of every parameter of a block, flat, in the order in which dfdx visits the parameters.
#[derive(Clone, Debug)]
pub struct OptimizerState<E: Real, D: Backend<E>> {
    steps: u64,
    first: Vec<Tensor<(usize,), E, D>>,
    second: Vec<Tensor<(usize,), E, D>>,
}

impl<E: Real, D: Backend<E>> Default for OptimizerState<E, D> {
    /// Before the first step there is nothing to remember.
    fn default() -> Self {
        Self { steps: 0, first: Vec::new(), second: Vec::new() }
    }
}

impl<E: Real, D: Backend<E>> OptimizerState<E, D> {
    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The running mean of the gradient (AdamW) or the velocity (SGD), one tensor for each parameter tensor.
    pub fn first_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.first
    }

    /// The running mean of the squared gradient, one tensor for each parameter tensor; empty for SGD.
    pub fn second_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.second
    }

    /// Moves every parameter of `module` that takes part in training by one step; the gradients are spent.
    ///
    /// # Errors
    /// The device's own.
    pub fn update<M: TensorCollection<E, D>>(
        &mut self,
        optimizer: &Optimizer,
        module: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), D::Err> {
        self.steps += 1;
        let step = match optimizer {
            Optimizer::AdamW(config) => Step::AdamW(config.step(self.steps)),
            Optimizer::Sgd(config) => Step::Sgd(config.step()),
        };
        let mut update = Update { state: self, step, gradients, next: 0 };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut update })?;
        Ok(())
    }
}

enum Step {
    AdamW(AdamWStep),
    Sgd(SgdStep),
}

struct Update<'a, E: Real, D: Backend<E>> {
    state: &'a mut OptimizerState<E, D>,
    step: Step,
    gradients: &'a mut Gradients<E, D>,
    next: usize,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Update<'_, E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        parameter: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if !options.do_gradient_update {
            return Ok(None);
        }
        let (at, shape) = (self.next, (parameter.shape().num_elements(),));
        self.next += 1;
        let device = parameter.device().clone();
        match &self.step {
            Step::AdamW(step) => {
                let first = slot(&mut self.state.first, at, || device.try_zeros_like(&shape))?;
                let second = slot(&mut self.state.second, at, || device.try_zeros_like(&shape))?;
                D::adamw(parameter, self.gradients, first, second, step)?;
            }
            Step::Sgd(step) => {
                let velocity = slot(&mut self.state.first, at, || device.try_zeros_like(&shape))?;
                D::sgd(parameter, self.gradients, velocity, step)?;
            }
        }
        Ok(None)
    }
}

/// The `at`-th entry, made if it is the next one.
fn slot<T, Err>(
    slots: &mut Vec<T>,
    at: usize,
    new: impl FnOnce() -> Result<T, Err>,
) -> Result<&mut T, Err> {
    if at >= slots.len() {
        slots.push(new()?);
    }
    Ok(&mut slots[at])
}
