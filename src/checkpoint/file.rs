//! The file: named tensors, text, and a SHA-256 checksum over both.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{atomic::write_atomically_by, blocks::BlocksInFile, checksum::hexadecimal};
use crate::{
    error::Error,
    file::{Contents, Draft},
};

/// The text entry that holds the checksum.
pub(super) const CHECKSUM: &str = "checksum";

impl Contents {
    /// Writes the file: whatever happens, the path holds what it held before, or all of this.
    ///
    /// # Errors
    /// [`Error::Io`] for a full disk, a folder that is gone or that cannot be written to;
    /// [`Error::Argument`] as [`to_bytes`](Self::to_bytes).
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        self.draft().save(path)
    }

    /// Reads a file that [`write`](Self::write) has written.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] as [`from_bytes`](Self::from_bytes).
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
        Self::from_bytes(&bytes, path)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`Error::Argument`] for a text entry named `checksum`, for two tensors of one name, or for
    /// bytes that are not those of the shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.draft().sealed()
    }

    /// What the bytes of a file say; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no safetensors file, that were cut off, or whose checksum
    /// is not that of the rest.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let mut contents = Self::unchecked(bytes, path)?;
        let Some(expected) = contents.metadata.remove(CHECKSUM) else {
            return Err(Error::file(path, "a text entry `checksum`", "none"));
        };
        let found = contents.draft().checksum()?;
        if found == expected {
            return Ok(contents);
        }
        let found = format!("{found}: the file was altered after it was written");
        Err(Error::file(path, format!("content with the SHA-256 checksum {expected}"), found))
    }
}

impl Draft<'_> {
    /// Writes the file, one tensor after the other: whatever happens, the path holds what it held
    /// before, or all of this.
    ///
    /// # Errors
    /// Those of [`Contents::write`], and those of reading tensors.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        write_atomically_by(path, |file| {
            let mut file = BufWriter::new(file);
            let failed = |e| Error::io(path, "write", e);
            let checksum = self.checked_checksum()?;
            self.write(CHECKSUM, checksum, &mut |bytes| file.write_all(bytes).map_err(failed))?;
            file.flush().map_err(failed)
        })
    }

    /// The bytes of the file, with the checksum.
    pub(super) fn sealed(&self) -> Result<Vec<u8>, Error> {
        self.to_bytes(CHECKSUM, self.checked_checksum()?)
    }

    /// The checksum, where there is room for it.
    fn checked_checksum(&self) -> Result<String, Error> {
        if self.metadata.contains_key(CHECKSUM) {
            let (expected, found) = ("text entries of other names", format!("`{CHECKSUM}`"));
            return Err(Error::argument("Contents::to_bytes", expected, found));
        }
        self.checksum()
    }

    /// SHA-256 over every text and every tensor.
    pub(super) fn checksum(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        self.each_part(&mut |bytes| hash.update(bytes))?;
        Ok(hexadecimal(hash))
    }
}

/// A file and what it holds.
pub struct Found {
    pub(crate) path: PathBuf,
    /// All but `blocks`.
    pub(crate) contents: Contents,
    /// Tensors of blocks that are read one by one, where the file says so.
    pub(super) blocks: Option<BlocksInFile>,
}

impl Found {
    /// Reads a file; where it says that its blocks are to be read one by one, all but these.
    ///
    /// # Errors
    /// Those of [`Contents::read`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let found = match BlocksInFile::open(path)? {
            Some((contents, blocks)) => (contents, Some(blocks)),
            None => (Contents::read(path)?, None),
        };
        Ok(Self { path: path.to_owned(), contents: found.0, blocks: found.1 })
    }
}
