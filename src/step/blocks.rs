//! Steps of several blocks, which share nothing but the embedding: each by itself on the threads,
//! or as one computation.

use dfdx::prelude::*;

use super::{
    Runtime, Span, StepBatch, Trainee, context, deferred,
    draw::{on_device, target},
    local::{self, failed},
    resident::Turns,
    stacked,
};
use crate::{
    block::{AnyBlock, held},
    device::{Real, SharedSlot},
    distributed::Rows,
    error::{Error, Place},
    gradient::Estimator,
    model::Ranks,
    random::{Purpose, normals, stream},
    report::{BlockReport, StepReport},
    variant::value,
};

/// What one block brings back from some steps.
#[derive(Default)]
pub(super) struct BlockSteps<E> {
    pub(super) reports: Vec<BlockReport>,
    /// Its part of the gradient of the embedding, of the last of the steps.
    pub(super) embedding_gradient: Vec<E>,
}

/// What each block brings back, or why it stopped.
pub(super) type OfBlocks<E> = Vec<Result<BlockSteps<E>, Error>>;

/// Some steps of all blocks.
pub(super) fn train<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> Result<Vec<StepReport>, Error> {
    let (reading, switches) = (trainee.model.objective.reading(), trainee.model.switches);
    check_embedding(trainee.ranks, reading.is_learned())?;
    let mut reports = Vec::with_capacity(batches.len());
    // Whether a step needs none of its numbers on the host: a learned embedding gets its gradient
    // from each block by itself.
    let local = *trainee.model.objective.estimator() == Estimator::Local;
    let apart =
        local && !reading.is_learned() && batches.iter().all(|batch| batch.shared.is_none());
    // A learned embedding moves after each step, and the next step of every block needs it.
    let together = if reading.is_learned() { 1 } else { batches.len().max(1) };
    for batches in batches.chunks(together) {
        let first = reports.len();
        reports.resize_with(first + batches.len(), StepReport::default);
        // The span of these steps alone.
        let span = Span { before: span.before + first as u64, ..*span };
        let stacked = match switches.stacked && apart && span.residence.is_none() {
            true => stacked::train(trainee, batches, &span)?,
            false => None,
        };
        let results = match stacked {
            Some(results) => results,
            None if switches.deferred && apart => each_deferred(trainee, batches, &span),
            None => one_by_one(trainee, batches, &span)?,
        };
        trainee.steps += batches.len() as u64;
        let mut gradients = Vec::new();
        for result in results {
            let BlockSteps { reports: of_block, embedding_gradient } = result?;
            for (k, report) in of_block.into_iter().enumerate() {
                reports[first + k].blocks.push(report);
            }
            gradients.push(embedding_gradient);
        }
        if let Some(batch) = batches.last() {
            let gradient = embedding_gradient(trainee, gradients)?;
            let terms = terminal_step(trainee, batch, gradient, &span, batches.len() - 1)?;
            reports.iter_mut().skip(first).for_each(|report| report.terminal = terms);
        }
    }
    Ok(reports)
}

/// The terms without a block need the targets of the whole batch.
fn check_embedding(ranks: &Ranks, is_learned: bool) -> Result<(), Error> {
    let communicator = ranks.communicator.as_ref();
    let own = communicator.is_some_and(|communicator| communicator.settings().rows == Rows::Own);
    if is_learned && own {
        let expected = "Rows::All, since the embedding is learned from all rows";
        return Err(Error::config("Settings::rows", expected, "Rows::Own"));
    }
    Ok(())
}

/// Steps of the blocks, each by itself.
fn one_by_one<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> Result<OfBlocks<E>, Error> {
    /// Bytes of inputs that are gathered for all blocks at a time.
    const MOST: usize = 8 << 20;
    let Trainee { model, blocks, steps, .. } = trainee;
    let Some(first) = blocks.first() else { return Ok(Vec::new()) };
    let draws = held::<E, D>(first)?.plan().map_err(failed())?.draws();
    let embedding = model.embedding.numbers();
    let context = context(model, &embedding, span, draws);
    // While one thread gathers them the others wait: with as many threads as blocks, each had
    // better gather its own. A block whose turn comes once has to have them all.
    let resident = span.residence.is_some();
    let shares = !draws && !resident && 2 * span.workers().at_once() <= blocks.len();
    let bytes = batches.first().map_or(0, |batch| batch.rows() * batch.width * size_of::<E>());
    let together = if shares { MOST / bytes.max(1) } else { batches.len() }.max(1);
    let mut all: OfBlocks<E> = blocks.iter().map(|_| Ok(BlockSteps::default())).collect();
    for (i, batches) in batches.chunks(together).enumerate() {
        let done = i * together;
        let slots: Vec<SharedSlot> = batches.iter().map(|_| SharedSlot::default()).collect();
        let steps_of = |block: &mut D::Block| {
            let mut found = BlockSteps::default();
            for (k, (batch, slot)) in batches.iter().zip(&slots).enumerate() {
                let (k, slot) = (done + k, shares.then_some(slot));
                let stepping = span.stepping(context.objective.optimizer(), k);
                let step = *steps + 1 + k as u64;
                let one = local::of_block(&context, block, batch, slot, &stepping, step)?;
                found.reports.push(one.report);
                found.embedding_gradient = one.embedding_gradient;
            }
            Ok(found)
        };
        let after = *steps + (done + batches.len()) as u64;
        let turns = Turns::new::<E, D>(span.residence, blocks, span.workers().at_once(), after);
        let trained = D::each(blocks, span.workers(), &|i, block: &mut &mut D::Block| {
            turns.take::<E, D, _>(i, block, steps_of)
        });
        for (all, some) in all.iter_mut().zip(trained) {
            match (all.as_mut(), some) {
                (Ok(all), Ok(some)) => {
                    all.reports.extend(some.reports);
                    all.embedding_gradient = some.embedding_gradient;
                }
                (Ok(_), Err(error)) => *all = Err(error),
                (Err(_), _) => {}
            }
        }
        if all.iter().any(Result::is_err) {
            break;
        }
    }
    Ok(all)
}

/// The steps of one block after the other's, with nothing read of a block before it has done them
/// all.
fn each_deferred<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> OfBlocks<E> {
    let Trainee { model, blocks, steps, .. } = trainee;
    let turns = Turns::new::<E, D>(span.residence, blocks, 1, *steps + batches.len() as u64);
    let mut of_block = |block: &mut D::Block| {
        let reports = deferred::train(model, block, batches, span, *steps, &|_| false)?;
        let reports = reports.into_iter().flat_map(|report| report.blocks).collect();
        Ok(BlockSteps { reports, embedding_gradient: Vec::new() })
    };
    let each = blocks.iter_mut().enumerate();
    each.map(|(i, block)| turns.take::<E, D, _>(i, block, &mut of_block)).collect()
}

/// The mean over all blocks of their parts of the embedding's gradient, from those of this rank's
/// blocks.
fn embedding_gradient<E: Real, D: Runtime<E>>(
    trainee: &Trainee<'_, E, D>,
    own: Vec<Vec<E>>,
) -> Result<Vec<E>, Error> {
    if !trainee.model.objective.reading().is_learned() {
        return Ok(Vec::new());
    }
    let mut sum = vec![E::zero(); trainee.model.embedding.0.shape().num_elements()];
    let share = E::of(1.0 / trainee.ranks.layout.blocks as f64);
    // In the order of the blocks, so that the sum is the same to the bit on any number of ranks.
    for gradient in trainee.ranks.of_all_blocks(own)? {
        sum.iter_mut().zip(gradient).for_each(|(g, b)| *g += share * b);
    }
    Ok(sum)
}

/// The terms without a block on the last batch of a span, the `k`-th, and the embedding's step if
/// it is learned: `gradient` is the blocks' part.
fn terminal_step<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batch: &StepBatch<'_, E>,
    gradient: Vec<E>,
    span: &Span<'_>,
    k: usize,
) -> Result<[f64; 2], Error> {
    let failed = || Error::device("a step of the embedding");
    let model = &mut *trainee.model;
    let (reading, device) = (model.objective.reading(), model.device.clone());
    let targets = batch.all_targets();
    let (rows, on_host) = (targets.len(), model.embedding.numbers());
    let mut rng = stream(span.seed(), Purpose::Noise, 0, trainee.steps);
    let noise = normals(&mut rng, rows * reading.latent);
    let noise = on_device(&device, noise, (rows, reading.latent))?;
    let embedding = &model.embedding.0;
    let target = target(&device, reading, targets, None, &on_host, embedding)?;
    let terms = model.objective.terminal(&target, noise, Gradients::leaky()).map_err(failed())?;
    let Some(terms) = terms else { return Ok([0.0; 2]) };
    let values = [value(&terms[0]), value(&terms[1])];
    let place = Place { block: trainee.ranks.layout.blocks, step: trainee.steps };
    place.check("loss", values[0] + values[1])?;
    if reading.is_learned() {
        let stepping = span.stepping(model.objective.optimizer(), k).without_decay();
        let [cross_entropy, kl] = terms;
        // The blocks' gradient joins as that of ⟨gradient, W⟩.
        let of_blocks = on_device(&device, gradient, *embedding.shape())?;
        let linear = embedding.retaped::<OwnedTape<E, D>>().try_mul(of_blocks);
        let total = linear
            .and_then(|product| product.try_sum::<(), _>())
            .and_then(|sum| cross_entropy.try_add(kl)?.try_add(sum))
            .map_err(failed())?;
        let mut gradients = total.try_backward().map_err(failed())?;
        let moved =
            model.embedding_optimizer.update(&stepping, &mut model.embedding, &mut gradients);
        place.check("gradient", moved.map_err(failed())?)?;
    }
    Ok(values)
}
