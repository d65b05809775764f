//! Steps of training: what one is, and the ways to execute many.

mod batch;
mod blocks;
mod deferred;
mod directions;
mod draw;
mod local;
mod own;
mod pieces;
mod resident;
mod span;
mod stacked;

pub use batch::StepBatch;
pub(crate) use batch::{BatchInputs, SharedBatch};
pub use own::{FlowSamples, OwnLoss, OwnStep};
pub(crate) use own::{flow_step, own_step};
pub(crate) use resident::{Residence, check_weights};
pub use span::Span;

use crate::{
    block::{AnyBlock, Host},
    device::{Backend, Execute, Real},
    error::Error,
    gradient::{Estimator, WeightNoise},
    model::{Model, Ranks},
    report::StepReport,
    variant::{Objective, Transition},
};

/// A device that steps run on: one of its threads can have a whole model.
pub trait Runtime<E: Real>: Host<E> + for<'a> Execute<Whole<'a, E, Self>> {}

impl<E: Real, D: Host<E> + for<'a> Execute<Whole<'a, E, D>>> Runtime<E> for D {}

/// A model with its one network, on its way to a thread.
pub struct Whole<'a, E: Real, D: Backend<E>> {
    pub(crate) model: &'a mut Model<E, D>,
    pub(crate) block: &'a mut D::Block,
}

/// A model with its blocks and its ranks, to be trained.
pub struct Trainee<'a, E: Real, D: Backend<E>> {
    pub(crate) model: &'a mut Model<E, D>,
    /// Those of this rank.
    pub(crate) blocks: Vec<&'a mut D::Block>,
    pub(crate) ranks: &'a Ranks,
    /// How many steps the blocks have taken.
    pub(crate) steps: u64,
}

/// What the steps of a span have in common, for any of its threads.
#[derive(Clone, Copy)]
struct Context<'a, E: Real, D: Backend<E>> {
    objective: &'a dyn Objective<E, D>,
    /// The embedding on the host, row-major.
    embedding: &'a [E],
    span: &'a Span<'a>,
    /// Whether the device makes the noise.
    device_noise: bool,
    /// Whether a layer may draw from its input's device.
    draws: bool,
}

/// Some steps of all blocks; what each reports.
pub(crate) fn train<E: Real, D: Runtime<E>>(
    mut trainee: Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> Result<Vec<StepReport>, Error> {
    check_shared(batches, trainee.model.objective.estimator())?;
    match trainee.model.objective.transition() {
        Transition::Blocks(_) | Transition::Denoiser(_) => {
            blocks::train(&mut trainee, batches, span)
        }
        Transition::Field(_) => network(&mut trainee, batches, span),
    }
}

/// Whether a block on several ranks can get its gradient in this way.
fn check_shared<E: Real>(batches: &[StepBatch<'_, E>], estimator: &Estimator) -> Result<(), Error> {
    let shared = batches.iter().any(|batch| batch.shared.is_some());
    if !shared || matches!(estimator, Estimator::Local) {
        return Ok(());
    }
    let expected = "Local, since each block is on several ranks, which average its gradient";
    Err(Error::config("Estimator", expected, format!("{estimator:?}")))
}

/// Steps of the one network, one batch after the other.
fn network<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> Result<Vec<StepReport>, Error> {
    let first = trainee.steps;
    let model = &mut *trainee.model;
    let Some(block) = trainee.blocks.first_mut() else { return Ok(Vec::new()) };
    let block = &mut **block;
    // Where nothing is trained but the network, the other terms are the same but for their noise.
    let (all, has_terms) = (model.learns_beside(), model.objective.has_terminal());
    let terms = |k: usize| has_terms && (all || k + 1 == batches.len());
    let alone = !all && batches.iter().all(|batch| batch.shared.is_none());
    let embedding = model.embedding.numbers();
    let draws = block.plan().map_err(Error::device("a training step"))?.draws();
    let mut reports = match *model.objective.estimator() {
        Estimator::WeightNoise(noise) if copies(&noise, span) > 1 => {
            let context = context(model, &embedding, span, draws);
            directions::train(context, block, batches, &noise, first, &terms)?
        }
        Estimator::Local if model.switches.deferred && alone => {
            deferred::train(model, block, batches, span, first, &terms)?
        }
        _ => {
            let mut whole = [Whole { model, block }];
            let steps = |whole: &mut Whole<'_, E, D>| -> Result<Vec<StepReport>, Error> {
                let steps = (first + 1..).zip(batches).enumerate();
                let one = |(k, (step, batch))| {
                    let at = local::At { k, step, terms: terms(k), draws };
                    local::with_model(whole.model, whole.block, batch, span, at)
                };
                steps.map(one).collect()
            };
            let mut results = D::each(&mut whole, span.workers(), &|_, whole| steps(whole));
            results.pop().unwrap_or_else(|| Ok(Vec::new()))?
        }
    };
    if !all && let Some(last) = reports.last().map(|last| last.terminal) {
        reports.iter_mut().for_each(|report| report.terminal = last);
    }
    Ok(reports)
}

/// How many copies of the network the directions are shared out among.
fn copies(noise: &WeightNoise, span: &Span<'_>) -> usize {
    span.workers().at_once().min(noise.directions)
}

/// What the steps of a span have in common.
fn context<'a, E: Real, D: Backend<E>>(
    model: &'a Model<E, D>,
    embedding: &'a [E],
    span: &'a Span<'a>,
    draws: bool,
) -> Context<'a, E, D> {
    Context {
        objective: &*model.objective,
        embedding,
        span,
        device_noise: model.switches.device_noise,
        draws,
    }
}
