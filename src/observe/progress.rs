//! A bar that says how far a run is.

use std::{io::Write, ops::ControlFlow, time::Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    error::Error,
    head::Evaluation,
    report::{EpochReport, Outcome, RunReport, StepReport},
    session::Observer,
};

/// A progress bar on stderr, over all steps of the run, with the loss that is minimised, the
/// accuracy of the last block's own logits, rows per second and the time left; and a line for each
/// epoch, which says what the loss is made of. A run's warnings come first. Where stderr is no
/// terminal it prints nothing.
///
/// A run does not end because nobody can read stderr any more.
#[derive(Debug)]
pub struct Progress {
    /// Lines of text instead of a bar, whatever stderr is.
    plain: bool,
    bar: ProgressBar,
    classes: bool,
    /// λ, the weight of the cross-entropy.
    weight: f64,
    loss: f64,
    accuracy: f64,
    rows: u64,
    start: Instant,
    validation: String,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// A bar, where stderr is a terminal.
    pub fn new() -> Self {
        Self {
            plain: false,
            bar: ProgressBar::hidden(),
            classes: false,
            weight: 0.0,
            loss: f64::NAN,
            accuracy: f64::NAN,
            rows: 0,
            start: Instant::now(),
            validation: String::new(),
        }
    }

    /// No bar, but a line on stderr for each epoch, whatever stderr is: for logs.
    pub fn plain() -> Self {
        Self { plain: true, ..Self::new() }
    }

    /// A line, above the bar where there is one.
    fn say(&self, line: &str) {
        if self.plain {
            // In one piece, and without a word where stderr is gone.
            let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
        } else {
            self.bar.println(line);
        }
    }

    /// The loss that is minimised, and what it is made of.
    fn loss(&self, epoch: &EpochReport) -> String {
        let denoising: f64 = epoch.blocks.iter().map(|block| block.denoising).sum();
        let squared_error = denoising / epoch.blocks.len().max(1) as f64;
        let mut text = format!("loss {:8.4} = squared error {squared_error:.4}", epoch.minimised);
        match epoch.cross_entropy {
            Some(value) if self.weight == 1.0 => text += &format!(" + cross-entropy {value:.4}"),
            Some(value) => text += &format!(" + {} × cross-entropy {value:.4}", self.weight),
            None => {}
        }
        // Those of the ends of the way, which no block has a part in.
        let rest = epoch.loss - squared_error;
        if rest.abs() >= 5e-5 {
            text += &format!(" + ends {rest:.4}");
        }
        text
    }

    fn message(&self) -> String {
        let rate = self.rows as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let accuracy = match self.classes {
            true => format!("   accuracy {:6.2} %", 100.0 * self.accuracy),
            false => String::new(),
        };
        format!("loss {:.4}{accuracy}{}   {rate:.0} rows/s", self.loss, self.validation)
    }
}

/// A mean that forgets: about the last 50 steps.
fn follow(mean: &mut f64, value: f64) {
    *mean = if mean.is_finite() { 0.98 * *mean + 0.02 * value } else { value };
}

/// What the validation rows say.
fn in_words(validation: &Evaluation) -> String {
    let (percent, loss) = (|share: f64| 100.0 * share, validation.loss());
    match validation {
        Evaluation::Classes(report) => {
            let accuracy = percent(report.accuracy);
            let error = report.calibration_error;
            format!("{accuracy:6.2} %, cross-entropy {loss:.4}, calibration error {error:.4}")
        }
        Evaluation::Numbers(report) => match &report.distribution {
            Some(scores) => {
                let (crps, covered) = (scores.crps, percent(scores.coverage_90));
                format!(
                    "squared error {loss:.4}, CRPS {crps:.4}, {covered:.1} % within the 90 % \
                     interval"
                )
            }
            None => format!("squared error {loss:.4}"),
        },
    }
}

impl Observer for Progress {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        let total = run.epochs.saturating_mul(run.steps_per_epoch) as u64;
        self.classes = run.classes;
        self.weight = run.cross_entropy_weight;
        self.start = Instant::now();
        self.rows = 0;
        if !self.plain {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            self.bar = ProgressBar::with_draw_target(Some(total), target);
            let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}   {eta} left");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_position(run.steps_done);
            self.bar.reset_eta();
        }
        run.warnings.iter().for_each(|warning| self.say(&format!("warning: {warning}")));
        Ok(())
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        follow(&mut self.loss, step.minimised());
        if let Some(last) = step.blocks.last() {
            follow(&mut self.accuracy, last.correct as f64 / last.rows.max(1) as f64);
        }
        self.rows += step.rows() as u64;
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            self.bar.set_prefix(format!("epoch {}", step.epoch));
            self.bar.set_message(self.message());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        let validation = epoch.validation.as_ref().map_or_else(String::new, |validation| {
            format!("   validation {}", in_words(validation))
        });
        let line = format!(
            "epoch {:>3}/{}   {}{}   {:6.2} s",
            epoch.epoch,
            epoch.epochs,
            self.loss(epoch),
            validation,
            epoch.seconds
        );
        if !validation.is_empty() {
            self.validation = validation;
        }
        self.say(&line);
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, _outcome: &Outcome) -> Result<(), Error> {
        self.bar.finish_and_clear();
        Ok(())
    }
}
