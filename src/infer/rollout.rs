//! Inference through blocks, from noise to target.

use dfdx::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    Asked, Combination, InferenceOutput, InferenceRequest, JobRows, Point,
    chain::Chain,
    denoise::pass,
    device_of, failed,
    nodes::{STARTS, starts},
    on_device,
};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    error::Error,
    plan::Inputs,
    random::normals,
    variant::{Discrete, ReverseVariance, Sampler},
};

/// After each block that changes z.
pub(super) fn points(chain: Chain<'_>) -> Vec<Point> {
    let last = chain.blocks() as f64;
    let moving = chain.moving().into_iter().zip(1..);
    moving.map(|(t, k)| Point { t: t as f64 / last, calls: k * chain.calls() }).collect()
}

/// Answers for some rows at a time.
pub(super) fn parts<E: Real, D: Host<E>>(
    asked: &Asked<'_, E, D>,
    chain: Chain<'_>,
    request: InferenceRequest,
) -> Result<Vec<InferenceOutput<E>>, Error> {
    let combination = Combination::of(asked.process, request);
    let draws = draws(chain.sampler(), request, combination);
    let embedding = asked.embedding.numbers();
    let (inputs, is_sample) = (asked.inputs, matches!(request, InferenceRequest::Sample(_)));
    let moving = passed(chain.moving(), combination);
    let way = Way::new(asked, chain, &embedding, combination);
    let parts = D::map(&asked.blocks, inputs.jobs(), &|blocks: &[&D::Block], job| {
        let roll = |begin: &Begin| {
            let device = device_of::<E, D>(blocks[0]);
            let mut rollout = way.start(device, &inputs.of_job(job), *begin)?;
            let mut estimates = Vec::new();
            for (k, &t) in moving.iter().enumerate() {
                rollout.pass(&way, blocks[t - 1])?;
                let is_last = k + 1 == moving.len();
                if !is_sample && combination.takes(k == 0, is_last) {
                    estimates.push(rollout.answer(&way)?);
                }
            }
            if estimates.is_empty() && !is_sample {
                // No block moves z: what no block has said.
                estimates.push(rollout.answer(&way)?);
            }
            let calls = moving.len() * chain.calls() * rollout.rows();
            let values = match is_sample {
                true => rollout.z.as_vec(),
                false => combination.combined(estimates),
            };
            Ok(InferenceOutput { values, calls })
        };
        InferenceOutput::mean(draws.iter().map(roll))
    });
    parts.into_iter().collect()
}

/// What a rollout begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// z_0 = 0, and no noise on the way.
    Zero,
    /// One of the starts that stand for all, and no noise on the way.
    Start(usize),
    /// Noise, and more of it on the way.
    Noise {
        seed: u64,
        /// Which draw it is.
        number: usize,
    },
}

/// Where each of the rollouts begins that are averaged.
pub(super) fn draws(
    sampler: Sampler,
    request: InferenceRequest,
    combination: Combination,
) -> Vec<Begin> {
    match (request, sampler) {
        // A mean is made of no draws.
        (InferenceRequest::Answer, _) if combination == Combination::First => vec![Begin::Zero],
        (InferenceRequest::Answer, _) if combination == Combination::Starts => {
            (0..STARTS).map(Begin::Start).collect()
        }
        (InferenceRequest::Answer, Sampler::Stochastic { draws, seed }) => {
            (0..draws).map(|number| Begin::Noise { seed, number }).collect()
        }
        (InferenceRequest::Sample(seed), _) => vec![Begin::Noise { seed, number: 0 }],
        _ => vec![Begin::Zero],
    }
}

/// The blocks that rows go through: those that change z, up to the last that is of use.
pub(crate) fn passed(
    moving: impl IntoIterator<Item = usize>,
    combination: Combination,
) -> Vec<usize> {
    let count = if combination == Combination::First { 1 } else { usize::MAX };
    moving.into_iter().take(count).collect()
}

/// What all rollouts have in common.
pub(super) struct Way<'a, E> {
    pub(super) chain: Chain<'a>,
    /// The embedding on the host.
    embedding: &'a [E],
    /// s_t² of each block, where it was measured.
    estimate_variances: &'a [f64],
    /// The starts that stand for all, `[STARTS, Z]`; none where nothing begins there.
    starts: Vec<E>,
}

/// Some rows on their way from noise to target.
pub(super) struct Rollout<E: Real, D: Host<E>> {
    embedding: Matrix<E, D>,
    x: Matrix<E, D>,
    pub(super) z: Matrix<E, D>,
    /// The output of the last block.
    output: Option<Matrix<E, D>>,
    /// One for each row; none in a rollout without noise.
    streams: Vec<ChaCha8Rng>,
}

/// What a step of a rollout draws.
struct StepNoise<E> {
    /// ε, `[rows, Z]`.
    normals: Vec<E>,
    /// For each row a number from 0 to 1, by which its class is drawn; none where none is.
    uniform: Vec<f64>,
}

impl<'a, E: Real> Way<'a, E> {
    pub(super) fn new<D: Host<E>>(
        asked: &Asked<'a, E, D>,
        chain: Chain<'a>,
        embedding: &'a [E],
        combination: Combination,
    ) -> Self {
        let estimate_variances = match chain.reverse_variance() {
            ReverseVariance::Optimal => &*asked.calibration.estimate_variances,
            ReverseVariance::Posterior => &[],
        };
        let starts = match combination {
            Combination::Starts => chain.start(starts(chain.reading().latent)),
            _ => Vec::new(),
        };
        Self { chain, embedding, estimate_variances, starts }
    }

    /// Whether the estimate of a step with noise is the embedding of a class that is drawn.
    fn draws_classes(&self) -> bool {
        let is_optimal = self.chain.reverse_variance() == ReverseVariance::Optimal;
        is_optimal && self.chain.reading().has_classes()
    }

    /// What a step draws; a step draws the same whatever comes of it.
    fn step_noise(&self, streams: &mut [ChaCha8Rng]) -> StepNoise<E> {
        let normals = draw_rows(streams, self.chain.reading().latent);
        let uniform = match self.draws_classes() {
            true => streams.iter_mut().map(|rng| rng.r#gen()).collect(),
            false => Vec::new(),
        };
        StepNoise { normals, uniform }
    }

    /// Rows at z_0: noise, or its mean.
    pub(super) fn start<D: Host<E>>(
        &self,
        device: &D,
        inputs: &JobRows<'_, E>,
        begin: Begin,
    ) -> Result<Rollout<E, D>, Error> {
        let (rows, reading) = (inputs.rows, self.chain.reading());
        let mut streams = Vec::new();
        let z = match begin {
            Begin::Zero => vec![E::zero(); rows * reading.latent],
            Begin::Start(k) => self.starts[k * reading.latent..][..reading.latent].repeat(rows),
            Begin::Noise { seed, number } => {
                streams = inputs.streams(seed, number);
                self.chain.start(draw_rows(&mut streams, reading.latent))
            }
        };
        let shape = reading.embedding_shape();
        Ok(Rollout {
            embedding: on_device(device, self.embedding.to_vec(), shape)?,
            x: inputs.on(device)?,
            z: on_device(device, z, (rows, reading.latent))?,
            output: None,
            streams,
        })
    }

    /// The same after `blocks` blocks that have made z of it; `places` says where the streams of
    /// noise are then, where that is known.
    pub(super) fn go_on<D: Host<E>>(
        &self,
        mut rollout: Rollout<E, D>,
        z: Vec<E>,
        blocks: usize,
        places: Option<&Vec<u128>>,
    ) -> Result<Rollout<E, D>, Error> {
        let latent = self.chain.reading().latent;
        match places {
            Some(places) => {
                let streams = rollout.streams.iter_mut().zip(places);
                streams.for_each(|(stream, place)| stream.set_word_pos(*place));
            }
            None => (0..blocks).for_each(|_| {
                self.step_noise(&mut rollout.streams);
            }),
        }
        rollout.z = on_device(rollout.x.device(), z, (rollout.rows(), latent))?;
        Ok(rollout)
    }
}

/// What û is read from at (z, x), from the output of a block of discrete time.
pub(super) fn output<E: Real, D: Host<E>>(
    discrete: &Discrete,
    block: &D::Block,
    z: &Matrix<E, D>,
    x: &Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let plan = block.prepared(z.shape().0, 1)?;
    let inputs = Inputs { z: z.clone(), x: x.clone(), t: None };
    let output = plan.output(inputs, None)?;
    discrete.conditioned(block.state().t, z.clone(), output)
}

/// `width` numbers for each row.
fn draw_rows<E: Real>(streams: &mut [ChaCha8Rng], width: usize) -> Vec<E> {
    streams.iter_mut().flat_map(|rng| normals(rng, width)).collect()
}

/// For each row the embedding of the class that a number from 0 to 1 falls on, by its
/// probabilities, `[rows, width]`; what is not a number stays that.
fn drawn<E: Real>(probabilities: &[E], uniform: &[f64], embedding: &[E], width: usize) -> Vec<E> {
    let classes = embedding.len() / width.max(1);
    let one = |(row, &at): (&[E], &f64)| {
        let sum: f64 = row.iter().map(|p| p.as_f64()).sum();
        if !sum.is_finite() {
            return vec![E::of(sum); width];
        }
        let mut left = at * sum;
        let falls = row.iter().position(|p| {
            left -= p.as_f64();
            left < 0.0
        });
        let class = falls.unwrap_or(classes - 1);
        embedding[class * width..][..width].to_vec()
    };
    probabilities.chunks_exact(classes).zip(uniform).flat_map(one).collect()
}

impl<E: Real, D: Host<E>> Rollout<E, D> {
    pub(super) fn rows(&self) -> usize {
        self.x.shape().0
    }

    /// Where the streams of noise are.
    pub(super) fn places(&self) -> Vec<u128> {
        self.streams.iter().map(ChaCha8Rng::get_word_pos).collect()
    }

    /// Through one block that changes z.
    pub(super) fn pass(&mut self, way: &Way<'_, E>, block: &D::Block) -> Result<(), Error> {
        match way.chain {
            Chain::Discrete(discrete) => self.step(way, discrete, block),
            Chain::Denoiser(denoiser) => {
                let z = self.z.clone();
                let [z, output] = pass::<E, D>(denoiser, block, z, &self.x, &self.embedding)?;
                (self.z, self.output) = (z, Some(output));
                Ok(())
            }
        }
    }

    /// A step of discrete time.
    fn step(
        &mut self,
        way: &Way<'_, E>,
        discrete: &Discrete,
        block: &D::Block,
    ) -> Result<(), Error> {
        let (t, shape) = (block.state().t, *self.z.shape());
        let reading = way.chain.reading();
        let noise = (!self.streams.is_empty()).then(|| way.step_noise(&mut self.streams));
        let output = output::<E, D>(discrete, block, &self.z, &self.x).map_err(failed())?;
        let estimate = match &noise {
            Some(noise) if !noise.uniform.is_empty() => {
                let probabilities = reading.answer(output.clone()).map_err(failed())?.as_vec();
                let rows = drawn(&probabilities, &noise.uniform, way.embedding, shape.1);
                on_device(self.z.device(), rows, shape)?
            }
            _ => reading.estimate(output.clone(), &self.embedding).map_err(failed())?,
        };
        let mut z = discrete.next(t, self.z.clone(), estimate).map_err(failed())?;
        if let Some(StepNoise { normals, .. }) = noise {
            let variance = way.estimate_variances.get(t - 1).copied();
            let deviation = E::of(discrete.deviation(t, variance));
            let noise = on_device(z.device(), normals, shape)?;
            z = noise.try_mul(deviation).and_then(|noise| z.try_add(noise)).map_err(failed())?;
        }
        (self.z, self.output) = (z, Some(output));
        Ok(())
    }

    /// The answer of the last block.
    pub(super) fn answer(&self, way: &Way<'_, E>) -> Result<Vec<E>, Error> {
        let reading = way.chain.reading();
        let output = match &self.output {
            Some(output) => output.clone(),
            None => {
                let device = self.x.device();
                device.try_zeros_like(&(self.rows(), reading.outputs)).map_err(failed())?
            }
        };
        Ok(reading.answer(output).map_err(failed())?.as_vec())
    }
}
