//! A file for the numbers of blocks that are not in memory.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
};

use crate::error::Error;

/// A file without a name, which is gone with the process, however that ends.
pub(crate) struct Scratch {
    file: File,
    /// For messages.
    folder: PathBuf,
    space: Mutex<Space>,
    /// To the thread that reads ahead; none where there was none to be had.
    ahead: Option<Mutex<Sender<Range<u64>>>>,
}

/// Which parts of the file are in use.
#[derive(Default)]
struct Space {
    end: u64,
    free: Vec<Range<u64>>,
}

/// A part of the file that is in use, and free when it is dropped.
pub(crate) struct Extent {
    scratch: Arc<Scratch>,
    range: Range<u64>,
}

impl Scratch {
    /// A file in a folder.
    ///
    /// # Errors
    /// [`Error::Io`] where none can be made there.
    pub(crate) fn new(folder: &Path) -> Result<Arc<Self>, Error> {
        let failed = |e| {
            Error::io(
                folder,
                "make a file for blocks (another folder is named by TMPDIR, or is that of the checkpoints) in",
                e,
            )
        };
        let file = nameless(folder).map_err(failed)?;
        let ahead = reader(file.try_clone().map_err(failed)?);
        let (folder, space) = (folder.to_owned(), Mutex::default());
        Ok(Arc::new(Self { file, folder, space, ahead: ahead.map(Mutex::new) }))
    }

    fn space(&self) -> std::sync::MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many bytes.
    fn extent(self: &Arc<Self>, bytes: u64) -> Extent {
        let mut space = self.space();
        // Blocks of a model are alike, so what one has left is what another needs.
        let fits = space.free.iter().position(|free| free.end - free.start == bytes);
        let range = match fits {
            Some(i) => space.free.swap_remove(i),
            None => {
                let start = space.end;
                space.end += bytes;
                start..space.end
            }
        };
        Extent { scratch: self.clone(), range }
    }

    /// Writes these bytes where there is room.
    ///
    /// # Errors
    /// [`Error::Io`], such as for a full disk.
    pub(crate) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<Extent, Error> {
        let extent = self.extent(bytes.len() as u64);
        let failed = |e| {
            Error::io(
                &self.folder,
                "write blocks to a file (another folder is named by TMPDIR, or is that of the checkpoints) in",
                e,
            )
        };
        at::write(&self.file, bytes, extent.range.start).map_err(failed)?;
        Ok(extent)
    }

    /// Has the system fetch this part of the file from the disk, while somebody else works.
    pub(crate) fn read_ahead(&self, range: Range<u64>) {
        if let Some(ahead) = &self.ahead
            && let Ok(ahead) = ahead.lock()
        {
            // Where the thread is gone there is nothing to gain, and nothing lost.
            let _ = ahead.send(range);
        }
    }
}

impl Extent {
    /// Some of its bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn read(&self, part: Range<usize>) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; part.len()];
        let start = self.range.start + part.start as u64;
        let failed = |e| Error::io(&self.scratch.folder, "read blocks from a file in", e);
        at::read(&self.scratch.file, &mut bytes, start).map_err(failed)?;
        Ok(bytes)
    }

    /// Where in the file it is.
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Where it is, for messages.
    pub(crate) fn folder(&self) -> &Path {
        &self.scratch.folder
    }

    /// The file that it is part of.
    pub(crate) fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        self.scratch.space().free.push(self.range.clone());
    }
}

/// A thread that reads what it is sent, and so leaves it in the system's memory of the disk, which
/// is nobody's. It ends with the sender.
fn reader(file: File) -> Option<Sender<Range<u64>>> {
    const PIECE: u64 = 1 << 16;
    let (sender, ranges) = channel::<Range<u64>>();
    let read = move || {
        let mut piece = vec![0; PIECE as usize];
        for range in ranges {
            for start in range.clone().step_by(PIECE as usize) {
                let length = PIECE.min(range.end - start) as usize;
                // Whoever needs it will read it again, and say what is wrong.
                let _ = at::read(&file, &mut piece[..length], start);
            }
        }
    };
    let thread = std::thread::Builder::new().name("reading ahead".to_owned()).spawn(read);
    thread.ok().map(|_| sender)
}

/// Reading and writing at a place, by several threads at once.
#[cfg(unix)]
mod at {
    use std::{fs::File, io, os::unix::fs::FileExt};

    pub(super) fn read(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
        file.read_exact_at(bytes, start)
    }

    pub(super) fn write(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
        file.write_all_at(bytes, start)
    }
}

/// The same where the place belongs to the file: one at a time.
#[cfg(not(unix))]
mod at {
    use std::{
        fs::File,
        io::{self, Read, Seek, SeekFrom, Write},
        sync::{Mutex, PoisonError},
    };

    static ONE: Mutex<()> = Mutex::new(());

    pub(super) fn read(mut file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)
    }

    pub(super) fn write(mut file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.write_all(bytes)
    }
}

/// A file that has no name any more, or never had one.
#[cfg(feature = "checkpoint")]
fn nameless(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}

/// Nothing that makes one.
#[cfg(not(feature = "checkpoint"))]
fn nameless(_folder: &Path) -> io::Result<File> {
    Err(io::Error::other("the feature `checkpoint` of `dfdx-noprop` is needed for it"))
}

#[cfg(all(test, feature = "checkpoint"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_room_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        let [a, b] = [1, 2].map(|byte| scratch.write(&[byte; 100]).unwrap());
        scratch.read_ahead(a.range());
        assert_eq!((a.read(0..100).unwrap(), b.read(7..9).unwrap()), (vec![1; 100], vec![2; 2]));
        assert!(b.read(90..101).is_err(), "past the end of the file");
        drop(a);
        let c = scratch.write(&[3; 100]).unwrap();
        let d = scratch.write(&[4; 50]).unwrap();
        assert_eq!([&b, &c, &d].map(|e| e.read(0..1).unwrap()), [[2], [3], [4]]);
        assert_eq!(scratch.space().end, 250, "c is where a was");
        assert!(
            std::fs::read_dir(folder.path()).unwrap().next().is_none(),
            "a file without a name"
        );
    }
}
