//! Early exit: each row stops once its answer is sure enough, and the rows that go on are packed
//! together, so that the time falls with the calls.

use std::time::{Duration, Instant};

use super::{
    Asked, Combination, InferenceOutput, InferenceRequest, InputRows, JOB, JobRows,
    chain::Chain,
    device_of,
    field::{FieldWay, Outlook},
    opinions::RunningMean,
    rollout::Way,
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    head::{Head, most_probable},
    variant::{Inference, Sampler, Transition},
};

/// When a row stops on its way from noise to target, by
/// [`predict_until`](crate::NoProp::predict_until).
///
/// ```
/// use dfdx_noprop::Until;
/// use std::time::Duration;
///
/// let until = Until { time: Some(Duration::from_millis(20)), ..Until::from(0.95) };
/// assert_eq!((until.confidence, until.calls), (0.95, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Until {
    /// τ: a row stops after the call after which its most probable class has at least this
    /// probability. From 0 (after the first call) to 1 (hardly ever before the last).
    pub confidence: f64,
    /// How many calls of a network there are for all rows together, at least one for each; where
    /// they do not suffice, those rows go on that are least sure. `None` for as many as it takes.
    pub calls: Option<usize>,
    /// After which time no row goes on; each is called once in any case. `None` for as long as it
    /// takes.
    pub time: Option<Duration>,
}

impl From<f64> for Until {
    /// Until this confidence, with as many calls and as much time as it takes.
    fn from(confidence: f64) -> Self {
        Self { confidence, calls: None, time: None }
    }
}

impl Until {
    fn check(&self, operation: &'static str, rows: usize) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.confidence) {
            let expected = "a confidence from 0 to 1";
            return Err(Error::argument(operation, expected, self.confidence));
        }
        match self.calls {
            Some(calls) if calls < rows => {
                let expected = format!("a budget of {rows} calls or more, one for each row");
                Err(Error::argument(operation, expected, calls))
            }
            _ => Ok(()),
        }
    }
}

/// A row's answer, as early as it was sure enough, by
/// [`predict_until`](crate::NoProp::predict_until).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EarlyAnswer<P> {
    /// The most probable class.
    pub class: u32,
    /// The probability of each class.
    pub probabilities: P,
    /// After how many calls of a network.
    pub calls: usize,
}

impl<P> EarlyAnswer<P> {
    /// Those of each row.
    pub(crate) fn all<H, const Z: usize, E>(found: EarlyOutput<E>) -> Vec<Self>
    where
        H: Head<Z, E, Row = P>,
        E: Real,
    {
        let classes = most_probable(H::reading().outputs, &found.probabilities);
        let rows = H::rows(&found.probabilities).into_iter().zip(classes).zip(found.calls);
        let one = |((probabilities, class), calls)| Self { class, probabilities, calls };
        rows.map(one).collect()
    }
}

/// Answers that came early, or not.
#[derive(Clone, Debug)]
pub struct EarlyOutput<E> {
    /// `[rows, C]`.
    pub(crate) probabilities: Vec<E>,
    /// After how many calls, for each row.
    pub(crate) calls: Vec<usize>,
}

/// What one more leg of the way has brought some rows: those that were not sure after its first
/// call have come to its end.
pub(super) struct Leg<E> {
    /// For each row what its calls have said, one after the other, `[calls, C]`.
    pub(super) heard: Vec<Vec<E>>,
    /// For each row where z is at the end of the leg; `None` for a row that was sure.
    pub(super) z: Vec<Option<Vec<E>>>,
}

/// Whether a row is sure, after something more was heard of it.
pub(super) type Sure<'a, E> = &'a (dyn Fn(usize, &[E]) -> bool + Sync);

/// A way from noise to target in legs.
enum Legs<'a, E: Real, D: Host<E>> {
    Blocks { way: Way<'a, E>, moving: Vec<usize> },
    Field(FieldWay<'a, E, D>),
}

/// The rows on their way.
struct Rows<E> {
    combination: Combination,
    classes: usize,
    temperature: f64,
    confidence: f64,
    /// Of each row, what was heard so far.
    heard: Vec<RunningMean<E>>,
    calls: Vec<usize>,
}

impl<E: Real> Rows<E> {
    /// The answer of a row, if this is what was heard of it last.
    fn answer(&self, mean: &RunningMean<E>, last: &[E]) -> Vec<E> {
        let values = match self.combination {
            Combination::Mean => mean.values.clone(),
            _ => last.to_vec(),
        };
        let mut output = InferenceOutput { values, calls: 0 };
        if self.temperature != 1.0 {
            output.at_temperature(self.classes, self.temperature);
        }
        output.values
    }

    /// Whether a row would be sure.
    fn is_sure(&self, row: usize, opinion: &[E]) -> bool {
        let mut mean = self.heard[row].clone();
        mean.add(opinion);
        confidence(&self.answer(&mean, opinion)) >= self.confidence
    }
}

/// The largest probability.
fn confidence<E: Real>(probabilities: &[E]) -> f64 {
    probabilities.iter().map(|p| p.as_f64()).fold(0.0, f64::max)
}

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// The probabilities of the classes for all rows, each as soon as it is sure enough.
    pub(crate) fn answers_until(
        &self,
        operation: &'static str,
        until: Until,
    ) -> Result<EarlyOutput<E>, Error> {
        let (count, reading) = (self.inputs.rows(), self.process.reading());
        until.check(operation, count)?;
        let embedding = self.embedding.numbers();
        let legs = self.legs(operation, &embedding)?;
        let combination = Combination::of(self.process, InferenceRequest::Answer);
        let mut rows = Rows {
            combination,
            classes: reading.outputs,
            temperature: self.calibration.temperature.unwrap_or(1.0),
            confidence: until.confidence,
            heard: vec![RunningMean::default(); count],
            calls: vec![0; count],
        };
        let start = Instant::now();
        let mut answers: Vec<Vec<E>> = vec![Vec::new(); count];
        let mut going: Vec<(usize, Vec<E>)> =
            (0..count).map(|row| (row, vec![E::zero(); reading.latent])).collect();
        let (mut spent, last) = (0, legs.count());
        for k in 0..last {
            let found = self.leg(&legs, k, &going, &rows)?;
            let mut left = Vec::new();
            for ((row, _), (heard, z)) in going.iter().zip(found.heard.into_iter().zip(found.z)) {
                let mut opinion: &[E] = &[];
                for one in heard.chunks_exact(reading.outputs) {
                    rows.heard[*row].add(one);
                    opinion = one;
                    rows.calls[*row] += legs.calls_of_opinion();
                    spent += legs.calls_of_opinion();
                }
                answers[*row] = rows.answer(&rows.heard[*row], opinion);
                left.extend(z.map(|z| (*row, z)));
            }
            going = left;
            if k + 1 == last {
                break;
            }
            if until.time.is_some_and(|time| start.elapsed() >= time) {
                going.clear();
            }
            if let Some(calls) = until.calls {
                let each = legs.calls(k + 1, last);
                keep_least_sure(&mut going, calls.saturating_sub(spent) / each, &answers);
            }
        }
        if let (Legs::Field(field), Combination::Last) = (&legs, combination) {
            self.ends(field, &going, &mut rows, &mut answers)?;
        }
        let output = InferenceOutput { values: answers.concat(), calls: rows.calls.iter().sum() };
        self.check_finite(operation, &output)?;
        Ok(EarlyOutput { probabilities: output.values, calls: rows.calls })
    }

    /// The way in legs; it has to be the same for all rows.
    fn legs<'s>(
        &'s self,
        operation: &'static str,
        embedding: &'s [E],
    ) -> Result<Legs<'s, E, D>, Error> {
        if let Some(communicator) = &self.ranks.communicator {
            let expected = "a trainer in one process, or a predictor of it";
            let found = format!("one rank of {}", communicator.ranks());
            return Err(Error::argument(operation, expected, found));
        }
        match self.process.transition() {
            Transition::Blocks(discrete) => {
                self.chain(operation, Chain::Discrete(discrete), embedding)
            }
            Transition::Denoiser(denoiser) => {
                self.chain(operation, Chain::Denoiser(denoiser), embedding)
            }
            Transition::Field(field) => match field.inference() {
                Inference::Ode(solver) => {
                    FieldWay::new(operation, self, field, solver, embedding).map(Legs::Field)
                }
                Inference::Sde { .. } => {
                    let expected = "`Inference::Ode`: call `set_inference` with it";
                    Err(Error::argument(operation, expected, "`Inference::Sde`"))
                }
            },
        }
    }

    /// Through blocks.
    fn chain<'s>(
        &'s self,
        operation: &'static str,
        chain: Chain<'s>,
        embedding: &'s [E],
    ) -> Result<Legs<'s, E, D>, Error> {
        if let Sampler::Stochastic { .. } = chain.sampler() {
            let expected = "`Sampler::Deterministic`: call `set_sampler` with it";
            return Err(Error::argument(operation, expected, "`Sampler::Stochastic`"));
        }
        let way = Way::new(self, chain, embedding, Combination::Last);
        Ok(Legs::Blocks { way, moving: chain.moving() })
    }

    /// One more leg for the rows that go on.
    fn leg(
        &self,
        legs: &Legs<'_, E, D>,
        k: usize,
        going: &[(usize, Vec<E>)],
        rows: &Rows<E>,
    ) -> Result<Leg<E>, Error> {
        let jobs: Vec<&[(usize, Vec<E>)]> = going.chunks(JOB).collect();
        let all_inputs = self.inputs;
        let parts = D::map(&self.blocks, jobs.len(), &|blocks: &[&D::Block], job| {
            let going = jobs[job];
            let sure = |i: usize, opinion: &[E]| rows.is_sure(going[i].0, opinion);
            let inputs = packed(all_inputs, going);
            let z: Vec<E> = going.iter().flat_map(|(_, z)| z).copied().collect();
            match legs {
                Legs::Blocks { way, moving } => {
                    let block = blocks[moving[k] - 1];
                    let rollout = way.start(device_of::<E, D>(block), &inputs, None)?;
                    let mut rollout = way.go_on(rollout, z, 0)?;
                    rollout.pass(way, block)?;
                    let (classes, latent) = (rows.classes, rollout.latent());
                    let heard = rollout.answer(way)?;
                    let heard: Vec<Vec<E>> = heard.chunks(classes).map(<[E]>::to_vec).collect();
                    let after = rollout.z.as_vec();
                    let after = heard.iter().zip(after.chunks(latent)).enumerate();
                    let z = after.map(|(i, (heard, z))| (!sure(i, heard)).then(|| z.to_vec()));
                    let z = z.collect();
                    Ok(Leg { heard, z })
                }
                Legs::Field(field) => {
                    field.leg(blocks[0], k, Outlook { inputs: &inputs, z: &z, sure: &sure })
                }
            }
        });
        let mut all = Leg { heard: Vec::new(), z: Vec::new() };
        for part in parts {
            let Leg { heard, z } = part?;
            all.heard.extend(heard);
            all.z.extend(z);
        }
        Ok(all)
    }

    /// The answers of the rows that have come to the end of integration.
    fn ends(
        &self,
        field: &FieldWay<'_, E, D>,
        going: &[(usize, Vec<E>)],
        rows: &mut Rows<E>,
        answers: &mut [Vec<E>],
    ) -> Result<(), Error> {
        let jobs: Vec<&[(usize, Vec<E>)]> = going.chunks(JOB).collect();
        let all_inputs = self.inputs;
        let parts = D::map(&self.blocks, jobs.len(), &|blocks: &[&D::Block], job| {
            let z: Vec<E> = jobs[job].iter().flat_map(|(_, z)| z).copied().collect();
            field.end(blocks[0], &packed(all_inputs, jobs[job]), z)
        });
        for (going, part) in jobs.iter().zip(parts) {
            let (found, calls) = part?;
            for ((row, _), found) in going.iter().zip(found.chunks(rows.classes)) {
                rows.calls[*row] += calls;
                answers[*row] = rows.answer(&rows.heard[*row], found);
            }
        }
        Ok(())
    }
}

/// The inputs of the rows that go on, one after the other.
fn packed<E: Real>(inputs: InputRows<'_, E>, going: &[(usize, Vec<E>)]) -> JobRows<'static, E> {
    let picked: Vec<usize> = going.iter().map(|(row, _)| *row).collect();
    let numbers = crate::data::select_wide(inputs.numbers, inputs.width, &picked).into();
    JobRows { first: 0, rows: going.len(), draws: 1, numbers }
}

impl<E: Real, D: Host<E>> Legs<'_, E, D> {
    fn count(&self) -> usize {
        match self {
            Self::Blocks { moving, .. } => moving.len(),
            Self::Field(field) => field.steps(),
        }
    }

    /// How often a network is called for a row until it says something.
    fn calls_of_opinion(&self) -> usize {
        match self {
            Self::Blocks { way, .. } => way.chain.calls(),
            Self::Field(_) => 1,
        }
    }

    /// How often leg k calls a network for a row, at most.
    fn calls(&self, k: usize, count: usize) -> usize {
        match self {
            Self::Blocks { way, .. } => way.chain.calls(),
            Self::Field(field) => field.calls(k + 1 == count),
        }
    }
}

/// Of the rows that go on the `count` that are least sure, in their order.
fn keep_least_sure<E: Real>(going: &mut Vec<(usize, Vec<E>)>, count: usize, answers: &[Vec<E>]) {
    if going.len() <= count {
        return;
    }
    going.sort_by(|(a, _), (b, _)| {
        confidence(&answers[*a]).total_cmp(&confidence(&answers[*b])).then(a.cmp(b))
    });
    going.truncate(count);
    going.sort_by_key(|(row, _)| *row);
}
