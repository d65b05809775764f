//! The file: named tensors, text, and a checksum over both.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorView, serialize},
};
use sha2::{Digest, Sha256};

use super::{atomic::write_atomically, checksum::hexadecimal};
use crate::error::Error;

/// The text entry that holds the checksum.
const CHECKSUM: &str = "checksum";

/// What a checkpoint file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Text, by name; `checksum` is the file's own.
    pub metadata: BTreeMap<String, String>,
    /// Tensors, no two of one name.
    pub tensors: Vec<NamedTensor>,
}

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, such as `block.1.0.z.weight`.
    pub name: String,
    /// The type of its numbers.
    pub dtype: NumberType,
    /// Its sizes; empty for a single number.
    pub shape: Vec<usize>,
    /// Its numbers, row-major, each the least significant byte first.
    pub bytes: Vec<u8>,
}

/// The type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// `f32`
    F32,
    /// `f64`
    F64,
}

impl NumberType {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }
}

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
        let sorted = self.sorted();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return wrong("a name for each tensor", format!("two named `{}`", pair[0].name));
        }
        let mut views = Vec::with_capacity(sorted.len());
        for tensor in &sorted {
            let view = TensorView::new(tensor.dtype.dtype(), tensor.shape.clone(), &tensor.bytes);
            match view {
                Ok(view) => views.push((tensor.name.as_str(), view)),
                Err(e) => return wrong("bytes of the shape", format!("`{}`: {e}", tensor.name)),
            }
        }
        let mut text: std::collections::HashMap<String, String> =
            self.metadata.clone().into_iter().collect();
        text.insert(CHECKSUM.to_owned(), self.checksum());
        let bytes = serialize(views, Some(text));
        Ok(in_order(bytes.or_else(|e| wrong("a safetensors file", e.to_string()))?))
    }

    /// What the bytes of a file say; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no safetensors file, that were cut off, or whose checksum
    /// is not that of the rest.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            let found =
                format!("{} bytes that are none ({e}): cut off, or another file", bytes.len());
            Error::file(path, "a whole safetensors file", found)
        })?;
        let mut tensors = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            let Some(dtype) = NumberType::of(view.dtype()) else {
                let found = format!("`{name}` of {:?}", view.dtype());
                return Err(Error::file(path, "tensors of f32 or f64", found));
            };
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            tensors.push(NamedTensor { name: name.to_owned(), dtype, shape, bytes });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut metadata = metadata(bytes);
        let Some(expected) = metadata.remove(CHECKSUM) else {
            return Err(Error::file(path, "a text entry `checksum`", "none"));
        };
        let contents = Self { metadata, tensors };
        let found = contents.checksum();
        if found == expected {
            return Ok(contents);
        }
        let found = format!("{found}: the file was altered after it was written");
        Err(Error::file(path, format!("content with the SHA-256 checksum {expected}"), found))
    }

    fn sorted(&self) -> Vec<&NamedTensor> {
        let mut sorted: Vec<&NamedTensor> = self.tensors.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        sorted
    }

    /// SHA-256 over every text and every tensor, each part behind its length, so that no two
    /// contents run together.
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(&self.metadata.len().to_le_bytes());
        for (name, text) in &self.metadata {
            part(name.as_bytes());
            part(text.as_bytes());
        }
        for tensor in self.sorted() {
            part(tensor.name.as_bytes());
            part(format!("{:?}{:?}", tensor.dtype, tensor.shape).as_bytes());
            part(&tensor.bytes);
        }
        hexadecimal(hash)
    }
}

/// The same file with the entries of its header in order: the same contents are the same bytes.
fn in_order(mut bytes: Vec<u8>) -> Vec<u8> {
    const LENGTH: usize = 8;
    let header = bytes.first_chunk::<LENGTH>().map(|n| u64::from_le_bytes(*n) as usize);
    let header = header.and_then(|length| bytes.get_mut(LENGTH..LENGTH + length));
    let Some(header) = header else { return bytes };
    let Ok(entries) = serde_json::from_slice::<BTreeMap<String, Entry>>(header) else {
        return bytes;
    };
    if let Ok(text) = serde_json::to_vec(&entries)
        && let Some((to, padding)) = header.split_at_mut_checked(text.len())
    {
        to.copy_from_slice(&text);
        padding.fill(b' ');
    }
    bytes
}

/// An entry of the header: text by name, or where a tensor lies.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(BTreeMap<String, String>),
    Tensor(BTreeMap<String, serde_json::Value>),
}

/// The text of a file whose header is known to be right.
fn metadata(bytes: &[u8]) -> BTreeMap<String, String> {
    let header = SafeTensors::read_metadata(bytes);
    header.ok().and_then(|(_, header)| header.metadata().clone()).into_iter().flatten().collect()
}

/// A file and what it holds.
pub(crate) type Found = (PathBuf, Contents);
