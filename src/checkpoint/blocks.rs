//! Checkpoints whose blocks are read one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use safetensors::tensor::{Metadata, TensorInfo};

use super::{
    Contents, NamedTensor,
    file::CHECKSUM,
    gather::block_of,
    trainer::{BLOCKS, ONE_BY_ONE},
};
use crate::{
    error::Error,
    file::{Draft, DraftBytes, DraftTensor, NumberType},
};

/// The blocks of a checkpoint that stay in its file until they are needed.
pub(super) struct BlocksInFile {
    file: OpenFile,
    /// The tensors of each block.
    blocks: BTreeMap<usize, Vec<(String, TensorInfo)>>,
}

impl BlocksInFile {
    /// What a file holds besides blocks, and these; `None` for a file of another kind. Its checksum
    /// is that of what it holds.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read; [`Error::File`] where it was altered.
    pub(super) fn open(path: &Path) -> Result<Option<(Contents, Self)>, Error> {
        // What is wrong with another file is said by whoever reads all of it.
        let Some((file, header)) = OpenFile::open(path)? else { return Ok(None) };
        let mut metadata: BTreeMap<String, String> =
            header.metadata().clone().into_iter().flatten().collect();
        let Some(expected) = metadata.remove(CHECKSUM) else { return Ok(None) };
        if metadata.get(BLOCKS).map(String::as_str) != Some(ONE_BY_ONE) {
            return Ok(None);
        }
        let tensors: Vec<(String, TensorInfo)> =
            header.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        if tensors.iter().any(|(_, info)| NumberType::of(info.dtype).is_none()) {
            return Ok(None);
        }
        let drafts = tensors.iter().filter_map(|(name, info)| file.draft(name, info)).collect();
        let found = Draft::new(metadata.clone(), drafts).checksum()?;
        if found != expected {
            let expected = format!("content with the SHA-256 checksum {expected}");
            let found = format!("{found}: the file was altered after it was written");
            return Err(Error::file(path, expected, found));
        }
        let mut blocks: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        let mut contents = Contents { metadata, tensors: Vec::new() };
        for (name, info) in tensors {
            match block_of(&name) {
                Some(t) => blocks.entry(t).or_default().push((name, info)),
                None => contents.tensors.extend(file.tensor(name, &info)?),
            }
        }
        Ok(Some((contents, Self { file, blocks })))
    }

    /// The tensors of a block.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn of(&self, t: usize) -> Result<Vec<NamedTensor>, Error> {
        let mut tensors = Vec::new();
        for (name, info) in self.blocks.get(&t).into_iter().flatten() {
            tensors.extend(self.file.tensor(name.clone(), info)?);
        }
        Ok(tensors)
    }

    /// All of them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn all(&self) -> Result<Vec<NamedTensor>, Error> {
        let mut all = Vec::new();
        for t in self.numbers() {
            all.extend(self.of(t)?);
        }
        Ok(all)
    }

    /// Which blocks there are.
    pub(super) fn numbers(&self) -> BTreeSet<usize> {
        self.blocks.keys().copied().collect()
    }
}

/// A file of tensors that is read in parts.
struct OpenFile {
    file: Mutex<File>,
    path: PathBuf,
    /// Where the numbers begin.
    start: u64,
}

impl OpenFile {
    /// The file, and where its tensors lie; `None` where it is not as long as it says.
    fn open(path: &Path) -> Result<Option<(Self, Metadata)>, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, "read", e))?;
        let mut file = Self { file: Mutex::new(file), path: path.to_owned(), start: 0 };
        let header = file.header();
        Ok(header.map(|(start, header)| {
            file.start = start;
            (file, header)
        }))
    }

    fn bytes(&self, start: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Where the numbers begin, and where the tensors lie among them.
    fn header(&self) -> Option<(u64, Metadata)> {
        let whole = self.file.lock().ok()?.metadata().ok()?.len();
        let length = u64::from_le_bytes(self.bytes(0, LENGTH).ok()?.try_into().ok()?);
        if length > whole.min(MOST) {
            return None;
        }
        let header = self.bytes(LENGTH as u64, usize::try_from(length).ok()?).ok()?;
        let header: Metadata = serde_json::from_slice(&header).ok()?;
        let end = header.tensors().values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        let start = LENGTH as u64 + length;
        (start + end as u64 == whole).then_some((start, header))
    }

    fn read(&self, info: &TensorInfo) -> Result<Vec<u8>, Error> {
        let (start, end) = info.data_offsets;
        let bytes = self.bytes(self.start + start as u64, end - start);
        bytes.map_err(|e| Error::io(&self.path, "read", e))
    }

    /// A tensor, to be read when it is needed.
    fn draft<'f>(&'f self, name: &str, info: &'f TensorInfo) -> Option<DraftTensor<'f>> {
        let (name, dtype, shape) = (name.to_owned(), NumberType::of(info.dtype)?, &info.shape);
        let (start, end) = info.data_offsets;
        let bytes = DraftBytes::Read(Box::new(|| self.read(info)));
        Some(DraftTensor { name, dtype, shape: shape.clone(), length: end - start, bytes })
    }

    fn tensor(&self, name: String, info: &TensorInfo) -> Result<Option<NamedTensor>, Error> {
        let Some(dtype) = NumberType::of(info.dtype) else { return Ok(None) };
        Ok(Some(NamedTensor { name, dtype, shape: info.shape.clone(), bytes: self.read(info)? }))
    }
}

/// How many bytes the length of the header has.
const LENGTH: usize = 8;

/// The longest header there may be, as `safetensors` has it.
const MOST: u64 = 100_000_000;
