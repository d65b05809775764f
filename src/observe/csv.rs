//! Metrics as a table.

use std::{fs::File, ops::ControlFlow, path::PathBuf};

use serde::Serialize;

use super::open;
use crate::{
    error::Error,
    head::Evaluation,
    report::{EpochReport, Outcome, StepReport},
    session::Observer,
};

/// Writes a row for each epoch, or for each step, under one header.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    table: csv::Writer<File>,
    rows: Rows,
    /// The header that is in the file, once it is.
    header: Option<Vec<String>>,
    /// How many columns the rows so far have.
    columns: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    Epochs,
    Steps,
}

/// A value; its column's name is made only where the header is.
#[derive(Serialize)]
#[serde(untagged)]
enum Cell {
    Count(u64),
    Number(f64),
    Nothing(()),
}

/// What is said of each block, in an epoch or a step.
const OF_BLOCKS: [&str; 4] = ["denoising", "cross_entropy", "gradient_norm", "accuracy"];

impl Csv {
    /// A row for each epoch: epoch, steps, rows, seconds, loss, the validation metrics, and for
    /// each block its squared error, cross-entropy, norm of the gradient and accuracy. An epoch
    /// without validation has empty cells there.
    ///
    /// A file that is there already is gone on with; its header has to be the same.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    pub fn epochs(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::new(path.into(), Rows::Epochs)
    }

    /// A row for each step: step, epoch, learning rate, rows, loss, and for each block the same as
    /// for an epoch.
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
        Ok(Self { path, table, rows, header, columns: 0 })
    }

    /// A row under the names `columns`, and those of each block; the header goes before the first.
    fn row(&mut self, columns: &[&str], blocks: usize, cells: Vec<Cell>) -> Result<(), Error> {
        if self.columns != cells.len() {
            let of_blocks = (1..=blocks)
                .flat_map(|block| OF_BLOCKS.map(|name| format!("block_{block}_{name}")));
            let names: Vec<String> =
                columns.iter().map(|&name| name.to_owned()).chain(of_blocks).collect();
            match &self.header {
                Some(header) if *header != names => {
                    let [expected, found] = [&names, header].map(|names| names.join(","));
                    let expected = format!("the header {expected}");
                    return Err(Error::file(&self.path, expected, found));
                }
                Some(_) => {}
                None => self.written(|table| table.write_record(&names))?,
            }
            self.header = Some(names);
            self.columns = cells.len();
        }
        self.written(|table| table.serialize(cells))
    }

    fn written(
        &mut self,
        write: impl FnOnce(&mut csv::Writer<File>) -> csv::Result<()>,
    ) -> Result<(), Error> {
        write(&mut self.table).map_err(|e| Error::io(&self.path, "write", e.into()))
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

impl Observer for Csv {
    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Steps {
            let columns = ["step", "epoch", "learning_rate", "rows", "loss"];
            let mut cells = vec![
                Cell::Count(step.step),
                Cell::Count(step.epoch),
                Cell::Number(step.learning_rate),
                Cell::Count(step.rows() as u64),
                Cell::Number(step.loss()),
            ];
            for block in &step.blocks {
                let accuracy = block.correct as f64 / block.rows.max(1) as f64;
                cells.extend(
                    [block.denoising, block.cross_entropy, block.gradient_norm, accuracy]
                        .map(Cell::Number),
                );
            }
            self.row(&columns, step.blocks.len(), cells)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        if self.rows == Rows::Epochs {
            let columns = [
                "epoch",
                "steps",
                "rows",
                "seconds",
                "loss",
                "validation_loss",
                "validation_accuracy",
            ];
            let validation = epoch.validation.as_ref();
            let or_nothing = |value: Option<f64>| value.map_or(Cell::Nothing(()), Cell::Number);
            let mut cells = vec![
                Cell::Count(epoch.epoch),
                Cell::Count(epoch.steps as u64),
                Cell::Count(epoch.rows as u64),
                Cell::Number(epoch.seconds),
                Cell::Number(epoch.loss),
                or_nothing(validation.map(Evaluation::loss)),
                or_nothing(validation.and_then(Evaluation::accuracy)),
            ];
            for block in &epoch.blocks {
                cells.extend(
                    [block.denoising, block.cross_entropy, block.gradient_norm, block.accuracy]
                        .map(Cell::Number),
                );
            }
            self.row(&columns, epoch.blocks.len(), cells)?;
        }
        self.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, _outcome: &Outcome) -> Result<(), Error> {
        self.flush()
    }
}
