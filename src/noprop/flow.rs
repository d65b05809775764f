//! Flow matching: its solver, single steps and trajectories.

use dfdx::prelude::*;
use rand::RngCore;

use super::{
    NoProp,
    inputs::{check_rows, untyped},
};
use crate::{
    device::{Backend, Real, Rows},
    error::Error,
    head::Head,
    nn::Layer,
    plan::Inputs,
    solver::{Solution, Solver},
    step::{FlowSamples, OwnStep},
    variant::{FlowMatching, Predicts},
};

impl<H, P, M, const Z: usize, const X: usize, E, D> NoProp<FlowMatching<H, P>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    P: Predicts<H, Z, E>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Changes what integrates dz/dt = v in inference; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a solver that cannot work; the model is then as it was.
    pub fn set_solver(&mut self, solver: Solver) -> Result<(), Error> {
        self.set_variant(FlowMatching { solver, ..self.variant.clone() })
    }

    /// One step of the network on the squared error of flow matching, from base samples `z0` to
    /// samples `z1` of the target distribution, given x, at the times t.
    ///
    /// Where there is nothing to be given, let x be a column of zeros (X = 1). `rng` feeds what the
    /// layers draw: dropout. The answer is the value of the loss before the step.
    ///
    /// # Errors
    /// [`Error::Argument`] if the inputs have different numbers of rows or none, or a time is not
    /// in [0, 1]; [`Error::Diverged`] if the loss is not finite (the network is left as it was);
    /// [`Error::Device`].
    pub fn train_step(
        &mut self,
        (z0, z1, t): (Rows<Const<Z>, E, D>, Rows<Const<Z>, E, D>, Tensor<(usize,), E, D>),
        x: Rows<Const<X>, E, D>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let operation = "NoProp::train_step";
        check_rows(operation, &[z0.shape().0, z1.shape().0, t.shape().0])?;
        check_rows(operation, &[z0.shape().0, x.shape().0, t.shape().0])?;
        let Some(block) = self.blocks.first_mut() else {
            return Err(Error::argument(operation, "a model with a network", "none"));
        };
        let (start, end) = (untyped(operation, z0)?, untyped(operation, z1)?);
        let x = untyped(operation, x)?;
        let how = OwnStep {
            operation,
            optimizer: &self.variant.optimizer,
            estimator: &self.variant.estimator,
            step: self.counters.steps + 1,
            seed: rng.next_u64(),
            inputs: Inputs { z: start.clone(), x, t: Some(t.clone()) },
        };
        let samples = FlowSamples { start, end, times: t };
        self.engine.flow_step(&self.model, self.erase.mutable(block), how, samples)
    }

    /// dz/dt = v from `t0` to `t1` (0 is noise, 1 is target; either may be the larger), by
    /// [`FlowMatching::solver`]. The end only, unless the solver saves more: with
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
