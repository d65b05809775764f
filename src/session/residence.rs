//! Where blocks are while it is not their turn.

use std::path::PathBuf;

use super::Session;
use crate::{
    block::{AnyBlock, Host, Scratch, scratch_of},
    device::Real,
    error::Error,
    model::Trainer,
    step::Residence,
};

impl<E: Real> Session<'_, E> {
    /// Which blocks stay in memory while `at_once` of them are trained; `None` for all, which are
    /// there then.
    pub(super) fn residence<D: Host<E>>(
        &self,
        trainer: &mut Trainer<'_, E, D>,
        at_once: usize,
    ) -> Result<Option<Residence>, Error> {
        let setting = "Fit::resident";
        let objective = &trainer.model.objective;
        let resident = self.fit.resident;
        if let Some(resident) = resident.filter(|_| objective.blocks() == 1) {
            let expected = "None, since the variant has one network, which is always needed";
            return Err(Error::config(setting, expected, resident));
        }
        if let Some(resident) = resident.filter(|_| objective.reading().is_learned()) {
            let expected =
                "None, since the embedding is learned: each of its steps needs all blocks";
            return Err(Error::config(setting, expected, resident));
        }
        let Some(resident) = resident.filter(|resident| *resident < trainer.blocks.len()) else {
            trainer.blocks.iter_mut().try_for_each(|block| block.bring())?;
            return Ok(None);
        };
        let scratch = match scratch_of::<E, D>(&trainer.blocks) {
            Some(scratch) => scratch,
            None => Scratch::new(&self.scratch_folder())?,
        };
        Ok(Some(Residence { scratch, staying: resident.saturating_sub(at_once) }))
    }

    #[cfg(feature = "checkpoint")]
    fn scratch_folder(&self) -> PathBuf {
        let saving = self.saving.as_ref();
        saving
            .map_or_else(std::env::temp_dir, |saving| saving.checkpoints.folder().path().to_owned())
    }

    #[cfg(not(feature = "checkpoint"))]
    fn scratch_folder(&self) -> PathBuf {
        std::env::temp_dir()
    }
}
