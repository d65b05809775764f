//! From a plan to data.

use dfdx::prelude::HasShape;

use super::StoredOperation as Stored;
use crate::{
    device::{Backend, Column, Real, TensorMut},
    plan::{BatchNorm, Convolution, Operation},
};

/// Why a plan is not data.
#[derive(Debug)]
pub(crate) enum NotStored<Err> {
    /// It has a module of a user's own, of this name.
    Module(String),
    Device(Err),
}

impl<Err> From<Err> for NotStored<Err> {
    fn from(error: Err) -> Self {
        Self::Device(error)
    }
}

/// An operation as data, and its tensors as rows of numbers, in the order of its slots.
///
/// # Errors
/// [`NotStored`]; where inference has fused operations that is a module too.
pub(crate) fn take<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    tensors: &mut Vec<Column<E, D>>,
) -> Result<Stored, NotStored<D::Err>> {
    let mut boxed = |part| Ok::<_, NotStored<D::Err>>(Box::new(take(part, tensors)?));
    Ok(match operation {
        Operation::Sequence(parts) => Stored::Sequence(all(parts, tensors)?),
        Operation::Repeated(parts) => Stored::Repeated(all(parts, tensors)?),
        Operation::Condition { z, x, t } => {
            let (z, x) = (boxed(z)?, boxed(x)?);
            Stored::Condition { z, x, t: t.as_deref().map(boxed).transpose()? }
        }
        Operation::Residual(branch) => Stored::Residual(boxed(branch)?),
        Operation::Projected { branch, projection } => {
            Stored::Projected { branch: boxed(branch)?, projection: boxed(projection)? }
        }
        Operation::Dense(layer) => {
            tensors.extend([layer.weight.flat()?, layer.bias.clone()]);
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            Stored::Dense { inputs, outputs, plain: layer.plain }
        }
        Operation::Activation(function) => Stored::Activation(*function),
        Operation::Dropout(share) => Stored::Dropout(*share),
        Operation::LayerNorm { scale, shift, epsilon } => {
            tensors.extend([scale.clone(), shift.clone()]);
            Stored::LayerNorm { width: scale.shape().0, epsilon: *epsilon }
        }
        Operation::BatchNorm(norm) => {
            let BatchNorm { scale, shift, epsilon, momentum, running } = &**norm;
            tensors.extend([scale.clone(), shift.clone()]);
            tensors.extend(running.now()?);
            let (epsilon, momentum) = (*epsilon, *momentum);
            Stored::BatchNorm { channels: scale.shape().0, epsilon, momentum }
        }
        Operation::Convolution(layer) => {
            let Convolution { filter, bias, window } = &**layer;
            tensors.extend([filter.flat()?, bias.clone()]);
            Stored::Convolution { window: *window, filters: bias.shape().0 }
        }
        Operation::Pool { by, window } => Stored::Pool { by: *by, window: *window },
        Operation::ChannelsLast(channels) => Stored::ChannelsLast(*channels),
        Operation::Flatten => Stored::Flatten,
        Operation::TimeEmbedding(width) => Stored::TimeEmbedding(*width),
        Operation::Module(module) => {
            let Some(norm) = module.as_row_norm()? else {
                return Err(NotStored::Module(module.name()));
            };
            tensors.extend(norm.tensors);
            Stored::RowNorm { width: norm.width, epsilon: norm.epsilon }
        }
        Operation::FusedResidual(_) => {
            return Err(NotStored::Module("a fused residual".to_owned()));
        }
    })
}

fn all<E: Real, D: Backend<E>>(
    parts: &[Operation<'_, E, D>],
    tensors: &mut Vec<Column<E, D>>,
) -> Result<Vec<Stored>, NotStored<D::Err>> {
    parts.iter().map(|part| take(part, tensors)).collect()
}
