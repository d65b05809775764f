//! Files that may be gzipped, whatever their name says.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of a file, unpacked on the way if it starts like a gzip stream.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, Error> {
    let file = File::open(path).map_err(|err| Error::io(path, "read", err))?;
    unpack(file).map_err(|err| read_error(path, err))
}

pub(super) fn unpack(packed: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut packed = BufReader::new(packed);
    let gzipped = packed.fill_buf()?.starts_with(&MAGIC);
    // The decoder for several members: the one for a single member ignores what follows it.
    Ok(if gzipped { Box::new(MultiGzDecoder::new(packed)) } else { Box::new(packed) })
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

/// The file of this name in a folder, or the one with `.gz` at its end.
pub(super) fn find(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let packed = format!("{name}.gz");
    for path in [dir.join(name), dir.join(&packed)] {
        if path.try_exists().map_err(|err| Error::io(&path, "read", err))? {
            return Ok(path);
        }
    }
    Err(Error::file(&dir.join(name), format!("this file, or {packed} beside it"), "neither"))
}
