//! What a solver does between two calls of a network, each in one pass.

use dfdx::prelude::*;

use super::{buffer::filled, vector::vectorised, view::elements};
use crate::number::Real;

/// For contiguous tensors: weight · z + Σ weight · term, from left to right.
pub(crate) fn combined<S: Shape, E: Real>(
    weight: f64,
    z: &Tensor<S, E, Cpu>,
    terms: &[(f64, &Tensor<S, E, Cpu>)],
) -> Result<Tensor<S, E, Cpu>, CpuError> {
    let from = elements(z).ok_or(CpuError::WrongNumElements)?;
    filled(z.device(), *z.shape(), |to| {
        let weight = E::of(weight);
        vectorised(|| to.iter_mut().zip(from).for_each(|(to, z)| *to = *z * weight));
        for (weight, term) in terms {
            let (weight, term) = (E::of(*weight), elements(term));
            let term = term.ok_or(CpuError::WrongNumElements)?;
            vectorised(|| to.iter_mut().zip(term).for_each(|(to, term)| *to += *term * weight));
        }
        Ok(())
    })
}

/// For a contiguous tensor: whether no number is NaN or infinite.
pub(crate) fn is_finite<S: Shape, E: Real>(z: &Tensor<S, E, Cpu>) -> Result<bool, CpuError> {
    let z = elements(z).ok_or(CpuError::WrongNumElements)?;
    Ok(z.iter().all(|z| z.is_finite()))
}
