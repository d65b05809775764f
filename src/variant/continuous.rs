//! Continuous time (NoProp-CT): one network û(z, x, t), trained at all noise levels.

use dfdx::{
    nn::{BuildOnDevice, ZeroGrads},
    prelude::*,
};
use rand::RngCore;

use super::{
    Answers, Ask, State, Variant,
    network::{self, Draw, Network, NetworkLoss, TimeSampling, TimedRows},
    objective::{Target, constant, squared_error, terminal, weigh},
    step::{OwnLoss, check_weight},
};
use crate::{
    device::{Backend, Real, Rows, TracedRows, TracedScalar},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot},
    nn::Timed,
    noprop::{NoProp, TargetsOf},
    optim::{Optimizer, OptimizerState, Stepping},
    schedule::{GammaSchedule, LearnedGamma, Path, TracedColumn},
    solver::{Method, Save, Solution, Solver, Steps},
    train::{Chosen, SchedulePoint, Span, StepReport},
};

/// Continuous time: one network û(z, x, t) takes noise to the target along an ODE or SDE (Li, Teh, Pascanu 2025,
/// section 3.2).
///
/// In training z = √ᾱ(t) u + √(1 − ᾱ(t)) ε with t uniform on (0, 1), and the loss is
///
/// CE(p̂(y | z_1)) + KL(q(z_0 | y) ‖ N(0, I)) + ½ η SNR′(t) ‖û(z, x, t) − u‖²,
///
/// or with another weight in the place of ½ η SNR′; to it comes the cross-entropy of the network's own logits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ContinuousTime<H = OneHot> {
    /// γ(t), and with it ᾱ(t) = σ(−γ(t)); fixed or learned.
    pub schedule: GammaSchedule,
    /// The weight of the squared error over time.
    pub weighting: Weighting,
    /// η, the weight of the squared error in all: 0 or more.
    pub eta: f64,
    /// The weight of the cross-entropy on the network's own logits: 0 (the paper) or more.
    pub cross_entropy: f64,
    /// How times are drawn.
    pub times: TimeSampling,
    /// How answers are read off.
    pub inference: Inference,
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

impl<H: Default> Default for ContinuousTime<H> {
    /// γ from 6 to −6 along a cosine, weight 1 and the cross-entropy of the logits with weight 5: what works best
    /// on MNIST. For the paper's loss set `weighting` to [`Weighting::SnrSlope`] and
    /// `cross_entropy` to 0.
    fn default() -> Self {
        Self {
            schedule: GammaSchedule::default(),
            weighting: Weighting::Uniform,
            eta: 1.0,
            cross_entropy: 5.0,
            times: TimeSampling::default(),
            inference: Inference::default(),
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

/// The weight of the squared error at time t.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Weighting {
    /// ½ η SNR′(t): the paper's, the bound on the likelihood. Nearly all of it is at t near 1.
    SnrSlope,
    /// η at all times.
    #[default]
    Uniform,
}

/// How z goes from noise (t = 0) to target (t = 1) in inference.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Inference {
    /// The probability-flow ODE, from z_0 = 0: the same answer for the same row.
    Ode(Solver),
    /// The SDE, from z_0 ~ N(0, I), by Euler–Maruyama; the answers of several draws are averaged.
    Sde {
        /// How many steps: at least 1.
        steps: usize,
        /// How many draws are averaged: at least 1.
        draws: usize,
        /// The seed of the noise; each row has a stream of its own, by its place in the batch.
        seed: u64,
    },
}

impl Default for Inference {
    /// Ten steps of Heun's method: 20 calls of the network.
    fn default() -> Self {
        Self::Ode(Solver { method: Method::Heun, steps: Steps::Fixed(10), save: Save::End })
    }
}

impl Inference {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Sde { steps: 0, .. } => {
                Err(Error::config("Inference::Sde::steps", "at least 1", 0))
            }
            Self::Sde { draws: 0, .. } => {
                Err(Error::config("Inference::Sde::draws", "at least 1", 0))
            }
            _ => Ok(()),
        }
    }
}

/// A schedule that is trained, with what its optimiser remembers; or one that stays.
#[doc(hidden)]
#[derive(Clone)]
pub struct Gamma<E: Real, D: Backend<E>> {
    fixed: GammaSchedule,
    learned: Option<(LearnedGamma<E, D>, OptimizerState<E, D>)>,
}

impl<E: Real, D: Backend<E>> Gamma<E, D> {
    /// The schedule as it is by now.
    fn schedule(&self) -> GammaSchedule {
        match &self.learned {
            Some((gamma, _)) => gamma.schedule(),
            None => self.fixed.clone(),
        }
    }

    /// γ and γ′ for each row, on the tape; the tape of the first leads both back.
    fn at(
        &self,
        host_times: &[f64],
        times: &Tensor<(usize,), E, D>,
    ) -> Result<(TracedColumn<E, D>, Tensor<(usize,), E, D>), D::Err> {
        if let Some((gamma, _)) = &self.learned {
            return gamma.at(times);
        }
        let column = |value: fn(&crate::schedule::GammaPoint) -> f64| {
            let values = host_times.iter().map(|&t| E::of(value(&self.fixed.at(t)))).collect();
            times.device().try_tensor_from_vec(values, (host_times.len(),))
        };
        Ok((column(|p| p.gamma)?.put_tape(OwnedTape::default()), column(|p| p.slope)?))
    }
}

impl<E: Real, D: Backend<E>> State<E, D> for Gamma<E, D> {
    fn register(&self, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        self.learned.as_ref().map_or(Ok(()), |(gamma, _)| gamma.try_zero_grads(gradients))
    }

    fn step(&mut self, stepping: &Stepping, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        match &mut self.learned {
            Some((gamma, state)) => state.update(stepping, gamma, gradients).map(|_| ()),
            None => Ok(()),
        }
    }

    fn points(&self) -> Vec<SchedulePoint> {
        let schedule = self.schedule();
        let at = |t: f64| SchedulePoint { t, snr: schedule.at(t).snr() };
        (0..=100).map(|i| at(f64::from(i) / 100.0)).collect()
    }

    fn learned(&self) -> Option<(&LearnedGamma<E, D>, &OptimizerState<E, D>)> {
        self.learned.as_ref().map(|(gamma, state)| (gamma, state))
    }

    fn learned_mut(&mut self) -> Option<(&mut LearnedGamma<E, D>, &mut OptimizerState<E, D>)> {
        self.learned.as_mut().map(|(gamma, state)| (gamma, state))
    }
}

impl<H: Head<Z, E>, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for ContinuousTime<H>
{
    type Head = H;
    type Reader = H;
    type Input = Timed<Z, X>;
    type State = Gamma<E, D>;

    const NAME: &'static str = "continuous time";

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

    fn start(&self, device: &D) -> Result<Gamma<E, D>, Error> {
        self.schedule.validate()?;
        check_weight("ContinuousTime::eta", self.eta)?;
        check_weight("ContinuousTime::cross_entropy", self.cross_entropy)?;
        if self.eta == 0.0 && (self.cross_entropy == 0.0 || !H::CLASSES) {
            return Err(Error::config("ContinuousTime::eta", "above 0, or nothing is learned", 0));
        }
        self.inference.check()?;
        let scheduled = matches!(self.schedule.path, Path::Learned(_)).then_some("schedule");
        self.estimator.check(H::LEARNED.then_some("embedding").or(scheduled))?;
        let learned = match &self.schedule.path {
            Path::Learned(network) => {
                let gamma = LearnedGamma::new(device, &self.schedule, network);
                let gamma = gamma.map_err(Error::device("building the schedule"))?;
                Some((gamma, OptimizerState::default()))
            }
            _ => None,
        };
        Ok(Gamma { fixed: self.schedule.clone(), learned })
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

impl<H: Head<Z, E>, const Z: usize, const X: usize, E: Real, D: Backend<E>> Network<Z, X, E, D>
    for ContinuousTime<H>
{
    type Curve = GammaSchedule;
    const TERMS: bool = true;
    const END: f64 = 1.0;

    fn curve(&self, state: &Gamma<E, D>) -> GammaSchedule {
        state.schedule()
    }

    fn times(&self) -> TimeSampling {
        self.times
    }

    fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    fn inference(&self) -> Inference {
        self.inference.clone()
    }

    fn loss(
        &self,
        state: &Gamma<E, D>,
        draw: Draw<'_, H::Out, Z, E, D>,
        gradients: Gradients<E, D>,
        forward: impl FnOnce(TracedRows<Const<Z>, E, D>) -> Result<TracedRows<H::Out, E, D>, D::Err>,
    ) -> Result<NetworkLoss<H::Out, E, D>, D::Err> {
        let Draw { target, noise, end_noise, host_times, times } = draw;
        let device = noise.device().clone();
        let at = state.at(&host_times, &times)?;
        let weight = (self.weighting, self.eta, state.learned.is_some());
        let (error, output) =
            denoising::<H, Z, E, D>(at, weight, &target, noise, gradients, forward)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        let weighed = weigh::<H, Z, E, D>(error, logits, &target, self.cross_entropy)?;
        let mut loss = weighed.into_loss(output);
        let Some(end_noise) = end_noise else {
            return Ok(NetworkLoss { loss, terminal: None });
        };

        // ᾱ(0) = σ(−γ(0)) and SNR(1) = e^{−γ(1)}; neither slope is needed.
        let ends: [TracedScalar<E, D>; 2] = match &state.learned {
            Some((gamma, _)) => {
                let end = |t: f64| {
                    let times = device.try_tensor_from_vec(vec![E::of(t)], (1,))?;
                    gamma.at(&times)?.0.try_negate()?.try_sum::<(), _>()
                };
                [end(0.0)?.try_sigmoid()?, end(1.0)?.try_exp()?]
            }
            None => [
                constant(&device, state.fixed.at(0.0).alpha_bar())?,
                constant(&device, state.fixed.at(1.0).snr())?,
            ],
        };
        let [recovery, kl] = terminal::<H, Z, E, D>(ends, &target, end_noise, Gradients::leaky())?;
        let terminal = [&recovery, &kl].map(Tensor::with_empty_tape);
        loss.total = loss.total.try_add(recovery)?.try_add(kl)?;
        Ok(NetworkLoss { loss, terminal: Some(terminal) })
    }

    fn drift(
        &self,
        curve: &GammaSchedule,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<H::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        let (estimate, latent) = curve.at(t).probability_flow();
        D::combined(estimate, &H::estimate(output, table)?, &[(latent, z)])
    }

    fn sde_drift(
        &self,
        curve: &GammaSchedule,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<H::Out, E, D>,
        table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err> {
        let (estimate, latent, _) = curve.at(t).sde();
        D::combined(estimate, &H::estimate(output, table)?, &[(latent, z)])
    }

    fn diffusion(&self, curve: &GammaSchedule, t: f64) -> f64 {
        curve.at(t).sde().2
    }

    fn answer_at(
        &self,
        _t: f64,
        _z: &Rows<Const<Z>, E, D>,
        output: Rows<H::Out, E, D>,
        _table: &Tensor<(H::Out, Const<Z>), E, D>,
    ) -> Result<Rows<H::Out, E, D>, D::Err> {
        Ok(output)
    }

    fn finish(
        &self,
        z: Rows<Const<Z>, E, D>,
        _table: &Tensor<(H::Out, Const<Z>), E, D>,
        output: impl FnOnce(&Rows<Const<Z>, E, D>) -> Result<Rows<H::Out, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<H::Out, E, D>), Error> {
        let output = output(&z)?;
        Ok((z, output))
    }
}

/// w(t) ‖û − u‖² of each row, and the network's output: γ and γ′ of each row come with their tape in `at`.
fn denoising<H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
    (gamma, slope): (TracedColumn<E, D>, Tensor<(usize,), E, D>),
    (weighting, eta, learned): (Weighting, f64, bool),
    target: &Target<'_, H::Out, Z, E, D>,
    noise: Rows<Const<Z>, E, D>,
    gradients: Gradients<E, D>,
    forward: impl FnOnce(TracedRows<Const<Z>, E, D>) -> Result<TracedRows<H::Out, E, D>, D::Err>,
) -> Result<(TracedColumn<E, D>, Rows<H::Out, E, D>), D::Err> {
    let shape = *noise.shape();
    let (gamma, schedule_tape) = gamma.split_tape();
    let traced = || gamma.retaped::<OwnedTape<E, D>>();
    let (u, tape) = target.traced::<H>(gradients)?.split_tape();
    let z = if H::LEARNED || learned {
        let u = u.clone().put_tape(tape.merge(schedule_tape));
        noised(traced(), u, noise.put_tape(OwnedTape::default()), shape)?
    } else {
        // Nothing leads back to the schedule or to u, so the way to z need not be recorded.
        noised(gamma.clone(), u.clone(), noise, shape)?.put_tape(tape)
    };
    let (output, tape) = forward(z)?.split_tape();
    let estimate = H::estimate(output.clone().put_tape(tape), target.table)?;
    let weight = match weighting {
        Weighting::Uniform => {
            constant(u.device(), eta)?.try_broadcast_like::<_, Axis<0>>(&(shape.0,))?
        }
        // ½ η SNR′ = −½ η γ′ e^{−γ}.
        Weighting::SnrSlope => {
            let snr = traced().try_negate()?.try_exp()?;
            snr.try_mul(slope.retaped::<OwnedTape<E, D>>())?.try_mul(E::of(-0.5 * eta))?
        }
    };
    Ok((squared_error(estimate, u, target.weigh_rows(weight)?)?, output))
}

/// √ᾱ u + √(1 − ᾱ) ε, with √ᾱ = √σ(−γ) and √(1 − ᾱ) = √σ(γ).
fn noised<const Z: usize, E: Real, D: Backend<E>, T: Tape<E, D> + Merge<T>>(
    gamma: Tensor<(usize,), E, D, T>,
    u: Rows<Const<Z>, E, D, T>,
    noise: Rows<Const<Z>, E, D, T>,
    shape: (usize, Const<Z>),
) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
    let share = gamma.retaped::<T>().try_negate()?.try_sigmoid()?.try_sqrt()?;
    let spread = gamma.retaped::<T>().try_sigmoid()?.try_sqrt()?;
    let u = u.try_mul(share.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
    u.try_add(spread.try_broadcast_like::<_, Axis<1>>(&shape)?.try_mul(noise)?)
}

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<ContinuousTime<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// γ(t) as it is by now: the learned one, where it is learned.
    pub fn schedule(&self) -> GammaSchedule {
        self.state.schedule()
    }

    /// Changes how answers are read off; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_inference(&mut self, inference: Inference) -> Result<(), Error> {
        inference.check()?;
        self.variant.inference = inference;
        Ok(())
    }

    /// One step of the network on a loss of your own.
    ///
    /// `loss` gets the network's output for (z, x, t), `[batch, Out]`, and returns a scalar. `rng` feeds what the
    /// layers draw: dropout. The answer is the value of the loss before the step.
    ///
    /// # Errors
    /// [`Error::Argument`] if z, x and t have different numbers of rows or none; [`Error::Diverged`] if the loss is
    /// not finite (the network is left as it was); [`Error::Device`].
    pub fn train_step(
        &mut self,
        input: TimedRows<Z, X, E, D>,
        loss: impl Fn(TracedRows<H::Out, E, D>) -> Result<TracedScalar<E, D>, D::Err>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let loss = |output| loss(output)?.try_reshape_like(&(1,));
        network::custom_step("NoProp::train_step", self, input, OwnLoss::Traced(&loss), rng)
    }

    /// One step of the network on a loss that need not have a derivative, with [`estimator`](field@ContinuousTime::estimator) other than
    /// [`Estimator::Local`].
    ///
    /// `losses` gets the network's output for (z, x, t), row-major, `[batch, Out]`, and returns a loss for each row, or one
    /// for all of them. It is called with the same batch several times. The answer is the mean of the losses before the
    /// step.
    ///
    /// # Errors
    /// Those of [`train_step`](Self::train_step); [`Error::Config`] for [`Estimator::Local`]; [`Error::Argument`] for
    /// another number of losses.
    pub fn train_step_by_losses(
        &mut self,
        input: TimedRows<Z, X, E, D>,
        losses: impl Fn(&[E]) -> Vec<f64>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let operation = "NoProp::train_step_by_losses";
        network::custom_step(operation, self, input, OwnLoss::Numbers(&losses), rng)
    }

    /// The probability-flow ODE from `t0` to `t1` (0 is noise, 1 is target; either may be the larger), by the solver of
    /// [`inference`](field@ContinuousTime::inference); for the SDE by the default one. The end only, unless the solver saves more:
    /// with [`Save::Steps`] N steps give N + 1 points.
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
        let solver = match &self.variant.inference {
            Inference::Ode(solver) => solver.clone(),
            Inference::Sde { .. } => Solver::default(),
        };
        network::trajectory(self, &solver, (z0, x), (t0, t1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::{BuiltDense, ConditionalResNetDt, Takes},
        schedule::MonotoneNetwork,
        variant::{objective::mean, step::on_device_target},
    };
    use serde_json::Value;

    fn numbers(value: &Value) -> Vec<f64> {
        match value {
            Value::Array(items) => items.iter().flat_map(numbers).collect(),
            other => vec![other.as_f64().unwrap()],
        }
    }

    #[track_caller]
    fn assert_close(what: &str, found: Vec<f64>, expected: &Value) {
        let expected = numbers(expected);
        assert_eq!(found.len(), expected.len(), "{what}");
        let scale = expected.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() <= 1e-9 * scale, "{what}: {f} and not {e}");
        }
    }

    type Block = ConditionalResNetDt<4, 6, 5>;

    fn set<const I: usize, const O: usize>(
        dense: &mut BuiltDense<I, O, f64, Cpu>,
        weight: &Value,
        bias: &Value,
    ) {
        dense.weight.copy_from(&numbers(weight));
        dense.bias.copy_from(&numbers(bias));
    }

    /// The paper's loss and its gradients with respect to network, embedding and learned schedule.
    #[test]
    fn the_loss_agrees_with_the_golden_values() {
        let path = std::env::var("NOPROP_GOLDEN").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/golden.json").to_string()
        });
        let text = std::fs::read_to_string(path).unwrap();
        let case = &serde_json::from_str::<Value>(&text).unwrap()["ct"][0];
        let dev = Cpu::default();
        let eight = |what: &str| numbers(&case["schedule"][what]).try_into().unwrap();
        let network = MonotoneNetwork {
            v0: case["schedule"]["v0"].as_f64().unwrap(),
            v1: eight("v1"),
            v2: eight("v2"),
            c1: eight("c1"),
        };
        let schedule = GammaSchedule {
            gamma_0: case["schedule"]["g0"].as_f64().unwrap(),
            gamma_1: case["schedule"]["g1"].as_f64().unwrap(),
            path: Path::Learned(network.clone()),
        };
        let learned = LearnedGamma::<f64, Cpu>::new(&dev, &schedule, &network).unwrap();
        assert_eq!(learned.schedule(), schedule);

        let (params, rows) = (&case["params"], numbers(&case["t"]).len());
        let mut built = Block::build_on_device(&dev);
        set(&mut built.0.z, &params["wz"], &params["bz"]);
        set(&mut built.0.x, &params["wx"], &params["bx"]);
        set(&mut built.2.0.0, &params["w1"], &params["b1"]);
        set(&mut built.2.0.2, &params["w2"], &params["b2"]);
        set(&mut built.3, &params["wo"], &params["bo"]);
        let embedding = numbers(&case["embedding"]);
        let table = dev.tensor_from_vec(embedding.clone(), Default::default());
        let labels = numbers(&case["labels"]).iter().map(|&y| y as u32).collect();
        let labels = crate::data::Labels::<4>::new(labels).unwrap();
        type Head = crate::head::Learned<4>;
        let target =
            on_device_target::<Head, 4, f64, Cpu>(&dev, &labels, rows, None, &embedding, &table)
                .unwrap();
        let noise = dev.tensor_from_vec(numbers(&case["eps"]), (rows, Const::<4>));
        let x = dev.tensor_from_vec(numbers(&case["x"]), (rows, Const::<6>));
        let times = dev.tensor_from_vec(numbers(&case["t"]), (rows,));

        let mut gradients = built.alloc_grads();
        learned.zero_grads(&mut gradients);
        table.zero_grads(&mut gradients);
        let weight = (Weighting::SnrSlope, case["eta"].as_f64().unwrap(), true);
        let at = learned.at(&times).unwrap();
        let (loss, _) =
            denoising::<Head, 4, f64, Cpu>(at, weight, &target, noise, gradients, |z| {
                Block::train(&mut built, (z, x))
            })
            .unwrap();
        let loss = mean(loss).unwrap();
        assert_close("loss", loss.as_vec(), &case["loss"]);
        let gradients = loss.backward();
        assert_close("embedding", gradients.get(&table).as_vec(), &case["grad_embedding"]);
        let network = &case["grad_params"];
        assert_close("wz", gradients.get(&built.0.z.weight).as_vec(), &network["wz"]);
        assert_close("bx", gradients.get(&built.0.x.bias).as_vec(), &network["bx"]);
        assert_close("w1", gradients.get(&built.2.0.0.weight).as_vec(), &network["w1"]);
        assert_close("wo", gradients.get(&built.3.weight).as_vec(), &network["wo"]);
        learned.assert_gradients(&gradients, |what, found| {
            assert_close(what, found, &case["grad_schedule"][what])
        });
    }

    #[test]
    fn the_schedule_on_the_device_is_the_one_on_the_host() {
        let dev = Cpu::default();
        let network = MonotoneNetwork { v1: [0.3; 8], c1: [-0.7; 8], ..Default::default() };
        let path = Path::Learned(network.clone());
        let schedule = GammaSchedule { gamma_0: -3.0, gamma_1: 2.0, path };
        let learned = LearnedGamma::<f64, Cpu>::new(&dev, &schedule, &network).unwrap();
        let times = [0.0, 0.1, 0.5, 0.99, 1.0];
        let (gamma, slope) = learned.at(&dev.tensor_from_vec(times.to_vec(), (5,))).unwrap();
        for (i, t) in times.into_iter().enumerate() {
            let point = schedule.at(t);
            assert!((gamma.as_vec()[i] - point.gamma).abs() < 1e-12);
            assert!((slope.as_vec()[i] - point.slope).abs() < 1e-12);
        }
    }
}
