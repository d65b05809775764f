//! Inference through blocks, from noise to target.

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Asked, InferenceOutput, InferenceRequest, JobRows, Point, chain::Chain, denoise::pass,
    device_of, failed, on_device,
};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    error::Error,
    plan::{Inputs, Value, infer},
    random::{Purpose, normals, stream},
    variant::Sampler,
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
    let draws = draws(chain.sampler(), request);
    let (embedding, moving) = (asked.embedding.numbers(), chain.moving());
    let inputs = asked.inputs;
    let parts = D::map(&asked.blocks, inputs.jobs(), &|blocks: &[&D::Block], job| {
        let way = Way { chain, embedding: &embedding };
        let roll = |draw: &Option<NoiseDraw>| {
            let device = device_of::<E, D>(blocks[0]);
            let mut rollout = way.start(device, inputs.of_job(job), *draw)?;
            let mut along = Vec::new();
            for &t in &moving {
                rollout.pass(&way, blocks[t - 1])?;
                if matches!(request, InferenceRequest::Along) {
                    along.extend(rollout.answer(&way)?);
                }
            }
            let calls = moving.len() * chain.calls() * rollout.rows();
            let values = match request {
                InferenceRequest::Along => along,
                InferenceRequest::Answer => rollout.answer(&way)?,
                InferenceRequest::Sample(_) => rollout.z.as_vec(),
            };
            Ok(InferenceOutput { values, calls })
        };
        InferenceOutput::mean(draws.iter().map(roll))
    });
    parts.into_iter().collect()
}

/// The noise of a rollout.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoiseDraw {
    seed: u64,
    /// Which draw it is.
    number: usize,
}

/// The noise of each of the rollouts that are averaged; `None` for one without.
pub(super) fn draws(sampler: Sampler, request: InferenceRequest) -> Vec<Option<NoiseDraw>> {
    match (request, sampler) {
        (InferenceRequest::Answer, Sampler::Stochastic { draws, seed }) => {
            (0..draws).map(|number| Some(NoiseDraw { seed, number })).collect()
        }
        (InferenceRequest::Sample(seed), _) => vec![Some(NoiseDraw { seed, number: 0 })],
        _ => vec![None],
    }
}

/// What all rollouts have in common.
pub(super) struct Way<'a, E> {
    pub(super) chain: Chain<'a>,
    /// The embedding on the host.
    pub(super) embedding: &'a [E],
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

impl<E: Real> Way<'_, E> {
    /// Rows at z_0: noise, or its mean.
    pub(super) fn start<D: Host<E>>(
        &self,
        device: &D,
        JobRows { first, rows: inputs }: JobRows<'_, E>,
        draw: Option<NoiseDraw>,
    ) -> Result<Rollout<E, D>, Error> {
        let (rows, reading) = (inputs.rows(), self.chain.reading());
        let one = |NoiseDraw { seed, number }: NoiseDraw| {
            move |row| stream(seed, Purpose::Inference, (first + row) as u64, number as u64)
        };
        let mut streams: Vec<_> =
            draw.into_iter().flat_map(|draw| (0..rows).map(one(draw))).collect();
        let z = match streams.is_empty() {
            true => vec![E::zero(); rows * reading.latent],
            false => self.chain.start(draw_rows(&mut streams, reading.latent)),
        };
        let shape = reading.embedding_shape();
        Ok(Rollout {
            embedding: on_device(device, self.embedding.to_vec(), shape)?,
            x: on_device(device, inputs.numbers.to_vec(), (rows, inputs.width))?,
            z: on_device(device, z, (rows, reading.latent))?,
            output: None,
            streams,
        })
    }

    /// The same after `blocks` blocks that have made z of it.
    pub(super) fn go_on<D: Host<E>>(
        &self,
        mut rollout: Rollout<E, D>,
        z: Vec<E>,
        blocks: usize,
    ) -> Result<Rollout<E, D>, Error> {
        let latent = self.chain.reading().latent;
        for _ in 0..blocks {
            draw_rows::<E>(&mut rollout.streams, latent);
        }
        rollout.z = on_device(rollout.x.device(), z, (rollout.rows(), latent))?;
        Ok(rollout)
    }
}

/// `width` numbers for each row.
fn draw_rows<E: Real>(streams: &mut [ChaCha8Rng], width: usize) -> Vec<E> {
    streams.iter_mut().flat_map(|rng| normals(rng, width)).collect()
}

impl<E: Real, D: Host<E>> Rollout<E, D> {
    pub(super) fn rows(&self) -> usize {
        self.x.shape().0
    }

    /// Through one block that changes z.
    pub(super) fn pass(&mut self, way: &Way<'_, E>, block: &D::Block) -> Result<(), Error> {
        let discrete = match way.chain {
            Chain::Discrete(discrete) => discrete,
            Chain::Denoiser(denoiser) => {
                let z = self.z.clone();
                let [z, output] = pass::<E, D>(denoiser, block, z, &self.x, &self.embedding)?;
                (self.z, self.output) = (z, Some(output));
                return Ok(());
            }
        };
        let shape = *self.z.shape();
        let noise = match self.streams.is_empty() {
            true => None,
            false => {
                let noise = draw_rows(&mut self.streams, shape.1);
                Some(on_device(self.z.device(), noise, shape)?)
            }
        };
        let t = block.state().t;
        let next = || {
            let plan = block.prepared(shape.0, 1)?;
            let inputs = Inputs { z: self.z.clone(), x: self.x.clone(), t: None };
            let (output, _) = infer(&plan, Value::Inputs(inputs), None)?.into_rows()?;
            let z = discrete.next(t, self.z.clone(), output.clone(), noise, &self.embedding)?;
            Ok((z, output))
        };
        let next: Result<_, D::Err> = next();
        let (z, output) = next.map_err(failed())?;
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
