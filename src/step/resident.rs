//! Blocks that lie in a file while it is not their turn.

use std::{ops::Range, sync::Arc};

use crate::{
    block::{AnyBlock, Host, Scratch, put_away},
    device::Real,
    error::{Error, Place},
};

/// Which blocks are in memory while others are trained.
#[derive(Clone)]
pub(crate) struct Residence {
    pub(crate) scratch: Arc<Scratch>,
    /// So many of the first blocks stay in memory, whoever's turn it is.
    pub(crate) staying: usize,
}

/// The turns of some blocks: one after the other on each thread.
pub(super) struct Turns<'a> {
    residence: Option<&'a Residence>,
    /// Where in the file each block lies, if it does.
    places: Vec<Option<Range<u64>>>,
    /// How many blocks have their turn at the same time.
    at_once: usize,
    /// How many steps each block has taken after its turn.
    steps: u64,
}

impl<'a> Turns<'a> {
    pub(super) fn new<E: Real, D: Host<E>>(
        residence: Option<&'a Residence>,
        blocks: &[&mut D::Block],
        at_once: usize,
        steps: u64,
    ) -> Self {
        let place = |block: &&mut D::Block| block.state().away.as_ref().map(|away| away.range());
        let places = match residence {
            Some(_) => blocks.iter().map(place).collect(),
            None => Vec::new(),
        };
        Self { residence, places, at_once, steps }
    }

    /// Does a block's work while it is in memory, and the next one is read from the disk.
    pub(super) fn take<E: Real, D: Host<E>, T>(
        &self,
        i: usize,
        block: &mut D::Block,
        work: impl FnOnce(&mut D::Block) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(residence) = self.residence else { return work(block) };
        if let Some(Some(next)) = self.places.get(i + self.at_once) {
            residence.scratch.read_ahead(next.clone());
        }
        block.bring()?;
        let done = work(block)?;
        if i >= residence.staying {
            check_weights::<E, D>(block, self.steps)?;
            put_away::<E, D>(block, &residence.scratch)?;
        }
        Ok(done)
    }
}

/// [`Error::Diverged`] where the last of so many steps has left weights that are not finite: no loss
/// after it has said so.
pub(crate) fn check_weights<E: Real, D: Host<E>>(
    block: &D::Block,
    steps: u64,
) -> Result<(), Error> {
    let failed = || Error::device("looking at the weights");
    for tensor in block.tensors().named().map_err(failed())? {
        if D::is_finite(&tensor.values).map_err(failed())? {
            continue;
        }
        let values = tensor.values.as_vec();
        let found = values.iter().find(|value| !value.is_finite());
        let place = Place { block: block.state().t, step: steps };
        place.check("weight", found.map_or(f64::NAN, |value| value.as_f64()))?;
    }
    Ok(())
}
