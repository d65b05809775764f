//! Rows that are learned together.

use crate::{
    data::{Dataset, Targets},
    device::{Backend, Real},
    noprop::TargetsOf,
    variant::Variant,
};

/// Some rows of a data set, gathered: inputs and targets.
pub struct Batch<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    pub(crate) x: Vec<E>,
    pub(crate) targets: TargetsOf<V, Z, X, E, D>,
}

impl<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    Batch<V, Z, X, E, D>
{
    pub(crate) fn gather(data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>, rows: &[usize]) -> Self {
        Self {
            x: crate::data::select_rows::<X, E>(data.inputs(), rows),
            targets: data.targets().select(rows),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }
}
