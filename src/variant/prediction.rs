//! What the network of flow matching predicts.

use crate::{
    Config,
    device::Real,
    error::Error,
    head::{Head, Reads, Velocity},
};

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

/// What the network of flow matching gives: a [`Velocity`], or an [`Estimate`] of the target.
/// Sealed.
pub trait Predicts<H: Head<Z, E>, const Z: usize, E: Real>:
    sealed::Sealed + Config + Clone + Default + std::fmt::Debug + Send + Sync + 'static
{
    /// Who says how wide the output is.
    type Reader: Reads<Z>;

    /// The prediction without its type, its settings checked.
    #[doc(hidden)]
    fn prediction(&self) -> Result<Prediction, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Velocity {}
    impl Sealed for super::Estimate {}
}

/// What the network gives, and how the velocity follows from it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Prediction {
    /// v itself; a class is read from the latent with this sharpness.
    Velocity {
        /// κ, how sharply a class is read from a latent.
        sharpness: f64,
        /// Whether v = (2t − 1) / s² z + o / s; only for numbers.
        #[cfg_attr(feature = "serde", serde(default))]
        preconditioned: bool,
    },
    /// û, and v = (û − z) / (1 − t).
    Estimate {
        /// The weight of the squared error over time.
        weighting: EstimateWeighting,
    },
}

impl Prediction {
    /// Itself, if its settings are in range.
    pub(super) fn checked(self) -> Result<Self, Error> {
        match self {
            Self::Velocity { sharpness, .. } if !(sharpness.is_finite() && sharpness > 0.0) => {
                Err(Error::config("Velocity::sharpness", "a finite number above 0", sharpness))
            }
            _ => Ok(self),
        }
    }

    /// The weights of z and of the network's output at time t in the velocity, where that is not
    /// the output itself: (2t − 1) / s² and 1 / s, with s² = t² + (1 − t)² the variance of z_t.
    pub(super) fn skip(self, t: f64) -> Option<[f64; 2]> {
        let Self::Velocity { preconditioned: true, .. } = self else { return None };
        let variance = t * t + (1.0 - t) * (1.0 - t);
        Some([(2.0 * t - 1.0) / variance, variance.sqrt().recip()])
    }
}

impl<H: Head<Z, E>, const Z: usize, E: Real> Predicts<H, Z, E> for Velocity {
    type Reader = Velocity;

    fn prediction(&self) -> Result<Prediction, Error> {
        let preconditioned = self.preconditioned && !H::reading().has_classes();
        Prediction::Velocity { sharpness: self.sharpness, preconditioned }.checked()
    }
}

impl<H: Head<Z, E>, const Z: usize, E: Real> Predicts<H, Z, E> for Estimate {
    type Reader = H;

    fn prediction(&self) -> Result<Prediction, Error> {
        Ok(Prediction::Estimate { weighting: self.weighting })
    }
}
