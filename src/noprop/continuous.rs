//! Continuous time: its schedule, its inference, single steps and trajectories.

use dfdx::prelude::*;
use rand::RngCore;

use super::{
    NoProp,
    inputs::{check_rows, typed, untyped, untyped_loss},
};
use crate::{
    device::{Backend, Real, Rows, TracedRows, TracedScalar},
    error::Error,
    head::Head,
    nn::Layer,
    plan::Inputs,
    schedule::{GammaSchedule, LearnedGamma},
    solver::Solution,
    step::{OwnLoss, OwnStep},
    variant::{ContinuousTime, Inference, TimedRows, Variant},
};

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<ContinuousTime<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// γ(t) as it is by now: the learned one, where it is learned.
    pub fn schedule(&self) -> GammaSchedule {
        let learned = self.model.learned().map(LearnedGamma::schedule);
        learned.unwrap_or_else(|| self.variant.schedule.by_targets(H::CLASSES))
    }

    /// Changes how answers are read off; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_inference(&mut self, inference: Inference) -> Result<(), Error> {
        self.set_variant(ContinuousTime { inference, ..self.variant.clone() })
    }

    /// One step of the network on a loss of your own.
    ///
    /// `loss` gets the network's output for (z, x, t), `[batch, Out]`, and returns a scalar. `rng`
    /// feeds what the layers draw: dropout. The answer is the value of the loss before the step.
    ///
    /// # Errors
    /// [`Error::Argument`] if z, x and t have different numbers of rows or none;
    /// [`Error::Diverged`] if the loss is not finite (the network is left as it was);
    /// [`Error::Device`].
    pub fn train_step(
        &mut self,
        input: TimedRows<Z, X, E, D>,
        loss: impl Fn(TracedRows<H::Out, E, D>) -> Result<TracedScalar<E, D>, D::Err>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let loss = untyped_loss::<H::Out, E, D>(loss);
        self.network_step("NoProp::train_step", input, OwnLoss::Traced(&loss), rng)
    }

    /// One step of the network on a loss that need not have a derivative, with
    /// [`estimator`](field@ContinuousTime::estimator) other than
    /// [`Estimator::Local`](crate::gradient::Estimator::Local).
    ///
    /// `losses` gets the network's output for (z, x, t), row-major, `[batch, Out]`, and returns a
    /// loss for each row, or one for all of them. It is called with the same batch several times.
    /// The answer is the mean of the losses before the step.
    ///
    /// # Errors
    /// Those of [`train_step`](Self::train_step); [`Error::Config`] for
    /// [`Estimator::Local`](crate::gradient::Estimator::Local); [`Error::Argument`] for another
    /// number of losses.
    pub fn train_step_by_losses(
        &mut self,
        input: TimedRows<Z, X, E, D>,
        losses: impl Fn(&[E]) -> Vec<f64>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let operation = "NoProp::train_step_by_losses";
        self.network_step(operation, input, OwnLoss::Numbers(&losses), rng)
    }

    /// One step of the one network on a loss of the user's own.
    fn network_step(
        &mut self,
        operation: &'static str,
        input: TimedRows<Z, X, E, D>,
        loss: OwnLoss<'_, E, D>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let (z, x, t) = input;
        check_rows(operation, &[z.shape().0, x.shape().0, t.shape().0])?;
        let Some(block) = self.blocks.first_mut() else {
            return Err(Error::argument(operation, "a model with a network", "none"));
        };
        let how = OwnStep {
            operation,
            optimizer: &self.variant.optimizer,
            estimator: &self.variant.estimator,
            step: self.counters.steps + 1,
            seed: rng.next_u64(),
            inputs: Inputs { z: untyped(operation, z)?, x: untyped(operation, x)?, t: Some(t) },
        };
        self.engine.own_step(self.erase.mutable(block), how, loss)
    }

    /// The probability-flow ODE from `t0` to `t1` (0 is noise, 1 is target; either may be the
    /// larger), by the solver of [`inference`](field@ContinuousTime::inference); for the SDE by the
    /// default one. The end only, unless the solver saves more: with
    /// [`Save::Steps`](crate::solver::Save::Steps) N steps give N + 1 points.
    ///
    /// # Errors
    /// [`Error::Argument`] if z and x have different numbers of rows or none, [`Error::Config`] for
    /// a solver that cannot work, [`Error::Device`]. A trajectory that does not get to its end says
    /// so by its status.
    pub fn integrate_trajectory(
        &self,
        z0: Rows<Const<Z>, E, D>,
        x: Rows<Const<X>, E, D>,
        t0: f64,
        t1: f64,
    ) -> Result<Solution<Rows<Const<Z>, E, D>>, Error> {
        self.trajectory(z0, x, t0, t1)
    }
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The way of z from one time to another.
    pub(super) fn trajectory(
        &self,
        z: Rows<Const<Z>, E, D>,
        x: Rows<Const<X>, E, D>,
        t0: f64,
        t1: f64,
    ) -> Result<Solution<Rows<Const<Z>, E, D>>, Error> {
        let operation = "NoProp::integrate_trajectory";
        check_rows(operation, &[z.shape().0, x.shape().0])?;
        let (z, x) = (untyped(operation, z)?, untyped(operation, x)?);
        let Some(block) = self.blocks.first() else {
            return Err(Error::argument(operation, "a model with a network", "none"));
        };
        let block = self.erase.shared(block);
        let found = self.engine.trajectory(&self.model, block, z, x, [t0, t1])?;
        let Solution { times, states, status, accepted, rejected, calls } = found;
        let states = states.into_iter().map(|state| typed(operation, state));
        let states = states.collect::<Result<_, _>>()?;
        Ok(Solution { times, states, status, accepted, rejected, calls })
    }
}
