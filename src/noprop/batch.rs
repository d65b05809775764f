//! Rows that are learned together.

use super::TargetsOf;
use crate::{
    data::Targets,
    device::{Backend, Real},
    variant::Variant,
};

/// Some rows of a data set, gathered: inputs and targets.
pub struct Batch<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    pub(super) x: Vec<E>,
    pub(super) targets: TargetsOf<V, Z, X, E, D>,
}

impl<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    Batch<V, Z, X, E, D>
{
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The inputs, a row each.
    pub fn inputs(&self) -> &[[E; X]] {
        self.x.as_chunks().0
    }

    /// The inputs, to be changed: shifted, flipped, noised.
    pub fn inputs_mut(&mut self) -> &mut [[E; X]] {
        self.x.as_chunks_mut().0
    }

    /// The targets of the rows.
    pub fn targets(&self) -> &TargetsOf<V, Z, X, E, D> {
        &self.targets
    }
}
