//! The way back from noise to target: what inference needs of a variant.

#[cfg(feature = "inference")]
use std::sync::Arc;

#[cfg(feature = "inference")]
use super::{Continuous, Flow, Prediction, Probabilities, ReverseVariance, Sampler};
use super::{Denoiser, Discrete, Inference, Setup};
#[cfg(feature = "inference")]
use crate::solver::{Method, Save, Solver, Steps};
use crate::{
    device::{Backend, Matrix, Real},
    error::Error,
    head::Reading,
    schedule::{GammaSchedule, LearnedGamma},
};

/// How a variant's answers come about, once it is trained.
pub(crate) trait ReverseProcess<E: Real, D: Backend<E>>: Send + Sync {
    /// The settings that every variant has.
    fn setup(&self) -> &Setup;

    /// How targets are embedded and outputs read.
    fn reading(&self) -> Reading {
        self.setup().reading
    }

    /// How z goes from noise to target.
    fn transition(&self) -> Transition<'_, E, D>;

    /// The settings of this alone.
    #[cfg(feature = "inference")]
    fn settings(&self, learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings;
}

/// What inference needs to know of a trained variant, as data.
#[cfg(feature = "inference")]
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ReverseSettings {
    /// Through blocks, by these ᾱ_0 to ᾱ_T.
    Discrete {
        alpha_bar: Vec<f64>,
        #[serde(default)]
        preconditioned: bool,
        sampler: Sampler,
        #[serde(default = "posterior")]
        reverse_variance: ReverseVariance,
    },
    /// Along the probability-flow ODE or the SDE of γ(t).
    Continuous {
        schedule: Box<GammaSchedule>,
        #[serde(default)]
        preconditioned: bool,
        inference: Inference,
    },
    /// Along straight lines.
    Flow { prediction: Prediction, solver: Solver },
    /// Through blocks, by these noise levels from σ_max to σ_min, `steps` for each of them.
    Blocks { levels: Vec<f64>, steps: usize, method: Method, sigma_data: f64, sampler: Sampler },
}

/// The variance of models in files that do not say.
#[cfg(feature = "inference")]
fn posterior() -> ReverseVariance {
    ReverseVariance::Posterior
}

#[cfg(feature = "inference")]
impl ReverseSettings {
    /// How many blocks it goes through.
    pub(crate) fn blocks(&self) -> usize {
        match self {
            Self::Discrete { alpha_bar, .. } => alpha_bar.len().saturating_sub(1),
            Self::Blocks { levels, steps, .. } => levels.len().saturating_sub(1) / (*steps).max(1),
            _ => 1,
        }
    }

    /// Whether blocks take the time.
    pub(crate) fn is_timed(&self) -> bool {
        !matches!(self, Self::Discrete { .. })
    }

    /// The variant's name.
    pub(crate) fn variant(&self) -> &'static str {
        match self {
            Self::Discrete { .. } => "discrete time",
            Self::Continuous { .. } => "continuous time",
            Self::Flow { .. } => "flow matching",
            Self::Blocks { .. } => Denoiser::NAME,
        }
    }

    /// The process by these settings.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range.
    pub(crate) fn process<E: Real, D: Backend<E>>(
        self,
        reading: Reading,
        probabilities: Probabilities,
    ) -> Result<Arc<dyn ReverseProcess<E, D>>, Error> {
        let setup = Setup::trained(self.variant(), self.blocks(), reading, probabilities);
        Ok(match self {
            Self::Discrete { alpha_bar, preconditioned, sampler, reverse_variance } => Arc::new(
                Discrete::trained(alpha_bar, preconditioned, sampler, reverse_variance, setup)?,
            ),
            Self::Continuous { schedule, preconditioned, inference } => {
                Arc::new(Continuous::trained::<E>(*schedule, preconditioned, inference, setup)?)
            }
            Self::Flow { prediction, solver } => {
                Arc::new(Flow::trained(prediction, solver, setup)?)
            }
            Self::Blocks { levels, steps, method, sigma_data, sampler } => {
                let solver = Solver { method, steps: Steps::Fixed(steps), save: Save::End };
                Arc::new(Denoiser::trained(levels, &solver, sigma_data, sampler, setup)?)
            }
        })
    }
}

/// How z goes from noise to target.
pub(crate) enum Transition<'a, E: Real, D: Backend<E>> {
    /// Step by step, through a block each.
    Blocks(&'a Discrete),
    /// From one noise level to the next, each block in its own part of the noise.
    Denoiser(&'a Denoiser),
    /// Along a vector field that one network gives.
    Field(&'a dyn VectorField<E, D>),
}

/// The vector field that a network's outputs stand for.
pub(crate) trait VectorField<E: Real, D: Backend<E>>: Sync {
    /// How answers are read off.
    fn inference(&self) -> Inference;

    /// Where integration ends: 1, or just before where the drift is singular there.
    fn end(&self) -> f64;

    /// γ(t) as it is by now; of no use where there is none.
    fn curve(&self, learned: Option<&LearnedGamma<E, D>>) -> GammaSchedule;

    /// What the answer is read from, from the network's output at (z, x, t); the other calls take
    /// it instead of the output.
    fn conditioned(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        let _ = at;
        Ok(output)
    }

    /// dz/dt, from the network's output at (z, x, t).
    fn drift(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err>;

    /// The drift of the SDE; that of the ODE where there is none.
    fn sde_drift(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        self.drift(at, output)
    }

    /// √c at time t.
    fn diffusion(&self, curve: &GammaSchedule, t: f64) -> f64 {
        let _ = (curve, t);
        0.0
    }

    /// What the setting of the solver is called, and the call that changes it.
    #[cfg(feature = "onnx")]
    fn setting(&self) -> [&'static str; 2];

    /// dz/dt at time t without tensors, for whoever writes it down.
    #[cfg(feature = "onnx")]
    fn terms(&self, curve: &GammaSchedule, t: f64) -> DriftTerms;

    /// What the answer is read from where integration has ended.
    #[cfg(feature = "onnx")]
    fn ending(&self) -> Ending;

    /// What [`answer_at`](Self::answer_at) reads at time t.
    #[cfg(feature = "onnx")]
    fn opinion(&self, t: f64) -> Opinion;

    /// The weights of z and of the network's output at time t in what
    /// [`conditioned`](Self::conditioned) gives; `None` where that is the output itself.
    #[cfg(feature = "onnx")]
    fn skip(&self, curve: &GammaSchedule, t: f64) -> Option<[f64; 2]> {
        let _ = (curve, t);
        None
    }

    /// The answer before [`Reading::answer`], as the network sees it at (z, x, t).
    fn answer_at(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err>;

    /// The latent at t = 1 and the answer before [`Reading::answer`], from z where integration
    /// ended; `output` calls the network once more, for those who need it.
    fn finish(
        &self,
        z: Matrix<E, D>,
        embedding: &Matrix<E, D>,
        output: &mut dyn FnMut(&Matrix<E, D>) -> Result<Matrix<E, D>, Error>,
    ) -> Result<End<E, D>, Error>;
}

/// What dz/dt is made of.
#[cfg(feature = "onnx")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DriftTerms {
    /// The network's output itself.
    Output,
    /// `estimate` û + `latent` z.
    Weighted {
        /// The weight of û.
        estimate: f64,
        /// The weight of z.
        latent: f64,
    },
}

/// What a class is read from on the way.
#[cfg(feature = "onnx")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Opinion {
    /// The network's output itself.
    Output,
    /// z + `time_left` v, by [`Reading::read`] with this sharpness.
    Extrapolated {
        /// 1 − t.
        time_left: f64,
        /// κ.
        sharpness: f64,
    },
}

/// What the answer is read from where integration has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// The network's output there, which takes one more call.
    Output,
    /// The latent, by [`Reading::read`] with this sharpness.
    Latent {
        /// κ.
        sharpness: f64,
    },
}

/// A point of the way from noise to target.
#[derive(Clone, Copy)]
pub(crate) struct At<'a, E: Real, D: Backend<E>> {
    pub(crate) t: f64,
    pub(crate) z: &'a Matrix<E, D>,
    pub(crate) curve: &'a GammaSchedule,
    pub(crate) embedding: &'a Matrix<E, D>,
}

/// Where a way from noise to target ended.
pub struct End<E: Real, D: Backend<E>> {
    /// The latent.
    pub(crate) z: Matrix<E, D>,
    /// The answer before it is read.
    pub(crate) output: Matrix<E, D>,
}
