//! What a solver does between two calls of a network, each in one pass.

use dfdx::prelude::*;

use super::{
    buffer::filled,
    exponential::exponentials,
    vector::vectorised,
    view::{elements, elements_mut},
};
use crate::{number::Real, rows::Rows};

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

/// For contiguous rows without a tape: e^(o − max o) over their sum.
pub(crate) fn softmax<C: Dim, E: Real>(
    mut rows: Rows<C, E, Cpu>,
) -> Result<Rows<C, E, Cpu>, CpuError> {
    let width = rows.shape().1.size().max(1);
    let numbers = elements_mut(&mut rows).ok_or(CpuError::WrongNumElements)?;
    for row in numbers.chunks_exact_mut(width) {
        let most = row.iter().fold(E::neg_infinity(), |most, o| most.max(*o));
        row.iter_mut().for_each(|o| *o -= most);
    }
    exponentials(numbers);
    for row in numbers.chunks_exact_mut(width) {
        let sum = row.iter().fold(E::zero(), |sum, e| sum + *e);
        row.iter_mut().for_each(|e| *e /= sum);
    }
    Ok(rows)
}
