//! Rows that are learned together.

use crate::{
    data::{Dataset, Targets, select_rows},
    device::{Backend, Real},
    kernel,
    noprop::TargetsOf,
    variant::Variant,
};

/// Some rows of a data set, gathered: inputs and targets.
pub struct Batch<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    x: Vec<E>,
    targets: TargetsOf<V, Z, X, E, D>,
}

impl<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    Batch<V, Z, X, E, D>
{
    pub(super) fn gather(data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>, rows: &[usize]) -> Self {
        Self { x: select_rows::<X, E>(data.inputs(), rows), targets: data.targets().select(rows) }
    }

    pub(super) fn into_inputs(self) -> Vec<E> {
        self.x
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

/// The rows of a step, gathered by whoever learns from them.
#[doc(hidden)]
pub struct Chosen<'a, const X: usize, T, E> {
    pub(super) inputs: Inputs<'a, X, E>,
    pub(crate) targets: T,
    /// The weight of each row in the loss; `None` for 1 throughout.
    pub(crate) weights: Option<Vec<E>>,
}

pub(super) enum Inputs<'a, const X: usize, E> {
    /// Some rows of all.
    Rows(&'a [[E; X]], &'a [usize]),
    /// What a hook has left.
    Changed(Vec<E>),
}

impl<const X: usize, T: Targets, E: Real> Chosen<'_, X, T, E> {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The inputs, row-major, `[rows, X]`.
    pub(crate) fn inputs(&self) -> Vec<E> {
        match &self.inputs {
            Inputs::Rows(all, rows) => {
                let mut inputs = vec![E::zero(); rows.len() * X];
                kernel::in_pieces(inputs.as_chunks_mut::<X>().0, rows, X, |to, rows| {
                    to.iter_mut().zip(rows).for_each(|(to, &row)| *to = all[row]);
                });
                inputs
            }
            Inputs::Changed(inputs) => inputs.clone(),
        }
    }
}
