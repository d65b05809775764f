//! From data to a plan.

use dfdx::prelude::{HasErr, ReshapeTo, Shape};

use super::{RowNorm, StoredOperation as Stored};
use crate::{
    device::{Backend, Column, Real},
    plan::{BatchNorm, Convolution, Dense, Lowered, Operation, Running},
};

/// Tensors as rows of numbers, each of which is taken once.
struct Supply<'t, E: Real, D: Backend<E>> {
    tensors: std::slice::Iter<'t, Column<E, D>>,
    device: &'t D,
}

impl<E: Real, D: Backend<E>> Supply<'_, E, D> {
    /// The next tensor, which has this length.
    fn next(&mut self, length: usize) -> Result<Column<E, D>, D::Err> {
        match self.tensors.next() {
            Some(tensor) => Ok(tensor.clone()),
            // Of no use but to be no panic: a block has what its operations ask for.
            None => self.device.try_zeros_like(&(length,)),
        }
    }
}

impl Stored {
    /// The operation with its tensors, which are as many and as large as its slots say.
    ///
    /// # Errors
    /// The device's own.
    pub(crate) fn lower<'a, E: Real, D: Backend<E>>(
        &self,
        tensors: &[Column<E, D>],
        device: &D,
    ) -> Lowered<'a, E, D> {
        self.with(&mut Supply { tensors: tensors.iter(), device })
    }

    fn with<'a, E: Real, D: Backend<E>>(&self, supply: &mut Supply<'_, E, D>) -> Lowered<'a, E, D> {
        let mut boxed = |part: &Self| Ok::<_, D::Err>(Box::new(part.with(supply)?));
        Ok(match self {
            Self::Sequence(parts) => Operation::Sequence(all(parts, supply)?),
            Self::Repeated(parts) => Operation::Repeated(all(parts, supply)?),
            Self::Condition { z, x, t } => {
                let (z, x) = (boxed(z)?, boxed(x)?);
                Operation::Condition { z, x, t: t.as_deref().map(boxed).transpose()? }
            }
            Self::Residual(branch) => Operation::Residual(boxed(branch)?),
            Self::Projected { branch, projection } => {
                Operation::Projected { branch: boxed(branch)?, projection: boxed(projection)? }
            }
            &Self::Dense { inputs, outputs, plain } => {
                let weight = supply.next(inputs * outputs)?;
                let weight = weight.try_reshape_like(&(outputs, inputs))?;
                let bias = supply.next(outputs)?;
                Operation::Dense(match plain {
                    true => Dense::plain(weight, bias),
                    false => Dense::new(weight, bias),
                })
            }
            Self::Activation(function) => Operation::Activation(*function),
            Self::Dropout(share) => Operation::Dropout(*share),
            &Self::LayerNorm { width, epsilon } => {
                let (scale, shift) = (supply.next(width)?, supply.next(width)?);
                Operation::LayerNorm { scale, shift, epsilon }
            }
            &Self::BatchNorm { channels, epsilon, momentum } => {
                let (scale, shift) = (supply.next(channels)?, supply.next(channels)?);
                let running = Running::Fixed([supply.next(channels)?, supply.next(channels)?]);
                let norm = BatchNorm { scale, shift, epsilon, momentum, running };
                Operation::BatchNorm(Box::new(norm))
            }
            &Self::RowNorm { width, epsilon } => {
                let mut next = || supply.next(width);
                let tensors = [next()?, next()?, next()?, next()?];
                Operation::Module(Box::new(RowNorm { width, epsilon, tensors }))
            }
            &Self::Convolution { window, filters } => {
                let shape = (filters, window.kernel, window.kernel, window.channels);
                let filter = supply.next(shape.num_elements())?.try_reshape_like(&shape)?;
                let bias = supply.next(filters)?;
                Operation::Convolution(Box::new(Convolution { filter, bias, window }))
            }
            Self::Pool { by, window } => Operation::Pool { by: *by, window: *window },
            Self::ChannelsLast(channels) => Operation::ChannelsLast(*channels),
            Self::Flatten => Operation::Flatten,
            Self::TimeEmbedding(width) => Operation::TimeEmbedding(*width),
        })
    }
}

fn all<'a, E: Real, D: Backend<E>>(
    parts: &[Stored],
    supply: &mut Supply<'_, E, D>,
) -> Result<Vec<Operation<'a, E, D>>, <D as HasErr>::Err> {
    parts.iter().map(|part| part.with(supply)).collect()
}
