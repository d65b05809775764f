//! What pictures show of each epoch, kept beside them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{error::Error, head::Evaluation, observe::lines::Lines, report::EpochReport};

/// An epoch as a picture shows it; a number that is not finite is none, since JSON has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) epoch: u64,
    pub(super) minimised: Option<f64>,
    pub(super) cross_entropy: Option<f64>,
    /// Of each block, from 0 to 1.
    pub(super) accuracies: Vec<Option<f64>>,
    pub(super) validation_loss: Option<f64>,
    pub(super) validation_accuracy: Option<f64>,
    /// Whether the targets of the validation rows are numbers.
    pub(super) numbers: bool,
}

impl From<&EpochReport> for Point {
    fn from(report: &EpochReport) -> Self {
        let finite = |value: &f64| value.is_finite();
        let validation = report.validation.as_ref();
        let accuracy = |block: &crate::report::BlockMean| Some(block.accuracy).filter(finite);
        Self {
            epoch: report.epoch,
            minimised: Some(report.minimised).filter(finite),
            cross_entropy: report.cross_entropy.filter(finite),
            accuracies: report.blocks.iter().map(accuracy).collect(),
            validation_loss: validation.map(Evaluation::loss).filter(finite),
            validation_accuracy: validation.and_then(Evaluation::accuracy).filter(finite),
            numbers: matches!(validation, Some(Evaluation::Numbers(_))),
        }
    }
}

/// The file of them, an epoch a line.
#[derive(Debug)]
pub(super) struct History {
    lines: Lines,
}

impl History {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        Ok(Self { lines: Lines::open(path)? })
    }

    /// The epochs up to this one, each once, in order; what else is in the file goes.
    pub(super) fn until(&mut self, last: u64) -> Result<Vec<Point>, Error> {
        let mut points: Vec<Point> = Vec::new();
        self.lines.keep(|line| {
            let before = points.last().map_or(0, |point| point.epoch);
            let point = serde_json::from_slice::<Point>(line).ok();
            let point = point.filter(|point| point.epoch > before && point.epoch <= last);
            let stays = point.is_some();
            points.extend(point);
            stays
        })?;
        Ok(points)
    }

    pub(super) fn add(&mut self, point: &Point) -> Result<(), Error> {
        let mut line = serde_json::to_vec(point)
            .map_err(|e| Error::io(self.lines.path(), "write", e.into()))?;
        line.push(b'\n');
        self.lines.write(&line)?;
        self.lines.flush()
    }

    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.lines.sync()
    }
}
