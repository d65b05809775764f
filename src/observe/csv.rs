//! Metrics as a table.

use std::{fmt::Write, ops::ControlFlow, path::PathBuf};

use super::lines::Lines;
use crate::{
    error::Error,
    head::Evaluation,
    report::{EpochReport, Outcome, RunReport, StepReport},
    session::Observer,
};

/// Writes a row for each epoch, or for each step, under one header.
///
/// After a stop or a kill the file holds each step (epoch) once, in order: it is on the disk before
/// each checkpoint, and when a run begins it is cut back to where its trainer is. Rows of later
/// steps go, and so does what a killed process has left unfinished. A run whose trainer has taken
/// no step yet begins a new file, and gives one that is there another name: `epochs.1.csv` for
/// `epochs.csv`, the first number that is free.
#[derive(Debug)]
pub struct Csv {
    lines: Lines,
    rows: Rows,
    /// The header that is in the file, once it is.
    header: Option<String>,
    /// How many columns the rows so far have.
    columns: usize,
    line: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    Epochs,
    Steps,
}

enum Cell {
    Count(u64),
    Number(f64),
    Nothing,
}

/// What is said of each block, in an epoch or a step.
const OF_BLOCKS: [&str; 4] = ["denoising", "cross_entropy", "gradient_norm", "accuracy"];
const OF_EPOCHS: [&str; 13] = [
    "epoch",
    "steps",
    "rows",
    "seconds",
    "loss",
    "minimised",
    "cross_entropy",
    "validation_loss",
    "validation_accuracy",
    "validation_calibration_error",
    "validation_crps",
    "validation_coverage_90",
    "validation_interval_width_90",
];
/// Those of [`Evaluation::metrics`] that epochs have a column for, beside loss and accuracy.
const OF_VALIDATION: [&str; 4] = ["calibration_error", "crps", "coverage_90", "interval_width_90"];
const OF_STEPS: [&str; 6] = ["step", "epoch", "learning_rate", "rows", "loss", "minimised"];

impl Rows {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Epochs => &OF_EPOCHS,
            Self::Steps => &OF_STEPS,
        }
    }

    /// The header for so many blocks.
    fn header(self, blocks: usize) -> String {
        let of_block = |block: usize| OF_BLOCKS.map(|name| format!("block_{block}_{name}"));
        let columns = self.columns().iter().map(|&name| name.to_owned());
        let names: Vec<String> = columns.chain((1..=blocks).flat_map(of_block)).collect();
        names.join(",")
    }
}

impl Csv {
    /// A row for each epoch: epoch, steps, rows, seconds, loss, what is minimised, the
    /// cross-entropy in nats, the validation metrics, and for each block its squared error,
    /// cross-entropy (both weighted), norm of the gradient and accuracy. Metrics that an epoch has
    /// none of are empty cells: all without validation, accuracy and calibration error for
    /// numbers, CRPS, coverage and width of the 90 % interval for classes and without draws.
    ///
    /// A file that is there already is gone on with; its header has to be the same.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    pub fn epochs(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::new(path.into(), Rows::Epochs)
    }

    /// A row for each step: step, epoch, learning rate, rows, loss, what is minimised, and for each
    /// block the same as for an epoch.
    ///
    /// # Errors
    /// As [`epochs`](Self::epochs).
    pub fn steps(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::new(path.into(), Rows::Steps)
    }

    fn new(path: PathBuf, rows: Rows) -> Result<Self, Error> {
        let lines = Lines::open(path)?;
        Ok(Self { lines, rows, header: None, columns: 0, line: String::new() })
    }

    /// The file's own header, if it has one that can be of a run with up to so many blocks.
    fn found_header(&mut self, blocks: usize) -> Result<Option<String>, Error> {
        let first = self.lines.first()?;
        let expected = self.rows.header(blocks);
        let Some(whole) = first.strip_suffix(b"\n") else {
            // Killed while it was written.
            if expected.as_bytes().starts_with(&first) {
                return Ok(None);
            }
            return Err(self.other_shape(&expected, &first));
        };
        let columns = whole.split(|byte| *byte == b',').count();
        let of_blocks = columns.saturating_sub(self.rows.columns().len()) / OF_BLOCKS.len();
        // A rank of several has its own blocks in its steps.
        let fits = match self.rows {
            Rows::Epochs => of_blocks == blocks,
            Rows::Steps => of_blocks <= blocks,
        };
        let found = self.rows.header(of_blocks);
        if !fits || found.as_bytes() != whole {
            return Err(self.other_shape(&expected, whole));
        }
        Ok(Some(found))
    }

    fn other_shape(&self, expected: &str, found: &[u8]) -> Error {
        let found = String::from_utf8_lossy(found).into_owned();
        Error::file(self.lines.path(), format!("the header {expected}"), found)
    }

    /// Leaves the rows of the steps (epochs) that were taken before.
    fn cut_back(&mut self, run: &RunReport) -> Result<(), Error> {
        self.columns = 0;
        self.header = self.found_header(run.blocks)?;
        let Some(header) = &self.header else { return self.lines.clear() };
        if run.steps_before == 0 {
            self.header = None;
            return self.lines.put_aside();
        }
        let before = match self.rows {
            Rows::Epochs => run.epochs_before,
            Rows::Steps => run.steps_before,
        };
        let columns = header.split(',').count();
        let (mut first, mut last) = (true, 0);
        self.lines.keep(|line| {
            if std::mem::take(&mut first) {
                return true;
            }
            let number = number(line, columns).filter(|n| *n > last && *n <= before);
            last = number.unwrap_or(last);
            number.is_some()
        })
    }

    /// The header goes before the first row.
    fn row(&mut self, blocks: usize, cells: &[Cell]) -> Result<(), Error> {
        if self.columns != cells.len() {
            let expected = self.rows.header(blocks);
            match &self.header {
                Some(header) if *header != expected => {
                    return Err(self.other_shape(&expected, header.as_bytes()));
                }
                Some(_) => {}
                None => self.lines.write(format!("{expected}\n").as_bytes())?,
            }
            self.header = Some(expected);
            self.columns = cells.len();
        }
        self.line.clear();
        for (i, cell) in cells.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Into a string, which takes everything.
            let _ = match cell {
                Cell::Count(count) => write!(self.line, "{comma}{count}"),
                Cell::Number(number) => write!(self.line, "{comma}{number:?}"),
                Cell::Nothing => write!(self.line, "{comma}"),
            };
        }
        self.line.push('\n');
        self.lines.write(self.line.as_bytes())
    }
}

/// The number of the step (epoch) of a whole row.
fn number(line: &[u8], columns: usize) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let cells = || line.split(',');
    let whole = cells().count() == columns
        && cells().all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok());
    cells().next().filter(|_| whole)?.parse().ok()
}

impl Observer for Csv {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.cut_back(run)
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Steps {
            let mut cells = vec![
                Cell::Count(step.step),
                Cell::Count(step.epoch),
                Cell::Number(step.learning_rate),
                Cell::Count(step.rows() as u64),
                Cell::Number(step.loss()),
                Cell::Number(step.minimised()),
            ];
            for block in &step.blocks {
                let accuracy = block.correct as f64 / block.rows.max(1) as f64;
                cells.extend(
                    [block.denoising, block.cross_entropy, block.gradient_norm, accuracy]
                        .map(Cell::Number),
                );
            }
            self.row(step.blocks.len(), &cells)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Epochs {
            let validation = epoch.validation.as_ref();
            let or_nothing = |value: Option<f64>| value.map_or(Cell::Nothing, Cell::Number);
            let mut cells = vec![
                Cell::Count(epoch.epoch),
                Cell::Count(epoch.steps as u64),
                Cell::Count(epoch.rows as u64),
                Cell::Number(epoch.seconds),
                Cell::Number(epoch.loss),
                Cell::Number(epoch.minimised),
                or_nothing(epoch.cross_entropy),
                or_nothing(validation.map(Evaluation::loss)),
                or_nothing(validation.and_then(Evaluation::accuracy)),
            ];
            let metrics = validation.map(Evaluation::metrics).unwrap_or_default();
            let metric = |name| metrics.iter().find(|m| m.0 == name).map(|m| m.1);
            cells.extend(OF_VALIDATION.map(|name| or_nothing(metric(name))));
            for block in &epoch.blocks {
                cells.extend(
                    [block.denoising, block.cross_entropy, block.gradient_norm, block.accuracy]
                        .map(Cell::Number),
                );
            }
            self.row(epoch.blocks.len(), &cells)?;
        }
        self.lines.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn saving(&mut self) -> Result<(), Error> {
        self.lines.sync()
    }

    fn end(&mut self, _outcome: &Outcome) -> Result<(), Error> {
        self.lines.flush()
    }
}
