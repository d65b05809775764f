//! What a step of any variant needs: a batch on the device, and settings in their range.

use dfdx::{
    nn::{TensorCollection, ZeroGrads},
    prelude::*,
};

use super::objective::{Target, value};
use crate::{
    device::{Backend, Real, TracedScalar},
    error::Error,
    head::Head,
    noprop::Block,
    optim::Optimizer,
};

/// A row-major buffer on the device.
pub(super) fn on_device<S: Shape, E: Real, D: Backend<E>>(
    device: &D,
    values: Vec<E>,
    shape: S,
) -> Result<Tensor<S, E, D>, Error> {
    device.try_tensor_from_vec(values, shape).map_err(Error::device("moving a batch"))
}

/// The targets of a batch on the device; `embedding` is `table` on the host.
pub(super) fn on_device_target<'a, H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
    device: &D,
    targets: &H::Targets,
    rows: usize,
    weights: Option<&[E]>,
    embedding: &[E],
    table: &'a Tensor<(H::Out, Const<Z>), E, D>,
) -> Result<Target<'a, H::Out, Z, E, D>, Error> {
    let u = on_device(device, H::embed(embedding, targets), (rows, Const::<Z>))?;
    let one_hot = if H::CLASSES {
        Some(on_device(device, H::one_hot(targets), (rows, H::Out::default()))?)
    } else {
        None
    };
    let weights = weights.map(|weights| on_device(device, weights.to_vec(), (rows,)));
    Ok(Target { u, one_hot, table, weights: weights.transpose()? })
}

/// A weight in a loss: finite, 0 or more.
pub(super) fn check_weight(setting: &'static str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(setting, "a finite number, 0 or more", value))
}

/// One step of a block on a loss of the user's own; the value of the loss before it.
pub(super) fn own_loss<B, O, E: Real, D: Backend<E>>(
    operation: &'static str,
    block: &mut Block<B, E, D>,
    optimizer: &Optimizer,
    (number, step): (usize, u64),
    forward: impl FnOnce(&mut B, Gradients<E, D>) -> Result<O, D::Err>,
    loss: impl FnOnce(O) -> Result<TracedScalar<E, D>, D::Err>,
) -> Result<f64, Error>
where
    B: TensorCollection<E, D>,
{
    let failed = || Error::device(operation);
    let gradients = block.module.try_alloc_grads().map_err(failed())?;
    let output = forward(&mut block.module, gradients).map_err(failed())?;
    let total = loss(output).map_err(failed())?;
    let loss = value(&total);
    Error::diverged((number, step), "loss", loss)?;
    let mut gradients = total.try_backward().map_err(failed())?;
    let norm = block.step(&(*optimizer).into(), &mut gradients)?;
    Error::diverged((number, step), "gradient", norm)?;
    Ok(loss)
}

/// Several inputs with as many rows each, at least one.
pub(super) fn check_rows(operation: &'static str, rows: &[usize]) -> Result<(), Error> {
    if rows.iter().all(|&n| n == rows[0] && n > 0) {
        return Ok(());
    }
    let found = rows.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
    Err(Error::argument(operation, "as many rows of each input, at least 1", found))
}
