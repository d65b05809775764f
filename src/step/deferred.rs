//! Steps whose numbers stay on the device until the last of a span is done.

use dfdx::prelude::*;

use super::{Span, StepBatch, context, local::failed};
use crate::{
    block::{AnyBlock, Host, new_gradients},
    device::{Backend, Column, Matrix, Real, TracedScalar},
    error::{Error, Place},
    model::Model,
    optim::{Stack, Unit},
    plan::Inputs,
    report::StepReport,
    variant::{StepLoss, value},
};

/// What a step leaves on the device: for the rows of all blocks, one block's after the other's.
pub(super) struct DeferredStep<E: Real, D: Backend<E>> {
    pub(super) denoising: Column<E, D>,
    pub(super) cross_entropy: Option<Column<E, D>>,
    pub(super) output: Matrix<E, D>,
    /// Σ g² of each block.
    pub(super) squares: Column<E, D>,
}

/// The same on the host, of one block.
pub(super) struct StepNumbers<E> {
    /// The means of the weighted squared error and the weighted cross-entropy.
    pub(super) terms: [f64; 2],
    pub(super) output: Vec<E>,
    pub(super) gradient_norm: f64,
}

impl<E> StepNumbers<E> {
    /// [`Error::Diverged`] if a number is not finite.
    pub(super) fn check(&self, place: Place) -> Result<(), Error> {
        place.check("loss", self.terms[0] + self.terms[1])?;
        place.check("gradient", self.gradient_norm)
    }
}

impl<E: Real, D: Backend<E>> DeferredStep<E, D> {
    /// What each block has left.
    pub(super) fn read(self) -> Vec<StepNumbers<E>> {
        let width = self.output.shape().1;
        let (denoising, output) = (self.denoising.as_vec(), self.output.as_vec());
        let cross_entropy = self.cross_entropy.map(|term| term.as_vec());
        let squares = self.squares.as_vec();
        let rows = denoising.len() / squares.len().max(1);
        let of_block = |(i, square): (usize, &E)| {
            let mean = |terms: &[E]| {
                let own = &terms[i * rows..][..rows];
                own.iter().map(|term| term.as_f64()).sum::<f64>() / rows as f64
            };
            StepNumbers {
                terms: [mean(&denoising), cross_entropy.as_deref().map_or(0.0, mean)],
                output: output[i * rows * width..][..rows * width].to_vec(),
                gradient_norm: square.as_f64().sqrt(),
            }
        };
        squares.iter().enumerate().map(of_block).collect()
    }
}

/// A step, and the terms that no block has a part in.
struct Finished<E: Real, D: Backend<E>> {
    step: DeferredStep<E, D>,
    terminal: Option<[TracedScalar<E, D>; 2]>,
}

/// Steps of one block, after the `first` ones: forward it goes by itself, and it steps as a stack
/// of one, which needs nothing on the host. `terms` says of a step whether it has those that no
/// block has a part in.
pub(super) fn train<E: Real, D: Host<E>>(
    model: &mut Model<E, D>,
    block: &mut D::Block,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
    first: u64,
    terms: &dyn Fn(usize) -> bool,
) -> Result<Vec<StepReport>, Error> {
    let mut device_inputs = model.device_inputs.take();
    let on_host = model.embedding.numbers();
    let context = context(model, &on_host, span, false);
    let mut stack = stack_of_one(block)?;
    let mut left = Vec::with_capacity(batches.len());
    for (k, batch) in batches.iter().enumerate() {
        let step = first + 1 + k as u64;
        let t = block.state().t;
        let device = context.device(block.state(), batch, step);
        let embedding = &model.embedding.0;
        let draw = context.draw(&device, block.parts().0, batch, embedding, step, terms(k))?;
        let times = draw.times.as_ref().map(|times| times.device.clone());
        let x = batch.inputs_on(&device, &mut device_inputs).map_err(failed())?;
        let gradients = new_gradients(block.tensors()).map_err(failed())?;
        let loss = {
            let mut plan = block.plan_mut().map_err(failed())?;
            context.objective.loss(t, draw, None, gradients, &mut |z| {
                Inputs { z, x: x.clone(), t: times.clone() }.through(&mut plan)
            })
        };
        let StepLoss { total, denoising, cross_entropy, output, terminal, .. } =
            loss.map_err(failed())?;
        let stepping = span.stepping(context.objective.optimizer(), k);
        let mut gradients = total.try_backward().map_err(failed())?;
        let (_, tensors) = block.parts();
        let squares = stack.update_module(&stepping, tensors, &mut gradients).map_err(failed())?;
        let step = DeferredStep { denoising, cross_entropy, output, squares };
        left.push(Finished { step, terminal });
    }
    put_back(stack, block)?;
    let mut reports = Vec::with_capacity(batches.len());
    for ((Finished { step: deferred, terminal }, batch), step) in
        left.into_iter().zip(batches).zip(first + 1..)
    {
        let place = Place { block: block.state().t, step };
        let terminal = terminal.map_or([0.0; 2], |terms| terms.map(|term| value(&term)));
        for numbers in deferred.read() {
            numbers.check(place)?;
            let StepNumbers { terms, output, gradient_norm } = numbers;
            let report = context.report(place.block, terms, &output, batch, gradient_norm);
            reports.push(StepReport { blocks: vec![report], terminal, ..StepReport::default() });
        }
    }
    model.device_inputs = device_inputs;
    Ok(reports)
}

/// The block's weights and its optimiser's memory on the device.
fn stack_of_one<E: Real, D: Host<E>>(block: &mut D::Block) -> Result<Stack<E, D>, Error> {
    let (state, tensors) = block.parts();
    let device = state.device.clone();
    let units = [Unit { tensors, optimizer: &mut state.optimizer }];
    Stack::new(&device, &units).map_err(failed())?.ok_or_else(|| {
        Error::argument("a training step", "weights that a GPU's kernels can count", "more")
    })
}

/// The block's optimiser has its memory back.
fn put_back<E: Real, D: Host<E>>(stack: Stack<E, D>, block: &mut D::Block) -> Result<(), Error> {
    let (state, tensors) = block.parts();
    stack.put(&mut [Unit { tensors, optimizer: &mut state.optimizer }]).map_err(failed())?;
    // The weights are other tensors now, and their gradients have other places.
    state.gradients = None;
    state.more_gradients.clear();
    Ok(())
}
