//! Continuous time (NoProp-CT): one network û(z, x, t), trained at all noise levels.

mod field;
mod inference;
#[cfg(test)]
mod tests;
mod weighting;

pub use inference::Inference;
pub use weighting::Weighting;

use dfdx::prelude::*;

#[cfg(feature = "inference")]
use super::ReverseSettings;
use super::{
    Draw, Ends, Mathematics, Objective, Probabilities, ReverseProcess, Setup, StepLoss, Target,
    TimeSampling, TracedForward, Transition, Variant, VectorField, check_weight, constant,
    draw::Times, squared_error, terminal, weigh,
};
use crate::{
    device::{Backend, Column, Matrix, Real},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot},
    nn::Timed,
    optim::Optimizer,
    schedule::{GammaPoint, GammaSchedule, LearnedGamma, Path, SchedulePoint, TracedColumn},
};

/// Continuous time: one network û(z, x, t) takes noise to the target along an ODE or SDE (Li, Teh,
/// Pascanu 2025, section 3.2).
///
/// In training z = √ᾱ(t) u + √(1 − ᾱ(t)) ε with t uniform on (0, 1), and the loss is
///
/// CE(p̂(y | z_1)) + KL(q(z_0 | y) ‖ N(0, I)) + ½ η SNR′(t) ‖û(z, x, t) − u‖²,
///
/// or with another weight instead of ½ η SNR′; to it comes the cross-entropy of the network's
/// own logits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ContinuousTime<H = OneHot> {
    /// γ(t), and with it ᾱ(t) = σ(−γ(t)); fixed or learned.
    /// Default: that of [`GammaSchedule`].
    pub schedule: GammaSchedule,
    /// The weight of the squared error over time.
    /// Default: `Weighting::ByTargets`.
    pub weighting: Weighting,
    /// η, the weight of the squared error in all: 0 or more.
    /// Default: `1.0`.
    pub eta: f64,
    /// The weight of the cross-entropy on the network's own logits: 0 (the paper) or more.
    /// Default: `5.0`.
    pub cross_entropy: f64,
    /// Whether the network gives what the noise hides of numbers, û = √ᾱ z + √(1 − ᾱ) o, instead
    /// of the numbers themselves, û = o (Karras et al. 2022, table 1, with σ_data = 1; Salimans &
    /// Ho 2022, "v"). Of no effect for classes, whose û is a mean of embeddings.
    /// Default: `true`.
    pub preconditioned: bool,
    /// How times are drawn.
    /// Default: `TimeSampling::LowDiscrepancy`.
    pub times: TimeSampling,
    /// How answers are read off.
    /// Default: ten steps of [`Method::Heun`](crate::solver::Method::Heun), which call the network 20 times.
    pub inference: Inference,
    /// Whose probabilities are the answer, for classes.
    /// Default: `Probabilities::Mean`.
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

impl ContinuousTime {
    /// The same settings for targets of another kind.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// let variant = ContinuousTime::default().with_head(Regression);
    /// assert_eq!(variant, ContinuousTime::<Regression>::default());
    /// ```
    pub fn with_head<G>(self, head: G) -> ContinuousTime<G> {
        ContinuousTime {
            schedule: self.schedule,
            weighting: self.weighting,
            eta: self.eta,
            cross_entropy: self.cross_entropy,
            preconditioned: self.preconditioned,
            times: self.times,
            inference: self.inference,
            probabilities: self.probabilities,
            optimizer: self.optimizer,
            estimator: self.estimator,
            seed: self.seed,
            head,
        }
    }
}

impl<H: Default> Default for ContinuousTime<H> {
    /// γ from 6 to −6 along a cosine (with numbers: [`Path::Logit`]), weight 1 (1 + SNR) and the cross-entropy of the logits with weight 5:
    /// what works best on MNIST. For the paper's loss set `weighting` to [`Weighting::SnrSlope`]
    /// and `cross_entropy` to 0.
    fn default() -> Self {
        Self {
            schedule: GammaSchedule::default(),
            weighting: Weighting::ByTargets,
            eta: 1.0,
            cross_entropy: 5.0,
            preconditioned: true,
            times: TimeSampling::default(),
            inference: Inference::default(),
            probabilities: Probabilities::Mean,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

impl<H: Head<Z, E>, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for ContinuousTime<H>
{
    type Head = H;
    type Reader = H;
    type Input = Timed<Z, X>;

    const NAME: &'static str = "continuous time";

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
        let reading = H::reading();
        self.schedule.validate::<E>()?;
        check_weight("ContinuousTime::eta", self.eta)?;
        check_weight("ContinuousTime::cross_entropy", self.cross_entropy)?;
        if self.eta == 0.0 && (self.cross_entropy == 0.0 || !reading.has_classes()) {
            return Err(Error::config("ContinuousTime::eta", "above 0, or nothing is learned", 0));
        }
        self.inference.check()?;
        let scheduled = matches!(self.schedule.path, Path::Learned(_)).then_some("schedule");
        self.estimator.check(reading.is_learned().then_some("embedding").or(scheduled))?;
        Ok(Mathematics::Continuous(Box::new(Continuous {
            setup: Setup {
                name: "continuous time",
                blocks: 1,
                reading,
                probabilities: self.probabilities,
                optimizer: self.optimizer,
                estimator: self.estimator,
                cross_entropy: if reading.has_classes() { self.cross_entropy } else { 0.0 },
                times: Some(self.times),
            },
            schedule: self.schedule.by_targets(reading.has_classes()),
            weighting: self.weighting,
            eta: self.eta,
            cross_entropy: self.cross_entropy,
            preconditioned: self.preconditioned && !reading.has_classes(),
            inference: self.inference.clone(),
        })))
    }
}

/// Continuous time with the type of its head gone.
pub struct Continuous {
    setup: Setup,
    schedule: GammaSchedule,
    weighting: Weighting,
    eta: f64,
    cross_entropy: f64,
    /// Only for numbers.
    preconditioned: bool,
    inference: Inference,
}

/// γ and γ′ of each row; the tape of the first leads both back to the schedule, where that is
/// learned.
struct Gamma<E: Real, D: Backend<E>> {
    value: TracedColumn<E, D>,
    slope: Column<E, D>,
    is_learned: bool,
}

impl Continuous {
    /// What answers need, with nothing left to train.
    #[cfg(feature = "inference")]
    pub(super) fn trained<E: Real>(
        schedule: GammaSchedule,
        preconditioned: bool,
        inference: Inference,
        setup: Setup,
    ) -> Result<Self, Error> {
        schedule.validate::<E>()?;
        inference.check()?;
        Ok(Self {
            preconditioned: preconditioned && !setup.reading.has_classes(),
            setup,
            schedule,
            weighting: Weighting::Uniform,
            eta: 0.0,
            cross_entropy: 0.0,
            inference,
        })
    }

    /// γ and γ′ at the times of a batch.
    fn gamma<E: Real, D: Backend<E>>(
        &self,
        times: &Times<E, D>,
        learned: Option<&LearnedGamma<E, D>>,
    ) -> Result<Gamma<E, D>, D::Err> {
        if let Some(learned) = learned {
            let (value, slope) = learned.at(&times.device)?;
            return Ok(Gamma { value, slope, is_learned: true });
        }
        let column = |of: fn(&GammaPoint) -> f64| {
            let values = times.host.iter().map(|&t| E::of(of(&self.schedule.at(t)))).collect();
            times.device.device().try_tensor_from_vec(values, (times.host.len(),))
        };
        let value = column(|point| point.gamma)?.put_tape(OwnedTape::default());
        Ok(Gamma { value, slope: column(|point| point.slope)?, is_learned: false })
    }

    /// w(t) ‖û − u‖² of each row, and the network's output.
    fn denoising<E: Real, D: Backend<E>>(
        &self,
        gamma: Gamma<E, D>,
        target: &Target<'_, E, D>,
        noise: Matrix<E, D>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<(TracedColumn<E, D>, Matrix<E, D>), D::Err> {
        let shape = *noise.shape();
        let (value, schedule_tape) = gamma.value.split_tape();
        let traced = || value.retaped::<OwnedTape<E, D>>();
        let (u, tape) = target.traced(self.setup.reading, gradients)?.split_tape();
        let z = if self.setup.reading.is_learned() || gamma.is_learned {
            let u = u.clone().put_tape(tape.merge(schedule_tape));
            noised(traced(), u, noise.put_tape(OwnedTape::default()))?
        } else {
            // Nothing leads back to the schedule or to u, so the way to z need not be recorded.
            noised(value.clone(), u.clone(), noise)?.put_tape(tape)
        };
        let of_z = self.preconditioned.then(|| z.with_empty_tape());
        let mut output = forward(z)?;
        if let Some(z) = of_z {
            output = noised(traced(), z, output)?;
        }
        let (output, tape) = output.split_tape();
        let estimate =
            self.setup.reading.estimate(output.clone().put_tape(tape), target.embedding)?;
        let weight = match self.weighting {
            Weighting::ByTargets if !self.setup.reading.has_classes() => {
                let snr = traced().try_negate()?.try_exp()?;
                snr.try_add(E::one())?.try_mul(E::of(self.eta))?
            }
            Weighting::Uniform | Weighting::ByTargets => {
                constant(u.device(), self.eta)?.try_broadcast_like::<_, Axis<0>>(&(shape.0,))?
            }
            // ½ η SNR′ = −½ η γ′ exp(−γ).
            Weighting::SnrSlope => {
                let snr = traced().try_negate()?.try_exp()?;
                let slope = gamma.slope.retaped::<OwnedTape<E, D>>();
                snr.try_mul(slope)?.try_mul(E::of(-0.5 * self.eta))?
            }
        };
        Ok((squared_error(estimate, u, target.weigh_rows(weight)?)?, output))
    }

    /// ᾱ(0) = σ(−γ(0)) and SNR(1) = exp(−γ(1)); neither slope is needed.
    fn ends<E: Real, D: Backend<E>>(
        &self,
        device: &D,
        learned: Option<&LearnedGamma<E, D>>,
    ) -> Result<Ends<E, D>, D::Err> {
        let Some(learned) = learned else {
            return Ok(Ends {
                alpha_bar: constant(device, self.schedule.at(0.0).alpha_bar())?,
                snr: constant(device, self.schedule.at(1.0).snr())?,
            });
        };
        let end = |t: f64| {
            let times = device.try_tensor_from_vec(vec![E::of(t)], (1,))?;
            learned.at(&times)?.0.try_negate()?.try_sum::<(), _>()
        };
        Ok(Ends { alpha_bar: end(0.0)?.try_sigmoid()?, snr: end(1.0)?.try_exp()? })
    }
}

impl<E: Real, D: Backend<E>> ReverseProcess<E, D> for Continuous {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn transition(&self) -> Transition<'_, E, D> {
        Transition::Field(self)
    }

    #[cfg(feature = "inference")]
    fn settings(&self, learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings {
        let schedule = Box::new(VectorField::curve(self, learned));
        let (preconditioned, inference) = (self.preconditioned, self.inference.clone());
        ReverseSettings::Continuous { schedule, preconditioned, inference }
    }
}

impl<E: Real, D: Backend<E>> Objective<E, D> for Continuous {
    fn learned_schedule(&self) -> Option<&GammaSchedule> {
        matches!(self.schedule.path, Path::Learned(_)).then_some(&self.schedule)
    }

    fn points(&self, learned: Option<&LearnedGamma<E, D>>) -> Vec<SchedulePoint> {
        let curve = VectorField::<E, D>::curve(self, learned);
        let at = |t: f64| SchedulePoint { t, snr: curve.at(t).snr() };
        (0..=100).map(|i| at(f64::from(i) / 100.0)).collect()
    }

    fn has_terminal(&self) -> bool {
        true
    }

    fn loss(
        &self,
        _t: usize,
        draw: Draw<'_, E, D>,
        learned: Option<&LearnedGamma<E, D>>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err> {
        let Draw { target, noise, end_noise, times } = draw;
        let device = noise.device().clone();
        let times = match times {
            Some(times) => times,
            None => Times { host: Vec::new(), device: device.try_zeros_like(&(0,))? },
        };
        let gamma = self.gamma(&times, learned)?;
        let (error, output) = self.denoising(gamma, &target, noise, gradients, forward)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        let mut loss = weigh(error, logits, &target, self.cross_entropy, output)?;
        if let Some(end_noise) = end_noise {
            let ends = self.ends(&device, learned)?;
            let [recovery, kl] =
                terminal(self.setup.reading, ends, &target, end_noise, Gradients::leaky())?;
            loss.terminal = Some([recovery.with_empty_tape(), kl.with_empty_tape()]);
            loss.total = loss.total.try_add(recovery)?.try_add(kl)?;
        }
        Ok(loss)
    }
}

/// √ᾱ u + √(1 − ᾱ) ε, with √ᾱ = √σ(−γ) and √(1 − ᾱ) = √σ(γ).
fn noised<E: Real, D: Backend<E>, T: Tape<E, D> + Merge<T>>(
    gamma: Column<E, D, T>,
    u: Matrix<E, D, T>,
    noise: Matrix<E, D, T>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = *u.shape();
    let share = gamma.retaped::<T>().try_negate()?.try_sigmoid()?.try_sqrt()?;
    let spread = gamma.retaped::<T>().try_sigmoid()?.try_sqrt()?;
    let u = u.try_mul(share.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
    u.try_add(spread.try_broadcast_like::<_, Axis<1>>(&shape)?.try_mul(noise)?)
}
