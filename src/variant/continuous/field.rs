//! The vector field of continuous time.

use super::{Continuous, Inference};
#[cfg(feature = "onnx")]
use crate::variant::{DriftTerms, Ending, Opinion};
use crate::{
    device::{Backend, Matrix, Real},
    error::Error,
    schedule::{GammaSchedule, LearnedGamma},
    variant::{At, End, VectorField},
};

impl<E: Real, D: Backend<E>> VectorField<E, D> for Continuous {
    fn inference(&self) -> Inference {
        self.inference.clone()
    }

    fn end(&self) -> f64 {
        1.0
    }

    fn curve(&self, learned: Option<&LearnedGamma<E, D>>) -> GammaSchedule {
        learned.map_or_else(|| self.schedule.clone(), LearnedGamma::schedule)
    }

    fn conditioned(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        if !self.preconditioned {
            return Ok(output);
        }
        let alpha_bar = at.curve.at(at.t).alpha_bar();
        D::combined((1.0 - alpha_bar).sqrt(), &output, &[(alpha_bar.sqrt(), at.z)])
    }

    fn drift(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        let (estimate, latent) = at.curve.at(at.t).probability_flow();
        D::combined(
            estimate,
            &self.setup.reading.estimate(output, at.embedding)?,
            &[(latent, at.z)],
        )
    }

    fn sde_drift(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        let (estimate, latent, _) = at.curve.at(at.t).sde();
        D::combined(
            estimate,
            &self.setup.reading.estimate(output, at.embedding)?,
            &[(latent, at.z)],
        )
    }

    fn diffusion(&self, curve: &GammaSchedule, t: f64) -> f64 {
        curve.at(t).sde().2
    }

    #[cfg(feature = "onnx")]
    fn setting(&self) -> [&'static str; 2] {
        ["ContinuousTime::inference", "set_inference"]
    }

    #[cfg(feature = "onnx")]
    fn terms(&self, curve: &GammaSchedule, t: f64) -> DriftTerms {
        let (estimate, latent) = curve.at(t).probability_flow();
        DriftTerms::Weighted { estimate, latent }
    }

    #[cfg(feature = "onnx")]
    fn ending(&self) -> Ending {
        Ending::Output
    }

    #[cfg(feature = "onnx")]
    fn opinion(&self, _t: f64) -> Opinion {
        Opinion::Output
    }

    #[cfg(feature = "onnx")]
    fn skip(&self, curve: &GammaSchedule, t: f64) -> Option<[f64; 2]> {
        let alpha_bar = curve.at(t).alpha_bar();
        self.preconditioned.then(|| [alpha_bar, 1.0 - alpha_bar].map(f64::sqrt))
    }

    fn answer_at(&self, _at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        Ok(output)
    }

    fn finish(
        &self,
        z: Matrix<E, D>,
        _embedding: &Matrix<E, D>,
        output: &mut dyn FnMut(&Matrix<E, D>) -> Result<Matrix<E, D>, Error>,
    ) -> Result<End<E, D>, Error> {
        let output = output(&z)?;
        Ok(End { z, output })
    }
}
