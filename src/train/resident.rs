//! The inputs of a run, kept on the device.

use dfdx::prelude::*;

use super::{Chosen, batch::Inputs};
use crate::{
    data::Targets,
    device::{Backend, Real, Rows},
};

/// The inputs of a data set on the device: they go there once, and a batch picks its rows there.
pub(crate) struct Resident<const X: usize, E: Real, D: Backend<E>> {
    /// The address of the inputs on the host, and how many rows there are.
    from: (usize, usize),
    /// `None` where they do not fit.
    rows: Option<Rows<Const<X>, E, D>>,
}

impl<const X: usize, T: Targets, E: Real> Chosen<'_, X, T, E> {
    /// The inputs on the device, `[rows, X]`: picked from those that are there already, or taken there.
    ///
    /// `resident` is of the same run: as long as it lasts, data at the same address is the same.
    pub(crate) fn inputs_on<D: Backend<E>>(
        &self,
        device: &D,
        resident: &mut Option<Resident<X, E, D>>,
    ) -> Result<Rows<Const<X>, E, D>, D::Err> {
        let n = self.rows();
        let Inputs::Rows(all, rows) = &self.inputs else {
            return self.inputs(device, 0..n);
        };
        let from = (all.as_ptr() as usize, all.len());
        let resident = match resident {
            Some(there) if there.from == from => there,
            _ => {
                let inputs = all.as_flattened().to_vec();
                let rows = device.try_tensor_from_vec(inputs, (all.len(), Const::<X>)).ok();
                resident.insert(Resident { from, rows })
            }
        };
        match &resident.rows {
            Some(all) => {
                let rows = device.try_tensor_from_vec(rows.to_vec(), (n,))?;
                let picked: Rows<Const<X>, E, D> = all.clone().try_gather(rows)?;
                device.own(&picked)
            }
            None => self.inputs(device, 0..n),
        }
    }
}
