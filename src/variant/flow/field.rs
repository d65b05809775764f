//! The vector field of flow matching.

use dfdx::prelude::*;

use super::{Flow, speed};
#[cfg(feature = "onnx")]
use crate::variant::{DriftTerms, Opinion};
use crate::{
    device::{Backend, Matrix, Real},
    error::Error,
    schedule::{GammaSchedule, LearnedGamma},
    variant::{At, End, Ending, Inference, Prediction, VectorField},
};

impl<E: Real, D: Backend<E>> VectorField<E, D> for Flow {
    fn inference(&self) -> Inference {
        Inference::Ode(self.solver.clone())
    }

    fn end(&self) -> f64 {
        self.prediction.end()
    }

    fn curve(&self, _learned: Option<&LearnedGamma<E, D>>) -> GammaSchedule {
        GammaSchedule::default()
    }

    fn conditioned(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        match self.prediction.skip(at.t) {
            Some([of_z, of_output]) => D::combined(of_output, &output, &[(of_z, at.z)]),
            None => Ok(output),
        }
    }

    fn drift(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        match self.prediction {
            Prediction::Velocity { .. } => Ok(output),
            Prediction::Estimate { .. } => {
                let estimate = self.setup.reading.estimate(output, at.embedding)?;
                estimate.try_sub(at.z.clone())?.try_mul(E::of(speed(at.t)))
            }
        }
    }

    #[cfg(feature = "onnx")]
    fn setting(&self) -> [&'static str; 2] {
        ["FlowMatching::solver", "set_solver"]
    }

    #[cfg(feature = "onnx")]
    fn terms(&self, _curve: &GammaSchedule, t: f64) -> DriftTerms {
        match self.prediction {
            Prediction::Velocity { .. } => DriftTerms::Output,
            Prediction::Estimate { .. } => {
                DriftTerms::Weighted { estimate: speed(t), latent: -speed(t) }
            }
        }
    }

    #[cfg(feature = "onnx")]
    fn ending(&self) -> Ending {
        self.prediction.ending()
    }

    #[cfg(feature = "onnx")]
    fn opinion(&self, t: f64) -> Opinion {
        match self.prediction {
            Prediction::Velocity { sharpness, .. } => {
                Opinion::Extrapolated { time_left: 1.0 - t, sharpness }
            }
            Prediction::Estimate { .. } => Opinion::Output,
        }
    }

    #[cfg(feature = "onnx")]
    fn skip(&self, _curve: &GammaSchedule, t: f64) -> Option<[f64; 2]> {
        self.prediction.skip(t)
    }

    fn answer_at(&self, at: At<'_, E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, D::Err> {
        match self.prediction {
            Prediction::Velocity { sharpness, .. } => {
                let extrapolated = output.try_mul(E::of(1.0 - at.t))?.try_add(at.z.clone())?;
                self.setup.reading.read(extrapolated, at.embedding, sharpness)
            }
            Prediction::Estimate { .. } => Ok(output),
        }
    }

    fn finish(
        &self,
        z: Matrix<E, D>,
        embedding: &Matrix<E, D>,
        output: &mut dyn FnMut(&Matrix<E, D>) -> Result<Matrix<E, D>, Error>,
    ) -> Result<End<E, D>, Error> {
        let failed = || Error::device("inference");
        match self.prediction.ending() {
            Ending::Latent { sharpness } => {
                let output = self.setup.reading.read(z.clone(), embedding, sharpness);
                Ok(End { z, output: output.map_err(failed())? })
            }
            Ending::Output => {
                let output = output(&z)?;
                let z = self.setup.reading.estimate(output.clone(), embedding).map_err(failed())?;
                Ok(End { z, output })
            }
        }
    }
}
