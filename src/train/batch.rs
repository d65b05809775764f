//! Rows that are learned together.

use crate::{
    data::{Dataset, Targets},
    device::{Backend, Real},
    head::Head,
    noprop::TargetsOf,
    variant::Variant,
};

/// Some rows of a data set, gathered: inputs and targets.
pub struct Batch<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    pub(crate) x: Vec<E>,
    pub(crate) targets: TargetsOf<V, Z, X, E, D>,
    /// The weight of each row in the loss; `None` for 1 throughout.
    pub(crate) weights: Option<Vec<E>>,
}

impl<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    Batch<V, Z, X, E, D>
{
    pub(super) fn gather(
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        rows: &[usize],
        class_weights: Option<&[f64]>,
    ) -> Self {
        let targets = data.targets().select(rows);
        Self {
            x: crate::data::select_rows::<X, E>(data.inputs(), rows),
            weights: class_weights.map(|weights| V::Head::row_weights(&targets, weights)),
            targets,
        }
    }

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
