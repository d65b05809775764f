//! Where an array is: in a file of its own, or in an archive.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use zip::{ZipArchive, result::ZipError};

use super::super::gzip::check_regular;
use crate::error::Error;

/// A `.npy` file, or one in a `.npz` file.
pub(super) struct Place<'a> {
    path: &'a Path,
    /// The name of the array in the archive.
    entry: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn file(path: &'a Path) -> Self {
        Self { path, entry: None }
    }

    pub(super) fn entry(path: &'a Path, name: &'a str) -> Self {
        Self { path, entry: Some(name) }
    }

    /// As a message names it.
    pub(super) fn name(&self) -> PathBuf {
        match self.entry {
            Some(name) => self.path.join(name),
            None => self.path.to_owned(),
        }
    }

    /// That something else is there.
    pub(super) fn error(&self, expected: impl Into<String>, found: impl ToString) -> Error {
        Error::file(&self.name(), expected, found)
    }

    /// What went wrong while reading.
    pub(super) fn read_error(&self, err: io::Error) -> Error {
        match err.raw_os_error() {
            Some(_) => Error::io(self.path, "read", err),
            None if err.kind() == io::ErrorKind::UnexpectedEof => {
                self.error("a whole array", "one whose end is missing")
            }
            None => self.error("an intact array", err),
        }
    }

    /// Gives the bytes of the `.npy` file to `take`.
    pub(super) fn open<T>(
        &self,
        take: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        check_regular(self.path)?;
        let file = File::open(self.path).map_err(|err| Error::io(self.path, "read", err))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let Some(name) = self.entry else { return take(&mut file) };
        let mut archive = ZipArchive::new(file).map_err(|err| self.archive_error(err))?;
        let known = [format!("{name}.npy"), name.to_owned()]
            .into_iter()
            .find_map(|name| archive.index_for_name(&name));
        let Some(index) = known else {
            let mut names: Vec<_> = archive
                .file_names()
                .flatten()
                .take(20)
                .map(|n| n.trim_end_matches(".npy").to_owned())
                .collect();
            names.sort();
            return Err(Error::file(self.path, format!("an array {name:?}"), names.join(", ")));
        };
        let entry = archive.by_index(index).map_err(|err| self.archive_error(err))?;
        take(&mut BufReader::with_capacity(1 << 16, entry))
    }

    /// How many bytes there are, up to `most`. Those in an archive are counted, as it only claims
    /// how many they are.
    pub(super) fn length(&self, most: u64) -> Result<u64, Error> {
        if self.entry.is_none() {
            let about = self.path.metadata().map_err(|err| Error::io(self.path, "read", err))?;
            return Ok(about.len());
        }
        self.open(|bytes| {
            io::copy(&mut bytes.take(most), &mut io::sink()).map_err(|err| self.read_error(err))
        })
    }

    fn archive_error(&self, err: ZipError) -> Error {
        match err {
            ZipError::Io(err) => self.read_error(err),
            err => Error::file(self.path, "a .npz file, a zip archive", err),
        }
    }
}
