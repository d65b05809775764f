//! What a step draws: times and noise, by streams that depend on the seed, the block and the step
//! alone.

use dfdx::prelude::*;
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::{Context, StepBatch};
use crate::{
    block::BlockState,
    device::{Backend, Lanes, Matrix, Real},
    error::{Error, Place},
    head::Reading,
    random::{Purpose, normals, stream},
    variant::{Draw, Target, Times},
};

/// A row-major buffer on the device.
pub(crate) fn on_device<S: Shape, E: Real, D: Backend<E>>(
    device: &D,
    values: Vec<E>,
    shape: S,
) -> Result<Tensor<S, E, D>, Error> {
    device.try_tensor_from_vec(values, shape).map_err(Error::device("moving a batch"))
}

/// The times of some rows on the device.
pub(super) fn times_on<E: Real, D: Backend<E>>(
    device: &D,
    host: Vec<f64>,
) -> Result<Times<E, D>, Error> {
    let values = host.iter().map(|&t| E::of(t)).collect();
    Ok(Times { device: on_device(device, values, (host.len(),))?, host })
}

/// The targets of a batch on the device; `on_host` is the embedding on the host.
pub(super) fn target<'a, E: Real, D: Backend<E>>(
    device: &D,
    reading: Reading,
    targets: &crate::data::TargetRows<'_, E>,
    weights: Option<&[E]>,
    on_host: &[E],
    embedding: &'a Matrix<E, D>,
) -> Result<Target<'a, E, D>, Error> {
    let rows = targets.len();
    let u = on_device(device, reading.embed(on_host, targets), (rows, reading.latent))?;
    let one_hot = if reading.has_classes() {
        Some(on_device(device, reading.one_hot(targets), (rows, reading.outputs))?)
    } else {
        None
    };
    let weights = weights.map(|weights| on_device(device, weights.to_vec(), (rows,)));
    Ok(Target { u, one_hot, embedding, weights: weights.transpose()? })
}

/// The seed of what the layers of a block draw in a step: another one for each replica.
pub(super) fn layer_seed<E: Real>(batch: &StepBatch<'_, E>, seed: u64, place: Place) -> u64 {
    let mut seeds = stream(seed, Purpose::Layers, place.block as u64, place.step);
    (0..batch.replica()).for_each(|_| {
        seeds.next_u64();
    });
    seeds.next_u64()
}

impl<E: Real, D: Backend<E>> Context<'_, E, D> {
    /// A device of a block's own for what its layers draw in a step.
    pub(super) fn device(
        &self,
        state: &BlockState<E, D>,
        batch: &StepBatch<'_, E>,
        step: u64,
    ) -> D {
        let place = Place { block: state.t, step };
        state.device.seeded(layer_seed(batch, self.span.seed(), place))
    }

    /// The embedding as a tensor of this device's.
    pub(super) fn embedding_on(&self, device: &D) -> Result<Matrix<E, D>, Error> {
        let reading = self.objective.reading();
        on_device(device, self.embedding.to_vec(), reading.embedding_shape())
    }

    /// The batch of a step of a block with its noise and its times; `terms` asks for the noise of
    /// those terms that the block has no part in.
    pub(super) fn draw<'t>(
        &self,
        device: &D,
        state: &mut BlockState<E, D>,
        batch: &StepBatch<'_, E>,
        embedding: &'t Matrix<E, D>,
        step: u64,
        terms: bool,
    ) -> Result<Draw<'t, E, D>, Error> {
        let (seed, reading) = (self.span.seed(), self.objective.reading());
        let mut rng = [stream(seed, Purpose::Noise, state.t as u64, step)];
        let host = self.objective.setup().times.map(|times| {
            let [rng] = &mut rng;
            let uniform = batch.own_part(1, |rows| times.draw(rows, rng));
            uniform.into_iter().map(|u| self.objective.time(state.t, u)).collect::<Vec<_>>()
        });
        let lanes = &mut state.lanes;
        let mut normal = || {
            let lanes = self.device_noise.then_some(&mut *lanes);
            noise(device, batch, reading.latent, &mut rng, seed, lanes)
        };
        let noise = normal()?;
        let end_noise = terms.then(normal).transpose()?;
        let times = match host {
            Some(host) => Some(times_on(device, host)?),
            None => None,
        };
        let weights = batch.weights.as_deref();
        let target = target(device, reading, &batch.targets, weights, self.embedding, embedding)?;
        Ok(Draw { target, noise, end_noise, times })
    }
}

/// The next noise of a stream for the rows of a batch, `[batch, Z]`: made by the device with what
/// is kept in `lanes` for a seed, if there is a place for it and no other rank needs its part; else
/// on the host.
fn noise<E: Real, D: Backend<E>>(
    device: &D,
    batch: &StepBatch<'_, E>,
    width: usize,
    rng: &mut [ChaCha8Rng; 1],
    seed: u64,
    lanes: Option<&mut Option<Lanes<D>>>,
) -> Result<Matrix<E, D>, Error> {
    let shape = (batch.rows(), width);
    match lanes {
        Some(lanes) if batch.shared.is_none() => {
            device.normals(seed, lanes, rng, shape).map_err(Error::device("making noise"))
        }
        _ => {
            let [rng] = rng;
            on_device(device, batch.own_part(width, |rows| normals(rng, rows * width)), shape)
        }
    }
}
