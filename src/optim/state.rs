//! What an optimiser remembers of one block.

use dfdx::{
    nn::{
        RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
        ViewTensorRef,
    },
    prelude::*,
};

use super::{Stepping, stepping::Numbers};
use crate::device::{Backend, Real};

/// The running means of every parameter of a block, flat, in the order in which dfdx visits the parameters.
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

    /// The running mean of the gradient (AdamW) or the velocity (SGD), one tensor for each parameter tensor.
    pub fn first_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.first
    }

    /// The running mean of the squared gradient, one tensor for each parameter tensor; empty for SGD.
    pub fn second_moments(&self) -> &[Tensor<(usize,), E, D>] {
        &self.second
    }

    /// The moving average of the weights, one tensor for each parameter tensor; empty if none was asked for.
    pub fn averages(&self) -> &[Tensor<(usize,), E, D>] {
        &self.average
    }

    /// Moves every parameter of `module` that takes part in training by one step; the gradients are spent. The answer is
    /// the norm of the gradient of all of them together, before clipping; where it is not finite nothing has moved.
    ///
    /// # Errors
    /// The device's own.
    pub fn update<M: TensorCollection<E, D>>(
        &mut self,
        stepping: &Stepping,
        module: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<f64, D::Err> {
        let mut squares = Squares { gradients, sum: 0.0 };
        M::iter_tensors(&mut RecursiveWalker { m: &*module, f: &mut squares })?;
        let norm = squares.sum.sqrt();
        if !norm.is_finite() {
            return Ok(norm);
        }
        self.step(stepping, module, norm, Source::Kept(gradients))?;
        Ok(norm)
    }

    /// The same with a gradient that is made as it is needed, some numbers at a time.
    pub(crate) fn update_by<M: TensorCollection<E, D>>(
        &mut self,
        stepping: &Stepping,
        module: &mut M,
        made: Made<'_, E>,
    ) -> Result<(), D::Err> {
        let Made { norm, fill } = made;
        self.step(stepping, module, norm, Source::Made(fill))
    }

    fn step<M: TensorCollection<E, D>>(
        &mut self,
        stepping: &Stepping,
        module: &mut M,
        norm: f64,
        gradient: Source<'_, E, D>,
    ) -> Result<(), D::Err> {
        self.steps += 1;
        let numbers = stepping.numbers(self.steps, norm);
        let memory = stepping.memory(self.steps);
        let mut update = Update { state: self, numbers, memory, gradient, next: 0 };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut update })?;
        Ok(())
    }
}

/// A gradient that is never there as a whole.
pub(crate) struct Made<'a, E> {
    /// Its norm; not read where nothing is clipped.
    pub(crate) norm: f64,
    /// Writes its next numbers, in the order in which dfdx visits the parameters. All runs of a tensor but its last have the
    /// length [`RUN`](crate::gradient::RUN).
    pub(crate) fill: &'a mut dyn FnMut(&mut [E]),
}

/// Where a gradient is.
enum Source<'a, E: Real, D: Backend<E>> {
    Kept(&'a mut Gradients<E, D>),
    Made(&'a mut dyn FnMut(&mut [E])),
}

/// Sums the squares of the gradients.
struct Squares<'a, E: Real, D: Backend<E>> {
    gradients: &'a mut Gradients<E, D>,
    sum: f64,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Squares<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        parameter: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            self.sum += D::squared_gradient(parameter, self.gradients)?;
        }
        Ok(None)
    }
}

struct Update<'a, 'g, E: Real, D: Backend<E>> {
    state: &'a mut OptimizerState<E, D>,
    numbers: Numbers,
    memory: Option<f64>,
    gradient: Source<'g, E, D>,
    next: usize,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Update<'_, '_, E, D> {
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
        let zeros = || device.try_zeros_like(&shape);
        match &self.numbers {
            Numbers::AdamW { step, undecayed } => {
                let first = slot(&mut self.state.first, at, zeros)?;
                let second = slot(&mut self.state.second, at, zeros)?;
                let step = if S::NUM_DIMS > 1 { step } else { undecayed };
                match &mut self.gradient {
                    Source::Kept(kept) => D::adamw(parameter, kept, first, second, step)?,
                    Source::Made(fill) => D::adamw_by(parameter, fill, first, second, step)?,
                }
            }
            Numbers::Sgd { step, undecayed } => {
                let velocity = slot(&mut self.state.first, at, zeros)?;
                let step = if S::NUM_DIMS > 1 { step } else { undecayed };
                match &mut self.gradient {
                    Source::Kept(kept) => D::sgd(parameter, kept, velocity, step)?,
                    Source::Made(fill) => D::sgd_by(parameter, fill, velocity, step)?,
                }
            }
        }
        if let Some(memory) = self.memory {
            let now = || parameter.clone().try_reshape_like(&shape);
            let average = slot(&mut self.state.average, at, now)?;
            average.try_axpy(memory, &now()?, 1.0 - memory)?;
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
