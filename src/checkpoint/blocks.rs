//! Checkpoints whose blocks are read one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
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
    file::{Draft, DraftTensor, NumberType},
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
        let file = OpenFile::open(path)?;
        // What is wrong with another file is said by whoever reads all of it.
        let Some(header) = file.header() else { return Ok(None) };
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
    file: Mutex<BufReader<File>>,
    path: PathBuf,
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, "read", e))?;
        Ok(Self { file: Mutex::new(BufReader::new(file)), path: path.to_owned() })
    }

    fn bytes(&self, start: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Where the tensors lie; `None` where the file is not as long as it says.
    fn header(&self) -> Option<Metadata> {
        let whole = self.file.lock().ok()?.get_ref().metadata().ok()?.len();
        let length = u64::from_le_bytes(self.bytes(0, LENGTH).ok()?.try_into().ok()?);
        if length > whole.min(MOST) {
            return None;
        }
        let header = self.bytes(LENGTH as u64, usize::try_from(length).ok()?).ok()?;
        let header: Metadata = serde_json::from_slice(&header).ok()?;
        let end = header.tensors().values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        (LENGTH as u64 + length + end as u64 == whole).then_some(header)
    }

    fn read(&self, info: &TensorInfo) -> Result<Vec<u8>, Error> {
        let failed = |e| Error::io(&self.path, "read", e);
        let header = self.bytes(0, LENGTH).map_err(failed)?;
        let header = header.try_into().map_or(0, u64::from_le_bytes);
        let (start, end) = info.data_offsets;
        let start_in_file = LENGTH as u64 + header + start as u64;
        self.bytes(start_in_file, end - start).map_err(failed)
    }

    /// A tensor, to be read when it is needed.
    fn draft<'f>(&'f self, name: &str, info: &'f TensorInfo) -> Option<DraftTensor<'f>> {
        let (name, dtype, shape) = (name.to_owned(), NumberType::of(info.dtype)?, &info.shape);
        let (start, end) = info.data_offsets;
        let bytes = Box::new(|| Ok(self.read(info)?.into()));
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
