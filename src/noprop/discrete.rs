//! Discrete time: its schedule, its sampler, and single steps of its blocks.

use dfdx::prelude::*;
use rand::RngCore;

use super::{
    NoProp,
    inputs::{check_rows, untyped, untyped_loss},
};
use crate::{
    device::{Backend, Real, Rows, TracedRows, TracedScalar},
    error::Error,
    head::Head,
    nn::Layer,
    plan::Inputs,
    schedule::NoiseLevels,
    step::{OwnLoss, OwnStep},
    variant::{DiscreteTime, Sampler},
};

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<DiscreteTime<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The noise levels that the blocks work at.
    pub fn levels(&self) -> &NoiseLevels {
        self.model.objective.levels()
    }

    /// Whether the blocks train as one computation, with their weights side by side, and not one
    /// after the other: few large operations instead of many small ones. By default on a GPU,
    /// where a small operation takes as long as a large one; on the processor the threads are
    /// better off with a block each.
    ///
    /// The weights are those of the blocks one by one, within rounding. It takes effect where the
    /// layers are dense, from here or from dfdx, convolutions and batch norms from here, or have no
    /// weights, in any tuples, residual connections and repetitions of them; with the one-hot,
    /// prototype and real-valued heads, and gradients by reverse mode. Anywhere else the blocks go
    /// one by one all the same.
    pub fn set_stacked(&mut self, stacked: bool) {
        self.model.switches.stacked = stacked;
    }

    /// Whether the blocks train as one computation: false again where a run has found that its
    /// layers cannot.
    pub fn is_stacked(&self) -> bool {
        self.model.switches.stacked
    }

    /// Changes how answers are read off; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_sampler(&mut self, sampler: Sampler) -> Result<(), Error> {
        self.set_variant(DiscreteTime { sampler, ..self.variant.clone() })
    }

    /// One step of block `t` (from 1 to T) on a loss of your own; the other blocks are not touched.
    ///
    /// `loss` gets the block's output for (z, x), `[batch, Out]`, and returns a scalar. `rng` feeds
    /// what the layers draw: dropout. The answer is the value of the loss before the step.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    /// use rand::SeedableRng;
    ///
    /// type Block = ConditionalResNetDt<32, 16>;
    /// let dev = AutoDevice::default();
    /// type Model = NoProp<DiscreteTime<Regression>, Block, 32, 16>;
    /// let mut model = Model::new(&dev, DiscreteTime::default())?;
    /// let z: Tensor<(usize, Const<32>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let x: Tensor<(usize, Const<16>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    /// let loss = model.train_step(1, (z, x), |output| output.try_square()?.try_mean(), &mut rng)?;
    /// assert!(loss > 0.0);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no block `t`, or z and x have different numbers of rows or
    /// none; [`Error::Diverged`] if the loss is not finite (the block is left as it was);
    /// [`Error::Device`].
    pub fn train_step(
        &mut self,
        t: usize,
        input: (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>),
        loss: impl Fn(TracedRows<H::Out, E, D>) -> Result<TracedScalar<E, D>, D::Err>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let loss = untyped_loss::<H::Out, E, D>(loss);
        self.own_step("NoProp::train_step", t, input, OwnLoss::Traced(&loss), rng)
    }

    /// One step of block `t` (from 1 to T) on a loss that need not have a derivative, with
    /// [`DiscreteTime::estimator`] other than
    /// [`Estimator::Local`](crate::gradient::Estimator::Local); the other blocks are not touched.
    ///
    /// `losses` gets the block's output for (z, x), row-major, `[batch, Out]`, and returns a loss
    /// for each row, or one for all of them: mistakes counted, the answer of another program. It is
    /// called with the same batch several times ([`WeightNoise`](crate::gradient::WeightNoise) and
    /// [`ActivityNoise`](crate::gradient::ActivityNoise) say how often). The answer is the mean of
    /// the losses before the step.
    ///
    /// ```
    /// use dfdx_noprop::{gradient::WeightNoise, prelude::*};
    /// use rand::SeedableRng;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<2, 3>, 2, 3>;
    /// let dev = AutoDevice::default();
    /// let estimator = WeightNoise { noise_scale: 0.1, ..WeightNoise::default() }.into();
    /// let mut model = Model::new(&dev, DiscreteTime { estimator, ..DiscreteTime::default() })?;
    /// let z: Tensor<(usize, Const<2>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let x: Tensor<(usize, Const<3>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    /// // A mistake wherever the first class is not the more probable one.
    /// let mistakes = |logits: &[f32]| {
    ///     logits.chunks(2).map(|row| f64::from(u8::from(row[0] <= row[1]))).collect()
    /// };
    /// let share = model.train_step_by_losses(1, (z, x), mistakes, &mut rng)?;
    /// assert!((0.0..=1.0).contains(&share));
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`train_step`](Self::train_step); [`Error::Config`] for
    /// [`Estimator::Local`](crate::gradient::Estimator::Local); [`Error::Argument`] for another
    /// number of losses.
    pub fn train_step_by_losses(
        &mut self,
        t: usize,
        input: (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>),
        losses: impl Fn(&[E]) -> Vec<f64>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        self.own_step("NoProp::train_step_by_losses", t, input, OwnLoss::Numbers(&losses), rng)
    }

    fn own_step(
        &mut self,
        operation: &'static str,
        t: usize,
        (z, x): (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>),
        loss: OwnLoss<'_, E, D>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        check_rows(operation, &[z.shape().0, x.shape().0])?;
        let expected = self.ranks.expected_block();
        let Some(block) = self.blocks.iter_mut().find(|block| block.t() == t) else {
            return Err(Error::argument(operation, expected, t));
        };
        let how = OwnStep {
            operation,
            optimizer: &self.variant.optimizer,
            estimator: &self.variant.estimator,
            step: self.counters.steps + 1,
            seed: rng.next_u64(),
            inputs: Inputs { z: untyped(operation, z)?, x: untyped(operation, x)?, t: None },
        };
        self.engine.own_step(self.erase.mutable(block), how, loss)
    }
}
