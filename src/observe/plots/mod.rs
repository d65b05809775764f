//! Runs as pictures: SVG files.

mod chart;

use std::{
    fs,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use chart::{Chart, Line, Style, side_by_side};

use crate::{
    error::Error,
    head::Evaluation,
    report::{AlongPoint, EpochReport, Outcome, RunReport},
    schedule::SchedulePoint,
    session::Observer,
};

/// Draws a run into a folder: `schedule.svg` at its beginning, `loss.svg` and (for classes)
/// `accuracy.svg` after epochs, `along.svg` at its end, if there are validation rows. After an
/// epoch it draws only if drawing takes less than a hundredth of the time, and at the end in any
/// case.
///
/// A run that goes on starts its pictures with the epoch in which it does.
#[derive(Debug)]
pub struct Plots {
    folder: PathBuf,
    epochs: Vec<EpochReport>,
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
        Ok(Self { folder, epochs: Vec::new(), classes: false, drawn: None })
    }

    fn draw(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        self.write("loss.svg", loss(&self.epochs))?;
        if self.classes {
            self.write("accuracy.svg", accuracy(&self.epochs))?;
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
        self.write("schedule.svg", schedule(&run.schedule))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        self.epochs.push(epoch.clone());
        if self.drawn.is_none_or(|(start, took)| start.elapsed() > 100 * took) {
            self.draw()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.draw()?;
        if outcome.along.is_empty() {
            return Ok(());
        }
        self.write("along.svg", along(&outcome.along))
    }
}

/// The training loss over the epochs, and the loss on the validation rows where there is one; the
/// axis is logarithmic where the losses span more than two decades.
///
/// # Errors
/// [`Error::Argument`] if the drawing fails.
pub fn loss(epochs: &[EpochReport]) -> Result<String, Error> {
    let points = |value: &dyn Fn(&EpochReport) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|e| Some((e.epoch as f64, value(e)?))).collect()
    };
    let validation = match epochs.iter().find_map(|e| e.validation.as_ref()) {
        Some(Evaluation::Numbers(_)) => "validation: mean squared error",
        _ => "validation: negative log-likelihood (nats)",
    };
    let training = |e: &EpochReport| Some(e.loss);
    let cross_entropy = |e: &EpochReport| {
        let sum: f64 = e.blocks.iter().map(|block| block.cross_entropy).sum();
        Some(sum / e.blocks.len().max(1) as f64).filter(|mean| *mean != 0.0)
    };
    let lines = vec![
        Line::new("training: squared error, and the terms without a block", points(&training), 0),
        Line::new(
            "training: cross-entropy, weighted, mean of the blocks",
            points(&cross_entropy),
            2,
        ),
        Line::new(validation, points(&|e| e.validation.as_ref().map(Evaluation::loss)), 1),
    ];
    Chart::new("Loss", "epoch", "loss").whole_x().log_if_wide().lines(lines).svg()
}

/// The accuracy of each block's own logits on noised targets in training, and that of the whole
/// model on the validation rows, over the epochs. Of more than four blocks the first, the middle
/// and the last have a colour.
///
/// # Errors
/// As [`loss`].
pub fn accuracy(epochs: &[EpochReport]) -> Result<String, Error> {
    let blocks = epochs.first().map_or(0, |e| e.blocks.len());
    let of_block = |t: usize| -> Vec<(f64, f64)> {
        let one = |e: &EpochReport| Some((e.epoch as f64, 100.0 * e.blocks.get(t)?.accuracy));
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
    let validation =
        |e: &EpochReport| Some((e.epoch as f64, 100.0 * e.validation.as_ref()?.accuracy()?));
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
