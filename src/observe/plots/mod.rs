//! Runs as pictures: SVG files.

mod axis;
mod chart;
mod history;

use std::{
    fs,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use chart::{Bar, Chart, Line, Style, side_by_side};
use history::{History, Point};

use crate::{
    error::Error,
    head::Evaluation,
    report::{AlongPoint, EpochReport, Outcome, RunReport},
    schedule::SchedulePoint,
    score::{Reliability, ReliabilityBin},
    session::Observer,
};

/// Draws a run into a folder: `schedule.svg` at its beginning, `loss.svg` and (for classes)
/// `accuracy.svg` after epochs, `along.svg` and (for classes) `reliability.svg` at its end, if there
/// are validation rows. After an epoch it draws only if drawing takes less than a hundredth of the
/// time, and at the end in any case.
///
/// What it draws of each epoch is in `plots.jsonl` beside the pictures, so that those of a run
/// that goes on show all of it: all epochs up to the one in which it goes on, and what it adds. A
/// run whose trainer has taken no step yet begins anew.
#[derive(Debug)]
pub struct Plots {
    folder: PathBuf,
    history: Option<History>,
    epochs: Vec<Point>,
    classes: bool,
    /// When it drew last, and for how long.
    drawn: Option<(Instant, Duration)>,
}

impl Plots {
    /// Into this folder, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "make the folder", e))?;
        Ok(Self { folder, history: None, epochs: Vec::new(), classes: false, drawn: None })
    }

    fn draw(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        self.write("loss.svg", draw_loss(&self.epochs))?;
        if self.classes {
            self.write("accuracy.svg", draw_accuracy(&self.epochs))?;
        }
        self.drawn = Some((start, start.elapsed()));
        Ok(())
    }

    fn write(&self, name: &str, picture: Result<String, Error>) -> Result<(), Error> {
        let path = self.folder.join(name);
        // Under another name first, so that a viewer never sees half of it.
        let unfinished = self.folder.join(format!(".{name}"));
        fs::write(&unfinished, picture?).map_err(|e| Error::io(&unfinished, "write", e))?;
        fs::rename(&unfinished, &path).map_err(|e| Error::io(&path, "rename a finished file to", e))
    }
}

impl Observer for Plots {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.classes = run.classes;
        self.write("schedule.svg", schedule(&run.schedule))?;
        let mut history = History::open(self.folder.join("plots.jsonl"))?;
        self.epochs = history.until(run.epochs_before)?;
        self.history = Some(history);
        Ok(())
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        let point = Point::from(epoch);
        if let Some(history) = &mut self.history {
            history.add(&point)?;
        }
        self.epochs.push(point);
        if self.drawn.is_none_or(|(start, took)| start.elapsed() > 100 * took) {
            self.draw()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn saving(&mut self) -> Result<(), Error> {
        self.history.as_mut().map_or(Ok(()), History::sync)
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.draw()?;
        if !outcome.along.is_empty() {
            self.write("along.svg", along(&outcome.along))?;
        }
        match last_validation(outcome) {
            Some(Evaluation::Classes(last)) => {
                self.write("reliability.svg", reliability(&last.reliability))
            }
            _ => Ok(()),
        }
    }
}

/// Of the last epoch that has one, or else of the model as it is at the end.
fn last_validation(outcome: &Outcome) -> Option<&Evaluation> {
    let of_epochs = outcome.epochs.iter().rev().find_map(|epoch| epoch.validation.as_ref());
    of_epochs.or_else(|| outcome.along.last().map(|point| &point.evaluation))
}

/// The cross-entropy of the blocks' own logits in training beside the negative log-likelihood of
/// the validation rows, both in nats (for numbers: the validation rows' mean squared error); and by
/// itself what training makes smaller. An axis is logarithmic where its values span more than two
/// decades.
///
/// # Errors
/// [`Error::Argument`] if the drawing fails.
pub fn loss(epochs: &[EpochReport]) -> Result<String, Error> {
    draw_loss(&epochs.iter().map(Point::from).collect::<Vec<_>>())
}

fn draw_loss(epochs: &[Point]) -> Result<String, Error> {
    let points = |value: fn(&Point) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|e| Some((e.epoch as f64, value(e)?))).collect()
    };
    let minimised = Line::new("squared error + weighted cross-entropy", points(|e| e.minimised), 0);
    let validation = points(|e| e.validation_loss);
    let lines = if epochs.iter().any(|e| e.numbers) {
        vec![Line::new("validation: mean squared error of the answers", validation, 1)]
    } else {
        let training = "training: cross-entropy of the blocks' own logits, mean";
        vec![
            Line::new(training, points(|e| e.cross_entropy), 2),
            Line::new("validation: negative log-likelihood of the answers", validation, 1),
        ]
    };
    let (title, unit) = match epochs.iter().any(|e| e.numbers) {
        true => ("Error of the answers", "mean squared error"),
        false => ("Cross-entropy", "cross-entropy (nats)"),
    };
    let minimised =
        Chart::new("What training makes smaller", "epoch", "loss, per row").lines(vec![minimised]);
    let compared = Chart::new(title, "epoch", unit).lines(lines);
    side_by_side([compared, minimised].map(|chart| chart.whole_x().log_if_wide()))
}

/// The accuracy of each block's own logits on noised targets in training, and that of the whole
/// model on the validation rows, over the epochs. Of more than four blocks the first, the middle
/// and the last have a colour.
///
/// # Errors
/// As [`loss`].
pub fn accuracy(epochs: &[EpochReport]) -> Result<String, Error> {
    draw_accuracy(&epochs.iter().map(Point::from).collect::<Vec<_>>())
}

fn draw_accuracy(epochs: &[Point]) -> Result<String, Error> {
    let blocks = epochs.first().map_or(0, |e| e.accuracies.len());
    let of_block = |t: usize| -> Vec<(f64, f64)> {
        let one = |e: &Point| Some((e.epoch as f64, 100.0 * (*e.accuracies.get(t)?)?));
        epochs.iter().filter_map(one).collect()
    };
    let mut shown = vec![0, blocks / 2, blocks.saturating_sub(1)];
    if blocks <= 4 {
        shown = (0..blocks).collect();
    }
    shown.dedup();
    let mut lines = Vec::new();
    for t in (0..blocks).filter(|t| !shown.contains(t)) {
        let name = if t == 1 { "training, the other blocks" } else { "" };
        lines.push(Line::new(name, of_block(t), 0).style(Style::Faint));
    }
    for (colour, &t) in shown.iter().enumerate() {
        let name = match blocks {
            1 => "training, the network's own logits".to_owned(),
            _ => format!("training, block {} of {blocks}", t + 1),
        };
        lines.push(Line::new(name, of_block(t), colour + 1));
    }
    let validation = |e: &Point| Some((e.epoch as f64, 100.0 * e.validation_accuracy?));
    let points = epochs.iter().filter_map(validation).collect();
    lines.push(Line::new("validation, the whole model", points, 0).style(Style::Thick));
    Chart::new("Accuracy", "epoch", "accuracy (%)").whole_x().lines(lines).svg()
}

/// The accuracy (for numbers: the mean squared error) of the answer at each point of the way from
/// noise to target.
///
/// # Errors
/// As [`loss`].
pub fn along(points: &[AlongPoint]) -> Result<String, Error> {
    let classes = points.first().is_some_and(|p| p.evaluation.accuracy().is_some());
    let value = |p: &AlongPoint| match p.evaluation.accuracy() {
        Some(accuracy) => 100.0 * accuracy,
        None => p.evaluation.loss(),
    };
    let line = points.iter().map(|p| (p.t, value(p))).collect();
    let calls = match (points.first(), points.last()) {
        (Some(first), Some(last)) => {
            format!(
                "t, from noise (0) to target (1); {} to {} network calls",
                first.calls, last.calls
            )
        }
        _ => "t".to_owned(),
    };
    let (title, unit) = match classes {
        true => ("Accuracy of the answer on the way to it", "accuracy on validation rows (%)"),
        false => ("Error of the answer on the way to it", "mean squared error on validation rows"),
    };
    Chart::new(title, calls, unit).lines(vec![Line::new("", line, 0)]).svg()
}

/// ᾱ(t), and SNR(t) on a logarithmic axis; an SNR of 0 or infinity is left out.
///
/// # Errors
/// As [`loss`].
pub fn schedule(points: &[SchedulePoint]) -> Result<String, Error> {
    let alpha_bar = points.iter().map(|p| (p.t, p.alpha_bar())).collect();
    let snr = points.iter().filter(|p| p.snr > 0.0 && p.snr.is_finite());
    let snr = snr.map(|p| (p.t, p.snr)).collect();
    let x = "t, from noise (0) to target (1)";
    side_by_side([
        Chart::new("Share of the target in z", x, "ᾱ").lines(vec![Line::new("", alpha_bar, 0)]),
        Chart::new("Signal to noise", x, "SNR").log().lines(vec![Line::new("", snr, 1)]),
    ])
}

/// A reliability diagram: a bar for each bin of confidence that has rows, as high as the share of
/// its answers that are right, beside the diagonal on which a calibrated model has them all. And
/// how the rows are spread over the bins, since one of few rows says little.
///
/// # Errors
/// As [`loss`].
pub fn reliability(reliability: &Reliability) -> Result<String, Error> {
    let bins = reliability.bins();
    let rows: usize = bins.iter().map(|bin| bin.count).sum();
    let bar = |bin: &ReliabilityBin| Bar { from: bin.from, to: bin.to, height: bin.accuracy };
    let share = |bin: &ReliabilityBin| (0.5 * (bin.from + bin.to), bin.count as f64 / rows as f64);
    let diagonal = Line::new("calibrated", vec![(0.0, 0.0), (1.0, 1.0)], 0);
    let shares = Line::new("share of the rows in each bin", bins.iter().map(share).collect(), 1);
    let title = match rows {
        0 => "Reliability".to_owned(),
        _ => format!("Reliability: calibration error {:.4}", reliability.calibration_error()),
    };
    Chart::new(title, "confidence: the largest probability", "share that is right")
        .shares()
        .bars(bins.iter().map(bar).collect())
        .lines(vec![diagonal.style(Style::Reference), shares])
        .svg()
}
