//! A model that was trained, taken apart.

use super::file::About;
use crate::{
    block::{AnyBlock, Host, held},
    device::Real,
    error::Error,
    infer::Asked,
    plan::{NotStored, StoredOperation, take},
};

/// What a model is made of, wherever it comes from.
pub struct ModelParts<E> {
    pub(super) about: About,
    pub(super) blocks: Vec<BlockParts<E>>,
    /// Row-major; empty for a head without classes.
    pub(super) embedding: Vec<E>,
}

/// The weights of a block.
pub(super) enum BlockParts<E> {
    /// Tensors in the order of its operation's slots.
    Stored(Vec<Vec<E>>),
    /// A block with its declared type, as a `Box<Backend::Block>` of its device.
    Typed(Box<dyn std::any::Any>),
}

impl<E: Real> ModelParts<E> {
    /// Those of a model with all of its blocks.
    pub(crate) fn of<D: Host<E>>(asked: &Asked<'_, E, D>) -> Result<Self, Error> {
        if let Some(communicator) = &asked.ranks.communicator {
            let expected = "a trainer with all of its blocks: save a checkpoint, and load it in \
                            one process";
            let found = format!("one rank of {}", communicator.ranks());
            return Err(Error::argument("NoProp::predictor", expected, found));
        }
        let reading = asked.process.reading();
        let (mut operations, mut blocks, mut module) = (Vec::new(), Vec::new(), None);
        for block in &asked.blocks {
            let block = held::<E, D>(block)?;
            let mut tensors = Vec::new();
            let failed = || Error::device("making a predictor");
            let plan = block.plan().map_err(failed())?;
            match take(&plan, &mut tensors) {
                Ok(operation) => {
                    let numbers = tensors.iter().map(|tensor| tensor.as_vec()).collect();
                    blocks.push(BlockParts::Stored(numbers));
                    operations.push(operation);
                }
                Err(NotStored::Module(name)) => {
                    module.get_or_insert(name);
                    let copy = block.copy()?;
                    blocks.push(BlockParts::Typed(Box::new(copy)));
                    operations.push(StoredOperation::Flatten);
                }
                Err(NotStored::Device(error)) => return Err(failed()(error)),
            }
        }
        // Blocks of one type are the same operations with weights of their own.
        if operations.windows(2).all(|pair| pair[0] == pair[1]) {
            operations.truncate(1);
        }
        let process = asked.process.settings(asked.learned);
        let embedding = match reading.has_classes() {
            true => asked.embedding.numbers(),
            false => Vec::new(),
        };
        let about = About {
            process,
            reading,
            probabilities: asked.process.setup().probabilities,
            calibration: asked.calibration.clone(),
            x: asked.inputs.width,
            operations,
            module,
        };
        Ok(Self { about, blocks, embedding })
    }
}
