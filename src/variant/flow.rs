//! Flow matching (NoProp-FM): one network moves noise to target along straight lines.

mod field;

use dfdx::prelude::*;

#[cfg(feature = "inference")]
use super::ReverseSettings;
use super::{
    Draw, Ending, EstimateWeighting, Mathematics, Objective, Prediction, Predicts, Probabilities,
    ReverseProcess, Setup, StepLoss, TimeSampling, TracedForward, Transition, Variant,
    check_weight, squared_error, weigh,
};
use crate::{
    device::{Backend, Column, Matrix, Real},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot, Reading, Velocity},
    nn::Timed,
    optim::Optimizer,
    schedule::{LearnedGamma, SchedulePoint, TracedColumn},
    solver::{Method, Save, Solver, Steps},
};

/// Flow matching: one network on (z, x, t) moves noise z_0 to target z_1 = u (Lipman et al. 2023,
/// *Flow matching for generative modeling*; Li, Teh, Pascanu 2025, section 3.3).
///
/// In training z_t = t z_1 + (1 − t) z_0 with z_0 ~ N(0, I) and t uniform on (0, 1), and the loss
/// is
///
/// ‖v(z_t, x, t) − (z_1 − z_0)‖²
///
/// and, for classes, the cross-entropy on the extrapolated target z̃_1 = z_t + (1 − t) v. With
/// [`Estimate`](super::Estimate) instead of [`Velocity`] the network estimates the target, and v =
/// (û − z) / (1 − t). Inference integrates dz/dt = v.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct FlowMatching<H = OneHot, P = Velocity> {
    /// What the network gives: a [`Velocity`], or an [`Estimate`](super::Estimate) of the target.
    /// Default: that of [`Velocity`].
    pub predictor: P,
    /// The weight of the cross-entropy on the extrapolated target: 0 or more.
    /// Default: `50.0`.
    pub cross_entropy: f64,
    /// How times are drawn.
    /// Default: `TimeSampling::LowDiscrepancy`.
    pub times: TimeSampling,
    /// What integrates dz/dt = v.
    /// Default: ten steps of [`Method::Heun`], which call the network 20 times.
    pub solver: Solver,
    /// Whose probabilities are the answer, for classes. Those of the final latent are better here
    /// than the mean over the calls, whose velocities were not trained to be read so often.
    /// Default: `Probabilities::Last`.
    pub probabilities: Probabilities,
    /// How the network steps.
    /// Default: that of [`AdamW`](crate::optim::AdamW).
    pub optimizer: Optimizer,
    /// How the network gets its gradient.
    /// Default: `Estimator::Local`.
    pub estimator: Estimator,
    /// What the targets are.
    /// Default: that of the head.
    pub head: H,
    /// The seed of the initial weights.
    /// Default: `0`.
    pub seed: u64,
}

impl FlowMatching {
    /// The same settings for targets of another kind.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// let variant = FlowMatching::default().with_head(Regression);
    /// assert_eq!(variant, FlowMatching::<Regression>::default());
    /// ```
    pub fn with_head<G>(self, head: G) -> FlowMatching<G> {
        FlowMatching {
            predictor: self.predictor,
            cross_entropy: self.cross_entropy,
            times: self.times,
            solver: self.solver,
            probabilities: self.probabilities,
            optimizer: self.optimizer,
            estimator: self.estimator,
            seed: self.seed,
            head,
        }
    }
}

impl<H: Default, P: Default> Default for FlowMatching<H, P> {
    /// Ten steps of Heun's method (20 calls of the network), and the cross-entropy with weight 50,
    /// beside which the squared error keeps the velocity true.
    fn default() -> Self {
        Self {
            predictor: P::default(),
            cross_entropy: 50.0,
            times: TimeSampling::default(),
            solver: Solver { method: Method::Heun, steps: Steps::Fixed(10), save: Save::End },
            probabilities: Probabilities::Last,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

/// By how much the final latent is read more sharply than an extrapolated target in training, which
/// is further from the target: the negative log-likelihood of held-out digits, MNIST and
/// Fashion-MNIST is lowest about here.
const ANSWER_SHARPNESS: f64 = 1.5;

/// The straight lines from z_0 to z_1, with a point on each. None of the tensors has a tape; z_1
/// and the points keep their ids on it.
#[derive(Clone)]
pub(crate) struct Line<'a, E: Real, D: Backend<E>> {
    pub(crate) start: Matrix<E, D>,
    pub(crate) end: Matrix<E, D>,
    pub(crate) point: Matrix<E, D>,
    pub(crate) times: &'a [f64],
    pub(crate) embedding: &'a Matrix<E, D>,
    /// The weight of each row, if they differ.
    pub(crate) weights: Option<&'a Column<E, D>>,
}

impl<E: Real, D: Backend<E>> Line<'_, E, D> {
    /// A number for each row.
    fn column(&self, value: impl Fn(f64) -> f64) -> Result<TracedColumn<E, D>, D::Err> {
        let values: Vec<E> = self.times.iter().map(|&t| E::of(value(t))).collect();
        let column = self.point.device().try_tensor_from_vec(values, (self.times.len(),))?;
        Ok(column.put_tape(OwnedTape::default()))
    }

    /// What the squared error of each row is multiplied by, besides its class's weight.
    fn weight(&self, value: impl Fn(f64) -> f64) -> Result<TracedColumn<E, D>, D::Err> {
        let column = self.column(value)?;
        self.weights.map_or(Ok(column.with_empty_tape()), |w| column.try_mul(w.clone()))
    }
}

/// The squared error of each row, and the logits of the extrapolated target, both on the tape.
pub(crate) struct Compared<E: Real, D: Backend<E>> {
    pub(crate) error: TracedColumn<E, D>,
    logits: Matrix<E, D, OwnedTape<E, D>>,
}

impl Prediction {
    /// Where integration ends: 1, or just before where the velocity is singular there.
    fn end(self) -> f64 {
        match self {
            Self::Velocity { .. } => 1.0,
            Self::Estimate { .. } => 0.99,
        }
    }

    /// What the answer is read from there.
    fn ending(self) -> Ending {
        match self {
            Self::Velocity { sharpness, .. } => {
                Ending::Latent { sharpness: ANSWER_SHARPNESS * sharpness }
            }
            Self::Estimate { .. } => Ending::Output,
        }
    }

    /// v at the points of the line, from the network's output there.
    fn velocity<E: Real, D: Backend<E>>(
        self,
        output: Matrix<E, D, OwnedTape<E, D>>,
        line: &Line<'_, E, D>,
    ) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        if self.skip(0.0).is_none() {
            return Ok(output);
        }
        let shape = *line.point.shape();
        let weight = |of: fn([f64; 2]) -> f64| {
            let column = line.column(|t| self.skip(t).map_or(0.0, of))?;
            column.try_broadcast_like::<_, Axis<1>>(&shape)
        };
        let of_z = weight(|[of_z, _]| of_z)?.try_mul(line.point.clone())?;
        output.try_mul(weight(|[_, of_output]| of_output)?)?.try_add(of_z)
    }

    /// The output against the line.
    pub(crate) fn compare<E: Real, D: Backend<E>>(
        self,
        reading: Reading,
        output: Matrix<E, D, OwnedTape<E, D>>,
        line: &Line<'_, E, D>,
    ) -> Result<Compared<E, D>, D::Err> {
        match self {
            Self::Velocity { sharpness, .. } => {
                let output = self.velocity(output, line)?;
                // v − (z_1 − z_0) as (v + z_0) − z_1, so that z_1 keeps its id.
                let left = line.column(|t| 1.0 - t)?;
                let left = left.try_broadcast_like::<_, Axis<1>>(line.point.shape())?;
                let moved = output.with_empty_tape().try_mul(left)?;
                let extrapolated = moved.try_add(line.point.retaped::<OwnedTape<E, D>>())?;
                let logits = reading.read(extrapolated, line.embedding, sharpness)?;
                let output = output.try_add(line.start.clone())?;
                let error = squared_error(output, line.end.clone(), line.weight(|_| 1.0)?)?;
                Ok(Compared { error, logits })
            }
            Self::Estimate { weighting } => {
                let logits = output.with_empty_tape();
                let estimate = reading.estimate(output, line.embedding)?;
                let weight = line.weight(|t| match weighting {
                    EstimateWeighting::Uniform => 1.0,
                    EstimateWeighting::Velocity => (1.0 - t).max(0.01).powi(-2),
                })?;
                let error = squared_error(estimate, line.end.clone(), weight)?;
                Ok(Compared { error, logits })
            }
        }
    }
}

impl<H, P, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for FlowMatching<H, P>
where
    H: Head<Z, E>,
    P: Predicts<H, Z, E>,
{
    type Head = H;
    type Reader = P::Reader;
    type Input = Timed<Z, X>;

    const NAME: &'static str = "flow matching";

    fn head(&self) -> &H {
        &self.head
    }

    fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    fn steps_mut(&mut self) -> (&mut Optimizer, &mut Estimator) {
        (&mut self.optimizer, &mut self.estimator)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn blocks(&self) -> usize {
        1
    }

    fn mathematics(&self) -> Result<Mathematics, Error> {
        let (reading, prediction) = (H::reading(), self.predictor.prediction()?);
        self.estimator.check(reading.is_learned().then_some("embedding"))?;
        check_weight("FlowMatching::cross_entropy", self.cross_entropy)?;
        self.solver.check()?;
        Ok(Mathematics::Flow(Flow {
            setup: Setup {
                name: "flow matching",
                blocks: 1,
                reading,
                probabilities: self.probabilities,
                optimizer: self.optimizer,
                estimator: self.estimator,
                cross_entropy: if reading.has_classes() { self.cross_entropy } else { 0.0 },
                times: Some(self.times),
            },
            prediction,
            cross_entropy: self.cross_entropy,
            solver: self.solver.clone(),
        }))
    }
}

/// 1 / (1 − t), the speed from z to û in v = (û − z) / (1 − t). Only a trajectory that a user asks
/// for goes beyond t = 0.99.
fn speed(t: f64) -> f64 {
    1.0 / (1.0 - t).max(0.01)
}

/// Flow matching with the types of head and predictor gone.
pub struct Flow {
    setup: Setup,
    prediction: Prediction,
    cross_entropy: f64,
    solver: Solver,
}

impl Flow {
    /// What answers need, with nothing left to train.
    #[cfg(feature = "inference")]
    pub(super) fn trained(
        prediction: Prediction,
        solver: Solver,
        setup: Setup,
    ) -> Result<Self, Error> {
        solver.check()?;
        Ok(Self { setup, prediction: prediction.checked()?, cross_entropy: 0.0, solver })
    }
}

impl<E: Real, D: Backend<E>> ReverseProcess<E, D> for Flow {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn transition(&self) -> Transition<'_, E, D> {
        Transition::Field(self)
    }

    #[cfg(feature = "inference")]
    fn settings(&self, _learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings {
        ReverseSettings::Flow { prediction: self.prediction, solver: self.solver.clone() }
    }
}

impl<E: Real, D: Backend<E>> Objective<E, D> for Flow {
    /// The straight line z = t u + (1 − t) ε.
    fn points(&self, _learned: Option<&LearnedGamma<E, D>>) -> Vec<SchedulePoint> {
        let at = |t: f64| SchedulePoint { t, snr: (t / (1.0 - t)).powi(2) };
        (0..=100).map(|i| at(f64::from(i) / 100.0)).collect()
    }

    fn loss(
        &self,
        _t: usize,
        draw: Draw<'_, E, D>,
        _learned: Option<&LearnedGamma<E, D>>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err> {
        let Draw { target, noise: start, times, .. } = draw;
        let (host_times, times) = match times {
            Some(times) => (times.host, times.device),
            None => (Vec::new(), start.device().try_zeros_like(&(0,))?),
        };
        let (end, tape) = target.traced(self.setup.reading, gradients)?.split_tape();
        let [toward, away] = mixing(times, start.shape().1)?;
        let (point, tape) = if self.setup.reading.is_learned() {
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
            times: &host_times,
            embedding: target.embedding,
            weights: target.weights.as_ref(),
        };
        let Compared { error, logits } =
            self.prediction.compare(self.setup.reading, output, &line)?;
        let output = logits.retaped::<NoneTape>();
        weigh(error, logits, &target, self.cross_entropy, output)
    }

    fn prediction(&self) -> Option<Prediction> {
        Some(self.prediction)
    }
}

/// t and 1 − t of each row, as wide as the latent.
pub(crate) fn mixing<E: Real, D: Backend<E>>(
    times: Column<E, D>,
    width: usize,
) -> Result<[Matrix<E, D>; 2], D::Err> {
    let shape = (times.shape().0, width);
    let away = times.clone().try_negate()?.try_add(E::one())?;
    let wide = |column: Column<E, D>| column.try_broadcast_like::<_, Axis<1>>(&shape);
    Ok([wide(times)?, wide(away)?])
}
