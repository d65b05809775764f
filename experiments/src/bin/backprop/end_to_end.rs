//! The network of discrete time as one network, trained end to end by back-propagation.

use std::{fmt::Debug, ops::ControlFlow, time::Instant};

use dfdx::{nn::ZeroGrads, prelude::Gradients};
use dfdx_noprop::{
    block::{Borrowed, Inputs},
    device::{Backend, Execute, Matrix, Real, TracedScalar, Workers},
    head::SuitsHead,
    nn::Denoises,
    optim::{OptimizerState, Stepping},
    prelude::*,
    train::EpochReport,
};
use rand::{Rng, RngCore, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// The T blocks of a trainer as one network: the baseline "backprop" of Li, Teh, Pascanu (2025),
/// section 4.
///
/// Forward it is the walk of the trainer's inference, with noise where its sampler has noise,
///
/// z_0 = 0 or ε,  z_t = a_t û_t(z_{t−1}, x) + b_t z_{t−1} (+ √c_t ε),  û_t = softmax(o_t),
///
/// the loss is the cross-entropy of the last block's logits o_T, and its gradient goes back through
/// all T blocks.
pub struct EndToEnd<M, const Z: usize, const X: usize, E = f32, D = AutoDevice>
where
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The trainer, whose inference this network's is.
    pub model: NoProp<DiscreteTime, M, Z, X, E, D>,
    device: D,
    optimizers: Vec<OptimizerState<E, D>>,
    /// Zeros where the next step collects its gradients, unless there are none yet.
    gradients: Option<Gradients<E, D>>,
    /// Of the order of the rows, of the noise and of dropout.
    rng: ChaCha8Rng,
}

impl<M, const Z: usize, const X: usize, E, D> EndToEnd<M, Z, X, E, D>
where
    M: Denoises<Pair<Z, X>, E, D>,
    M::Gives: SuitsHead<OneHot, Z, E, D>,
    E: Real,
    D: Backend<E>,
{
    /// The network from the trainer's weights on, which are on this device.
    pub fn new(device: D, model: NoProp<DiscreteTime, M, Z, X, E, D>, seed: u64) -> Self {
        let optimizers = model.blocks().iter().map(|_| OptimizerState::default()).collect();
        Self { model, device, optimizers, gradients: None, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// −mean ln softmax(o_T)_y, on a tape that leads back through all blocks; `truth` are unit
    /// vectors of the classes.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    pub fn loss(
        &mut self,
        x: Matrix<E, D>,
        truth: Matrix<E, D>,
    ) -> Result<TracedScalar<E, D>, D::Err> {
        let gradients = self.zeros()?;
        let (device, rows) = (x.device().clone(), x.shape().0);
        let levels = self.model.levels().clone();
        let noisy = self.model.variant().sampler != Sampler::Deterministic;
        let rng = &mut self.rng;
        let mut draw = || {
            let values = (0..rows * Z).map(|_| E::of(rng.sample(StandardNormal))).collect();
            device.try_tensor_from_vec(values, (rows, Z))
        };
        let start = if noisy { draw()? } else { device.try_zeros_like(&(rows, Z))? };
        let mut z = start.traced(gradients);
        let mut logits = device.try_zeros_like(&(rows, Z))?;
        for (t, block) in (1..).zip(self.model.blocks_mut()) {
            if levels.snr_increment(t) == 0.0 {
                // The schedule stands still here: inference leaves the block out, too.
                continue;
            }
            let (before, tape) = z.split_tape();
            let inputs = Inputs { z: before.clone().put_tape(tape), x: x.clone(), t: None };
            let output = inputs.through(&mut M::plan(Borrowed::Mutable(block.module_mut()))?)?;
            let (output, tape) = output.split_tape();
            logits = output.clone();
            let estimate = D::softmax(output.put_tape(tape))?;
            // All that leads to z_{t−1} is on the tape of û_t already.
            let kept = before.put_tape(OwnedTape::default()).try_mul(E::of(levels.b(t)))?;
            z = kept.try_add(estimate.try_mul(E::of(levels.a(t)))?)?;
            if noisy {
                z = z.try_add(draw()?.try_mul(E::of(levels.c(t).sqrt()))?)?;
            }
        }
        let (_, tape) = z.split_tape();
        let picked = logits.put_tape(tape).try_log_softmax::<Axis<1>>()?.try_mul(truth)?;
        picked.try_sum()?.try_mul(E::of(-1.0 / rows as f64))
    }

    /// Zeros for the gradients of all blocks.
    fn zeros(&mut self) -> Result<Gradients<E, D>, D::Err> {
        if let Some(gradients) = self.gradients.take() {
            return Ok(gradients);
        }
        let mut gradients = Gradients::leaky();
        for block in self.model.blocks() {
            block.module().try_zero_grads(&mut gradients)?;
        }
        Ok(gradients)
    }

    /// Trains on the data, in the order of a random stream, and calls `each_epoch` after each
    /// epoch.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch without rows, [`Error::Diverged`] for a loss or gradient that
    /// is not finite, [`Error::Device`] for a lack of memory, and those of `each_epoch`.
    pub fn fit(
        &mut self,
        data: &Dataset<X, Labels<Z>, E>,
        fit: &Fit,
        mut each_epoch: impl FnMut(
            &NoProp<DiscreteTime, M, Z, X, E, D>,
            &EpochReport,
        ) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error>
    where
        D: Execute<Self>,
    {
        if fit.batch_size == 0 {
            let (expected, found) = ("at least 1".to_owned(), "0".to_owned());
            return Err(Error::Config { setting: "Fit::batch_size", expected, found });
        }
        // Blocks wait for each other here: the threads share the operations inside of a block.
        let workers = Workers::new(if D::THREADS { fit.thread_count() } else { 0 }, 1)?;
        for epoch in 1..=fit.epochs {
            let clock = Instant::now();
            let one = std::slice::from_mut(self);
            let work = |_, whole: &mut Self| whole.epoch(data, fit, epoch);
            let loss = D::each(one, &workers, &work).pop().unwrap_or(Ok(0.0))?;
            let report = EpochReport {
                epoch: epoch as u64,
                epochs: fit.epochs,
                rows: data.rows(),
                steps: data.rows().div_ceil(fit.batch_size),
                seconds: clock.elapsed().as_secs_f64(),
                loss,
                minimised: loss,
                cross_entropy: None,
                blocks: Vec::new(),
                validation: None,
            };
            if each_epoch(&self.model, &report)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// One epoch, counted from 1; the mean of the loss over the rows.
    fn epoch(
        &mut self,
        data: &Dataset<X, Labels<Z>, E>,
        fit: &Fit,
        epoch: usize,
    ) -> Result<f64, Error> {
        let mut order: Vec<usize> = (0..data.rows()).collect();
        order.shuffle(&mut self.rng);
        let each = order.len().div_ceil(fit.batch_size);
        let total = (each * fit.epochs) as u64;
        let mut sum = 0.0;
        for (rows, step) in order.chunks(fit.batch_size).zip((each * (epoch - 1)) as u64 + 1..) {
            let stepping = Stepping {
                optimizer: self.model.variant().optimizer,
                rate: fit.learning_rate.share(step, total),
                clip: fit.clip,
                average: fit.average,
            };
            sum += rows.len() as f64 * self.step(&data.select(rows), &stepping, step)?;
        }
        Ok(sum / order.len().max(1) as f64)
    }

    /// One step of all blocks on one batch; the loss before it.
    fn step(
        &mut self,
        batch: &Dataset<X, Labels<Z>, E>,
        stepping: &Stepping,
        step: u64,
    ) -> Result<f64, Error> {
        let rows = batch.rows();
        // What layers draw (dropout) comes from the device of their input.
        let device = self.device.seeded(self.rng.next_u64());
        let x = device.try_tensor_from_vec(batch.inputs().to_vec(), (rows, X));
        let mut truth = vec![E::zero(); rows * Z];
        for (row, &class) in truth.chunks_mut(Z.max(1)).zip(batch.targets().as_slice()) {
            row[class as usize] = E::one();
        }
        let truth = device.try_tensor_from_vec(truth, (rows, Z)).map_err(failed)?;
        let loss = self.loss(x.map_err(failed)?, truth).map_err(failed)?;
        let value = loss.as_vec().first().map_or(f64::NAN, |value| value.as_f64());
        finite((self.optimizers.len(), step), "loss", value)?;
        let mut gradients = loss.try_backward().map_err(failed)?;
        let blocks = self.model.blocks_mut().iter_mut().zip(&mut self.optimizers);
        for (t, (block, optimizer)) in (1..).zip(blocks) {
            let norm = optimizer.update(stepping, block.tensors_mut(), &mut gradients);
            finite((t, step), "gradient", norm.map_err(failed)?)?;
        }
        // The optimiser has left zeros.
        self.gradients = Some(gradients);
        Ok(value)
    }
}

fn failed(error: impl Debug) -> Error {
    Error::Device { operation: "a step end to end", message: format!("{error:?}") }
}

/// Unless `found` is finite.
fn finite((block, step): (usize, u64), quantity: &'static str, found: f64) -> Result<(), Error> {
    if found.is_finite() {
        return Ok(());
    }
    Err(Error::Diverged { block, step, quantity, found, checkpoint: None })
}
