//! What a run does with checkpoints.

use super::Session;
#[cfg(feature = "checkpoint")]
use super::{Saving, agree::has_own_rows, warnings::processor};
#[cfg(feature = "checkpoint")]
pub(super) use crate::checkpoint::FolderLock;
#[cfg(feature = "checkpoint")]
use crate::checkpoint::data_checksum;
use crate::{
    block::Host,
    device::Real,
    error::Error,
    model::{Position, Ranks, Trainer},
};

/// No folder to take.
#[cfg(not(feature = "checkpoint"))]
pub(super) struct FolderLock;

/// What a run does with checkpoints, where there are any.
#[cfg(feature = "checkpoint")]
impl<E: Real> Session<'_, E> {
    /// How many steps may be taken before the next checkpoint.
    pub(super) fn steps_until_checkpoint(&self, position: &Position) -> u64 {
        let saving = self.saving.as_ref();
        saving.map_or(u64::MAX, |saving| saving.checkpoints.steps_left(position.steps))
    }

    pub(super) fn is_due(&self, ranks: &Ranks, position: &Position, each: u64) -> bool {
        let Some(Saving { checkpoints, .. }) = &self.saving else { return false };
        if checkpoints.by_the_clock() && ranks.communicator.is_some() {
            return self.agreed.save && position.steps.is_multiple_of(each);
        }
        checkpoints.is_due(position.steps, each)
    }

    /// Takes the folder of checkpoints for this run: the rank that writes does.
    pub(super) fn take_folder<D: Host<E>>(
        &self,
        trainer: &Trainer<'_, E, D>,
    ) -> Result<FolderLock, Error> {
        match &self.saving {
            Some(saving) if trainer.ranks.layout.rank == 0 => {
                saving.checkpoints.take_folder(&trainer.saved(&saving.identity))
            }
            _ => Ok(FolderLock::default()),
        }
    }

    /// The checksum of the rows; none where other ranks have others.
    pub(super) fn checksum(&self, ranks: &Ranks) -> Option<String> {
        if has_own_rows(ranks) {
            return None;
        }
        Some(self.checksum.get_or_init(|| data_checksum(&self.data)).clone())
    }

    /// Whether a run that goes on has the rows that it had.
    pub(super) fn check_data(&self, ranks: &Ranks, position: &Position) -> Result<(), Error> {
        match (&position.data, self.checksum(ranks)) {
            (Some(_), Some(now)) => position.check_data(&now),
            _ => Ok(()),
        }
    }

    pub(super) fn save<D: Host<E>>(
        &mut self,
        trainer: &Trainer<'_, E, D>,
        position: Option<&Position>,
    ) -> Result<(), Error> {
        let position = self.with_facts::<D>(trainer.ranks, position);
        let Some(Saving { checkpoints, identity }) = &mut self.saving else { return Ok(()) };
        self.observers.iter_mut().try_for_each(|observer| observer.saving())?;
        let saved = trainer.saved(identity);
        checkpoints.save(&saved, position.as_ref(), self.fit)
    }

    /// The same position with the checksum of the rows and the kind of processor, where there are
    /// checkpoints.
    fn with_facts<D: Host<E>>(
        &self,
        ranks: &Ranks,
        position: Option<&Position>,
    ) -> Option<Position> {
        self.saving.as_ref()?;
        let mut position = position?.clone();
        position.data = self.checksum(ranks);
        position.processor = Some(processor::<E, D>().to_owned());
        Some(position)
    }

    pub(super) fn save_best<D: Host<E>>(
        &mut self,
        trainer: &Trainer<'_, E, D>,
        position: &Position,
    ) -> Result<(), Error> {
        let Some(position) = self.with_facts::<D>(trainer.ranks, Some(position)) else {
            return Ok(());
        };
        let Some(Saving { checkpoints, identity }) = &self.saving else { return Ok(()) };
        self.observers.iter_mut().try_for_each(|observer| observer.saving())?;
        checkpoints.save_best(&trainer.saved(identity), &position, self.fit)
    }

    /// An error with the last checkpoint before it.
    pub(crate) fn with_checkpoint(&self, error: Error) -> Error {
        let last = self.saving.as_ref().and_then(|saving| saving.checkpoints.last());
        error.with_checkpoint(last.map(ToOwned::to_owned))
    }

    /// When checkpoints are written, in words.
    pub(super) fn saves(&self) -> String {
        let saving = self.saving.as_ref();
        saving
            .map_or_else(|| "none".to_owned(), |saving| format!("{:?}", saving.checkpoints.every()))
    }

    pub(super) fn is_late_to_save(&self) -> bool {
        let checkpoints = self.saving.as_ref().map(|saving| &*saving.checkpoints);
        checkpoints
            .is_some_and(|checkpoints| checkpoints.by_the_clock() && checkpoints.is_due(0, 1))
    }
}

#[cfg(not(feature = "checkpoint"))]
impl<E: Real> Session<'_, E> {
    pub(super) fn take_folder<D: Host<E>>(
        &self,
        _trainer: &Trainer<'_, E, D>,
    ) -> Result<FolderLock, Error> {
        Ok(FolderLock)
    }

    pub(super) fn checksum(&self, _ranks: &Ranks) -> Option<String> {
        None
    }

    pub(super) fn check_data(&self, _ranks: &Ranks, _position: &Position) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn steps_until_checkpoint(&self, _position: &Position) -> u64 {
        u64::MAX
    }

    pub(super) fn is_due(&self, _ranks: &Ranks, _position: &Position, _each: u64) -> bool {
        false
    }

    pub(super) fn save<D: Host<E>>(
        &mut self,
        _trainer: &Trainer<'_, E, D>,
        _position: Option<&Position>,
    ) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn save_best<D: Host<E>>(
        &mut self,
        _trainer: &Trainer<'_, E, D>,
        _position: &Position,
    ) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn with_checkpoint(&self, error: Error) -> Error {
        error
    }

    pub(super) fn saves(&self) -> &'static str {
        "none"
    }

    pub(super) fn is_late_to_save(&self) -> bool {
        false
    }
}
