//! The checkpoints of a run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Contents, atomic::remove_unfinished, file::Found};
use crate::error::Error;

/// A folder of checkpoints, `step-000000123.safetensors` after step 123 and `best.safetensors`, of
/// which some are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    keep_last: usize,
}

impl Folder {
    /// A folder, made if there is none, in which the last `keep_last` checkpoints are kept, at
    /// least 1.
    ///
    /// # Errors
    /// [`Error::Config`] if none were to be kept; [`Error::Io`] for a folder that cannot be made or
    /// read.
    pub fn open(path: impl Into<PathBuf>, keep_last: usize) -> Result<Self, Error> {
        let path = path.into();
        if keep_last == 0 {
            return Err(Error::config("Folder::keep_last", "at least 1", 0));
        }
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, "make the folder", e))?;
        remove_unfinished(&path)?;
        Ok(Self { path, keep_last })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the checkpoint of a step, and removes those that are too many.
    ///
    /// # Errors
    /// Those of [`Contents::write`].
    pub fn save(&self, step: u64, contents: &Contents) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("step-{step:09}.safetensors"));
        contents.write(&path)?;
        let mut all = self.all()?;
        let many = all.len().saturating_sub(self.keep_last);
        all.retain(|(_, other)| *other != path);
        for (_, old) in all.into_iter().take(many) {
            fs::remove_file(&old).map_err(|e| Error::io(&old, "remove", e))?;
        }
        Ok(path)
    }

    /// Writes the best checkpoint so far.
    ///
    /// # Errors
    /// Those of [`Contents::write`].
    pub fn save_best(&self, contents: &Contents) -> Result<PathBuf, Error> {
        let path = self.best();
        contents.write(&path)?;
        Ok(path)
    }

    /// Where the best checkpoint is, if any was written.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The checkpoint of the last step that can be read; `None` if there are none.
    ///
    /// # Errors
    /// If there are some but none can be read: the error of the last.
    pub fn latest(&self) -> Result<Option<Found>, Error> {
        let mut first_error = None;
        for (_, path) in self.all()?.into_iter().rev() {
            match Contents::read(&path) {
                Ok(contents) => return Ok(Some((path, contents))),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// The checkpoints of steps, in the order of the steps.
    fn all(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let entries = fs::read_dir(&self.path).map_err(|e| Error::io(&self.path, "read", e))?;
        let step = |path: &Path| -> Option<u64> {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
        };
        let mut all: Vec<_> = entries
            .flatten()
            .filter_map(|entry| step(&entry.path()).map(|step| (step, entry.path())))
            .collect();
        all.sort();
        Ok(all)
    }
}
