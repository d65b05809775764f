//! One step of one block: draw, noise, forward, loss, back, step, report.

use dfdx::prelude::*;

use super::{Context, Span, StepBatch, context, pieces};
use crate::{
    block::{AnyBlock, Host, new_gradients},
    device::{Backend, Column, Matrix, Real, SharedSlot, Tensors},
    error::{Error, Place},
    gradient::{Estimates, Forward, Problem},
    model::Model,
    optim::Stepping,
    plan::{Inputs, Operation},
    report::{BlockReport, StepReport},
    schedule::LearnedGamma,
    variant::{Draw, value},
};

pub(super) fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("a training step")
}

/// What going forward and back has left.
pub(super) struct BackwardOutput<E: Real, D: Backend<E>> {
    /// The means of the weighted squared error and the weighted cross-entropy.
    pub(super) terms: [f64; 2],
    pub(super) output: Vec<E>,
    /// The terms that no block has a part in.
    pub(super) terminal: [f64; 2],
    pub(super) gradients: Gradients<E, D>,
}

/// What goes into a block in training: all that was drawn, x, and the schedule where it is learned.
pub(super) struct LossInputs<'a, E: Real, D: Backend<E>> {
    pub(super) draw: Draw<'a, E, D>,
    pub(super) x: Matrix<E, D>,
    pub(super) learned: Option<&'a LearnedGamma<E, D>>,
}

impl<E: Real, D: Backend<E>> Context<'_, E, D> {
    /// Forward and back; `share` is that of these rows in the batch.
    pub(super) fn backward(
        &self,
        plan: &mut Operation<'_, E, D>,
        inputs: LossInputs<'_, E, D>,
        gradients: Gradients<E, D>,
        place: Place,
        share: f64,
    ) -> Result<BackwardOutput<E, D>, Error> {
        let LossInputs { draw, x, learned } = inputs;
        let times = draw.times.as_ref().map(|times| times.device.clone());
        let loss = self.objective.loss(place.block, draw, learned, gradients, &mut |z| {
            Inputs { z, x: x.clone(), t: times.clone() }.through(plan)
        });
        let loss = loss.map_err(failed())?;
        place.check("loss", value(&loss.total))?;
        let (terms, terminal) = (loss.terms(), loss.terminal_values());
        let total = match share {
            1.0 => loss.total,
            _ => loss.total.try_mul(E::of(share)).map_err(failed())?,
        };
        let gradients = total.try_backward().map_err(failed())?;
        Ok(BackwardOutput { terms, output: loss.output.as_vec(), terminal, gradients })
    }

    /// What a block says of a step.
    pub(super) fn report(
        &self,
        t: usize,
        terms: [f64; 2],
        output: &[E],
        batch: &StepBatch<'_, E>,
        gradient_norm: f64,
    ) -> BlockReport {
        let reading = self.objective.reading();
        let correct = match reading.has_classes() {
            true => reading.correct(output, &batch.targets),
            false => 0,
        };
        let [denoising, cross_entropy] = terms;
        BlockReport {
            block: t,
            denoising,
            cross_entropy,
            gradient_norm,
            correct,
            rows: batch.rows(),
        }
    }

    /// The loss of a block on one batch as a problem for an estimator; `terminal` gets the terms
    /// that no block has a part in.
    pub(super) fn with_problem<R>(
        &self,
        draw: Draw<'_, E, D>,
        x: Matrix<E, D>,
        place: Place,
        terminal: &std::cell::Cell<[f64; 2]>,
        work: impl FnOnce(&Problem<'_, E, D>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let t: Option<Column<E, D>> = draw.times.as_ref().map(|times| times.device.clone());
        let loss = |forward: Forward<'_, E, D>| {
            let (draw, gradients) = (draw.clone(), Gradients::leaky());
            let loss = self.objective.loss(place.block, draw, None, gradients, &mut |z| {
                let (z, tape) = z.split_tape();
                Ok(forward(z)?.put_tape(tape))
            });
            let loss = loss.map_err(failed())?;
            terminal.set(loss.terminal_values());
            Ok(loss.measured())
        };
        work(&Problem { loss: &loss, x, t, place })
    }
}

/// A step of a block, with the block's part of the embedding's gradient if that is learned.
pub(super) struct BlockStep<E> {
    pub(super) report: BlockReport,
    pub(super) embedding_gradient: Vec<E>,
}

/// One step of one of several blocks, which share the embedding.
pub(super) fn of_block<E: Real, D: Host<E>>(
    context: &Context<'_, E, D>,
    block: &mut D::Block,
    batch: &StepBatch<'_, E>,
    slot: Option<&SharedSlot>,
    stepping: &Stepping,
    step: u64,
) -> Result<BlockStep<E>, Error> {
    let (rows, learned) = (batch.rows(), context.objective.reading().is_learned());
    let free = context.objective.estimator().derivative_free::<E, D>();
    let _reuse = (free.is_none() && !context.draws).then(|| D::reuse(rows));
    let _products = D::products_in(context.span.precision);
    let place = Place { block: block.state().t, step };
    let device = context.device(block.state(), batch, step);
    let embedding = context.embedding_on(&device)?;
    let draw = context.draw(&device, block.parts().0, batch, &embedding, step, false)?;
    let x = match slot {
        Some(slot) => batch.shared_inputs(&device, slot),
        None => batch.inputs(&device, 0..rows),
    };
    let x = x.map_err(failed())?;
    if let Some(free) = free {
        let report = estimated(
            context,
            free,
            block,
            batch,
            LossInputs { draw, x, learned: None },
            stepping,
            place,
        )?;
        let (report, _) = report;
        return Ok(BlockStep { report, embedding_gradient: Vec::new() });
    }
    // The embedding is another tensor in each step, and would pile up: it has gradients that are
    // not kept.
    let gradients = if learned { Ok(Gradients::leaky()) } else { block.take_gradients() };
    let gradients = gradients.map_err(failed())?;
    let back = {
        let mut plan = block.plan_mut().map_err(failed())?;
        let inputs = LossInputs { draw, x, learned: None };
        context.backward(&mut plan, inputs, gradients, place, 1.0)?
    };
    let mut gradients = back.gradients;
    let mut embedding_gradient = match learned {
        true => gradients.get(&embedding).as_vec(),
        false => Vec::new(),
    };
    let mut report = context.report(place.block, back.terms, &back.output, batch, 0.0);
    let more = Some(&mut embedding_gradient);
    batch.average(block.parts().1, &mut gradients, &mut report, &mut [], more)?;
    report.gradient_norm = block.step(stepping, &mut gradients)?;
    place.check("gradient", report.gradient_norm)?;
    if !learned {
        block.keep_gradients(gradients);
    }
    Ok(BlockStep { report, embedding_gradient })
}

/// One step of a block by an estimator, and the terms that no block has a part in.
fn estimated<E: Real, D: Host<E>>(
    context: &Context<'_, E, D>,
    free: &dyn Estimates<E, D>,
    block: &mut D::Block,
    batch: &StepBatch<'_, E>,
    inputs: LossInputs<'_, E, D>,
    stepping: &Stepping,
    place: Place,
) -> Result<(BlockReport, [f64; 2]), Error> {
    let terminal = std::cell::Cell::new([0.0; 2]);
    let LossInputs { draw, x, .. } = inputs;
    context.with_problem(draw, x, place, &terminal, |problem| {
        let (loss, norm) = free.step(problem, block, stepping, context.span.seed())?;
        place.check("gradient", norm)?;
        let terms = [loss.denoising, loss.cross_entropy];
        let report = context.report(place.block, terms, &loss.output, batch, norm);
        Ok((report, terminal.get()))
    })
}

/// Which step of a span it is, and what is asked of it.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// Counted from 0.
    pub(super) k: usize,
    /// Counted from 1 over the life of the model.
    pub(super) step: u64,
    /// Whether it has the terms that no block has a part in.
    pub(super) terms: bool,
    /// Whether a layer may draw from its input's device.
    pub(super) draws: bool,
}

/// One step of the one network, with all that is trained beside it.
pub(super) fn with_model<E: Real, D: Host<E>>(
    model: &mut Model<E, D>,
    block: &mut D::Block,
    batch: &StepBatch<'_, E>,
    span: &Span<'_>,
    at: At,
) -> Result<StepReport, Error> {
    let stepping = span.stepping(model.objective.optimizer(), at.k);
    let place = Place { block: block.state().t, step: at.step };
    let on_host = model.embedding.numbers();
    let context = context(model, &on_host, span, at.draws);
    let free = context.objective.estimator().derivative_free::<E, D>();
    let _reuse = (free.is_none() && !at.draws).then(|| D::reuse(batch.rows()));
    let _products = D::products_in(span.precision);
    let device = context.device(block.state(), batch, at.step);
    let embedding = &model.embedding.0;
    let draw = context.draw(&device, block.parts().0, batch, embedding, at.step, at.terms)?;
    if let Some(free) = free {
        let x = batch.inputs(&device, 0..batch.rows()).map_err(failed())?;
        let inputs = LossInputs { draw, x, learned: None };
        let (report, terminal) = estimated(&context, free, block, batch, inputs, &stepping, place)?;
        return Ok(StepReport { blocks: vec![report], terminal, ..StepReport::default() });
    }
    let pieced = match model.learns_beside() {
        true => None,
        false => pieces::backward(&context, block, &draw, batch, place)?,
    };
    let mut back = match pieced {
        Some(back) => back,
        None => {
            let x = batch.inputs(&device, 0..batch.rows()).map_err(failed())?;
            let gradients = gradients_for(model, block)?;
            let inputs = LossInputs { draw, x, learned: model.learned() };
            let mut plan = block.plan_mut().map_err(failed())?;
            context.backward(&mut plan, inputs, gradients, place, 1.0)?
        }
    };
    let mut report = context.report(place.block, back.terms, &back.output, batch, 0.0);
    let (gradients, terminal) = (&mut back.gradients, &mut back.terminal);
    batch.average(block.parts().1, gradients, &mut report, terminal, None)?;
    let learned = model.objective.reading().is_learned();
    if learned {
        batch.average_gradients(&mut model.embedding, gradients)?;
    }
    if let Some(schedule) = &mut model.schedule {
        batch.average_gradients(&mut schedule.gamma, gradients)?;
    }
    report.gradient_norm = block.step(&stepping, gradients)?;
    place.check("gradient", report.gradient_norm)?;
    for norm in step_beside(model, &stepping.without_decay(), gradients).map_err(failed())? {
        place.check("gradient", norm)?;
    }
    if !learned {
        block.keep_gradients(back.gradients);
    }
    let terminal = back.terminal;
    Ok(StepReport { blocks: vec![report], terminal, ..StepReport::default() })
}

/// Room for the gradients of a step of the one network.
fn gradients_for<E: Real, D: Host<E>>(
    model: &Model<E, D>,
    block: &mut D::Block,
) -> Result<Gradients<E, D>, Error> {
    if model.objective.reading().is_learned() {
        return Ok(Gradients::leaky());
    }
    let mut gradients = block.take_gradients().map_err(failed())?;
    if let Some(schedule) = &model.schedule {
        schedule.gamma.zero_gradients(&mut gradients).map_err(failed())?;
    }
    Ok(gradients)
}

/// A step of what is trained beside the network; the norms of the gradients.
fn step_beside<E: Real, D: Backend<E>>(
    model: &mut Model<E, D>,
    stepping: &Stepping,
    gradients: &mut Gradients<E, D>,
) -> Result<[f64; 2], D::Err> {
    let mut norms = [0.0; 2];
    if model.objective.reading().is_learned() {
        norms[0] = model.embedding_optimizer.update(stepping, &mut model.embedding, gradients)?;
    }
    if let Some(schedule) = &mut model.schedule {
        norms[1] = schedule.optimizer.update(stepping, &mut schedule.gamma, gradients)?;
    }
    Ok(norms)
}

/// Room for the gradients of a piece of a batch.
pub(super) fn gradients_of_piece<E: Real, D: Host<E>>(
    kept: Option<Gradients<E, D>>,
    block: &D::Block,
) -> Result<Gradients<E, D>, Error> {
    match kept {
        Some(kept) => Ok(kept),
        None => new_gradients(block.tensors()).map_err(failed()),
    }
}
