//! Steps by weight noise with the directions shared out among copies of the network.

use super::{Context, Runtime, StepBatch, local::failed};
use crate::{
    block::AnyBlock,
    device::Real,
    error::{Error, Place},
    gradient::WeightNoise,
    report::{BlockReport, StepReport},
};

/// What a copy of the network has found.
#[derive(Default)]
struct Found {
    /// Of the network itself.
    report: Option<BlockReport>,
    terminal: [f64; 2],
    /// With and against each of its directions.
    losses: Vec<[f64; 2]>,
}

/// The steps after the `first` ones; `terms` says of a step whether it has the terms that no block
/// has a part in.
pub(super) fn train<E: Real, D: Runtime<E>>(
    context: Context<'_, E, D>,
    block: &mut D::Block,
    batches: &[StepBatch<'_, E>],
    noise: &WeightNoise,
    first: u64,
    terms: &dyn Fn(usize) -> bool,
) -> Result<Vec<StepReport>, Error> {
    let copies = (1..super::copies(noise, context.span)).map(|_| block.copy());
    let mut copies = copies.collect::<Result<Vec<_>, _>>()?;
    let mut reports = Vec::with_capacity(batches.len());
    for (k, batch) in batches.iter().enumerate() {
        let mut units = vec![&mut *block];
        units.extend(copies.iter_mut().map(|copy| &mut **copy));
        let step = Step { k, step: first + 1 + k as u64, terms: terms(k) };
        reports.push(one_step(&context, &mut units, batch, noise, step)?);
    }
    Ok(reports)
}

/// Which step of a span it is, counted from 0, and of the model, counted from 1.
struct Step {
    k: usize,
    step: u64,
    terms: bool,
}

/// One of them: the first block is the network, the others are its copies.
fn one_step<E: Real, D: Runtime<E>>(
    context: &Context<'_, E, D>,
    units: &mut Vec<&mut D::Block>,
    batch: &StepBatch<'_, E>,
    noise: &WeightNoise,
    Step { k, step, terms }: Step,
) -> Result<StepReport, Error> {
    let (copies, place) = (units.len(), Place { block: 1, step });
    let seeds = noise.seeds(place, context.span.seed());
    let parts = D::each(units, context.span.workers(), &|i, block: &mut &mut D::Block| {
        let own = seeds.iter().copied().skip(i).step_by(copies);
        find(context, &mut **block, batch, noise, place, terms, i == 0, own)
    });
    let parts = parts.into_iter().collect::<Result<Vec<Found>, Error>>()?;
    let losses: Vec<_> = (0..seeds.len()).map(|d| parts[d % copies].losses[d / copies]).collect();
    let stepping = context.span.stepping(context.objective.optimizer(), k);
    let mut report = StepReport::default();
    if let (Some((network, others)), Some(part)) =
        (units.split_first_mut(), parts.into_iter().next())
    {
        let norm = noise.apply::<E, D>(&losses, &seeds, &mut **network, &stepping)?;
        place.check("gradient", norm)?;
        for other in others {
            other.parts().1.copy_from(network.tensors()).map_err(failed())?;
        }
        (report.blocks, report.terminal) = (part.report.into_iter().collect(), part.terminal);
        report.blocks.iter_mut().for_each(|block| block.gradient_norm = norm);
    }
    Ok(report)
}

/// The losses along a copy's own directions; of the network itself, its report too.
#[allow(clippy::too_many_arguments, reason = "one call, on a thread of its own")]
fn find<E: Real, D: Runtime<E>>(
    context: &Context<'_, E, D>,
    block: &mut D::Block,
    batch: &StepBatch<'_, E>,
    noise: &WeightNoise,
    place: Place,
    terms: bool,
    is_network: bool,
    seeds: impl Iterator<Item = u64>,
) -> Result<Found, Error> {
    let device = context.device(block.state(), batch, place.step);
    let embedding = context.embedding_on(&device)?;
    let draw = context.draw(&device, block.parts().0, batch, &embedding, place.step, terms)?;
    let x = batch.inputs(&device, 0..batch.rows()).map_err(failed())?;
    let terminal = std::cell::Cell::new([0.0; 2]);
    context.with_problem(draw, x, place, &terminal, |problem| {
        let mut found = Found::default();
        if is_network {
            let loss = problem.clean(block)?;
            let terms = [loss.denoising, loss.cross_entropy];
            found.report = Some(context.report(place.block, terms, &loss.output, batch, 0.0));
            found.terminal = terminal.get();
        }
        found.losses = noise.losses(problem, block, seeds)?;
        Ok(found)
    })
}
