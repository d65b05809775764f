//! Flow matching (NoProp-FM): one network moves noise to target along straight lines.

use dfdx::{nn::BuildOnDevice, prelude::*};
use rand::RngCore;

use super::{
    Answers, Ask, Inference, Variant,
    network::{self, Draw, Network, NetworkLoss, TimeSampling},
    objective::{squared_error, weigh},
    step::{OwnLoss, check_rows, check_weight},
};
use crate::{
    Config,
    device::{Backend, Real, Rows, TracedRows},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot, Reads, Velocity},
    nn::Timed,
    noprop::{NoProp, TargetsOf},
    optim::Optimizer,
    schedule::TracedColumn,
    solver::{Method, Save, Solution, Solver, Steps},
    train::{Chosen, Span, StepReport},
};

/// Flow matching: one network on (z, x, t) moves noise z_0 to target z_1 = u (Lipman et al. 2023, *Flow matching for
/// generative modeling*; Li, Teh, Pascanu 2025, section 3.3).
///
/// In training z_t = t z_1 + (1 − t) z_0 with z_0 ~ N(0, I) and t uniform on (0, 1), and the loss is
///
/// ‖v(z_t, x, t) − (z_1 − z_0)‖²
///
/// and, for classes, the cross-entropy on the extrapolated target z̃_1 = z_t + (1 − t) v. With [`Estimate`] in the place
/// of [`Velocity`] the network estimates the target, and v = (û − z) / (1 − t). Inference integrates dz/dt = v.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct FlowMatching<H = OneHot, P = Velocity> {
    /// What the network gives: a [`Velocity`], or an [`Estimate`] of the target.
    pub predictor: P,
    /// The weight of the cross-entropy on the extrapolated target: 0 or more.
    pub cross_entropy: f64,
    /// How times are drawn.
    pub times: TimeSampling,
    /// What integrates dz/dt = v.
    pub solver: Solver,
    /// How the network steps.
    pub optimizer: Optimizer,
    /// How the network gets its gradient.
    #[cfg_attr(feature = "serde", serde(default))]
    pub estimator: Estimator,
    /// What the targets are.
    pub head: H,
    /// The seed of the initial weights.
    pub seed: u64,
}

impl<H: Default, P: Default> Default for FlowMatching<H, P> {
    /// Ten steps of Heun's method (20 calls of the network), and the cross-entropy with weight 50, beside which
    /// the squared error keeps the velocity true.
    fn default() -> Self {
        Self {
            predictor: P::default(),
            cross_entropy: 50.0,
            times: TimeSampling::default(),
            solver: Solver { method: Method::Heun, steps: Steps::Fixed(10), save: Save::End },
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

/// In flow matching: the network estimates the target, û, as in discrete and continuous time, and
/// v = (û − z) / (1 − t). Integration ends at t = 0.99, where the last estimate is the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Estimate {
    /// The weight of ‖û − z_1‖² over time.
    pub weighting: EstimateWeighting,
}

/// The weight of ‖û − z_1‖² at time t.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EstimateWeighting {
    /// 1 at all times.
    #[default]
    Uniform,
    /// 1 / (1 − t)², but 10⁴ at most: the error of the velocity.
    Velocity,
}

/// What the network of flow matching gives, and how the velocity follows from it.
pub trait Predictor<H: Head<Z, E>, const Z: usize, E: Real>:
    Config + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// Who says how wide the output is.
    type Reader: Reads<Z>;

    /// Where integration ends: 1, or just before where the velocity is singular there.
    const END: f64;

    /// Settings in their range, or not.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<(), Error>;

    /// The squared error of each row, and the logits of the extrapolated target, both on the tape.
    #[doc(hidden)]
    fn compare<D: Backend<E>>(
        &self,
        output: TracedRows<<Self::Reader as Reads<Z>>::Out, E, D>,
        path: Line<'_, H::Out, Z, E, D>,
    ) -> Result<(TracedColumn<E, D>, TracedRows<H::Out, E, D>), D::Err>;

    /// v, from the output at (z, x, t).
    ///
    /// # Errors
    /// The device's own.
    fn velocity<D: Backend<E>>(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<<Self::Reader as Reads<Z>>::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err>;

    /// The answer before [`Head::answer`], from the output at (z, x, t).
    ///
    /// # Errors
    /// The device's own.
    fn answer_at<D: Backend<E>>(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<<Self::Reader as Reads<Z>>::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<H::Out, E, D>, D::Err>;

    /// z_1 and the answer before [`Head::answer`], from z where integration ended.
    #[doc(hidden)]
    fn finish<D: Backend<E>>(
        &self,
        z: Rows<Const<Z>, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
        output: impl FnOnce(
            &Rows<Const<Z>, E, D>,
        ) -> Result<Rows<<Self::Reader as Reads<Z>>::Out, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<H::Out, E, D>), Error>;
}

/// The straight lines from z_0 to z_1, with a point on each. None of the tensors has a tape; z_1 and the points keep
/// their names on it.
#[derive(Clone)]
#[doc(hidden)]
pub struct Line<'a, O: ConstDim, const Z: usize, E: Real, D: Backend<E>> {
    start: Rows<Const<Z>, E, D>,
    end: Rows<Const<Z>, E, D>,
    point: Rows<Const<Z>, E, D>,
    host_times: &'a [f64],
    table: &'a Tensor<(O, Const<Z>), E, D>,
    /// The weight of each row, if they differ.
    weights: Option<&'a Tensor<(usize,), E, D>>,
}

impl<O: ConstDim, const Z: usize, E: Real, D: Backend<E>> Line<'_, O, Z, E, D> {
    /// A number for each row.
    fn column(&self, value: impl Fn(f64) -> f64) -> Result<TracedColumn<E, D>, D::Err> {
        let values: Vec<E> = self.host_times.iter().map(|&t| E::of(value(t))).collect();
        let column = self.point.device().try_tensor_from_vec(values, (self.host_times.len(),))?;
        Ok(column.put_tape(OwnedTape::default()))
    }

    /// What the squared error of each row is multiplied by, besides its class's weight.
    fn weight(&self, value: impl Fn(f64) -> f64) -> Result<TracedColumn<E, D>, D::Err> {
        let column = self.column(value)?;
        self.weights.map_or(Ok(column.with_empty_tape()), |w| column.try_mul(w.clone()))
    }
}

impl<H: Head<Z, E>, const Z: usize, E: Real> Predictor<H, Z, E> for Velocity {
    type Reader = Velocity;
    const END: f64 = 1.0;

    fn check(&self) -> Result<(), Error> {
        if self.sharpness.is_finite() && self.sharpness > 0.0 {
            return Ok(());
        }
        Err(Error::config("Velocity::sharpness", "a finite number above 0", self.sharpness))
    }

    fn compare<D: Backend<E>>(
        &self,
        output: TracedRows<Const<Z>, E, D>,
        line: Line<'_, H::Out, Z, E, D>,
    ) -> Result<(TracedColumn<E, D>, TracedRows<H::Out, E, D>), D::Err> {
        let shape = *line.point.shape();
        let traced = |rows: &Rows<Const<Z>, E, D>| rows.retaped::<OwnedTape<E, D>>();
        // v − (z_1 − z_0) as (v + z_0) − z_1, so that z_1 keeps its name.
        let moved = output
            .with_empty_tape()
            .try_mul(line.column(|t| 1.0 - t)?.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
        let extrapolated = moved.try_add(traced(&line.point))?;
        let logits = H::read(extrapolated, line.table, self.sharpness)?;
        let error = squared_error(
            output.try_add(line.start.clone())?,
            line.end.clone(),
            line.weight(|_| 1.0)?,
        )?;
        Ok((error, logits))
    }

    fn velocity<D: Backend<E>>(
        &self,
        _t: f64,
        _z: &Rows<Const<Z>, E, D>,
        output: Rows<Const<Z>, E, D>,
        _table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        Ok(output)
    }

    fn answer_at<D: Backend<E>>(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<Const<Z>, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<H::Out, E, D>, D::Err> {
        let extrapolated = output.try_mul(E::of(1.0 - t))?.try_add(z.clone())?;
        H::read(extrapolated, table, self.sharpness)
    }

    fn finish<D: Backend<E>>(
        &self,
        z: Rows<Const<Z>, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
        _output: impl FnOnce(&Rows<Const<Z>, E, D>) -> Result<Rows<Const<Z>, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<H::Out, E, D>), Error> {
        let logits = H::read(z.clone(), table, self.sharpness);
        Ok((z, logits.map_err(Error::device("inference"))?))
    }
}

impl<H: Head<Z, E>, const Z: usize, E: Real> Predictor<H, Z, E> for Estimate {
    type Reader = H;
    const END: f64 = 0.99;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn compare<D: Backend<E>>(
        &self,
        output: TracedRows<H::Out, E, D>,
        line: Line<'_, H::Out, Z, E, D>,
    ) -> Result<(TracedColumn<E, D>, TracedRows<H::Out, E, D>), D::Err> {
        let logits = output.with_empty_tape();
        let estimate = H::estimate(output, line.table)?;
        let weight = line.weight(|t| match self.weighting {
            EstimateWeighting::Uniform => 1.0,
            EstimateWeighting::Velocity => (1.0 - t).max(0.01).powi(-2),
        })?;
        Ok((squared_error(estimate, line.end.clone(), weight)?, logits))
    }

    fn velocity<D: Backend<E>>(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<H::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        // Only a trajectory that a user asks for goes beyond t = 0.99.
        let left = (1.0 - t).max(0.01);
        H::estimate(output, table)?.try_sub(z.clone())?.try_mul(E::of(1.0 / left))
    }

    fn answer_at<D: Backend<E>>(
        &self,
        _t: f64,
        _z: &Rows<Const<Z>, E, D>,
        output: Rows<H::Out, E, D>,
        _table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<H::Out, E, D>, D::Err> {
        Ok(output)
    }

    fn finish<D: Backend<E>>(
        &self,
        z: Rows<Const<Z>, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
        output: impl FnOnce(&Rows<Const<Z>, E, D>) -> Result<Rows<H::Out, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<H::Out, E, D>), Error> {
        let output = output(&z)?;
        let estimate = H::estimate(output.clone(), table);
        Ok((estimate.map_err(Error::device("inference"))?, output))
    }
}

impl<H, P, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for FlowMatching<H, P>
where
    H: Head<Z, E>,
    P: Predictor<H, Z, E>,
{
    type Head = H;
    type Reader = P::Reader;
    type Input = Timed<Z, X>;
    type State = ();

    const NAME: &'static str = "flow matching";

    fn head(&self) -> &H {
        &self.head
    }

    fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn blocks(&self) -> usize {
        1
    }

    fn pieces(&self) -> usize {
        self.estimator.pieces()
    }

    fn start(&self, _device: &D) -> Result<(), Error> {
        self.predictor.check()?;
        self.estimator.check(H::LEARNED.then_some("embedding"))?;
        check_weight("FlowMatching::cross_entropy", self.cross_entropy)
    }

    fn train<M: BuildOnDevice<D, E>>(
        trainer: &mut NoProp<Self, M, Z, X, E, D>,
        batches: &[Chosen<'_, X, TargetsOf<Self, Z, X, E, D>, E>],
        span: &Span<'_>,
    ) -> Result<Vec<StepReport>, Error> {
        network::train(trainer, batches, span)
    }

    fn infer<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
        ask: Ask,
    ) -> Result<Answers<E>, Error> {
        network::infer(trainer, x, ask)
    }

    fn along<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
    ) -> Result<Vec<(f64, Answers<E>)>, Error> {
        network::along(trainer, x)
    }
}

impl<H, P, const Z: usize, const X: usize, E: Real, D: Backend<E>> Network<Z, X, E, D>
    for FlowMatching<H, P>
where
    H: Head<Z, E>,
    P: Predictor<H, Z, E>,
{
    type Curve = ();
    const TERMS: bool = false;
    const END: f64 = P::END;

    fn curve(&self, _state: &()) {}

    fn times(&self) -> TimeSampling {
        self.times
    }

    fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    fn inference(&self) -> Inference {
        Inference::Ode(self.solver.clone())
    }

    fn loss(
        &self,
        _state: &(),
        draw: Draw<'_, H::Out, Z, E, D>,
        gradients: Gradients<E, D>,
        forward: impl FnOnce(
            TracedRows<Const<Z>, E, D>,
        ) -> Result<TracedRows<<P::Reader as Reads<Z>>::Out, E, D>, D::Err>,
    ) -> Result<NetworkLoss<H::Out, E, D>, D::Err> {
        let Draw { target, noise: start, host_times, times, .. } = draw;
        let shape = *start.shape();
        let (end, tape) = target.traced::<H>(gradients)?.split_tape();
        let [toward, away] = mixing(times, &shape)?;
        let (point, tape) = if H::LEARNED {
            let point = end.clone().put_tape(tape).try_mul(toward)?;
            point.try_add(away.try_mul(start.clone())?)?.split_tape()
        } else {
            // Nothing leads back to the target, so the way to the point need not be recorded.
            (end.clone().try_mul(toward)?.try_add(away.try_mul(start.clone())?)?, tape)
        };
        let output = forward(point.clone().put_tape(tape))?;
        let line = Line {
            start,
            end,
            point,
            host_times: &host_times,
            table: target.table,
            weights: target.weights.as_ref(),
        };
        let (error, logits) = self.predictor.compare(output, line)?;
        let output = logits.retaped::<NoneTape>();
        let weighed = weigh::<H, Z, E, D>(error, logits, &target, self.cross_entropy)?;
        Ok(NetworkLoss { loss: weighed.into_loss(output), terminal: None })
    }

    fn drift(
        &self,
        _curve: &(),
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<<P::Reader as Reads<Z>>::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        self.predictor.velocity(t, z, output, table)
    }

    fn sde_drift(
        &self,
        curve: &(),
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<<P::Reader as Reads<Z>>::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        // Flow matching has no SDE; without diffusion it is the ODE.
        Network::<Z, X, E, D>::drift(self, curve, t, z, output, table)
    }

    fn diffusion(&self, _curve: &(), _t: f64) -> f64 {
        0.0
    }

    fn answer_at(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<<P::Reader as Reads<Z>>::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<H::Out, E, D>, D::Err> {
        self.predictor.answer_at(t, z, output, table)
    }

    fn finish(
        &self,
        z: Rows<Const<Z>, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
        output: impl FnOnce(
            &Rows<Const<Z>, E, D>,
        ) -> Result<Rows<<P::Reader as Reads<Z>>::Out, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<H::Out, E, D>), Error> {
        self.predictor.finish(z, table, output)
    }
}

/// t and 1 − t of each row, as wide as the latent.
fn mixing<const Z: usize, E: Real, D: Backend<E>>(
    times: Tensor<(usize,), E, D>,
    shape: &(usize, Const<Z>),
) -> Result<[Rows<Const<Z>, E, D>; 2], D::Err> {
    let away = times.clone().try_negate()?.try_add(E::one())?;
    let wide = |column: Tensor<(usize,), E, D>| column.try_broadcast_like::<_, Axis<1>>(shape);
    Ok([wide(times)?, wide(away)?])
}

impl<H, P, M, const Z: usize, const X: usize, E, D> NoProp<FlowMatching<H, P>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    P: Predictor<H, Z, E>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Changes what integrates dz/dt = v in inference; nothing is trained again.
    pub fn set_solver(&mut self, solver: Solver) {
        self.variant.solver = solver;
    }

    /// One step of the network on the squared error of flow matching, from base samples `z0` to samples `z1` of the
    /// target distribution, given x, at the times t.
    ///
    /// Where there is nothing to be given, let x be a column of zeros (X = 1). `rng` feeds what the layers draw:
    /// dropout. The answer is the value of the loss before the step.
    ///
    /// # Errors
    /// [`Error::Argument`] if the inputs have different numbers of rows or none, or a time is not in [0, 1];
    /// [`Error::Diverged`] if the loss is not finite (the network is left as it was); [`Error::Device`].
    pub fn train_step(
        &mut self,
        (z0, z1, t): (Rows<Const<Z>, E, D>, Rows<Const<Z>, E, D>, Tensor<(usize,), E, D>),
        x: Rows<Const<X>, E, D>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let operation = "NoProp::train_step";
        check_rows(operation, &[z0.shape().0, z1.shape().0, t.shape().0])?;
        let host_times: Vec<f64> = t.as_vec().into_iter().map(Real::as_f64).collect();
        if let Some(time) = host_times.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return Err(Error::argument(operation, "times from 0 to 1", time));
        }
        let (predictor, table) = (self.variant.predictor.clone(), self.table.clone());
        let mix = || {
            let [toward, away] = mixing(t.clone(), z0.shape())?;
            z1.clone().try_mul(toward)?.try_add(away.try_mul(z0.clone())?)
        };
        let point = mix().map_err(Error::device(operation))?;
        let line = Line {
            start: z0.clone(),
            end: z1.clone(),
            point: point.clone(),
            host_times: &host_times,
            table: &table,
            weights: None,
        };
        let loss = |output| Ok(Predictor::<H, Z, E>::compare(&predictor, output, line.clone())?.0);
        network::custom_step(operation, self, (point, x, t), OwnLoss::Traced(&loss), rng)
    }

    /// dz/dt = v from `t0` to `t1` (0 is noise, 1 is target; either may be the larger), by
    /// [`FlowMatching::solver`]. The end only, unless the solver saves more: with [`Save::Steps`] N steps give N + 1
    /// points.
    ///
    /// # Errors
    /// [`Error::Argument`] if z and x have different numbers of rows or none, [`Error::Config`] for a solver that
    /// cannot work, [`Error::Device`]. A trajectory that does not get to its end says so by its status.
    pub fn integrate_trajectory(
        &self,
        z0: Rows<Const<Z>, E, D>,
        x: Rows<Const<X>, E, D>,
        t0: f64,
        t1: f64,
    ) -> Result<Solution<Rows<Const<Z>, E, D>>, Error> {
        network::trajectory(self, &self.variant.solver, (z0, x), (t0, t1))
    }
}
