//! The checkpoints of a run.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use super::{Contents, atomic::remove_unfinished};
use crate::{error::Error, file::Draft};

/// The file that a run which writes has locked; it says which process that is.
const LOCK: &str = ".lock";

/// A folder of checkpoints, `step-000000123.safetensors` after step 123 and `best.safetensors`, of
/// which some are kept. Looking at it changes nothing.
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
        Ok(Self { path, keep_last })
    }

    /// Takes the folder for a run that writes, for as long as the lock lives: it is the file
    /// system's, so that a process that is killed leaves none. What killed runs have left
    /// unfinished is removed.
    pub(crate) fn lock(&self) -> Result<FolderLock, Error> {
        let path = self.path.join(LOCK);
        let failed = |operation| {
            let path = path.clone();
            move |e| Error::io(&path, operation, e)
        };
        let options =
            File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let who = fs::read_to_string(&path).unwrap_or_default();
                let found = format!("{}, which writes here", who.trim());
                let expected = "no other run in this folder: choose another one, or wait";
                return Err(Error::file(&self.path, expected, found));
            }
            // A file system without locks: nothing can be known.
            Err(TryLockError::Error(_)) => {}
        }
        file.set_len(0).map_err(failed("write"))?;
        writeln!(file, "process {}", std::process::id()).map_err(failed("write"))?;
        remove_unfinished(&self.path)?;
        Ok(FolderLock { _file: Some(file) })
    }

    /// The step of the newest checkpoint.
    pub(crate) fn last_step(&self) -> Result<Option<u64>, Error> {
        Ok(self.all()?.last().map(|(step, _)| *step))
    }

    /// Removes all checkpoints, the best among them.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let all = self.all()?.into_iter().map(|(_, path)| path);
        all.chain([self.best()]).try_for_each(|path| remove(&path))
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
        self.save_draft(step, &contents.draft())
    }

    /// The same, one tensor after the other.
    pub(crate) fn save_draft(&self, step: u64, draft: &Draft<'_>) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("step-{step:09}.safetensors"));
        draft.save(&path)?;
        let mut all = self.all()?;
        let many = all.len().saturating_sub(self.keep_last);
        all.retain(|(_, other)| *other != path);
        for (_, old) in all.into_iter().take(many) {
            remove(&old)?;
        }
        Ok(path)
    }

    /// Writes the best checkpoint so far.
    ///
    /// # Errors
    /// Those of [`Contents::write`].
    pub fn save_best(&self, contents: &Contents) -> Result<PathBuf, Error> {
        self.save_best_draft(&contents.draft())
    }

    /// The same, one tensor after the other.
    pub(crate) fn save_best_draft(&self, draft: &Draft<'_>) -> Result<PathBuf, Error> {
        let path = self.best();
        draft.save(&path)?;
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
    pub fn latest(&self) -> Result<Option<(PathBuf, Contents)>, Error> {
        self.newest(|path| Ok((path.to_owned(), Contents::read(path)?)))
    }

    /// The same, as `read` reads it.
    pub(crate) fn newest<T>(
        &self,
        read: impl Fn(&Path) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        /// How often the folder is read again: a run beside writes no faster than this reads.
        const TRIES: usize = 20;
        let mut error = None;
        for _ in 0..TRIES {
            let mut gone = false;
            error = None;
            for (_, path) in self.all()?.into_iter().rev() {
                match read(&path) {
                    Ok(found) => return Ok(Some(found)),
                    Err(other) => {
                        gone |= !path.exists();
                        error = error.or(Some(other));
                    }
                }
            }
            // A run that writes here has removed what was there a moment ago.
            if !gone {
                break;
            }
        }
        error.map_or(Ok(None), Err)
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

/// A folder that is taken by a run, or none.
#[derive(Debug, Default)]
pub(crate) struct FolderLock {
    _file: Option<File>,
}

/// Removes a file, unless it is gone already.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove", e)),
        _ => Ok(()),
    }
}
