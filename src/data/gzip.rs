//! Files that may be gzipped, whatever their name says.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;

use crate::error::Error;

/// How a gzip stream starts: two bytes that identify it, and its method, deflate.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// What is read: a file, or packed bytes that are part of this crate.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    packed: Option<&'static [u8]>,
}

impl<'a> Source<'a> {
    pub(super) fn file(path: &'a Path) -> Self {
        Self { path, packed: None }
    }

    #[cfg(feature = "digits")]
    pub(super) fn packed(path: &'a Path, packed: &'static [u8]) -> Self {
        Self { path, packed: Some(packed) }
    }

    /// The content, unpacked on the way if it starts like a gzip stream.
    pub(super) fn open(self) -> Result<Box<dyn Read>, Error> {
        let reader = match self.packed {
            Some(packed) => unpack(packed),
            None => unpack(File::open(self.path).map_err(|err| Error::io(self.path, "read", err))?),
        };
        reader.map_err(|err| read_error(self.path, err))
    }

    /// Whether it gives the same bytes when it is opened again: a pipe does not.
    pub(super) fn opens_twice(self) -> bool {
        self.packed.is_some() || self.path.is_file()
    }
}

/// [`Error::File`] for a pipe or a device, where a reader needs the file more than once.
pub(super) fn check_regular(path: &Path) -> Result<(), Error> {
    if !path.exists() || path.is_file() || path.is_dir() {
        return Ok(());
    }
    let expected = "a regular file, since it is read twice";
    Err(Error::file(path, expected, "a pipe or a device; copy what it gives to a file"))
}

fn unpack(packed: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut packed = BufReader::new(packed);
    let gzipped = packed.fill_buf()?.starts_with(&MAGIC[..2]);
    Ok(if gzipped { Box::new(Members::new(packed)) } else { Box::new(packed) })
}

/// What is left of the file, of which the first bytes have been looked at.
type Packed<R> = Chain<Cursor<Vec<u8>>, BufReader<R>>;

/// The content of all members of a gzip stream, one after the other. What follows the last one and
/// does not start like another one is padding, which is left out, as `gzip` does.
struct Members<R> {
    member: Option<GzDecoder<Packed<R>>>,
}

impl<R: Read> Members<R> {
    fn new(packed: BufReader<R>) -> Self {
        Self { member: Some(GzDecoder::new(Cursor::new(Vec::new()).chain(packed))) }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let found = member.read(to)?;
            if found > 0 || to.is_empty() {
                return Ok(found);
            }
            if let Some(member) = self.member.take() {
                let (_, mut packed) = member.into_inner().into_inner();
                let mut start = Vec::with_capacity(MAGIC.len());
                packed.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
                if starts_member(&start) {
                    self.member = Some(GzDecoder::new(Cursor::new(start).chain(packed)));
                }
            }
        }
        Ok(0)
    }
}

/// Whether these bytes are the start of a member, be it cut or with a damaged byte.
fn starts_member(start: &[u8]) -> bool {
    let right = start.iter().zip(MAGIC).filter(|(a, b)| **a == *b).count();
    right >= 2 || (right == 1 && start.len() == 1)
}

/// What went wrong while reading: the operating system said no, or the gzip stream is damaged.
pub(super) fn read_error(path: &Path, err: io::Error) -> Error {
    if err.raw_os_error().is_some() {
        Error::io(path, "read", err)
    } else if err.kind() == io::ErrorKind::UnexpectedEof {
        Error::file(path, "a whole gzip stream", "one whose end is missing")
    } else {
        Error::file(path, "an intact gzip stream", err)
    }
}

/// The first file of these names in a folder, each looked for as it is and with `.gz` at its end.
pub(super) fn find(dir: &Path, names: &[&str]) -> Result<PathBuf, Error> {
    for name in names {
        for path in [dir.join(name), dir.join(format!("{name}.gz"))] {
            if path.try_exists().map_err(|err| Error::io(&path, "read", err))? {
                return Ok(path);
            }
        }
    }
    let (first, others) = names.split_first().unwrap_or((&"", &[]));
    let others: String = others.iter().map(|name| format!("{name}, {name}.gz or ")).collect();
    let found = if others.is_empty() { "neither" } else { "none of them" };
    Err(Error::file(&dir.join(first), format!("this file, or {others}{first}.gz beside it"), found))
}

/// Makes room for `more` values, in steps of a sixteenth of what there is: a vector that grows by
/// doubling holds up to twice of what it needs.
pub(super) fn make_room<T>(values: &mut Vec<T>, more: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact(more.max(values.len() / 16).max(4096));
    }
}
