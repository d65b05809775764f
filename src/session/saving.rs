//! Checkpoints along a run.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Fit;
use crate::{
    block::Host,
    checkpoint::{Folder, FolderLock, Found, Saved, text},
    device::Real,
    error::Error,
    file::Draft,
    model::Position,
};

/// When a run writes checkpoints, besides at its end.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Every {
    /// After this many epochs: at least 1.
    Epochs(u64),
    /// After this many steps: at least 1.
    Steps(u64),
    /// After this many seconds, at the end of a span of steps: 0 or more.
    Seconds(f64),
}

impl Default for Every {
    /// After each epoch.
    fn default() -> Self {
        Self::Epochs(1)
    }
}

/// Where and when a run writes checkpoints: for
/// [`Training::checkpoints`](crate::train::Training::checkpoints).
///
/// The folder holds the last few as `step-….safetensors`, and as `best.safetensors` the one with
/// the lowest loss on the validation rows, if there are any. It belongs to one run, which locks it
/// (`.lock`) while it writes: another run there is an error, before its first step.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: Folder,
    every: Every,
    last: Option<PathBuf>,
    /// Whether the run that was resumed is at its end.
    finished: bool,
    time: Instant,
}

impl Checkpoints {
    /// Into this folder, which is made if there is none; the last `keep_last`, at least 1, are
    /// kept.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; [`Error::Io`] for a folder that cannot be made
    /// or read.
    pub fn new(folder: impl Into<PathBuf>, every: Every, keep_last: usize) -> Result<Self, Error> {
        match every {
            Every::Epochs(0) => return Err(Error::config("Every::Epochs", "at least 1", 0)),
            Every::Steps(0) => return Err(Error::config("Every::Steps", "at least 1", 0)),
            Every::Seconds(seconds) if Duration::try_from_secs_f64(seconds).is_err() => {
                return Err(Error::config("Every::Seconds", "0 or more", seconds));
            }
            _ => {}
        }
        let folder = Folder::open(folder, keep_last)?;
        Ok(Self { folder, every, last: None, finished: false, time: Instant::now() })
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The last checkpoint that was written or loaded.
    pub fn last(&self) -> Option<&std::path::Path> {
        self.last.as_deref()
    }

    /// Removes the checkpoints of the folder, so that a new run can begin in it.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be removed.
    pub fn clear(&mut self) -> Result<(), Error> {
        (self.last, self.finished) = (None, false);
        self.folder.clear()
    }

    /// Takes the folder for a run of this trainer: the checkpoints in it have to be the trainer's.
    pub(super) fn take_folder<E: Real, D: Host<E>>(
        &self,
        trainer: &Saved<'_, E, D>,
    ) -> Result<FolderLock, Error> {
        let steps = trainer.counters.steps;
        let lock = self.folder.lock()?;
        let Some(newest) = self.folder.last_step()? else { return Ok(lock) };
        let goes_on = match self.last {
            Some(_) => newest <= steps,
            None if newest != steps => false,
            // As many steps may be those of another run.
            None => match self.folder.latest()? {
                Some((_, newest)) => trainer.is_in(&newest)?,
                None => false,
            },
        };
        if goes_on {
            return Ok(lock);
        }
        let expected = format!(
            "the checkpoints of this run, which has taken {steps} steps: choose a folder of its \
             own, go on with the other run by `Checkpoints::resume`, or remove it by \
             `Checkpoints::clear`"
        );
        let found = format!("those of another run, up to step {newest}");
        Err(Error::file(self.folder.path(), expected, found))
    }

    /// The newest checkpoint of the folder, if there is one.
    pub(crate) fn latest(&self) -> Result<Option<Found>, Error> {
        self.folder.newest(Found::open)
    }

    /// Which checkpoint the run goes on from, and whether that is of its end.
    pub(crate) fn went_on_from(&mut self, path: PathBuf, finished: bool) {
        (self.last, self.finished) = (Some(path), finished);
    }

    /// Whether the run that was resumed is at its end, so that there is nothing to run.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// How many steps may be taken before the next checkpoint, from a position.
    pub(super) fn steps_left(&self, done: u64) -> u64 {
        match self.every {
            Every::Steps(every) => every - done % every,
            _ => u64::MAX,
        }
    }

    /// Whether the clock decides when.
    pub(super) fn by_the_clock(&self) -> bool {
        matches!(self.every, Every::Seconds(_))
    }

    /// When, for comparison with other ranks.
    pub(super) fn every(&self) -> Every {
        self.every
    }

    /// Whether a checkpoint is due after `done` steps of the run, with `each` steps an epoch.
    pub(super) fn is_due(&self, done: u64, each: u64) -> bool {
        match self.every {
            Every::Steps(every) => done.is_multiple_of(every),
            Every::Epochs(every) => done.is_multiple_of(each.saturating_mul(every)),
            Every::Seconds(seconds) => self.time.elapsed().as_secs_f64() >= seconds,
        }
    }

    pub(super) fn save<E: Real, D: Host<E>>(
        &mut self,
        saved: &Saved<'_, E, D>,
        position: Option<&Position>,
        fit: &Fit,
    ) -> Result<(), Error> {
        let steps = saved.counters.steps;
        let write = |draft: &Draft<'_>| self.folder.save_draft(steps, draft);
        let path = saved.write(position, Some(&text(fit)?), write)?;
        self.last = Some(path);
        self.time = Instant::now();
        Ok(())
    }

    pub(super) fn save_best<E: Real, D: Host<E>>(
        &self,
        saved: &Saved<'_, E, D>,
        position: &Position,
        fit: &Fit,
    ) -> Result<(), Error> {
        let write = |draft: &Draft<'_>| self.folder.save_best_draft(draft);
        saved.write(Some(position), Some(&text(fit)?), write).map(|_| ())
    }
}
