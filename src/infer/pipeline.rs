//! Inference block by block, for blocks that are not all in memory: where they are on several ranks
//! rows go from rank to rank, some behind the others; where they lie in a file all rows go through
//! one after the other.

use super::{
    Asked, Combination, InferenceOutput, InferenceRequest,
    chain::Chain,
    device_of,
    opinions::Combined,
    rollout::{Way, draws, passed},
};
use crate::{
    block::{AnyBlock, Host},
    device::Real,
    distributed::{AnswerPart, Topic, pack, unpack},
    error::Error,
};

/// Jobs whose latents travel in one message: enough for the threads of a rank.
const JOBS: usize = 4;

const WHAT: &str = "an evaluation";

/// Some jobs on their way.
struct Item<'a, E> {
    jobs: &'a [usize],
    draw: usize,
    /// z of each job after the last block.
    latents: Vec<Vec<u8>>,
    /// Where the streams of noise of each job's rows are then; none where it came from elsewhere.
    places: Vec<Vec<u128>>,
    /// What has become of each job's answer, where all of it is here.
    said: Vec<Said<E>>,
}

/// An answer in the making, and how often a block was called for it.
struct Said<E> {
    combined: Combined<E>,
    calls: usize,
}

/// A block of this rank in the pipeline.
struct Stage {
    /// Which of the blocks that change z it is, counted from 0.
    k: usize,
    /// The ranks of the blocks before and after, if there are any.
    before: Option<usize>,
    after: Option<usize>,
}

/// Answers for some rows at a time; where there are ranks, by all of them together, and the same on
/// all of them.
///
/// With more ranks than blocks there are several pipelines side by side.
pub(super) fn parts<E: Real, D: Host<E>>(
    asked: &Asked<'_, E, D>,
    chain: Chain<'_>,
    request: InferenceRequest,
) -> Result<Vec<InferenceOutput<E>>, Error> {
    let (layout, communicator) = (asked.ranks.layout, asked.ranks.communicator.as_ref());
    let (length, mine) = (layout.pipeline(), layout.rank / layout.pipeline());
    let pipelines = layout.ranks / length;
    let jobs: Vec<usize> = (0..asked.inputs.jobs()).collect();
    let combination = Combination::of(asked.process, request);
    let draws = draws(chain.sampler(), request, combination);
    // The ranks that are too few for one more pipeline have nothing to do.
    let together = if communicator.is_some() { JOBS } else { jobs.len().max(1) };
    let waves = jobs.chunks(together).skip(mine).step_by(pipelines).filter(|_| mine < pipelines);
    let mut items: Vec<Item<'_, E>> = waves
        .flat_map(|jobs| (0..draws.len()).map(move |draw| Item::new(jobs, draw, combination)))
        .collect();
    let moving = passed(chain.moving(), combination);
    let rank_of = |t: usize| mine * length + layout.holder(t);
    let elsewhere = |rank: Option<usize>| rank.filter(|rank| *rank != layout.rank);
    let embedding = asked.embedding.numbers();
    let (way, inputs) = (Way::new(asked, chain, &embedding, combination), asked.inputs);
    let is_sample = matches!(request, InferenceRequest::Sample(_));
    let mut answers = Vec::new();
    for (k, &t) in moving.iter().enumerate().filter(|(_, t)| rank_of(**t) == layout.rank) {
        let Some(own) = asked.blocks.iter().position(|block| block.state().t == t) else {
            continue;
        };
        let before = k.checked_sub(1).map(|k| rank_of(moving[k]));
        let after = moving.get(k + 1).map(|&t| rank_of(t));
        let stage = Stage { k, before, after };
        let block = asked.held(own)?;
        for item in &mut items {
            if let (Some(before), Some(communicator)) = (elsewhere(before), communicator) {
                let message = communicator.receive(before, Topic::Evaluation, WHAT)?;
                item.latents = unpack(&message, item.jobs.len(), WHAT)?;
                item.places.clear();
            }
            let draw = draws[item.draw];
            let results = D::map(&[&*block], item.jobs.len(), &|blocks: &[&D::Block], i| {
                let block = blocks[0];
                let rows = inputs.of_job(item.jobs[i]);
                let mut rollout = way.start(device_of::<E, D>(block), &rows, draw)?;
                if stage.before.is_some() {
                    let z = E::from_bytes(&item.latents[i]);
                    rollout = way.go_on(rollout, z, stage.k, item.places.get(i))?;
                }
                rollout.pass(&way, block)?;
                let (is_first, is_last) = (stage.before.is_none(), stage.after.is_none());
                let part = match is_sample {
                    true => is_last.then(|| rollout.z.as_vec()),
                    false if combination.takes(is_first, is_last) => Some(rollout.answer(&way)?),
                    false => None,
                };
                let (z, places) = (rollout.z.as_vec(), rollout.places());
                Ok(Passed { z, places, part, rows: rollout.rows() })
            });
            let mut passed = results.into_iter().collect::<Result<Vec<_>, Error>>()?;
            item.places =
                passed.iter_mut().map(|passed| std::mem::take(&mut passed.places)).collect();
            item.latents = passed.iter().map(|passed| E::to_bytes(&passed.z)).collect();
            let calls = moving.len() * chain.calls();
            match communicator {
                Some(_) => answers.extend(parts_of(&stage, item, passed, calls)),
                None => item.say(passed, chain.calls()),
            }
            if let (Some(after), Some(communicator)) = (elsewhere(after), communicator) {
                communicator.send(after, Topic::Evaluation, pack(&item.latents))?;
            }
        }
    }
    if communicator.is_none() {
        return said(items);
    }
    let all = asked.ranks.answers_of_all(answers)?;
    mean_of_draws(all, &jobs, draws.len(), combination)
}

impl<'a, E: Real> Item<'a, E> {
    fn new(jobs: &'a [usize], draw: usize, combination: Combination) -> Self {
        let said = |_| Said { combined: Combined::new(combination), calls: 0 };
        let said = jobs.iter().map(said).collect();
        Self { jobs, draw, latents: Vec::new(), places: Vec::new(), said }
    }

    /// What one more block adds to the answers.
    fn say(&mut self, passed: Vec<Passed<E>>, calls: usize) {
        for (said, Passed { part, rows, .. }) in self.said.iter_mut().zip(passed) {
            said.calls += rows * calls;
            part.iter().for_each(|part| said.combined.add(part));
        }
    }
}

/// The mean over the draws of each job; each draw has all jobs.
fn said<E: Real>(draws: Vec<Item<'_, E>>) -> Result<Vec<InferenceOutput<E>>, Error> {
    let jobs = draws.first().map_or(0, |draw| draw.said.len());
    let mut draws: Vec<_> = draws.into_iter().map(|draw| draw.said.into_iter()).collect();
    let of_job = |_| {
        let said: Vec<Said<E>> = draws.iter_mut().filter_map(Iterator::next).collect();
        let output = |Said { combined, calls }| {
            Ok(InferenceOutput { values: Combined::values(combined), calls })
        };
        InferenceOutput::mean(said.into_iter().map(output))
    };
    (0..jobs).map(of_job).collect()
}

/// A job after a block.
struct Passed<E> {
    z: Vec<E>,
    /// Where the streams of noise of its rows are.
    places: Vec<u128>,
    /// What becomes part of the answer, if it does.
    part: Option<Vec<E>>,
    rows: usize,
}

/// What a stage adds to the answers to some jobs.
fn parts_of<E: Real>(
    stage: &Stage,
    item: &Item<'_, E>,
    passed: Vec<Passed<E>>,
    calls: usize,
) -> Vec<AnswerPart<E>> {
    let part = |(Passed { part, rows, .. }, job): (Passed<E>, &usize)| {
        let calls = if stage.after.is_none() { rows * calls } else { 0 };
        Some(AnswerPart { place: [*job, item.draw, stage.k], values: part?, calls })
    };
    passed.into_iter().zip(item.jobs).filter_map(part).collect()
}

/// The mean over the draws of each job.
fn mean_of_draws<E: Real>(
    all: Vec<AnswerPart<E>>,
    jobs: &[usize],
    draws: usize,
    combination: Combination,
) -> Result<Vec<InferenceOutput<E>>, Error> {
    let mut all = all.into_iter().peekable();
    let parts = jobs.iter().map(|&job| {
        let draws = (0..draws).map(|draw| {
            let (mut estimates, mut calls) = (Vec::new(), 0);
            while let Some(part) = all.next_if(|part| [part.place[0], part.place[1]] == [job, draw])
            {
                estimates.push(part.values);
                calls += part.calls;
            }
            Ok(InferenceOutput { values: combination.combined(estimates), calls })
        });
        InferenceOutput::mean(draws)
    });
    parts.collect()
}
