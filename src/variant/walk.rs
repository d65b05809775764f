//! Inference in discrete time: through the blocks, from noise to target.

use dfdx::{nn::BuildOnDevice, prelude::*};
use rand_chacha::ChaCha8Rng;

use super::{Answers, Ask, DiscreteTime, Sampler, TOGETHER, pipeline, step::on_device};
use crate::{
    device::{Backend, Real, Rows},
    error::Error,
    head::Head,
    nn::{Encoded, Pair, Signal},
    noprop::{Block, InferEncoded, NoProp},
    random::{Purpose, normals, stream},
    schedule::NoiseLevels,
};

/// Answers for some rows at a time.
pub(super) fn parts<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    x: &[[E; X]],
    ask: Ask,
) -> Result<Vec<Answers<E>>, Error>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    if let Some(communicator) = &trainer.communicator {
        return pipeline::parts(trainer, communicator, x, ask);
    }
    let (way, noises) = (Way::new(trainer), noises(trainer.variant.sampler, ask));
    let jobs = x.len().div_ceil(TOGETHER);
    let parts = (trainer.ops.map)(&trainer.blocks, jobs, &|blocks, job| {
        let walk = |noise: &Option<Noise>| {
            let mut walk = way.start(&blocks[0].device, x, job, *noise)?;
            let mut along = Vec::new();
            for t in way.levels.moving() {
                let answer = walk.pass(&way, &blocks[t - 1])?;
                if matches!(ask, Ask::Along) {
                    along.extend(H::answer(answer).map_err(failed())?.as_vec());
                }
            }
            let values = match ask {
                Ask::Along => along,
                Ask::Answer => walk.answer::<H>()?,
                Ask::Sample(_) => walk.z(),
            };
            Ok(Answers { values, calls: way.levels.moving().count() * walk.rows() })
        };
        Answers::mean(noises.iter().map(walk))
    });
    parts.into_iter().collect()
}

pub(super) fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("inference")
}

/// The noise of each of the walks that are averaged.
pub(super) fn noises(sampler: Sampler, ask: Ask) -> Vec<Option<Noise>> {
    match (ask, sampler) {
        (Ask::Answer, Sampler::Stochastic { draws, seed }) => {
            (0..draws).map(|draw| Some((seed, draw))).collect()
        }
        (Ask::Sample(seed), _) => vec![Some((seed, 0))],
        _ => vec![None],
    }
}

/// The seed of the noise, and the number of the draw.
pub(super) type Noise = (u64, usize);

/// What all walks have in common.
pub(super) struct Way<'a, H: Head<Z, E>, B, const Z: usize, const X: usize, E: Real, D: Backend<E>>
{
    pub(super) levels: &'a NoiseLevels,
    table: Vec<E>,
    infer: InferEncoded<B, <Pair<Z, X> as Signal<E, D>>::Plain, H::Out, E, D>,
}

/// Some rows on their way.
pub(super) struct Walk<O: ConstDim, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    table: Tensor<(O, Const<Z>), E, D>,
    x: Rows<Const<X>, E, D>,
    z: Rows<Const<Z>, E, D>,
    /// The output of the last block.
    output: Rows<O, E, D>,
    /// One for each row; none in a walk without noise.
    streams: Vec<ChaCha8Rng>,
}

impl<'a, H: Head<Z, E>, B, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    Way<'a, H, B, Z, X, E, D>
{
    pub(super) fn new<M>(trainer: &'a NoProp<DiscreteTime<H>, M, Z, X, E, D>) -> Self
    where
        M: BuildOnDevice<D, E, Built = B>,
    {
        let table = trainer.table.as_vec();
        Self { levels: &trainer.state, table, infer: trainer.ops.infer_encoded }
    }

    /// The rows of a job at z_0: noise, or its mean.
    pub(super) fn start(
        &self,
        device: &D,
        x: &[[E; X]],
        job: usize,
        noise: Option<Noise>,
    ) -> Result<Walk<H::Out, Z, X, E, D>, Error> {
        let first = job * TOGETHER;
        let rows = &x[first..x.len().min(first + TOGETHER)];
        let n = rows.len();
        let one = |(seed, draw)| {
            move |row| stream(seed, Purpose::Inference, (first + row) as u64, draw as u64)
        };
        let mut streams: Vec<_> =
            noise.into_iter().flat_map(|noise| (0..n).map(one(noise))).collect();
        let z = if streams.is_empty() { vec![E::zero(); n * Z] } else { draw(&mut streams, Z) };
        let x = rows.as_flattened().to_vec();
        Ok(Walk {
            table: on_device(device, self.table.clone(), Default::default())?,
            x: on_device(device, x, (n, Const::<X>))?,
            z: on_device(device, z, (n, Const::<Z>))?,
            output: device.try_zeros_like(&(n, H::Out::default())).map_err(failed())?,
            streams,
        })
    }

    /// The same after `blocks` blocks that have made z of it.
    pub(super) fn go_on(
        &self,
        mut walk: Walk<H::Out, Z, X, E, D>,
        z: Vec<E>,
        blocks: usize,
    ) -> Result<Walk<H::Out, Z, X, E, D>, Error> {
        for _ in 0..blocks {
            draw::<E>(&mut walk.streams, Z);
        }
        walk.z = on_device(walk.x.device(), z, (walk.rows(), Const::<Z>))?;
        Ok(walk)
    }
}

/// `width` numbers for each row.
fn draw<E: Real>(streams: &mut [ChaCha8Rng], width: usize) -> Vec<E> {
    streams.iter_mut().flat_map(|rng| normals(rng, width)).collect()
}

impl<O: ConstDim, const Z: usize, const X: usize, E: Real, D: Backend<E>> Walk<O, Z, X, E, D> {
    pub(super) fn rows(&self) -> usize {
        self.x.shape().0
    }

    /// Through one block that changes z; its output.
    pub(super) fn pass<H, B>(
        &mut self,
        way: &Way<'_, H, B, Z, X, E, D>,
        block: &Block<B, E, D>,
    ) -> Result<Rows<O, E, D>, Error>
    where
        H: Head<Z, E, Out = O>,
    {
        let noise = match self.streams.is_empty() {
            true => None,
            false => Some(draw(&mut self.streams, Z)),
        };
        self.step(way, block, noise).map_err(failed())?;
        Ok(self.output.clone())
    }

    fn step<H, B>(
        &mut self,
        way: &Way<'_, H, B, Z, X, E, D>,
        block: &Block<B, E, D>,
        noise: Option<Vec<E>>,
    ) -> Result<(), D::Err>
    where
        H: Head<Z, E, Out = O>,
    {
        let [a, b, c] = [way.levels.a(block.t), way.levels.b(block.t), way.levels.c(block.t)];
        let input = (self.z.clone(), self.x.clone());
        self.output = (way.infer)(&block.module, input, &Encoded::default().for_calls(1))?;
        let estimate = H::estimate(self.output.clone(), &self.table)?;
        let mut z = self.z.clone().try_mul(E::of(b))?.try_add(estimate.try_mul(E::of(a))?)?;
        if let Some(noise) = noise {
            let noise = z.device().try_tensor_from_vec(noise, *z.shape())?;
            z = z.try_add(noise.try_mul(E::of(c.sqrt()))?)?;
        }
        self.z = z;
        Ok(())
    }

    /// The answer of the last block.
    pub(super) fn answer<H: Head<Z, E, Out = O>>(&self) -> Result<Vec<E>, Error> {
        Ok(H::answer(self.output.clone()).map_err(failed())?.as_vec())
    }

    pub(super) fn z(&self) -> Vec<E> {
        self.z.as_vec()
    }
}
