//! One error type for the whole crate.

use std::path::{Path, PathBuf};

/// What can go wrong. Each variant holds what was being done, what was expected, and what came.
///
/// `Debug` shows the same sentence as `Display`, so that a `main` that returns it prints it.
#[non_exhaustive]
pub enum Error {
    /// A setting outside of its range.
    Config {
        /// The setting, as the user writes it: `DiscreteTime::blocks`.
        setting: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        found: String,
    },

    /// An argument whose value, length or shape does not suit the call.
    Argument {
        /// The call: `NoProp::train_step`.
        operation: &'static str,
        /// What it takes.
        expected: String,
        /// What it got.
        found: String,
    },

    /// A data file whose content is not what its format, or the caller, says.
    File {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// A file that the operating system does not let us read or write.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `read`, `write`, …
        operation: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The device (processor or GPU) could not do its part, for lack of memory most often.
    Device {
        /// What was being computed.
        operation: &'static str,
        /// What the device said.
        message: String,
    },

    /// A solver that did not reach the end of its interval.
    Integration {
        /// What was being computed.
        operation: &'static str,
        /// The end of the interval.
        expected: f64,
        /// How it ended: [`Status`](crate::solver::Status) in words.
        found: String,
    },

    /// Answers or weights that are not finite, where finite ones are needed: NaN or infinite.
    NotFinite {
        /// The call: `NoProp::predict`.
        operation: &'static str,
        /// What has to be finite, and what to do if it is not.
        expected: String,
        /// The number, and where it is.
        found: String,
    },

    /// A loss or gradient that is no longer a finite number. The block that found it is as it was
    /// before the step; in discrete time the other blocks may be some steps further. Or a weight,
    /// at the end of an epoch or a run, where no loss has said so before: load a checkpoint then.
    Diverged {
        /// The block, counted from 1.
        block: usize,
        /// The step, counted from 1 over the life of the trainer.
        step: u64,
        /// `loss`, `gradient` or `weight`.
        quantity: &'static str,
        /// The value of the loss or weight, or the norm of the gradient: NaN or infinite.
        found: f64,
        /// The last checkpoint before it, if the run has any.
        checkpoint: Option<PathBuf>,
    },

    /// Other ranks of a distributed run that are gone, that failed, or that were started in another
    /// way.
    Rank {
        /// The ranks, counted from 0.
        ranks: Vec<usize>,
        /// What was expected of them.
        expected: String,
        /// What they did: nothing, within the time-out; or the error that they sent before they
        /// ended.
        found: String,
        /// The last checkpoint before it, if the run has any.
        checkpoint: Option<PathBuf>,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config { setting: of, expected, found }
            | Self::Argument { operation: of, expected, found }
            | Self::NotFinite { operation: of, expected, found } => {
                write!(f, "{of}: expected {expected}, found {found}")
            }
            Self::File { path, expected, found } => {
                write!(f, "{}: expected {expected}, found {found}", path.display())
            }
            Self::Io { path, operation, source } => {
                write!(f, "{}: cannot {operation}: {source}", path.display())
            }
            Self::Device { operation, message } => {
                write!(f, "{operation}: the device failed: {message}")
            }
            Self::Integration { operation, expected, found } => write!(
                f,
                "{operation}: expected the solver to reach t = {expected}, found that it ended: \
                 {found}"
            ),
            Self::Diverged { block, step, quantity, found, checkpoint } => write!(
                f,
                "block {block}, step {step}: expected a finite {quantity}, found {found}; try a \
                 smaller learning rate, normalised inputs, clipped gradients, or a smaller eta{}",
                last(checkpoint)
            ),
            Self::Rank { ranks, expected, found, checkpoint } => {
                let (ranks, last) = (ranks_in_words(ranks), last(checkpoint));
                write!(f, "{ranks}: expected {expected}, found {found}{last}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

fn ranks_in_words(ranks: &[usize]) -> String {
    let all: Vec<String> = ranks.iter().map(usize::to_string).collect();
    match all.split_last() {
        Some((last, [])) => format!("rank {last}"),
        Some((last, others)) => format!("ranks {} and {last}", others.join(", ")),
        None => "the other ranks".to_owned(),
    }
}

fn last(checkpoint: &Option<PathBuf>) -> String {
    let Some(path) = checkpoint else { return String::new() };
    format!("; the last checkpoint before it is {}", path.display())
}

/// Where a number comes from: a block and a step, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) block: usize,
    pub(crate) step: u64,
}

impl Place {
    /// [`Error::Diverged`] unless `value` is finite.
    pub(crate) fn check(self, quantity: &'static str, value: f64) -> Result<(), Error> {
        if value.is_finite() {
            return Ok(());
        }
        let Self { block, step } = self;
        Err(Error::Diverged { block, step, quantity, found: value, checkpoint: None })
    }
}

impl Error {
    pub(crate) fn rank(ranks: Vec<usize>, expected: String, found: impl ToString) -> Self {
        Self::Rank { ranks, expected, found: found.to_string(), checkpoint: None }
    }

    /// The same with the last checkpoint before it, where the training diverged or another rank is
    /// gone.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn with_checkpoint(self, last: Option<PathBuf>) -> Self {
        match self {
            Self::Diverged { block, step, quantity, found, .. } => {
                Self::Diverged { block, step, quantity, found, checkpoint: last }
            }
            Self::Rank { ranks, expected, found, .. } => {
                Self::Rank { ranks, expected, found, checkpoint: last }
            }
            other => other,
        }
    }

    pub(crate) fn config(
        setting: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Config { setting, expected: expected.into(), found: found.to_string() }
    }

    /// [`Error::Config`] for a count that is 0, or that nobody lives to see the end of.
    pub(crate) fn check_count(setting: &'static str, count: usize) -> Result<(), Self> {
        const MOST: usize = 1 << 24;
        match count {
            0 => Err(Self::config(setting, "at least 1", 0)),
            1..=MOST => Ok(()),
            _ => Err(Self::config(setting, format!("{MOST} at most"), count)),
        }
    }

    pub(crate) fn argument(
        operation: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Argument { operation, expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn not_finite(
        operation: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::NotFinite { operation, expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn file(path: &Path, expected: impl Into<String>, found: impl ToString) -> Self {
        Self::File { path: path.to_owned(), expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn io(path: &Path, operation: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), operation, source }
    }

    /// For `map_err` on what dfdx returns: its error type depends on the device.
    pub(crate) fn device<Err: std::fmt::Debug>(operation: &'static str) -> impl Fn(Err) -> Self {
        move |err| Self::Device { operation, message: format!("{err:?}") }
    }
}
