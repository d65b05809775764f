//! A file of lines that a run adds to, and that is cut back to where a run goes on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// A file of lines, opened at its end. Each is written whole; what a killed process has left
/// unfinished goes when the next run begins.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    /// The file and its folder are made if there are none.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io(parent, "make the folder", e))?;
        }
        let file = append(&path)?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 16, file) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A line with its end.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        self.file.write_all(line).map_err(|e| Error::io(&self.path, "write", e))
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|e| Error::io(&self.path, "write", e))
    }

    /// On the disk, where it is on one: a checkpoint is, too.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.flush()?;
        if !self.is_regular() {
            return Ok(());
        }
        self.file.get_ref().sync_data().map_err(|e| Error::io(&self.path, "sync", e))
    }

    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.flush()?;
        if self.is_regular() { self.cut(0) } else { Ok(()) }
    }

    /// The first line, with its end if that is there; empty in an empty file, and for a pipe or a
    /// terminal, which cannot be read back.
    pub(super) fn first(&mut self) -> Result<Vec<u8>, Error> {
        self.flush()?;
        let mut line = Vec::new();
        if self.is_regular() {
            let file = File::open(&self.path).map_err(|e| Error::io(&self.path, "read", e))?;
            let read = BufReader::new(file).read_until(b'\n', &mut line);
            read.map_err(|e| Error::io(&self.path, "read", e))?;
        }
        Ok(line)
    }

    /// Leaves the lines that `keep` says yes to, which sees them in order, without their ends. One
    /// without an end goes.
    pub(super) fn keep(&mut self, keep: impl FnMut(&[u8]) -> bool) -> Result<(), Error> {
        self.flush()?;
        if !self.is_regular() {
            return Ok(());
        }
        let failed = |e| Error::io(&self.path, "read", e);
        let file = File::open(&self.path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let kept = kept(BufReader::new(file), keep).map_err(failed)?;
        match &kept[..] {
            [] if len == 0 => Ok(()),
            [] => self.cut(0),
            [Range { start: 0, end }] if *end == len => Ok(()),
            [Range { start: 0, end }] => self.cut(*end),
            _ => self.rewrite(&kept),
        }
    }

    /// Gives the file another name, `metrics.1.jsonl` for `metrics.jsonl`, the first number that
    /// is free, and goes on in a new one; not if it is empty.
    pub(super) fn put_aside(&mut self) -> Result<(), Error> {
        self.flush()?;
        let found = fs::metadata(&self.path).map_err(|e| Error::io(&self.path, "read", e))?;
        if !found.is_file() || found.len() == 0 {
            return Ok(());
        }
        let extension = self.path.extension().map(|end| end.to_string_lossy().into_owned());
        let mut names = (1u32..).map(|number| {
            let ending = match &extension {
                Some(extension) => format!("{number}.{extension}"),
                None => number.to_string(),
            };
            self.path.with_extension(ending)
        });
        let aside = names.find(|name| !name.exists()).unwrap_or_else(|| self.path.clone());
        fs::rename(&self.path, &aside).map_err(|e| Error::io(&aside, "rename a file to", e))?;
        self.reopen()
    }

    fn is_regular(&self) -> bool {
        self.path.is_file()
    }

    fn cut(&mut self, len: u64) -> Result<(), Error> {
        self.file.get_ref().set_len(len).map_err(|e| Error::io(&self.path, "shorten", e))
    }

    /// Under another name first, so that a kill leaves the one file or the other.
    fn rewrite(&mut self, kept: &[Range<u64>]) -> Result<(), Error> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let copied = (|| {
            let (mut from, mut to) = (File::open(&self.path)?, File::create(&unfinished)?);
            for range in kept {
                from.seek(SeekFrom::Start(range.start))?;
                let mut part = (&from).take(range.end - range.start);
                io::copy(&mut part, &mut to)?;
            }
            to.sync_data()
        })();
        copied.map_err(|e| Error::io(&unfinished, "write", e))?;
        fs::rename(&unfinished, &self.path)
            .map_err(|e| Error::io(&self.path, "rename a finished file to", e))?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.file = BufWriter::with_capacity(1 << 16, append(&self.path)?);
        Ok(())
    }
}

fn append(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|e| Error::io(path, "open", e))
}

/// Which bytes are of lines that stay; those side by side are one range.
fn kept(
    mut text: impl BufRead,
    mut keep: impl FnMut(&[u8]) -> bool,
) -> io::Result<Vec<Range<u64>>> {
    let (mut ranges, mut line, mut at) = (Vec::<Range<u64>>::new(), Vec::new(), 0);
    loop {
        line.clear();
        let len = text.read_until(b'\n', &mut line)? as u64;
        if line.pop_if(|end| *end == b'\n').is_none() {
            return Ok(ranges);
        }
        if keep(&line) {
            match ranges.last_mut() {
                Some(last) if last.end == at => last.end += len,
                _ => ranges.push(at..at + len),
            }
        }
        at += len;
    }
}
