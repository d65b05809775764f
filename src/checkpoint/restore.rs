//! A trainer from a checkpoint.

use std::path::{Path, PathBuf};

use super::{
    Contents, Identity, NamedTensor, Saved,
    blocks::BlocksInFile,
    file::Found,
    gather::{meet, own_part},
    progress::{Beside, Progress},
    settings::{canonical, check_settings, parse, settings, unwritable},
    trainer::{name, short},
    unit::{self, Mismatch, Restored},
};
use crate::{
    block::{AnyBlock, BlockState, Host, Scratch, held, put_away, scratch_of},
    device::{Backend, Real, Tensors},
    error::Error,
    file::FileTensors,
    model::{Calibration, Counters, Position, Trainer},
};

impl<E: Real, D: Host<E>> Saved<'_, E, D> {
    /// What a checkpoint holds of this rank, if all of it fits the trainer.
    fn check(
        &self,
        contents: Contents,
        path: &Path,
        from: Blocks<'_>,
    ) -> Result<Checked<E, D>, Error> {
        let Blocks { in_file, wanted } = from;
        self.identity.check::<E>(&contents, path)?;
        let progress = match wanted {
            Wanted::Weights => {
                Progress { blocks: vec![0; self.ranks.layout.blocks], ..Progress::default() }
            }
            Wanted::Trainer => {
                let head = short(self.identity.head);
                let settings = canonical(settings(&contents, path)?, &head);
                let mine = serde_json::from_str(&self.identity.settings).map_err(unwritable)?;
                check_settings("settings", &canonical(mine, &head), &settings, path)?;
                parse(&contents, "progress", path)?
            }
        };
        if progress.blocks.len() != self.ranks.layout.blocks {
            let expected = format!("progress of {} blocks", self.ranks.layout.blocks);
            return Err(Error::file(path, expected, progress.blocks.len()));
        }
        let calibration = match wanted {
            Wanted::Trainer if contents.metadata.contains_key("calibration") => {
                parse(&contents, "calibration", path)?
            }
            _ => Calibration::default(),
        };
        let fits = calibration.check(self.ranks.layout.blocks);
        fits.map_err(|[expected, found]| Error::file(path, expected, found))?;
        let beside = Beside {
            embedding: self.model.objective.reading().is_learned(),
            schedule: self.model.schedule.is_some(),
        };
        if let Some((expected, found)) = progress.contradiction(beside) {
            return Err(Error::file(path, expected, found));
        }
        let mut tensors = wanted.of(contents.tensors);
        if let Some(t) = in_file.and_then(|blocks| blocks.numbers().last().copied())
            && t > self.ranks.layout.blocks
        {
            let expected = format!("{} blocks", self.ranks.layout.blocks);
            return Err(Error::file(path, expected, format!("tensors of block {t}")));
        }
        let checked = self.parts(progress, calibration, &mut tensors, from);
        let checked = checked.and_then(|checked| none_left(tensors).map(|()| checked));
        checked.map_err(|mismatch| mismatch.of(path))
    }

    /// What the file holds of blocks, embedding and schedule, each checked.
    fn parts(
        &self,
        progress: Progress,
        calibration: Calibration,
        tensors: &mut FileTensors,
        from: Blocks<'_>,
    ) -> Result<Checked<E, D>, Mismatch> {
        let optimizer = self.model.objective.optimizer();
        let remembered = |steps| unit::Remembered::new(optimizer, steps);
        let mut blocks = Vec::new();
        // Blocks are of one type, and most of them may have no weights yet.
        let first = self.blocks.first().map(|block| held::<E, D>(block)).transpose();
        let first = first.map_err(Mismatch::Other)?;
        for (block, first) in self.blocks.iter().zip(first.iter().cycle()) {
            let (state, alike) = (block.state(), first.tensors());
            let remembered = remembered(progress.steps_of(state.t));
            match from.in_file {
                // There may be no room for all of them: each is read again when it is put.
                Some(_) => drop(from.restore(state, alike, remembered)?),
                None => {
                    let (name, device) = (name(state.t), &state.device);
                    blocks.push(unit::restore(&name, alike, device, remembered, tensors)?);
                }
            }
        }
        let (model, device) = (self.model, &self.model.device);
        let embedding = match self.has_embedding() {
            true => {
                let remembered = remembered(progress.embedding);
                let embedding = &model.embedding;
                Some(unit::restore("embedding", embedding, device, remembered, tensors)?)
            }
            false => {
                // Older files have one, of zeros.
                tensors.remove("embedding");
                None
            }
        };
        let schedule = match &model.schedule {
            Some(schedule) => {
                let (gamma, remembered) = (&schedule.gamma, remembered(progress.schedule));
                Some(unit::restore("schedule", gamma, device, remembered, tensors)?)
            }
            None => None,
        };
        Ok(Checked { progress, calibration, blocks, embedding, schedule })
    }
}

/// Blocks that are in a file.
#[derive(Clone, Copy)]
struct Blocks<'f> {
    in_file: Option<&'f BlocksInFile>,
    wanted: Wanted,
}

impl Blocks<'_> {
    /// What the file holds of a block, whose tensors are like these.
    fn restore<E: Real, D: Backend<E>>(
        self,
        state: &BlockState<E, D>,
        alike: &dyn Tensors<E, D>,
        remembered: unit::Remembered,
    ) -> Result<Restored<E, D>, Mismatch> {
        let found = self.in_file.map_or(Ok(Vec::new()), |file| file.of(state.t));
        let mut tensors = self.wanted.of(found.map_err(Mismatch::Other)?);
        let name = name(state.t);
        let restored = unit::restore(&name, alike, &state.device, remembered, &mut tensors)?;
        none_left(tensors).map(|()| restored)
    }
}

/// Whether all tensors were taken.
fn none_left(tensors: FileTensors) -> Result<(), Mismatch> {
    let Some(name) = tensors.into_keys().next() else { return Ok(()) };
    Err(Mismatch::Tensor("no tensors but the model's".to_owned(), format!("`{name}`")))
}

/// What is to be taken from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that training depends on.
    Trainer,
    /// The weights alone.
    Weights,
}

impl Wanted {
    /// These of a file's tensors, by name.
    fn of(self, tensors: Vec<NamedTensor>) -> FileTensors {
        let is_wanted =
            |tensor: &NamedTensor| self == Self::Trainer || unit::is_weights(&tensor.name);
        let wanted = tensors.into_iter().filter(is_wanted);
        wanted.map(|tensor| (tensor.name.clone(), tensor)).collect()
    }
}

/// A checkpoint that fits the trainer.
pub(super) struct Checked<E: Real, D: Backend<E>> {
    progress: Progress,
    calibration: Calibration,
    blocks: Vec<Restored<E, D>>,
    embedding: Option<Restored<E, D>>,
    schedule: Option<Restored<E, D>>,
}

/// A checkpoint that was taken: where it was, and of a run that is not at its end, where that is.
pub struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) position: Option<Position>,
}

/// Takes the checkpoint that `find` finds, on all ranks or on none.
pub(crate) fn restore<E: Real, D: Host<E>>(
    trainer: Trainer<'_, E, D>,
    identity: &Identity,
    wanted: Wanted,
    find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
) -> Result<Option<Taken>, Error> {
    let ranks = trainer.ranks;
    let Some(Found { path, contents, blocks }) = own_part(ranks, find)? else { return Ok(None) };
    let from = Blocks { in_file: blocks.as_ref(), wanted };
    let checked = trainer.saved(identity).check(contents, &path, from)?;
    meet(ranks)?;
    let position = checked.put(trainer, &path, from)?;
    Ok(Some(Taken { path, position }))
}

impl<E: Real, D: Host<E>> Checked<E, D> {
    /// Puts the blocks that were left in the file in their place, one after the other, so that they
    /// lie in a file again.
    fn put_one_by_one(
        &self,
        trainer: &mut Trainer<'_, E, D>,
        path: &Path,
        from: Blocks<'_>,
    ) -> Result<(), Error> {
        let scratch = match scratch_of::<E, D>(&trainer.blocks) {
            Some(scratch) => scratch,
            None => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let beside = Scratch::new(folder.unwrap_or(Path::new(".")));
                // The folder may be one that nobody writes to.
                beside.or_else(|_| Scratch::new(&std::env::temp_dir()))?
            }
        };
        let optimizer = trainer.model.objective.optimizer();
        for block in &mut trainer.blocks {
            let steps = self.progress.steps_of(block.state().t);
            let remembered = unit::Remembered::new(optimizer, steps);
            block.bring()?;
            let restored = from.restore(block.state(), block.tensors(), remembered);
            put_block::<E, D>(block, restored.map_err(|mismatch| mismatch.of(path))?)?;
            put_away::<E, D>(block, &scratch)?;
        }
        Ok(())
    }

    /// Puts a checkpoint in the trainer's place; where its run is.
    fn put(
        self,
        mut trainer: Trainer<'_, E, D>,
        path: &Path,
        from: Blocks<'_>,
    ) -> Result<Option<Position>, Error> {
        if from.in_file.is_some() {
            self.put_one_by_one(&mut trainer, path, from)?;
        }
        let Trainer { model, blocks, ranks, counters } = trainer;
        for (block, restored) in blocks.into_iter().zip(self.blocks) {
            put_block::<E, D>(block, restored)?;
        }
        if let Some(restored) = self.embedding {
            restored.put(&mut model.embedding, &mut model.embedding_optimizer)?;
        }
        if let (Some(schedule), Some(restored)) = (&mut model.schedule, self.schedule) {
            restored.put(&mut schedule.gamma, &mut schedule.optimizer)?;
        }
        model.calibration = self.calibration;
        *counters =
            Counters { steps: self.progress.steps, epochs: self.progress.epochs, torn: false };
        Ok(self.progress.position.map(|position| {
            let means = position.means.own(ranks.layout);
            position.with_means(means)
        }))
    }
}

/// Puts what a file holds of a block in its place.
fn put_block<E: Real, D: Host<E>>(
    block: &mut D::Block,
    restored: Restored<E, D>,
) -> Result<(), Error> {
    block.bring()?;
    let (state, tensors) = block.parts();
    restored.put(tensors, &mut state.optimizer)
}
