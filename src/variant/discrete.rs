//! Discrete time (NoProp-DT): T blocks, each with its own weights, each trained on its own noise
//! level.

mod sampler;
#[cfg(test)]
mod tests;

pub use sampler::{ReverseVariance, Sampler};

use dfdx::prelude::*;

#[cfg(feature = "inference")]
use super::ReverseSettings;
use super::{
    Draw, Ends, Mathematics, Objective, Probabilities, ReverseProcess, Setup, StepLoss, Target,
    TracedForward, Transition, Variant, check_weight, constant, squared_error, terminal, weigh,
};
use crate::{
    device::{Backend, Matrix, Real, TracedScalar},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot},
    nn::Pair,
    optim::Optimizer,
    schedule::{LearnedGamma, NoiseLevels, Schedule, SchedulePoint},
};

/// Discrete time: T blocks û_1 … û_T take noise to the target in T steps (Li, Teh, Pascanu 2025,
/// section 3).
///
/// Block t takes zₜ₋₁ and x and estimates the target, ûₜ; then
///
/// zₜ = aₜ ûₜ + bₜ zₜ₋₁ + √cₜ ε
///
/// with the coefficients of [`NoiseLevels`]. In training zₜ₋₁ is drawn from q(zₜ₋₁ | y) =
/// N(√ᾱₜ₋₁ u, (1 − ᾱₜ₋₁) I) directly, so that no block waits for another. The loss is
///
/// CE(p̂(y | z_T)) + KL(q(z_0 | y) ‖ N(0, I)) + mean_t (T/2) η (SNR(t) − SNR(t−1)) ‖ûₜ(zₜ₋₁, x)
/// − u‖²,
///
/// and to it each block may add the cross-entropy of its own logits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct DiscreteTime<H = OneHot> {
    /// T, the number of blocks: at least 1.
    /// Default: `10`.
    pub blocks: usize,
    /// How noise turns into target.
    /// Default: `Schedule::Cosine`.
    pub schedule: Schedule,
    /// η, the weight of the squared error: 0 or more.
    /// Default: `0.1`.
    pub eta: f64,
    /// The weight of the cross-entropy on each block's own logits: 0 (the paper) or more.
    /// Default: `1.0`.
    pub cross_entropy: f64,
    /// Whether a block gives what the noise hides of numbers, ûₜ = √ᾱₜ₋₁ zₜ₋₁ +
    /// √(1 − ᾱₜ₋₁) o, instead of the numbers themselves, ûₜ = o (Karras et al. 2022, table 1,
    /// with σ_data = 1; Salimans & Ho 2022, "v"). Of no effect for classes, whose ûₜ is a mean of
    /// embeddings.
    /// Default: `true`.
    pub preconditioned: bool,
    /// How z goes from noise to target.
    /// Default: `Sampler::Deterministic`.
    pub sampler: Sampler,
    /// How wide the noise of a step is in sampling.
    /// Default: `ReverseVariance::Optimal`.
    pub reverse_variance: ReverseVariance,
    /// Whose probabilities are the answer, for classes.
    /// Default: `Probabilities::Mean`.
    pub probabilities: Probabilities,
    /// How blocks step.
    /// Default: that of [`AdamW`](crate::optim::AdamW).
    pub optimizer: Optimizer,
    /// How blocks get their gradient.
    /// Default: `Estimator::Local`.
    pub estimator: Estimator,
    /// What the targets are.
    /// Default: that of the head.
    pub head: H,
    /// The seed of the initial weights.
    /// Default: `0`.
    pub seed: u64,
}

impl DiscreteTime {
    /// The same settings for targets of another kind.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// let variant = DiscreteTime::default().with_head(Regression);
    /// assert_eq!(variant, DiscreteTime::<Regression>::default());
    /// ```
    pub fn with_head<G>(self, head: G) -> DiscreteTime<G> {
        DiscreteTime {
            blocks: self.blocks,
            schedule: self.schedule,
            eta: self.eta,
            cross_entropy: self.cross_entropy,
            preconditioned: self.preconditioned,
            sampler: self.sampler,
            reverse_variance: self.reverse_variance,
            probabilities: self.probabilities,
            optimizer: self.optimizer,
            estimator: self.estimator,
            seed: self.seed,
            head,
        }
    }
}

impl<H: Default> Default for DiscreteTime<H> {
    /// The paper's T = 10, cosine schedule, η = 0.1 and AdamW, and in addition the cross-entropy on
    /// each block's own logits with weight 1.
    fn default() -> Self {
        Self {
            blocks: 10,
            schedule: Schedule::Cosine,
            eta: 0.1,
            cross_entropy: 1.0,
            preconditioned: true,
            sampler: Sampler::Deterministic,
            reverse_variance: ReverseVariance::default(),
            probabilities: Probabilities::Mean,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

impl<H, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for DiscreteTime<H>
where
    H: Head<Z, E>,
{
    type Head = H;
    type Reader = H;
    type Input = Pair<Z, X>;

    const NAME: &'static str = "discrete time";

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
        self.blocks
    }

    fn mathematics(&self) -> Result<Mathematics, Error> {
        let reading = H::reading();
        check_weight("DiscreteTime::eta", self.eta)?;
        check_weight("DiscreteTime::cross_entropy", self.cross_entropy)?;
        if self.eta == 0.0 && (self.cross_entropy == 0.0 || !reading.has_classes()) {
            return Err(Error::config("DiscreteTime::eta", "above 0, or nothing is learned", 0));
        }
        self.sampler.check()?;
        self.estimator.check(reading.is_learned().then_some("embedding"))?;
        Ok(Mathematics::Discrete(Discrete {
            setup: Setup {
                name: "discrete time",
                blocks: self.blocks,
                reading,
                probabilities: self.probabilities,
                optimizer: self.optimizer,
                estimator: self.estimator,
                cross_entropy: if reading.has_classes() { self.cross_entropy } else { 0.0 },
                times: None,
            },
            levels: self.schedule.levels(self.blocks)?,
            eta: self.eta,
            cross_entropy: self.cross_entropy,
            preconditioned: self.preconditioned && !reading.has_classes(),
            sampler: self.sampler,
            reverse_variance: self.reverse_variance,
        }))
    }
}

/// Discrete time with the noise levels that follow from its settings.
pub struct Discrete {
    pub(crate) setup: Setup,
    pub(crate) levels: NoiseLevels,
    eta: f64,
    pub(crate) cross_entropy: f64,
    /// Only for numbers.
    preconditioned: bool,
    pub(crate) sampler: Sampler,
    pub(crate) reverse_variance: ReverseVariance,
}

impl Discrete {
    /// What answers need, with nothing left to train.
    #[cfg(feature = "inference")]
    pub(super) fn trained(
        alpha_bar: Vec<f64>,
        preconditioned: bool,
        sampler: Sampler,
        reverse_variance: ReverseVariance,
        setup: Setup,
    ) -> Result<Self, Error> {
        sampler.check()?;
        let levels = Schedule::AlphaBar(alpha_bar).levels(setup.blocks)?;
        let preconditioned = preconditioned && !setup.reading.has_classes();
        let (eta, cross_entropy) = (0.0, 0.0);
        Ok(Self { setup, levels, eta, cross_entropy, preconditioned, sampler, reverse_variance })
    }

    /// ᾱₜ₋₁, the share of the target's variance in what block t takes.
    pub(crate) fn alpha_bar(&self, t: usize) -> f64 {
        self.levels.alpha_bar(t.saturating_sub(1))
    }

    /// (T/2) η (SNR(t) − SNR(t−1)), the weight of block t's squared error.
    pub(crate) fn denoising_weight(&self, t: usize) -> f64 {
        0.5 * self.levels.blocks() as f64 * self.eta * self.levels.snr_increment(t)
    }

    /// aₜ, bₜ and cₜ: the weights of ûₜ and zₜ₋₁ in zₜ, and the variance of its noise.
    pub(crate) fn coefficients(&self, t: usize) -> [f64; 3] {
        [self.levels.a(t), self.levels.b(t), self.levels.c(t)]
    }

    /// √(cₜ + aₜ² s²), the standard deviation of the noise of block t's step, where its estimate
    /// is known to be s² from the target; √cₜ where it is not.
    pub(crate) fn deviation(&self, t: usize, estimate_variance: Option<f64>) -> f64 {
        let [a, _, c] = self.coefficients(t);
        (c + a * a * estimate_variance.unwrap_or_default()).sqrt()
    }

    /// Whether û is read from a mixture of z and a block's output.
    pub(crate) fn is_preconditioned(&self) -> bool {
        self.preconditioned
    }

    /// What û is read from: √ᾱ z + √(1 − ᾱ) o, or the output o of block t itself.
    pub(crate) fn conditioned<E: Real, D: Backend<E>, T: Tape<E, D>>(
        &self,
        t: usize,
        z: Matrix<E, D>,
        output: Matrix<E, D, T>,
    ) -> Result<Matrix<E, D, T>, D::Err> {
        if !self.preconditioned {
            return Ok(output);
        }
        let alpha_bar = self.alpha_bar(t);
        let skip = z.try_mul(E::of(alpha_bar.sqrt()))?;
        output.try_mul(E::of((1.0 - alpha_bar).sqrt()))?.try_add(skip)
    }

    /// aₜ ûₜ + bₜ zₜ₋₁.
    pub(crate) fn next<E: Real, D: Backend<E>>(
        &self,
        t: usize,
        z: Matrix<E, D>,
        estimate: Matrix<E, D>,
    ) -> Result<Matrix<E, D>, D::Err> {
        let [a, b, _] = self.coefficients(t);
        z.try_mul(E::of(b))?.try_add(estimate.try_mul(E::of(a))?)
    }
}

impl<E: Real, D: Backend<E>> ReverseProcess<E, D> for Discrete {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn transition(&self) -> Transition<'_, E, D> {
        Transition::Blocks(self)
    }

    #[cfg(feature = "inference")]
    fn settings(&self, _learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings {
        let alpha_bar = (0..=self.levels.blocks()).map(|t| self.levels.alpha_bar(t)).collect();
        let Self { preconditioned, sampler, reverse_variance, .. } = *self;
        ReverseSettings::Discrete { alpha_bar, preconditioned, sampler, reverse_variance }
    }
}

impl<E: Real, D: Backend<E>> Objective<E, D> for Discrete {
    fn points(&self, _learned: Option<&LearnedGamma<E, D>>) -> Vec<SchedulePoint> {
        let last = self.levels.blocks();
        let at = |t: usize| SchedulePoint { t: t as f64 / last as f64, snr: self.levels.snr(t) };
        (0..=last).map(at).collect()
    }

    /// CE(p̂(y | z_T)) and KL(q(z_0 | y) ‖ N(0, I)).
    fn terminal(
        &self,
        target: &Target<'_, E, D>,
        noise: Matrix<E, D>,
        gradients: Gradients<E, D>,
    ) -> Result<Option<[TracedScalar<E, D>; 2]>, D::Err> {
        let (levels, device) = (&self.levels, noise.device().clone());
        let ends = Ends {
            alpha_bar: constant(&device, levels.alpha_bar(0))?,
            snr: constant(&device, levels.snr(levels.blocks()))?,
        };
        terminal(self.setup.reading, ends, target, noise, gradients).map(Some)
    }

    /// w ‖û − u‖² + λ CE(o, y), with z = √ᾱ u + √(1 − ᾱ) ε, o = block(z, x), and û read from o by
    /// the head (Li, Teh, Pascanu 2025, eq. 8).
    fn loss(
        &self,
        t: usize,
        draw: Draw<'_, E, D>,
        _learned: Option<&LearnedGamma<E, D>>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err> {
        let Draw { target, noise, .. } = draw;
        let (rows, alpha_bar) = (noise.shape().0, self.alpha_bar(t));
        let (u, tape) = target.traced(self.setup.reading, gradients)?.split_tape();
        let noise = noise.try_mul(E::of((1.0 - alpha_bar).sqrt()))?;
        let share = E::of(alpha_bar.sqrt());
        let z = if self.setup.reading.is_learned() {
            u.clone().put_tape(tape).try_mul(share)?.try_add(noise)?
        } else {
            // Nothing leads back to u, so the sum need not be recorded.
            u.clone().try_mul(share)?.try_add(noise)?.put_tape(tape)
        };
        let of_z = z.retaped::<NoneTape>();
        let (output, tape) = self.conditioned(t, of_z, forward(z)?)?.split_tape();
        let estimate =
            self.setup.reading.estimate(output.clone().put_tape(tape), target.embedding)?;
        let weight = constant(u.device(), self.denoising_weight(t))?;
        let weight = target.weigh_rows(weight.try_broadcast_like(&(rows,))?)?;
        let error = squared_error(estimate, u, weight)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        weigh(error, logits, &target, self.cross_entropy, output)
    }

    fn levels(&self) -> &NoiseLevels {
        &self.levels
    }
}
