//! Metrics as JSON, an object a line.

use std::{ops::ControlFlow, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::{
    error::Error,
    report::{EpochReport, Outcome, RunReport, StepReport},
    session::Observer,
};

/// Writes every report as a JSON object on a line of its own, with its kind as `event`: `begin`,
/// `step`, `epoch` or `end`, and the fields of [`RunReport`], [`StepReport`], [`EpochReport`] and
/// [`Outcome`]; `end` has also `steps`, those that the trainer has taken over its life.
///
/// JSON has no number for NaN and infinity: they are `null`.
///
/// After a stop or a kill the file holds each step and epoch once, in order: it is on the disk
/// before each checkpoint, and when a run begins it is cut back to where its trainer is. Lines of
/// later steps and epochs go, and so does what a killed process has left unfinished. A run whose
/// trainer has taken no step yet begins a new file, and gives one that is there another name:
/// `metrics.1.jsonl` for `metrics.jsonl`, the first number that is free.
#[derive(Debug)]
pub struct JsonLines {
    lines: Lines,
    line: Vec<u8>,
    every: u64,
    steps: u64,
}

/// What a line of the file says of where it is.
#[derive(Deserialize)]
struct Head {
    event: Event,
    step: Option<u64>,
    epoch: Option<u64>,
    steps_before: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Begin,
    Step,
    Epoch,
    End,
}

/// The same for the end, whose `epochs` are reports, and whose `steps` are a number.
#[derive(Deserialize)]
struct End {
    steps: Option<u64>,
}

impl JsonLines {
    /// A new file; one that is there already is emptied.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let mut new = Self::append(path)?;
        new.lines.clear()?;
        Ok(new)
    }

    /// A file that is gone on with, or made if there is none: for a run that goes on.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened. When a run begins: [`Error::File`] for one whose first
    /// line is of something else.
    pub fn append(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let lines = Lines::open(path.into())?;
        Ok(Self { lines, line: Vec::new(), every: 1, steps: 0 })
    }

    /// Every how many steps one is written; 1 unless said otherwise, 0 for none.
    pub fn every(mut self, steps: u64) -> Self {
        self.every = steps;
        self
    }

    /// Leaves what was before this run.
    fn cut_back(&mut self, run: &RunReport) -> Result<(), Error> {
        let first = self.lines.first()?;
        let torn = first.last() != Some(&b'\n');
        // Killed in its first line, or empty.
        if torn && first.starts_with(&b"{\"event\":"[..first.len().min(9)]) {
            return self.lines.clear();
        }
        if torn || serde_json::from_slice::<Head>(&first).is_err() {
            let start: String = String::from_utf8_lossy(&first).chars().take(40).collect();
            let expected = "lines of JSON, each with its `event`";
            return Err(Error::file(self.lines.path(), expected, start.trim_end()));
        }
        if run.steps_before == 0 {
            return self.lines.put_aside();
        }
        let (mut step, mut epoch) = (0, 0);
        self.lines.keep(|line| {
            let Ok(head) = serde_json::from_slice::<Head>(line) else { return false };
            let next = |last: &mut u64, number: Option<u64>, most: u64| {
                let number = number.filter(|n| *n > *last && *n <= most);
                *last = number.unwrap_or(*last);
                number.is_some()
            };
            match head.event {
                Event::Begin => head.steps_before.unwrap_or(0) < run.steps_before,
                Event::Step => next(&mut step, head.step, run.steps_before),
                Event::Epoch => next(&mut epoch, head.epoch, run.epochs_before),
                Event::End => serde_json::from_slice::<End>(line)
                    .is_ok_and(|end| end.steps.is_none_or(|steps| steps <= run.steps_before)),
            }
        })
    }

    fn write(
        &mut self,
        event: &'static str,
        steps: Option<u64>,
        report: &impl Serialize,
    ) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Line<'a, T> {
            event: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            steps: Option<u64>,
            #[serde(flatten)]
            report: &'a T,
        }
        // Into memory first: many small pieces make a line.
        self.line.clear();
        serde_json::to_writer(&mut self.line, &Line { event, steps, report })
            .map_err(|e| Error::io(self.lines.path(), "write", e.into()))?;
        self.line.push(b'\n');
        self.lines.write(&self.line)
    }
}

impl Observer for JsonLines {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.cut_back(run)?;
        self.steps = run.steps_before;
        self.write("begin", None, run)?;
        self.lines.flush()
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        self.steps = step.step;
        if self.every != 0 && step.step.is_multiple_of(self.every) {
            self.write("step", None, step)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        self.write("epoch", None, epoch)?;
        self.lines.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn saving(&mut self) -> Result<(), Error> {
        self.lines.sync()
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.write("end", Some(self.steps), outcome)?;
        self.lines.flush()
    }
}
