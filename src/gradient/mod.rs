//! How a block gets its gradient: by reverse mode inside the block, or by no derivative at all.

mod activity_noise;
mod grid;
mod weight_noise;

pub use crate::random::Noise;
pub use activity_noise::ActivityNoise;
pub use weight_noise::{Shaping, WeightNoise};

use dfdx::prelude::*;

use crate::{
    block::{AnyBlock, Host},
    device::{Backend, Column, Matrix, Real},
    error::{Error, Place},
    optim::Stepping,
    plan::{Inputs, NoisyPass},
};

/// How a block gets its gradient.
///
/// The optimiser, the learning rate, clipping and averages are the same for all. A learned
/// embedding or schedule needs [`Local`](Self::Local), since their gradient comes through the
/// blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Estimator {
    /// Reverse mode inside the block: exact.
    #[default]
    Local,
    /// Noise on the weights: any module, any loss.
    WeightNoise(WeightNoise),
    /// Noise on what each layer gives, for each row: less variance.
    ActivityNoise(ActivityNoise),
}

impl From<WeightNoise> for Estimator {
    fn from(estimator: WeightNoise) -> Self {
        Self::WeightNoise(estimator)
    }
}

impl From<ActivityNoise> for Estimator {
    fn from(estimator: ActivityNoise) -> Self {
        Self::ActivityNoise(estimator)
    }
}

impl Estimator {
    /// The estimator, where it takes no derivative.
    pub(crate) fn derivative_free<E: Real, D: Host<E>>(&self) -> Option<&dyn Estimates<E, D>> {
        match self {
            Self::Local => None,
            Self::WeightNoise(estimator) => Some(estimator),
            Self::ActivityNoise(estimator) => Some(estimator),
        }
    }

    /// How many pieces of one block's step can go side by side.
    pub(crate) fn pieces(&self) -> usize {
        match self {
            Self::WeightNoise(estimator) => estimator.directions,
            _ => 1,
        }
    }

    /// Settings in their range, and nothing trained beside the blocks (`beside` names it) unless
    /// reverse mode gets there.
    pub(crate) fn check(&self, beside: Option<&str>) -> Result<(), Error> {
        let range = match self {
            Self::Local => return Ok(()),
            Self::WeightNoise(WeightNoise { noise_scale, directions, .. })
            | Self::ActivityNoise(ActivityNoise { noise_scale, directions, .. }) => {
                (*noise_scale, *directions)
            }
        };
        if let Some(beside) = beside {
            let expected = format!("Local, since the {beside} is learned through the blocks");
            return Err(Error::config("Estimator", expected, format!("{self:?}")));
        }
        match range {
            (scale, _) if !(scale.is_finite() && scale > 0.0) => {
                Err(Error::config("noise_scale", "a finite number above 0", scale))
            }
            (_, directions) => Error::check_count("directions", directions),
        }
    }
}

/// A block's output for some z, without a tape; the function holds what it takes besides.
pub(crate) type Forward<'a, E, D> =
    &'a mut dyn FnMut(Matrix<E, D>) -> Result<Matrix<E, D>, <D as HasErr>::Err>;

/// A block's loss on one batch, as who estimates its gradient sees it: with the same noise at each
/// call.
pub(crate) struct Problem<'a, E: Real, D: Backend<E>> {
    /// The loss of what the function makes of the batch's z.
    pub(crate) loss: &'a dyn Fn(Forward<'_, E, D>) -> Result<Measured<E>, Error>,
    /// x, and the times where the block takes them.
    pub(crate) x: Matrix<E, D>,
    pub(crate) t: Option<Column<E, D>>,
    pub(crate) place: Place,
}

impl<E: Real, D: Host<E>> Problem<'_, E, D> {
    /// What goes into the block with this z.
    fn inputs(&self, z: Matrix<E, D>) -> Inputs<E, D> {
        Inputs { z, x: self.x.clone(), t: self.t.clone() }
    }

    /// The loss of the block as it is, if it is finite.
    pub(crate) fn clean(&self, block: &D::Block) -> Result<Measured<E>, Error> {
        let clean = (self.loss)(&mut |z| self.inputs(z).through_inference(&block.plan()?))?;
        clean.finite(self.place)?;
        Ok(clean)
    }

    /// The loss with noise on the layers' outputs, if it is finite.
    fn noisy(
        &self,
        block: &mut D::Block,
        pass: &mut NoisyPass<E, D>,
    ) -> Result<Measured<E>, Error> {
        let noisy =
            (self.loss)(&mut |z| self.inputs(z).through_noise(&mut block.plan_mut()?, pass))?;
        noisy.finite(self.place)?;
        Ok(noisy)
    }
}

/// A loss, as numbers.
#[derive(Clone, Debug)]
pub(crate) struct Measured<E> {
    /// Of each row; or one for all of them.
    pub(crate) rows: Vec<f64>,
    /// The mean of the weighted squared error.
    pub(crate) denoising: f64,
    /// The mean of the weighted cross-entropy.
    pub(crate) cross_entropy: f64,
    /// The head's output, row-major.
    pub(crate) output: Vec<E>,
}

impl<E> Measured<E> {
    /// The mean over the rows.
    pub(crate) fn mean(&self) -> f64 {
        self.rows.iter().sum::<f64>() / self.rows.len() as f64
    }

    /// The same, if it is finite.
    fn finite(&self, place: Place) -> Result<f64, Error> {
        let mean = self.mean();
        place.check("loss", mean)?;
        Ok(mean)
    }
}

/// A way to step a block without a derivative.
pub(crate) trait Estimates<E: Real, D: Host<E>> {
    /// Steps the block once; the loss before the step, and the norm of the estimate. Where either
    /// is not finite the block is as it was.
    fn step(
        &self,
        problem: &Problem<'_, E, D>,
        block: &mut D::Block,
        stepping: &Stepping,
        seed: u64,
    ) -> Result<(Measured<E>, f64), Error>;
}
