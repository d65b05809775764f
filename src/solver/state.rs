//! What a solver steps.

use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::Tensor;
use dfdx::tensor_ops::{Device, MeanTo, ReshapeTo, TryAdd, TryDiv, TryMul};

use crate::Error;
use crate::device::{Backend, Real};

/// A point z of the space that a solver moves in: linear combinations and a norm.
///
/// Implemented for `[f64; N]`, `Vec<f64>` and dfdx tensors of any shape, where a batch is one
/// state.
pub trait State: Clone {
    /// weight · self, as a new state.
    ///
    /// # Errors
    /// [`Error::Device`] where the device fails.
    fn scaled(&self, weight: f64) -> Result<Self, Error>;

    /// self + weight · other, in the memory of self.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shapes differ, [`Error::Device`] where the device fails.
    fn add_scaled(self, weight: f64, other: &Self) -> Result<Self, Error>;

    /// weight · self + Σ weight · term. A weight of 0 leaves its term out.
    ///
    /// # Errors
    /// Those of [`add_scaled`](Self::add_scaled).
    fn combined(&self, weight: f64, terms: &[(f64, &Self)]) -> Result<Self, Error> {
        weighted_sum(self.scaled(weight)?, terms.iter().copied())
    }

    /// √(meanᵢ (selfᵢ / (atol + rtol · max(|aᵢ|, |bᵢ|)))²): self is acceptable as the error of a
    /// step from a to b where this is at most 1. The mean is over all elements, the batch included,
    /// and 0 if there are none (Hairer, Nørsett and Wanner, *Solving Ordinary Differential
    /// Equations I*, II.4).
    ///
    /// # Errors
    /// [`Error::Argument`] where the shapes differ, [`Error::Device`] where the device fails.
    fn error_norm(&self, a: &Self, b: &Self, rtol: f64, atol: f64) -> Result<f64, Error>;

    /// Whether no element is NaN or infinite.
    ///
    /// # Errors
    /// [`Error::Device`] where the device fails.
    fn is_finite(&self) -> Result<bool, Error>;
}

/// start + Σ weight · term. A weight of 0 leaves its term out.
pub(super) fn weighted_sum<'a, S: State + 'a>(
    mut start: S,
    terms: impl IntoIterator<Item = (f64, &'a S)>,
) -> Result<S, Error> {
    for (weight, term) in terms {
        if weight != 0.0 {
            start = start.add_scaled(weight, term)?;
        }
    }
    Ok(start)
}

/// The RMS of error / (atol + rtol · size) over (error, size) pairs.
fn rms(pairs: impl ExactSizeIterator<Item = (f64, f64)>, rtol: f64, atol: f64) -> f64 {
    let count = pairs.len().max(1) as f64;
    let sum: f64 = pairs.map(|(error, size)| (error / (atol + rtol * size)).powi(2)).sum();
    (sum / count).sqrt()
}

impl<const N: usize> State for [f64; N] {
    fn scaled(&self, weight: f64) -> Result<Self, Error> {
        Ok(self.map(|z| weight * z))
    }

    fn add_scaled(mut self, weight: f64, other: &Self) -> Result<Self, Error> {
        self.iter_mut().zip(other).for_each(|(z, o)| *z += weight * o);
        Ok(self)
    }

    fn error_norm(&self, a: &Self, b: &Self, rtol: f64, atol: f64) -> Result<f64, Error> {
        let sizes = a.iter().zip(b).map(|(a, b)| a.abs().max(b.abs()));
        Ok(rms(self.iter().copied().zip(sizes), rtol, atol))
    }

    fn is_finite(&self) -> Result<bool, Error> {
        Ok(self.iter().all(|z| z.is_finite()))
    }
}

fn same_length(operation: &'static str, ours: usize, theirs: usize) -> Result<(), Error> {
    if ours == theirs {
        return Ok(());
    }
    Err(Error::argument(operation, format!("a state of length {ours}"), format!("length {theirs}")))
}

impl State for Vec<f64> {
    fn scaled(&self, weight: f64) -> Result<Self, Error> {
        Ok(self.iter().map(|z| weight * z).collect())
    }

    fn add_scaled(mut self, weight: f64, other: &Self) -> Result<Self, Error> {
        same_length("State::add_scaled", self.len(), other.len())?;
        self.iter_mut().zip(other).for_each(|(z, o)| *z += weight * o);
        Ok(self)
    }

    fn error_norm(&self, a: &Self, b: &Self, rtol: f64, atol: f64) -> Result<f64, Error> {
        same_length("State::error_norm", self.len(), a.len())?;
        same_length("State::error_norm", self.len(), b.len())?;
        let sizes = a.iter().zip(b).map(|(a, b)| a.abs().max(b.abs()));
        Ok(rms(self.iter().copied().zip(sizes), rtol, atol))
    }

    fn is_finite(&self) -> Result<bool, Error> {
        Ok(self.iter().all(|z| z.is_finite()))
    }
}

// dfdx panics where two shapes or strides differ, so both are looked at first.
fn same_shape<S: Shape, E: Real, D: Device<E>>(
    operation: &'static str,
    ours: &Tensor<S, E, D>,
    theirs: &Tensor<S, E, D>,
) -> Result<(), Error> {
    if ours.shape() == theirs.shape() {
        return Ok(());
    }
    let expected = format!("a state of shape {:?}", ours.shape().concrete());
    Err(Error::argument(operation, expected, format!("shape {:?}", theirs.shape().concrete())))
}

/// The one number of a reduced tensor: the only copy to the host.
fn read<E: Real, D: Device<E>>(scalar: Tensor<(), E, D>) -> f64 {
    scalar.as_vec().first().map_or(f64::NAN, |value| value.as_f64())
}

impl<S: Shape, E: Real, D: Backend<E>> State for Tensor<S, E, D> {
    fn combined(&self, weight: f64, terms: &[(f64, &Self)]) -> Result<Self, Error> {
        terms.iter().try_for_each(|(_, term)| same_shape("State::combined", self, term))?;
        let terms: Vec<_> = terms.iter().copied().filter(|(weight, _)| *weight != 0.0).collect();
        D::combined(weight, self, &terms).map_err(Error::device("State::combined"))
    }

    fn scaled(&self, weight: f64) -> Result<Self, Error> {
        // The product has an id of its own: a clone would share its gradients with self.
        self.clone().try_mul(E::of(weight)).map_err(Error::device("State::scaled"))
    }

    fn add_scaled(self, weight: f64, other: &Self) -> Result<Self, Error> {
        same_shape("State::add_scaled", &self, other)?;
        // A drift may return a broadcast or permuted tensor.
        let sum = self.try_contiguous().and_then(|mut sum| {
            let other = other.clone().try_contiguous()?;
            sum.try_axpy(1.0, &other, weight)?;
            Ok(sum)
        });
        sum.map_err(Error::device("State::add_scaled"))
    }

    fn error_norm(&self, a: &Self, b: &Self, rtol: f64, atol: f64) -> Result<f64, Error> {
        same_shape("State::error_norm", self, a)?;
        same_shape("State::error_norm", self, b)?;
        if self.shape().num_elements() == 0 {
            return Ok(0.0);
        }
        // An atol too small for E would make 0 / 0 of an error of 0.
        let atol = E::of(atol).max(E::min_positive_value());
        let mean_square = || {
            let size = a.clone().try_abs()?.try_maximum(b.clone().try_abs()?)?;
            let scale = size.try_mul(E::of(rtol))?.try_add(atol)?;
            self.clone().try_div(scale)?.try_square()?.try_mean::<(), S::AllAxes>()
        };
        let mean_square = mean_square().map_err(Error::device("State::error_norm"))?;
        Ok(read(mean_square).sqrt())
    }

    fn is_finite(&self) -> Result<bool, Error> {
        D::is_finite(self).map_err(Error::device("State::is_finite"))
    }
}
