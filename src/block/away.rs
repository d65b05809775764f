//! Blocks that are not in memory: their numbers lie in a file.

use std::{
    borrow::Cow,
    ops::{Deref, Range},
    sync::Arc,
};

use super::{
    AnyBlock, BlockState, Host,
    scratch::{Extent, Scratch},
};
use crate::{
    device::{Backend, Column, Real, Tensors},
    error::Error,
    optim::OptimizerState,
};

/// The numbers of a block in a file: those of each of its tensors, then what the optimiser remembers
/// of each.
#[derive(Clone)]
pub(crate) struct Away {
    extent: Arc<Extent>,
    /// Of the weights, the first moments, the second moments, and the averages.
    lists: [Vec<Part>; 4],
}

/// Which of the lists have what.
const WEIGHTS: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;
const AVERAGE: usize = 3;

/// The numbers of one tensor.
#[derive(Clone)]
struct Part {
    /// Their bytes, from the extent's begin on.
    bytes: Range<usize>,
    /// CRC-32.
    checksum: u32,
}

impl Away {
    /// Writes the numbers of a block.
    fn write<E: Real, D: Backend<E>>(
        scratch: &Arc<Scratch>,
        tensors: &dyn Tensors<E, D>,
        optimizer: &OptimizerState<E, D>,
    ) -> Result<Self, Error> {
        let named = tensors.named().map_err(Error::device("reading the weights"))?;
        let weights: Vec<Column<E, D>> = named.into_iter().map(|tensor| tensor.values).collect();
        let OptimizerState { first, second, average, .. } = optimizer;
        let mut bytes = Vec::new();
        let lists = [&weights, first, second, average].map(|list| {
            let part = |values: &Column<E, D>| {
                let start = bytes.len();
                bytes.extend(E::to_bytes(&values.as_vec()));
                let checksum = crc32fast::hash(&bytes[start..]);
                Part { bytes: start..bytes.len(), checksum }
            };
            list.iter().map(part).collect()
        });
        Ok(Self { extent: Arc::new(scratch.write(&bytes)?), lists })
    }

    /// The numbers of the parts of a list, one after the other.
    fn read<E: Real>(&self, list: usize) -> impl Iterator<Item = Result<Vec<E>, Error>> {
        (0..self.count(list)).map(move |i| Ok(E::from_bytes(&self.bytes(list, i)?)))
    }

    /// How many tensors a list has.
    pub(crate) fn count(&self, list: usize) -> usize {
        self.lists[list].len()
    }

    /// How many bytes the numbers of a tensor have.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn length(&self, list: usize, i: usize) -> usize {
        self.lists[list][i].bytes.len()
    }

    /// The bytes of the numbers of a tensor.
    pub(crate) fn bytes(&self, list: usize, i: usize) -> Result<Vec<u8>, Error> {
        let part = &self.lists[list][i];
        let bytes = self.extent.read(part.bytes.clone())?;
        let found = crc32fast::hash(&bytes);
        if found == part.checksum {
            return Ok(bytes);
        }
        let expected = format!(
            "numbers of a block with the CRC-32 checksum {:08x} in a file that is there; the disk \
             or the memory is faulty",
            part.checksum
        );
        Err(Error::file(self.extent.folder(), expected, format!("{found:08x}")))
    }

    /// Puts the weights in their place.
    pub(super) fn fill<E: Real, D: Backend<E>>(
        &self,
        tensors: &mut dyn Tensors<E, D>,
    ) -> Result<(), Error> {
        let weights = self.read(WEIGHTS).collect::<Result<Vec<_>, _>>()?;
        tensors.fill(&mut weights.into_iter()).map_err(Error::device("reading a block"))
    }

    /// Gives the optimiser what it has remembered.
    pub(super) fn remind<E: Real, D: Backend<E>>(
        &self,
        state: &mut BlockState<E, D>,
    ) -> Result<(), Error> {
        let tensor = |values: Result<Vec<E>, Error>| {
            let values = values?;
            let shape = (values.len(),);
            let tensor = state.device.try_tensor_from_vec(values, shape);
            tensor.map_err(Error::device("reading a block"))
        };
        let list = |i: usize| self.read(i).map(tensor).collect::<Result<Vec<_>, Error>>();
        let (first, second, average) = (list(FIRST)?, list(SECOND)?, list(AVERAGE)?);
        state.optimizer = OptimizerState { steps: state.optimizer.steps, first, second, average };
        Ok(())
    }

    /// Leaves out what the optimiser has remembered; averages stay.
    pub(super) fn forget_moments(&mut self) {
        self.lists[FIRST..=SECOND].iter_mut().for_each(Vec::clear);
    }

    /// Where in the file it is.
    pub(crate) fn range(&self) -> Range<u64> {
        self.extent.range()
    }

    /// The file.
    pub(crate) fn scratch(&self) -> &Arc<Scratch> {
        self.extent.scratch()
    }
}

/// Takes a block's numbers from memory to the file.
///
/// # Errors
/// [`Error::Io`]; the block is then still in memory.
pub(crate) fn put_away<E: Real, D: Host<E>>(
    block: &mut D::Block,
    scratch: &Arc<Scratch>,
) -> Result<(), Error> {
    if block.state().away.is_some() {
        return Ok(());
    }
    block.build()?;
    let (state, tensors) = block.parts();
    let away = Away::write(scratch, tensors, &state.optimizer)?;
    let steps = state.optimizer.steps;
    state.optimizer = OptimizerState { steps, ..OptimizerState::default() };
    (state.gradients, state.lanes, state.away) = (None, None, Some(away));
    state.more_gradients.clear();
    block.forget();
    Ok(())
}

/// The file that blocks lie in, where one does.
pub(crate) fn scratch_of<E: Real, D: Host<E>>(blocks: &[&mut D::Block]) -> Option<Arc<Scratch>> {
    blocks.iter().find_map(|block| Some(block.state().away.as_ref()?.scratch().clone()))
}

/// A copy of a block, in memory, with its moving averages instead of its weights where it keeps them.
///
/// # Errors
/// Those of [`AnyBlock::bring`].
pub(crate) fn averaged<E: Real, D: Host<E>>(block: &D::Block) -> Result<Box<D::Block>, Error> {
    let (mut copy, optimizer) = match block.state().away {
        Some(_) => {
            let mut copy = block.fetch()?;
            let optimizer = std::mem::take(&mut copy.parts().0.optimizer);
            (copy, Cow::Owned(optimizer))
        }
        None => (block.copy()?, Cow::Borrowed(&block.state().optimizer)),
    };
    let averaged = optimizer.put_averages(copy.parts().1);
    averaged.map_err(Error::device("averaging the model"))?;
    Ok(copy)
}

/// A block in memory: itself, or a copy of what lies in the file.
pub(crate) enum Held<'b, E: Real, D: Host<E>> {
    Itself(&'b D::Block),
    Copy(Box<D::Block>),
}

impl<E: Real, D: Host<E>> Deref for Held<'_, E, D> {
    type Target = D::Block;

    fn deref(&self) -> &D::Block {
        match self {
            Self::Itself(block) => block,
            Self::Copy(block) => block,
        }
    }
}

/// The block in memory, for as long as the answer lives.
///
/// # Errors
/// Those of [`AnyBlock::bring`].
pub(crate) fn held<E: Real, D: Host<E>>(block: &D::Block) -> Result<Held<'_, E, D>, Error> {
    match block.state().away.is_some() {
        true => Ok(Held::Copy(block.fetch()?)),
        false => {
            block.build()?;
            Ok(Held::Itself(block))
        }
    }
}

#[cfg(all(test, feature = "checkpoint"))]
mod tests {
    use dfdx::prelude::*;

    use super::*;
    use crate::device::Module;

    #[test]
    fn numbers_that_a_disk_has_changed_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        let dev = Cpu::default();
        let module = |value: f32| Module(dev.tensor([value, 2.0, 3.0]));
        let away = Away::write(&scratch, &module(1.0), &OptimizerState::default()).unwrap();
        let mut back = module(0.0);
        away.fill::<f32, Cpu>(&mut back).unwrap();
        assert_eq!(back.0.as_vec(), module(1.0).0.as_vec());
        // Another block's numbers in its place, as a faulty disk might have it.
        let place = away.range();
        let other = Away::write(&scratch, &module(4.0), &OptimizerState::default()).unwrap();
        let changed = Away { extent: other.extent.clone(), lists: away.lists.clone() };
        assert_ne!(changed.range(), place);
        let error = changed.fill::<f32, Cpu>(&mut back).unwrap_err().to_string();
        assert!(error.contains("CRC-32") && error.contains("block"), "{error}");
        assert_eq!(back.0.as_vec(), module(1.0).0.as_vec());
    }
}
