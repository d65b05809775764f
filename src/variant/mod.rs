//! The mathematics of NoProp, one file for each variant: settings, what is drawn, the loss, and the
//! way from noise to target.

mod continuous;
mod diffusion_blocks;
mod discrete;
mod draw;
mod flow;
#[cfg(test)]
mod golden;
mod loss;
mod prediction;
mod probabilities;
mod reverse;

#[doc(hidden)]
pub use continuous::Continuous;
pub use continuous::{ContinuousTime, Inference, Weighting};
pub(crate) use diffusion_blocks::Denoiser;
pub use diffusion_blocks::DiffusionBlocks;
#[doc(hidden)]
pub use diffusion_blocks::NoiseBlocks;
#[doc(hidden)]
pub use discrete::Discrete;
pub use discrete::{DiscreteTime, ReverseVariance, Sampler};
pub(crate) use draw::{Draw, Times};
pub use draw::{TimeSampling, TimedRows};
#[doc(hidden)]
pub use flow::Flow;
pub use flow::FlowMatching;
pub(crate) use flow::{Line, mixing};
pub(crate) use loss::{
    Ends, StepLoss, Target, constant, mean, squared_error, terminal, value, weigh,
};
#[doc(hidden)]
pub use prediction::Prediction;
pub use prediction::{Estimate, EstimateWeighting, Predicts};
pub use probabilities::Probabilities;
#[cfg(feature = "inference")]
pub(crate) use reverse::ReverseSettings;
pub(crate) use reverse::{At, End, Ending, ReverseProcess, Transition, VectorField};
#[cfg(feature = "onnx")]
pub(crate) use reverse::{DriftTerms, Opinion};

use std::sync::Arc;

use dfdx::prelude::{AutoDevice, Gradients, OwnedTape};

use crate::{
    Config,
    device::{Backend, Matrix, Real, TracedScalar},
    error::Error,
    gradient::Estimator,
    head::{Head, Reading, Reads},
    nn::Signal,
    optim::Optimizer,
    schedule::{GammaSchedule, LearnedGamma, NoiseLevels, NoiseParts, SchedulePoint},
};

/// A way to train by denoising: what a block takes, what it learns, and how an answer is read off.
///
/// Sealed: the engine runs what [`mathematics`](Self::mathematics) makes of the settings.
pub trait Variant<const Z: usize, const X: usize, E: Real = f32, D: Backend<E> = AutoDevice>:
    sealed::Sealed + Config + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// What the targets are.
    type Head: Head<Z, E>;
    /// What reads a block's output: the head, or a predictor.
    type Reader: Reads<Z>;
    /// What a block takes.
    type Input: Signal<E, D>;

    /// What it is called: `discrete time`, `continuous time`, `flow matching` or `diffusion blocks`.
    const NAME: &'static str;

    /// The head's settings.
    fn head(&self) -> &Self::Head;

    /// How blocks step.
    fn optimizer(&self) -> &Optimizer;

    /// How blocks step, and how they get their gradient, to be changed.
    #[doc(hidden)]
    fn steps_mut(&mut self) -> (&mut Optimizer, &mut Estimator);

    /// The seed of the initial weights.
    fn seed(&self) -> u64;

    /// How many blocks there are: T in discrete time, B by noise level, 1 elsewhere.
    fn blocks(&self) -> usize;

    /// The mathematics that follow from the settings, which are checked.
    #[doc(hidden)]
    fn mathematics(&self) -> Result<Mathematics, Error>;
}

/// The mathematics of a variant with its settings, with the types of its head gone.
#[doc(hidden)]
pub enum Mathematics {
    /// Discrete time.
    Discrete(Discrete),
    /// Continuous time.
    Continuous(Box<Continuous>),
    /// Flow matching.
    Flow(Flow),
    /// Blocks by noise level.
    Blocks(Box<NoiseBlocks>),
}

impl Mathematics {
    /// As the engine sees them.
    pub(crate) fn objective<E: Real, D: Backend<E>>(self) -> Arc<dyn Objective<E, D>> {
        match self {
            Self::Discrete(discrete) => Arc::new(discrete),
            Self::Continuous(continuous) => Arc::new(*continuous),
            Self::Flow(flow) => Arc::new(flow),
            Self::Blocks(blocks) => Arc::new(*blocks),
        }
    }
}

/// A block's output in training, as a function of z.
pub(crate) type TracedForward<'a, E, D> =
    &'a mut dyn FnMut(
        Matrix<E, D, OwnedTape<E, D>>,
    )
        -> Result<Matrix<E, D, OwnedTape<E, D>>, <D as dfdx::prelude::HasErr>::Err>;

/// The settings that every variant has.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// What the variant is called.
    pub(crate) name: &'static str,
    /// How many blocks there are.
    pub(crate) blocks: usize,
    /// How targets are embedded and outputs read.
    pub(crate) reading: Reading,
    /// Whose probabilities are the answer.
    pub(crate) probabilities: Probabilities,
    /// How blocks step.
    pub(crate) optimizer: Optimizer,
    /// How blocks get their gradient.
    pub(crate) estimator: Estimator,
    /// The weight of the cross-entropy in the loss; 0 for a head without classes.
    pub(crate) cross_entropy: f64,
    /// How the times of a batch are drawn, where a block takes times.
    pub(crate) times: Option<TimeSampling>,
}

#[cfg(feature = "inference")]
impl Setup {
    /// Of a model that is trained.
    fn trained(
        name: &'static str,
        blocks: usize,
        reading: Reading,
        probabilities: Probabilities,
    ) -> Self {
        Self {
            name,
            blocks,
            reading,
            probabilities,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            cross_entropy: 0.0,
            times: None,
        }
    }
}

/// The mathematics of a variant with its settings.
pub(crate) trait Objective<E: Real, D: Backend<E>>: ReverseProcess<E, D> {
    /// How blocks step.
    fn optimizer(&self) -> &Optimizer {
        &self.setup().optimizer
    }

    /// How blocks get their gradient.
    fn estimator(&self) -> &Estimator {
        &self.setup().estimator
    }

    /// How many blocks there are.
    fn blocks(&self) -> usize {
        self.setup().blocks
    }

    /// γ(t), where it is trained.
    fn learned_schedule(&self) -> Option<&GammaSchedule> {
        None
    }

    /// The schedule from noise to target, as it is by now.
    fn points(&self, learned: Option<&LearnedGamma<E, D>>) -> Vec<SchedulePoint>;

    /// Whether a step of a block has the terms of the loss that no block has a part in, where they
    /// are asked for.
    fn has_terminal(&self) -> bool {
        false
    }

    /// What block t takes as a row's time, from a number that is uniform on (0, 1).
    fn time(&self, t: usize, uniform: f64) -> f64 {
        let _ = t;
        uniform
    }

    /// The terms of the loss that no block has a part in, where blocks are several.
    fn terminal(
        &self,
        target: &Target<'_, E, D>,
        noise: Matrix<E, D>,
        gradients: Gradients<E, D>,
    ) -> Result<Option<[TracedScalar<E, D>; 2]>, D::Err> {
        let _ = (target, noise, gradients);
        Ok(None)
    }

    /// The loss of block t on a batch; gradients are collected in `gradients`.
    fn loss(
        &self,
        t: usize,
        draw: Draw<'_, E, D>,
        learned: Option<&LearnedGamma<E, D>>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err>;

    /// The noise levels of discrete time; none elsewhere.
    fn levels(&self) -> &NoiseLevels {
        NoiseLevels::none()
    }

    /// The blocks' parts of the noise; none elsewhere.
    fn noise_parts(&self) -> &NoiseParts {
        NoiseParts::none()
    }

    /// What the network of flow matching gives.
    fn prediction(&self) -> Option<Prediction> {
        None
    }
}

/// A weight in a loss: finite, 0 or more.
fn check_weight(setting: &'static str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(setting, "a finite number, 0 or more", value))
}

mod sealed {
    pub trait Sealed {}
    impl<H> Sealed for super::DiscreteTime<H> {}
    impl<H> Sealed for super::ContinuousTime<H> {}
    impl<H> Sealed for super::DiffusionBlocks<H> {}
    impl<H, P> Sealed for super::FlowMatching<H, P> {}
}
