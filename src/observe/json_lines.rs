//! Metrics as JSON, an object a line.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use serde::Serialize;

use super::open;
use crate::{
    error::Error,
    report::{EpochReport, Outcome, RunReport, StepReport},
    session::Observer,
};

/// Writes every report as a JSON object on a line of its own, with its kind as `event`: `begin`,
/// `step`, `epoch` or `end`, and the fields of [`RunReport`], [`StepReport`], [`EpochReport`] and
/// [`Outcome`].
///
/// JSON has no number for NaN and infinity: they are `null`.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
    line: Vec<u8>,
    every: u64,
}

impl JsonLines {
    /// A new file; one that is there already is emptied.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open(path.into(), false)
    }

    /// The end of a file, which is made if there is none: for a run that goes on.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn append(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open(path.into(), true)
    }

    fn open(path: PathBuf, append: bool) -> Result<Self, Error> {
        let file = BufWriter::with_capacity(1 << 16, open(&path, append)?);
        Ok(Self { path, file, line: Vec::new(), every: 1 })
    }

    /// Every how many steps one is written; 1 unless said otherwise, 0 for none.
    pub fn every(mut self, steps: u64) -> Self {
        self.every = steps;
        self
    }

    fn write(&mut self, event: &'static str, report: &impl Serialize) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Line<'a, T> {
            event: &'static str,
            #[serde(flatten)]
            report: &'a T,
        }
        // Into memory first: many small pieces make a line.
        self.line.clear();
        let line = serde_json::to_writer(&mut self.line, &Line { event, report });
        self.line.push(b'\n');
        line.map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(&self.line))
            .map_err(|e| Error::io(&self.path, "write", e))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|e| Error::io(&self.path, "write", e))
    }
}

impl Observer for JsonLines {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.write("begin", run)?;
        self.flush()
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        if self.every != 0 && step.step.is_multiple_of(self.every) {
            self.write("step", step)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        self.write("epoch", epoch)?;
        self.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.write("end", outcome)?;
        self.flush()
    }
}
