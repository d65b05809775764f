//! From noise to answer.

mod chain;
mod denoise;
mod evaluate;
mod field;
mod nodes;
mod opinions;
mod pipeline;
mod quantiles;
mod rollout;
mod until;
mod widths;

use std::borrow::Cow;

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use chain::Route;
pub(crate) use field::trajectory;
#[cfg(feature = "onnx")]
pub(crate) use nodes::{STARTS, starts};
pub(crate) use opinions::Combination;
pub(crate) use quantiles::{DRAWS, DRAWS_SEED, ends};
#[cfg(feature = "onnx")]
pub(crate) use rollout::passed;
pub use until::{EarlyAnswer, EarlyOutput, Until};

use crate::{
    block::{AnyBlock, Embedding, Held, Host, averaged, held},
    device::{Backend, Matrix, Real},
    error::Error,
    model::{Calibration, Model, Ranks},
    random::{Purpose, stream},
    schedule::LearnedGamma,
    variant::ReverseProcess,
};

/// What inference is asked for.
#[derive(Clone, Copy, Debug)]
pub enum InferenceRequest {
    /// The answer, `[rows, Out]`.
    Answer,
    /// A draw of the final latent, `[rows, Z]`, with this seed.
    Sample(u64),
    /// The answers at all points of the way, `[points, rows, Out]`.
    Along,
}

/// What inference answers.
#[derive(Clone, Debug, Default)]
pub struct InferenceOutput<E> {
    /// Row-major.
    pub(crate) values: Vec<E>,
    /// How often a network was called for a row, summed over the rows.
    pub(crate) calls: usize,
}

/// The answers at one point of the way from noise to target.
pub struct PointOutput<E> {
    /// From 0 (noise) to 1 (target).
    pub(crate) t: f64,
    pub(crate) output: InferenceOutput<E>,
}

/// A model with its blocks and its ranks, to be asked.
pub struct Asked<'a, E: Real, D: Backend<E>> {
    pub(crate) process: &'a dyn ReverseProcess<E, D>,
    pub(crate) embedding: &'a Embedding<E, D>,
    /// γ(t), where it is trained.
    pub(crate) learned: Option<&'a LearnedGamma<E, D>>,
    pub(crate) calibration: &'a Calibration,
    /// Those of this rank.
    pub(crate) blocks: Vec<&'a D::Block>,
    /// Whether their moving averages are meant instead of their weights.
    pub(crate) averages: bool,
    pub(crate) ranks: &'a Ranks,
    pub(crate) inputs: InputRows<'a, E>,
}

/// The inputs of an inference.
#[derive(Clone, Copy, Debug)]
pub struct InputRows<'a, E> {
    /// Row-major.
    pub(crate) numbers: &'a [E],
    /// X.
    pub(crate) width: usize,
    /// How often each row is asked about, one time after the other, with noise of its own.
    pub(crate) draws: usize,
}

impl<'a, E: Real, D: Backend<E>> Asked<'a, E, D> {
    /// A model that is trained, with those of its blocks that are here.
    pub(crate) fn new(
        model: &'a Model<E, D>,
        blocks: Vec<&'a D::Block>,
        ranks: &'a Ranks,
        inputs: InputRows<'a, E>,
    ) -> Self {
        let (process, learned) = (&*model.objective as &dyn ReverseProcess<E, D>, model.learned());
        let (embedding, calibration) = (&model.embedding, &model.calibration);
        let averages = false;
        Self { process, embedding, learned, calibration, blocks, averages, ranks, inputs }
    }
}

/// Rows that go through inference together.
const JOB: usize = 256;

impl<'a, E> InputRows<'a, E> {
    /// Each row once.
    pub(crate) fn new(numbers: &'a [E], width: usize) -> Self {
        Self { numbers, width, draws: 1 }
    }

    /// How many rows there are, each as often as it is asked about.
    pub(crate) fn rows(self) -> usize {
        self.numbers.len() / self.width.max(1) * self.draws
    }

    /// In how many parts the rows go through inference.
    fn jobs(self) -> usize {
        self.rows().div_ceil(JOB)
    }

    /// The rows of a job.
    fn of_job(self, job: usize) -> JobRows<'a, E>
    where
        E: Real,
    {
        let (first, width) = (job * JOB, self.width);
        let end = self.rows().min(first + JOB);
        let numbers = match self.draws {
            1 => self.numbers[first * width..end * width].into(),
            draws => (first..end)
                .flat_map(|i| &self.numbers[i / draws * width..][..width])
                .copied()
                .collect(),
        };
        JobRows { first, rows: end - first, draws: self.draws, numbers }
    }
}

/// `count` of `rows` rows, evenly spread.
fn spread(rows: usize, count: usize) -> Vec<usize> {
    (0..count).map(|i| i * rows / count).collect()
}

/// The rows of a job.
struct JobRows<'a, E: Real> {
    /// The number of the first of them, where each counts as often as it is asked about.
    first: usize,
    rows: usize,
    draws: usize,
    /// Row-major.
    numbers: Cow<'a, [E]>,
}

impl<'a, E: Real> JobRows<'a, E> {
    /// Rows that are asked about once each, and need no noise.
    fn once(rows: usize, numbers: Cow<'a, [E]>) -> Self {
        Self { first: 0, rows, draws: 1, numbers }
    }

    /// X.
    fn width(&self) -> usize {
        self.numbers.len() / self.rows.max(1)
    }

    /// x on a device.
    fn on<D: Host<E>>(&self, device: &D) -> Result<Matrix<E, D>, Error> {
        on_device(device, self.numbers.to_vec(), (self.rows, self.width()))
    }

    /// The streams of the noise of each row, for the draw of this number: they depend on the row's
    /// place, whatever job it is in.
    fn streams(&self, seed: u64, number: usize) -> Vec<ChaCha8Rng> {
        let one = |i: usize| {
            let (row, draw) = (i / self.draws, number + i % self.draws);
            stream(seed, Purpose::Inference, row as u64, draw as u64)
        };
        (self.first..self.first + self.rows).map(one).collect()
    }
}

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// One of the blocks, in memory.
    pub(crate) fn held(&self, i: usize) -> Result<Held<'_, E, D>, Error> {
        match self.averages {
            true => averaged::<E, D>(self.blocks[i]).map(Held::Copy),
            false => held::<E, D>(self.blocks[i]),
        }
    }

    /// Whether blocks have to be taken to memory one at a time.
    fn streams(&self) -> bool {
        self.averages || self.blocks.iter().any(|block| block.state().away.is_some())
    }

    /// The answers to all rows.
    pub(crate) fn infer(&self, request: InferenceRequest) -> Result<InferenceOutput<E>, Error> {
        let mut output = InferenceOutput::collect(self.parts(request)?);
        if matches!(request, InferenceRequest::Answer) {
            self.temper(&mut output);
        }
        Ok(output)
    }

    /// Probabilities at the temperature that was measured, where one was.
    fn temper(&self, output: &mut InferenceOutput<E>) {
        let reading = self.process.reading();
        if let Some(temperature) = self.calibration.temperature.filter(|_| reading.has_classes()) {
            output.at_temperature(reading.outputs, temperature);
        }
    }

    /// The answers at the points of the way from noise to target; none where these depend on the
    /// rows.
    pub(crate) fn along(&self) -> Result<Vec<PointOutput<E>>, Error> {
        let points: Vec<Point> = match Route::of(self.process) {
            Route::Chain(chain) => rollout::points(chain),
            Route::Field(field) => field::points(self, field),
        };
        if points.is_empty() {
            return Ok(Vec::new());
        }
        let parts = self.parts(InferenceRequest::Along)?;
        let mut along = InferenceOutput::along(parts, &points, self.inputs.rows());
        along.iter_mut().for_each(|point| self.temper(&mut point.output));
        Ok(along)
    }

    /// The answers for some rows at a time.
    fn parts(&self, request: InferenceRequest) -> Result<Vec<InferenceOutput<E>>, Error> {
        match Route::of(self.process) {
            Route::Chain(chain) if self.ranks.communicator.is_some() || self.streams() => {
                pipeline::parts(self, chain, request)
            }
            Route::Chain(chain) => {
                self.blocks.iter().try_for_each(|block| block.build())?;
                rollout::parts(self, chain, request)
            }
            Route::Field(field) => field::parts(self, field, request),
        }
    }
}

/// A point of the way from noise to target.
struct Point {
    t: f64,
    /// How often a network was called for a row up to there.
    calls: usize,
}

impl<E: Real> InferenceOutput<E> {
    /// The mean of several draws for the same rows.
    fn mean(draws: impl ExactSizeIterator<Item = Result<Self, Error>>) -> Result<Self, Error> {
        let share = E::of(1.0 / draws.len().max(1) as f64);
        let mut mean = Self { values: Vec::new(), calls: 0 };
        for draw in draws {
            let draw = draw?;
            mean.values.resize(draw.values.len(), E::zero());
            mean.calls += draw.calls;
            mean.values.iter_mut().zip(draw.values).for_each(|(mean, v)| *mean += share * v);
        }
        Ok(mean)
    }

    /// The answers at each of `points`, from those of some rows at a time, `[points, rows, Out]`.
    fn along(parts: Vec<Self>, points: &[Point], rows: usize) -> Vec<PointOutput<E>> {
        let empty = |point: &Point| PointOutput {
            t: point.t,
            output: Self { values: Vec::new(), calls: point.calls * rows },
        };
        let mut all: Vec<_> = points.iter().map(empty).collect();
        for part in parts {
            let values = part.values;
            let each = values.len() / points.len().max(1);
            for (point, part) in all.iter_mut().zip(values.chunks_exact(each.max(1))) {
                point.output.values.extend_from_slice(part);
            }
        }
        all
    }

    /// The parts of an answer, put together.
    fn collect(parts: Vec<Self>) -> Self {
        let mut all = Self { values: Vec::new(), calls: 0 };
        for part in parts {
            all.values.extend(part.values);
            all.calls += part.calls;
        }
        all
    }
}

/// A row-major buffer on the device.
fn on_device<S: Shape, E: Real, D: Host<E>>(
    device: &D,
    values: Vec<E>,
    shape: S,
) -> Result<Tensor<S, E, D>, Error> {
    device.try_tensor_from_vec(values, shape).map_err(failed())
}

/// [`Error::Argument`] for no draws at all.
pub(crate) fn check_draws(operation: &'static str, draws: usize) -> Result<(), Error> {
    match draws {
        0 => Err(Error::argument(operation, "at least one draw", 0)),
        _ => Ok(()),
    }
}

fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("inference")
}

/// The device of a block.
fn device_of<E: Real, D: Host<E>>(block: &D::Block) -> &D {
    &block.state().device
}
