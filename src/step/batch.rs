//! The rows of a step, gathered by whoever learns from them.

use std::ops::Range;

use dfdx::prelude::*;

use crate::{
    data::{TargetRows, select_wide},
    device::{Backend, Matrix, Real, SharedSlot, Tensors},
    distributed::{Replicas, Totals},
    error::Error,
    kernel,
    model::DeviceInputs,
    report::BlockReport,
};

/// The rows of a step.
pub struct StepBatch<'a, E: Real> {
    pub(crate) inputs: BatchInputs<'a, E>,
    /// X.
    pub(crate) width: usize,
    pub(crate) targets: TargetRows<'static, E>,
    /// The weight of each row in the loss; `None` for 1 throughout.
    pub(crate) weights: Option<Vec<E>>,
    /// Where other ranks learn from the other rows of the batch.
    pub(crate) shared: Option<SharedBatch<E>>,
}

/// The inputs of a step.
pub(crate) enum BatchInputs<'a, E> {
    /// Some rows of all, `[rows, X]`.
    Rows(&'a [E], &'a [usize]),
    /// What a hook has left.
    Changed(Vec<E>),
}

/// A batch of which this rank has some rows.
pub(crate) struct SharedBatch<E: Real> {
    pub(crate) replicas: Replicas,
    /// The number of the first row of this rank.
    pub(crate) first: usize,
    /// The number of all rows of the batch.
    pub(crate) rows: usize,
    /// How many of the rows count: none where there are more replicas than rows.
    pub(crate) counted: usize,
    /// The targets of all rows, where this rank has them.
    pub(crate) targets: Option<TargetRows<'static, E>>,
}

impl<E: Real> SharedBatch<E> {
    /// This rank's share of the rows, from 0 to 1.
    fn share(&self) -> f64 {
        self.counted as f64 / self.rows as f64
    }
}

impl<E: Real> StepBatch<'_, E> {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The targets of the whole batch.
    pub(crate) fn all_targets(&self) -> &TargetRows<'static, E> {
        let all = self.shared.as_ref().and_then(|shared| shared.targets.as_ref());
        all.unwrap_or(&self.targets)
    }

    /// The part of this rank in what is drawn for the whole batch, `width` numbers a row: `draw`
    /// gets the number of rows.
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

    /// Makes of this rank's part of a step that of the whole batch: gradients of weights, what is
    /// reported of the block, and more means and gradients.
    pub(crate) fn average<D: Backend<E>>(
        &self,
        module: &mut dyn Tensors<E, D>,
        gradients: &mut Gradients<E, D>,
        report: &mut BlockReport,
        more_means: &mut [f64],
        more_gradient: Option<&mut Vec<E>>,
    ) -> Result<(), Error> {
        let Some(shared) = &self.shared else { return Ok(()) };
        report.rows = shared.counted;
        if shared.counted == 0 {
            report.correct = 0;
        }
        let means = [&mut report.denoising, &mut report.cross_entropy].into_iter();
        let totals = Totals {
            share: shared.share(),
            means: means.chain(more_means).collect(),
            sums: vec![&mut report.correct, &mut report.rows],
            gradients: more_gradient.into_iter().collect(),
        };
        shared.replicas.average(module, gradients, totals)
    }

    /// The same for what is trained beside the blocks.
    pub(crate) fn average_gradients<D: Backend<E>>(
        &self,
        module: &mut dyn Tensors<E, D>,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error> {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.replicas.average(module, gradients, Totals::rows(shared.share()))
    }

    /// All inputs, gathered once for all who ask at the same slot.
    pub(crate) fn shared_inputs<D: Backend<E>>(
        &self,
        device: &D,
        slot: &SharedSlot,
    ) -> Result<Matrix<E, D>, D::Err> {
        D::shared(slot, || {
            let x = match &self.inputs {
                BatchInputs::Rows(all, chosen) => select_wide(all, self.width, chosen),
                BatchInputs::Changed(inputs) => inputs.clone(),
            };
            // In memory that no thread keeps for itself.
            device.try_tensor_from_vec(x, (self.rows(), self.width))
        })
    }

    /// The inputs of some of the rows, gathered.
    pub(crate) fn inputs<D: Backend<E>>(
        &self,
        device: &D,
        rows: Range<usize>,
    ) -> Result<Matrix<E, D>, D::Err> {
        let width = self.width;
        device.filled((rows.len(), width), &mut |to| match &self.inputs {
            BatchInputs::Rows(all, chosen) => {
                let chosen = &chosen[rows.clone()];
                kernel::gather_rows(to, all, chosen, width);
            }
            BatchInputs::Changed(inputs) => {
                to.copy_from_slice(&inputs[rows.start * width..rows.end * width]);
            }
        })
    }

    /// The inputs on the device: picked from those that are there already, or taken there.
    ///
    /// `device_inputs` is of the same run: as long as it lasts, data at the same address is the same.
    pub(crate) fn inputs_on<D: Backend<E>>(
        &self,
        device: &D,
        device_inputs: &mut Option<DeviceInputs<E, D>>,
    ) -> Result<Matrix<E, D>, D::Err> {
        let n = self.rows();
        let BatchInputs::Rows(all, rows) = &self.inputs else {
            return self.inputs(device, 0..n);
        };
        let from = (all.as_ptr() as usize, all.len());
        let device_inputs = match device_inputs {
            Some(there) if there.from == from => there,
            _ => {
                let shape = (all.len() / self.width.max(1), self.width);
                let rows = device.try_tensor_from_vec(all.to_vec(), shape).ok();
                device_inputs.insert(DeviceInputs { from, rows })
            }
        };
        match &device_inputs.rows {
            Some(all) => {
                let rows = device.try_tensor_from_vec(rows.to_vec(), (n,))?;
                let picked: Matrix<E, D> = all.clone().try_gather(rows)?;
                device.own(&picked)
            }
            None => self.inputs(device, 0..n),
        }
    }
}
