//! The file: named tensors, text, and a SHA-256 checksum over both.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{atomic::write_atomically, checksum::hexadecimal};
use crate::{error::Error, file::Contents};

/// The text entry that holds the checksum.
const CHECKSUM: &str = "checksum";

impl Contents {
    /// Writes the file: whatever happens, the path holds what it held before, or all of this.
    ///
    /// # Errors
    /// [`Error::Io`] for a full disk, a folder that is gone or that cannot be written to;
    /// [`Error::Argument`] as [`to_bytes`](Self::to_bytes).
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, &self.to_bytes()?)
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
        let wrong = |expected: &str, found: String| {
            Err(Error::argument("Contents::to_bytes", expected, found))
        };
        if self.metadata.contains_key(CHECKSUM) {
            return wrong("text entries of other names", format!("`{CHECKSUM}`"));
        }
        self.with_text(CHECKSUM, self.checksum())
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
        let found = contents.checksum();
        if found == expected {
            return Ok(contents);
        }
        let found = format!("{found}: the file was altered after it was written");
        Err(Error::file(path, format!("content with the SHA-256 checksum {expected}"), found))
    }

    /// SHA-256 over every text and every tensor.
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        self.each_part(&mut |bytes| hash.update(bytes));
        hexadecimal(hash)
    }
}

/// A file and what it holds.
pub(crate) type Found = (PathBuf, Contents);
