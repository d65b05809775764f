//! Early exit: each row stops once its answer is sure enough, and the rows that go on are packed
//! together, so that the time falls with the calls.

use std::time::{Duration, Instant};

use super::{
    Asked, Combination, InferenceOutput, InferenceRequest, InputRows, JOB, JobRows,
    chain::Route,
    device_of,
    field::{FieldWay, Outlook},
    opinions::mean_with,
    rollout::{Begin, Way},
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    head::{Head, most_probable},
    variant::{Inference, Sampler},
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
    /// What the first call says of each row, `[rows, C]`.
    pub(super) first: Vec<E>,
    /// Which rows were not sure then, counted from 0.
    pub(super) unsure: Vec<usize>,
    /// What the other calls say of these, one call after the other, `[calls, unsure, C]`.
    pub(super) more: Vec<Vec<E>>,
    /// Where z of these is at the end of the leg, `[unsure, Z]`.
    pub(super) z: Vec<E>,
}

/// Whether a row is sure, after something more was heard of it; the last argument is a place for an
/// answer.
pub(super) type Sure<'a, E> = &'a (dyn Fn(usize, &[E], &mut [E]) -> bool + Sync);

/// A way from noise to target in legs.
enum Legs<'a, E: Real, D: Host<E>> {
    Blocks { way: Way<'a, E>, moving: Vec<usize> },
    Field(Box<FieldWay<'a, E, D>>),
}

/// The rows that go on.
struct Going<E> {
    rows: Vec<usize>,
    /// `[rows, Z]`.
    z: Vec<E>,
}

impl<E: Real> Going<E> {
    /// The rows of each job, with their z.
    fn jobs(&self, latent: usize) -> Vec<(&[usize], &[E])> {
        self.rows.chunks(JOB).zip(self.z.chunks(JOB * latent)).collect()
    }
}

/// What was heard of all rows so far.
struct Heard<E> {
    combination: Combination,
    classes: usize,
    temperature: f64,
    confidence: f64,
    /// The answer of each row before the temperature, `[rows, C]`.
    answers: Vec<E>,
    /// How much was heard of each row, and after how many calls.
    opinions: Vec<usize>,
    calls: Vec<usize>,
}

impl<E: Real> Heard<E> {
    /// The answer of a row.
    fn answer(&self, row: usize) -> &[E] {
        &self.answers[row * self.classes..][..self.classes]
    }

    /// The answer of a row with one more opinion, in place of `answer`.
    fn with(&self, row: usize, opinion: &[E], answer: &mut [E]) {
        answer.copy_from_slice(opinion);
        if self.combination == Combination::Mean {
            let count = self.opinions[row] + 1;
            let before = self.answer(row).iter();
            let means = answer.iter_mut().zip(before);
            means.for_each(|(answer, mean)| *answer = mean_with(*mean, count, *answer));
        }
    }

    fn add(&mut self, row: usize, opinion: &[E], calls: usize, scratch: &mut [E]) {
        self.with(row, opinion, scratch);
        self.answers[row * self.classes..][..self.classes].copy_from_slice(scratch);
        self.opinions[row] += 1;
        self.calls[row] += calls;
    }

    /// Whether a row would be sure with one more opinion.
    fn is_sure(&self, row: usize, opinion: &[E], scratch: &mut [E]) -> bool {
        self.with(row, opinion, scratch);
        self.confidence_of(scratch) >= self.confidence
    }

    /// The largest probability at the temperature.
    fn confidence_of(&self, answer: &[E]) -> f64 {
        let most = answer.iter().fold(E::zero(), |most, p| if *p > most { *p } else { most });
        if self.temperature == 1.0 {
            return most.as_f64();
        }
        let power =
            |p: &E| (p.as_f64() / most.as_f64()).max(f64::MIN_POSITIVE).ln() / self.temperature;
        1.0 / answer.iter().map(|p| power(p).exp()).sum::<f64>()
    }

    /// Of the rows that go on the `count` that are least sure, in their order.
    fn keep_least_sure(&self, going: &mut Going<E>, count: usize) {
        if going.rows.len() <= count {
            return;
        }
        let confidence = |row: usize| self.confidence_of(self.answer(row));
        let mut kept: Vec<(f64, usize)> =
            going.rows.iter().enumerate().map(|(i, row)| (confidence(*row), i)).collect();
        kept.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut kept: Vec<usize> = kept[..count].iter().map(|(_, i)| *i).collect();
        kept.sort_unstable();
        let width = going.z.len() / going.rows.len();
        going.z = crate::data::select_wide(&going.z, width, &kept);
        going.rows = kept.iter().map(|i| going.rows[*i]).collect();
    }
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
        let mut heard = Heard {
            combination,
            classes: reading.outputs,
            temperature: self.calibration.temperature.unwrap_or(1.0),
            confidence: until.confidence,
            answers: vec![E::zero(); count * reading.outputs],
            opinions: vec![0; count],
            calls: vec![0; count],
        };
        let start = Instant::now();
        let z = vec![E::zero(); count * reading.latent];
        let mut going = Going { rows: (0..count).collect(), z };
        let (mut spent, last, each) = (0, legs.count(), legs.calls_of_opinion());
        let mut scratch = vec![E::zero(); reading.outputs];
        for k in 0..last {
            let mut left = Going { rows: Vec::new(), z: Vec::new() };
            let jobs = going.rows.chunks(JOB);
            for (rows, leg) in jobs.zip(self.leg(&legs, k, &going, &heard)?) {
                for (row, opinion) in rows.iter().zip(leg.first.chunks_exact(reading.outputs)) {
                    heard.add(*row, opinion, each, &mut scratch);
                    spent += each;
                }
                for said in &leg.more {
                    for (i, opinion) in leg.unsure.iter().zip(said.chunks_exact(reading.outputs)) {
                        heard.add(rows[*i], opinion, each, &mut scratch);
                        spent += each;
                    }
                }
                left.rows.extend(leg.unsure.iter().map(|i| rows[*i]));
                left.z.extend(leg.z);
            }
            going = left;
            if k + 1 == last {
                break;
            }
            if until.time.is_some_and(|time| start.elapsed() >= time) {
                going = Going { rows: Vec::new(), z: Vec::new() };
            }
            if let Some(calls) = until.calls {
                let each = legs.calls(k + 1, last);
                heard.keep_least_sure(&mut going, calls.saturating_sub(spent) / each);
            }
        }
        if let (Legs::Field(field), Combination::Last) = (&legs, combination) {
            self.ends(field, &going, &mut heard)?;
        }
        let calls = heard.calls.iter().sum();
        let mut output = InferenceOutput { values: heard.answers, calls };
        self.temper(&mut output);
        self.check_finite(operation, &output)?;
        Ok(EarlyOutput { probabilities: output.values, calls: heard.calls })
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
        match Route::of(self.process) {
            Route::Chain(chain) => {
                if let Sampler::Stochastic { .. } = chain.sampler() {
                    let expected = "`Sampler::Deterministic`: call `set_sampler` with it";
                    return Err(Error::argument(operation, expected, "`Sampler::Stochastic`"));
                }
                let way = Way::new(self, chain, embedding, Combination::Last);
                Ok(Legs::Blocks { way, moving: chain.moving() })
            }
            Route::Field(field) => match field.inference() {
                Inference::Ode(solver) => {
                    let way = FieldWay::new(operation, self, field, solver, embedding)?;
                    Ok(Legs::Field(Box::new(way)))
                }
                Inference::Sde { .. } => {
                    let expected = "`Inference::Ode`: call `set_inference` with it";
                    Err(Error::argument(operation, expected, "`Inference::Sde`"))
                }
            },
        }
    }

    /// One more leg for the rows that go on, in jobs.
    fn leg(
        &self,
        legs: &Legs<'_, E, D>,
        k: usize,
        going: &Going<E>,
        heard: &Heard<E>,
    ) -> Result<Vec<Leg<E>>, Error> {
        let latent = self.process.reading().latent;
        let (jobs, all_inputs) = (going.jobs(latent), self.inputs);
        let own = match legs {
            Legs::Blocks { moving, .. } => moving[k] - 1,
            Legs::Field(_) => 0,
        };
        let block = self.held(own)?;
        let parts = D::map(&[&*block], jobs.len(), &|blocks: &[&D::Block], job| {
            let (block, (rows, z)) = (blocks[0], jobs[job]);
            let sure = |i: usize, opinion: &[E], scratch: &mut [E]| {
                heard.is_sure(rows[i], opinion, scratch)
            };
            let inputs = packed(all_inputs, rows);
            match legs {
                Legs::Blocks { way, .. } => {
                    let rollout = way.start(device_of::<E, D>(block), &inputs, Begin::Zero)?;
                    let mut rollout = way.go_on(rollout, z.to_vec(), 0, None)?;
                    rollout.pass(way, block)?;
                    let first = rollout.answer(way)?;
                    let unsure = unsure(&first, heard.classes, &sure);
                    let z = crate::data::select_wide(&rollout.z.as_vec(), latent, &unsure);
                    Ok(Leg { first, unsure, more: Vec::new(), z })
                }
                Legs::Field(field) => {
                    field.leg(block, k, Outlook { inputs: &inputs, z, sure: &sure })
                }
            }
        });
        parts.into_iter().collect()
    }

    /// The answers of the rows that have come to the end of integration.
    fn ends(
        &self,
        field: &FieldWay<'_, E, D>,
        going: &Going<E>,
        heard: &mut Heard<E>,
    ) -> Result<(), Error> {
        let (jobs, all_inputs) = (going.jobs(self.process.reading().latent), self.inputs);
        let parts = D::map(&self.blocks, jobs.len(), &|blocks: &[&D::Block], job| {
            let (rows, z) = jobs[job];
            field.end(blocks[0], &packed(all_inputs, rows), z.to_vec())
        });
        let mut scratch = vec![E::zero(); heard.classes];
        for ((rows, _), part) in jobs.iter().zip(parts) {
            let (found, calls) = part?;
            for (row, found) in rows.iter().zip(found.chunks_exact(heard.classes)) {
                heard.add(*row, found, calls, &mut scratch);
            }
        }
        Ok(())
    }
}

/// Which rows are not sure after what was said of each, `[rows, C]`.
pub(super) fn unsure<E: Real>(said: &[E], classes: usize, sure: Sure<'_, E>) -> Vec<usize> {
    let mut scratch = vec![E::zero(); classes];
    let rows = said.chunks_exact(classes).enumerate();
    rows.filter(|(i, said)| !sure(*i, said, &mut scratch)).map(|(i, _)| i).collect()
}

/// The inputs of the rows that go on, one after the other.
fn packed<'a, E: Real>(inputs: InputRows<'a, E>, rows: &[usize]) -> JobRows<'a, E> {
    let InputRows { numbers, width, .. } = inputs;
    let first = rows.first().copied().unwrap_or_default();
    // Rows that follow each other need not be copied.
    let numbers = match rows.last() {
        Some(last) if last - first + 1 == rows.len() => {
            numbers[first * width..(last + 1) * width].into()
        }
        _ => crate::data::select_wide(numbers, width, rows).into(),
    };
    JobRows::once(rows.len(), numbers)
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
