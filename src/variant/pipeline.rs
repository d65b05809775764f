//! Inference in discrete time through blocks on several ranks: rows go from rank to rank, some behind the others.

use dfdx::nn::BuildOnDevice;

use super::{
    Answers, Ask, DiscreteTime, TOGETHER,
    walk::{Way, noises},
};
use crate::{
    device::{Backend, Real},
    distributed::{Communicator, Topic, pack, unpack},
    error::Error,
    head::Head,
    noprop::NoProp,
};

/// Jobs whose latents travel in one message: enough for the threads of a rank.
const JOBS: usize = 4;

/// Answers for some rows at a time, by all ranks together, and the same on all of them.
///
/// With more ranks than blocks there are several pipelines side by side.
pub(super) fn parts<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    communicator: &Communicator,
    x: &[[E; X]],
    ask: Ask,
) -> Result<Vec<Answers<E>>, Error>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    let layout = trainer.layout;
    let (stages, mine) = (layout.pipeline(), layout.rank / layout.pipeline());
    let pipelines = layout.ranks / stages;
    let jobs: Vec<usize> = (0..x.len().div_ceil(TOGETHER)).collect();
    let noises = noises(trainer.variant.sampler, ask);
    // The ranks that are too few for one more pipeline have nothing to do.
    let waves = jobs.chunks(JOBS).skip(mine).step_by(pipelines).filter(|_| mine < pipelines);
    let item = |jobs| (0..noises.len()).map(move |draw| Item { jobs, draw, latents: Vec::new() });
    let mut items: Vec<Item> = waves.flat_map(item).collect();
    let way = Way::new(trainer);
    let moving: Vec<usize> = way.levels.moving().collect();
    let rank_of = |t: usize| mine * stages + layout.holder(t);
    let mut answers = Vec::new();
    for (k, &t) in moving.iter().enumerate().filter(|(_, t)| rank_of(**t) == layout.rank) {
        let Some(own) = trainer.blocks.iter().position(|block| block.t == t) else { continue };
        let before = k.checked_sub(1).map(|k| rank_of(moving[k]));
        let after = moving.get(k + 1).map(|&t| rank_of(t));
        let answered = after.is_none() || matches!(ask, Ask::Along);
        for item in &mut items {
            if let Some(before) = before.filter(|before| *before != layout.rank) {
                let message = communicator.receive(before, Topic::Evaluation, WHAT)?;
                item.latents = unpack(&message, item.jobs.len(), WHAT)?;
            }
            let (noise, Item { jobs, latents, .. }) = (noises[item.draw], &*item);
            let results = (trainer.ops.map)(&trainer.blocks, jobs.len(), &|blocks, i| {
                let block = &blocks[own];
                let mut walk = way.start(&block.device, x, jobs[i], noise)?;
                if before.is_some() {
                    walk = way.go_on(walk, E::from_bytes(&latents[i]), k)?;
                }
                walk.pass(&way, block)?;
                let mut values = walk.z();
                if answered && !matches!(ask, Ask::Sample(_)) {
                    values.extend(walk.answer::<H>()?);
                }
                Ok(Answers { values, calls: walk.rows() })
            });
            let mut latents = Vec::with_capacity(results.len());
            for (result, job) in results.into_iter().zip(item.jobs) {
                let Answers { mut values, calls: rows } = result?;
                latents.push(E::to_bytes(&values[..rows * Z]));
                if !matches!(ask, Ask::Sample(_)) {
                    values.drain(..rows * Z);
                }
                if answered {
                    let calls = if after.is_none() { rows * moving.len() } else { 0 };
                    answers.push(([*job, item.draw, k], Answers { values, calls }));
                }
            }
            item.latents = latents;
            if let Some(after) = after.filter(|after| *after != layout.rank) {
                communicator.send(after, Topic::Evaluation, pack(&item.latents))?;
            }
        }
    }
    let mut all = trainer.answers_of_all(answers)?.into_iter().peekable();
    let parts = jobs.iter().map(|&job| {
        let draws = (0..noises.len()).map(|draw| {
            let mut points = Vec::new();
            while let Some((_, point)) = all.next_if(|([j, d, _], _)| [*j, *d] == [job, draw]) {
                points.push(point);
            }
            Ok(Answers::collect(points))
        });
        Answers::mean(draws)
    });
    parts.collect()
}

const WHAT: &str = "an evaluation";

/// Some jobs on their way.
struct Item<'a> {
    jobs: &'a [usize],
    draw: usize,
    /// What the last block made of z, for each job.
    latents: Vec<Vec<u8>>,
}
