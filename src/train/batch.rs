//! Rows that are learned together.

use std::ops::Range;

use dfdx::{nn::TensorCollection, prelude::*};

use super::BlockReport;
use crate::{
    data::{Dataset, Targets, select_rows},
    device::{Backend, Place, Real, Rows},
    distributed::{Beside, Replicas},
    error::Error,
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

    /// The inputs of some of the rows.
    pub(super) fn into_inputs(mut self, rows: Range<usize>) -> Vec<E> {
        self.x.truncate(rows.end * X);
        self.x.drain(..rows.start * X);
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
    /// Where other ranks learn from the other rows of the batch.
    pub(crate) shared: Option<SharedBatch<T>>,
}

/// A batch of which this rank has some rows.
pub(crate) struct SharedBatch<T> {
    pub(super) replicas: Replicas,
    /// The number of the first row of this rank, and of all rows of the batch.
    pub(super) first: usize,
    pub(super) rows: usize,
    /// How many of the rows count: none where there are more replicas than rows.
    pub(super) counted: usize,
    /// The targets of all rows, where this rank has them.
    pub(super) targets: Option<T>,
}

impl<T> SharedBatch<T> {
    /// This rank's share of the rows, from 0 to 1.
    fn share(&self) -> f64 {
        self.counted as f64 / self.rows as f64
    }
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

    /// The targets of the whole batch.
    pub(crate) fn all_targets(&self) -> &T {
        let all = self.shared.as_ref().and_then(|shared| shared.targets.as_ref());
        all.unwrap_or(&self.targets)
    }

    /// The part of this rank in what is drawn for the whole batch, `width` numbers a row: `draw` gets the number of rows.
    pub(crate) fn own_part<N: Clone>(
        &self,
        width: usize,
        draw: impl FnOnce(usize) -> Vec<N>,
    ) -> Vec<N> {
        match &self.shared {
            None => draw(self.rows()),
            Some(SharedBatch { first, rows, .. }) => {
                let all = draw(*rows);
                all[first * width..(first + self.rows()) * width].to_vec()
            }
        }
    }

    /// Which replica of a block this rank has.
    pub(crate) fn replica(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.replicas.place())
    }

    /// Makes of this rank's part of a step that of the whole batch: gradients, and what is reported of the block.
    pub(crate) fn average<M, D>(
        &self,
        (module, gradients): (&mut M, &mut Gradients<E, D>),
        report: &mut BlockReport,
        more: (&mut [f64], &mut [Vec<E>]),
    ) -> Result<(), Error>
    where
        M: TensorCollection<E, D>,
        D: Backend<E>,
    {
        let Some(shared) = &self.shared else { return Ok(()) };
        report.rows = shared.counted;
        if shared.counted == 0 {
            report.correct = 0;
        }
        let means = [&mut report.denoising, &mut report.cross_entropy].into_iter();
        let beside = Beside {
            share: shared.share(),
            means: means.chain(more.0).collect(),
            sums: vec![&mut report.correct, &mut report.rows],
            gradients: more.1.iter_mut().collect(),
        };
        shared.replicas.average(module, gradients, beside)
    }

    /// The same for what is trained beside the blocks.
    pub(crate) fn average_gradients<M, D>(
        &self,
        module: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error>
    where
        M: TensorCollection<E, D>,
        D: Backend<E>,
    {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.replicas.average(module, gradients, Beside::rows(shared.share()))
    }

    /// All inputs, gathered once for all who ask at the same place.
    pub(crate) fn shared_inputs<D: Backend<E>>(
        &self,
        device: &D,
        place: &Place,
    ) -> Result<Rows<Const<X>, E, D>, D::Err> {
        D::shared(place, || {
            let x = match &self.inputs {
                Inputs::Rows(all, chosen) => select_rows::<X, E>(all.as_flattened(), chosen),
                Inputs::Changed(inputs) => inputs.clone(),
            };
            // In memory that no thread keeps for itself.
            device.try_tensor_from_vec(x, (self.rows(), Const::<X>))
        })
    }

    /// The inputs of some of the rows, gathered.
    pub(crate) fn inputs<D: Backend<E>>(
        &self,
        device: &D,
        rows: Range<usize>,
    ) -> Result<Rows<Const<X>, E, D>, D::Err> {
        let shape = (rows.len(), Const::<X>);
        device.filled(shape, &mut |to| match &self.inputs {
            Inputs::Rows(all, chosen) => {
                let chosen = &chosen[rows.clone()];
                kernel::in_pieces(to.as_chunks_mut::<X>().0, chosen, X, |to, rows| {
                    to.iter_mut().zip(rows).for_each(|(to, &row)| *to = all[row]);
                });
            }
            Inputs::Changed(inputs) => {
                to.copy_from_slice(&inputs[rows.start * X..rows.end * X]);
            }
        })
    }
}
