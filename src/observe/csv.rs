//! Metrics as a table.

use std::{fs::File, ops::ControlFlow, path::PathBuf};

use super::open;
use crate::{
    error::Error,
    train::{EpochReport, Observer, Outcome, StepReport},
};

/// Writes a row for each epoch, or for each step, under one header.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    table: csv::Writer<File>,
    rows: Rows,
    /// The header that is in the file, once it is.
    header: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    Epochs,
    Steps,
}

/// A column's name and its value.
type Cell = (String, String);

impl Csv {
    /// A row for each epoch: epoch, steps, rows, seconds, loss, the validation metrics, and for each block its squared
    /// error, cross-entropy, norm of the gradient and accuracy. An epoch without validation has empty cells there.
    ///
    /// A file that is there already is gone on with; its header has to be the same.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    pub fn epochs(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::new(path.into(), Rows::Epochs)
    }

    /// A row for each step: step, epoch, learning rate, rows, loss, and for each block the same as for an epoch.
    ///
    /// # Errors
    /// As [`epochs`](Self::epochs).
    pub fn steps(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::new(path.into(), Rows::Steps)
    }

    fn new(path: PathBuf, rows: Rows) -> Result<Self, Error> {
        let file = open(&path, true)?;
        let header = header(&path)?;
        let table = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        Ok(Self { path, table, rows, header })
    }

    fn row(&mut self, cells: Vec<Cell>) -> Result<(), Error> {
        let (names, values): (Vec<String>, Vec<String>) = cells.into_iter().unzip();
        match &self.header {
            Some(header) if *header != names => {
                let [expected, found] = [&names, header].map(|names| names.join(","));
                return Err(Error::file(&self.path, format!("the header {expected}"), found));
            }
            Some(_) => {}
            None => {
                self.record(&names)?;
                self.header = Some(names);
            }
        }
        self.record(&values)
    }

    fn record(&mut self, cells: &[String]) -> Result<(), Error> {
        let written = self.table.write_record(cells);
        written.map_err(|e| Error::io(&self.path, "write", e.into()))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.table.flush().map_err(|e| Error::io(&self.path, "write", e))
    }
}

/// The first line of a file that is not empty.
fn header(path: &std::path::Path) -> Result<Option<Vec<String>>, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(path)
        .map_err(|e| Error::io(path, "read", e.into()))?;
    match reader.records().next() {
        Some(Ok(record)) => Ok(Some(record.iter().map(str::to_owned).collect())),
        Some(Err(e)) => Err(Error::file(path, "a table", e)),
        None => Ok(None),
    }
}

fn cell(name: impl Into<String>, value: impl ToString) -> Cell {
    (name.into(), value.to_string())
}

impl Observer for Csv {
    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Steps {
            let mut cells = vec![
                cell("step", step.step),
                cell("epoch", step.epoch),
                cell("learning_rate", step.learning_rate),
                cell("rows", step.rows()),
                cell("loss", step.loss()),
            ];
            for block in &step.blocks {
                let name = |what: &str| format!("block_{}_{what}", block.block);
                cells.push(cell(name("denoising"), block.denoising));
                cells.push(cell(name("cross_entropy"), block.cross_entropy));
                cells.push(cell(name("gradient_norm"), block.gradient_norm));
                let share = block.correct as f64 / block.rows.max(1) as f64;
                cells.push(cell(name("accuracy"), share));
            }
            self.row(cells)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Epochs {
            let mut cells = vec![
                cell("epoch", epoch.epoch),
                cell("steps", epoch.steps),
                cell("rows", epoch.rows),
                cell("seconds", epoch.seconds),
                cell("loss", epoch.loss),
                cell(
                    "validation_loss",
                    epoch.validation.as_ref().map_or(String::new(), |v| v.loss().to_string()),
                ),
                cell(
                    "validation_accuracy",
                    epoch
                        .validation
                        .as_ref()
                        .and_then(|v| v.accuracy())
                        .map_or(String::new(), |a| a.to_string()),
                ),
            ];
            for (block, mean) in (1..).zip(&epoch.blocks) {
                let name = |what: &str| format!("block_{block}_{what}");
                cells.push(cell(name("denoising"), mean.denoising));
                cells.push(cell(name("cross_entropy"), mean.cross_entropy));
                cells.push(cell(name("gradient_norm"), mean.gradient_norm));
                cells.push(cell(name("accuracy"), mean.accuracy));
            }
            self.row(cells)?;
        }
        self.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, _outcome: &Outcome) -> Result<(), Error> {
        self.flush()
    }
}
