//! From noise to answer.

mod chain;
mod denoise;
mod evaluate;
mod field;
mod pipeline;
mod rollout;

use dfdx::prelude::*;

use chain::Chain;
pub(crate) use field::trajectory;

use crate::{
    block::{AnyBlock, Embedding, Host},
    device::{Backend, Real},
    error::Error,
    model::{Model, Ranks},
    schedule::LearnedGamma,
    variant::{ReverseProcess, Transition},
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
    /// Those of this rank.
    pub(crate) blocks: Vec<&'a D::Block>,
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
        Self { process, embedding: &model.embedding, learned, blocks, ranks, inputs }
    }
}

/// Rows that go through inference together.
const JOB: usize = 256;

impl<'a, E> InputRows<'a, E> {
    /// How many rows there are.
    pub(crate) fn rows(self) -> usize {
        self.numbers.len() / self.width.max(1)
    }

    /// In how many parts the rows go through inference.
    fn jobs(self) -> usize {
        self.rows().div_ceil(JOB)
    }

    /// The rows of a job.
    fn of_job(self, job: usize) -> JobRows<'a, E> {
        let (first, width) = (job * JOB, self.width);
        let end = self.numbers.len().min((first + JOB) * width);
        JobRows { first, rows: Self { numbers: &self.numbers[first * width..end], width } }
    }
}

/// The rows of a job, and the number of the first of them.
#[derive(Clone, Copy)]
struct JobRows<'a, E> {
    first: usize,
    rows: InputRows<'a, E>,
}

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// The answers to all rows.
    pub(crate) fn infer(&self, request: InferenceRequest) -> Result<InferenceOutput<E>, Error> {
        Ok(InferenceOutput::collect(self.parts(request)?))
    }

    /// The answers at the points of the way from noise to target; none where these depend on the
    /// rows.
    pub(crate) fn along(&self) -> Result<Vec<PointOutput<E>>, Error> {
        let points: Vec<Point> = match self.process.transition() {
            Transition::Blocks(discrete) => rollout::points(Chain::Discrete(discrete)),
            Transition::Denoiser(denoiser) => rollout::points(Chain::Denoiser(denoiser)),
            Transition::Field(field) => field::points(field),
        };
        if points.is_empty() {
            return Ok(Vec::new());
        }
        Ok(InferenceOutput::along(
            self.parts(InferenceRequest::Along)?,
            &points,
            self.inputs.rows(),
        ))
    }

    /// The answers for some rows at a time.
    fn parts(&self, request: InferenceRequest) -> Result<Vec<InferenceOutput<E>>, Error> {
        let chain = match self.process.transition() {
            Transition::Blocks(discrete) => Chain::Discrete(discrete),
            Transition::Denoiser(denoiser) => Chain::Denoiser(denoiser),
            Transition::Field(field) => return field::parts(self, field, request),
        };
        match &self.ranks.communicator {
            Some(communicator) => pipeline::parts(self, chain, communicator, request),
            None => rollout::parts(self, chain, request),
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

fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("inference")
}

/// The device of a block.
fn device_of<E: Real, D: Host<E>>(block: &D::Block) -> &D {
    &block.state().device
}
