//! What an optimiser remembers of one block.

use dfdx::prelude::*;

use super::{Stepping, stepping::Numbers};
use crate::device::{Backend, Real, TensorMut, Tensors};

/// The running means of every parameter of a block, flat, in the order in which dfdx visits the
/// parameters.
#[derive(Clone, Debug)]
pub struct OptimizerState<E: Real, D: Backend<E>> {
    pub(crate) steps: u64,
    pub(crate) first: Vec<Tensor<(usize,), E, D>>,
    pub(crate) second: Vec<Tensor<(usize,), E, D>>,
    pub(crate) average: Vec<Tensor<(usize,), E, D>>,
}

impl<E: Real, D: Backend<E>> Default for OptimizerState<E, D> {
    /// Before the first step there is nothing to remember.
    fn default() -> Self {
        Self { steps: 0, first: Vec::new(), second: Vec::new(), average: Vec::new() }
    }
}

impl<E: Real, D: Backend<E>> OptimizerState<E, D> {
    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The running mean of the gradient (AdamW) or the velocity (SGD), one tensor for each
    /// parameter tensor.
    pub fn first_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.first
    }

    /// The running mean of the squared gradient, one tensor for each parameter tensor; empty for
    /// SGD.
    pub fn second_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.second
    }

    /// The moving average of the weights, one tensor for each parameter tensor; empty if none was
    /// asked for.
    pub fn averages(&self) -> &[Tensor<(usize,), E, D>] {
        &self.average
    }

    /// Forgets what another kind of optimiser has remembered; averages stay.
    pub(crate) fn forget_moments(&mut self) {
        (self.steps, self.first, self.second) = (0, Vec::new(), Vec::new());
    }

    /// Moves every parameter of `module` that takes part in training by one step; the gradients are
    /// spent. The answer is the norm of the gradient of all of them together, before clipping;
    /// where it is not finite nothing has moved.
    ///
    /// # Errors
    /// The device's own.
    pub fn update(
        &mut self,
        stepping: &Stepping,
        module: &mut dyn Tensors<E, D>,
        gradients: &mut Gradients<E, D>,
    ) -> Result<f64, D::Err> {
        let mut squares = 0.0;
        module.visit_trained(&mut |parameter| {
            squares += D::squared_gradient(&parameter.flat()?, gradients)?;
            Ok(())
        })?;
        let norm = squares.sqrt();
        if norm.is_finite() {
            self.step(stepping, module, norm, Source::Kept(gradients))?;
        }
        Ok(norm)
    }

    /// The same with a gradient that is made as it is needed, some numbers at a time.
    pub(crate) fn update_by(
        &mut self,
        stepping: &Stepping,
        module: &mut dyn Tensors<E, D>,
        gradient: StreamedGradient<'_, E>,
    ) -> Result<(), D::Err> {
        let StreamedGradient { norm, fill } = gradient;
        self.step(stepping, module, norm, Source::Streamed(fill))
    }

    fn step(
        &mut self,
        stepping: &Stepping,
        module: &mut dyn Tensors<E, D>,
        norm: f64,
        mut gradient: Source<'_, E, D>,
    ) -> Result<(), D::Err> {
        self.steps += 1;
        let numbers = stepping.numbers(self.steps, norm);
        let memory = stepping.memory(self.steps);
        let mut next = 0;
        module.visit_trained(&mut |parameter| {
            let at = next;
            next += 1;
            self.step_one(at, parameter, &numbers, &mut gradient)?;
            match memory {
                Some(memory) => self.average_one(at, parameter, memory),
                None => Ok(()),
            }
        })
    }

    /// One step of the `at`-th parameter.
    fn step_one(
        &mut self,
        at: usize,
        parameter: &mut dyn TensorMut<E, D>,
        numbers: &Numbers,
        gradient: &mut Source<'_, E, D>,
    ) -> Result<(), D::Err> {
        // The handle must be gone before the parameter moves, or else it would be copied.
        let (device, shape) = {
            let flat = parameter.flat()?;
            (flat.device().clone(), *flat.shape())
        };
        let zeros = || device.try_zeros_like(&shape);
        match numbers {
            Numbers::AdamW { step, undecayed } => {
                let first = slot(&mut self.first, at, zeros)?;
                let second = slot(&mut self.second, at, zeros)?;
                let step = if parameter.is_matrix() { step } else { undecayed };
                match gradient {
                    Source::Kept(kept) => D::adamw(parameter, kept, first, second, step),
                    Source::Streamed(fill) => D::adamw_by(parameter, fill, first, second, step),
                }
            }
            Numbers::Sgd { step, undecayed } => {
                let velocity = slot(&mut self.first, at, zeros)?;
                let step = if parameter.is_matrix() { step } else { undecayed };
                match gradient {
                    Source::Kept(kept) => D::sgd(parameter, kept, velocity, step),
                    Source::Streamed(fill) => D::sgd_by(parameter, fill, velocity, step),
                }
            }
        }
    }

    /// The moving average of the `at`-th parameter.
    fn average_one(
        &mut self,
        at: usize,
        parameter: &mut dyn TensorMut<E, D>,
        memory: f64,
    ) -> Result<(), D::Err> {
        let average = slot(&mut self.average, at, || parameter.flat())?;
        average.try_axpy(memory, &parameter.flat()?, 1.0 - memory)
    }
}

/// A gradient that is never there as a whole.
pub(crate) struct StreamedGradient<'a, E> {
    /// Its norm; not read where nothing is clipped.
    pub(crate) norm: f64,
    /// Writes its next numbers, in the order in which dfdx visits the parameters. All runs of a
    /// tensor but its last have the length [`RUN`](crate::gradient::RUN).
    pub(crate) fill: &'a mut dyn FnMut(&mut [E]),
}

/// Where a gradient is.
enum Source<'a, E: Real, D: Backend<E>> {
    Kept(&'a mut Gradients<E, D>),
    Streamed(&'a mut dyn FnMut(&mut [E])),
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
