//! What an integration returns.

use std::fmt;

/// How an integration ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// At the end of the interval.
    Done,
    /// A step of the smallest size still had too large an error.
    StepTooSmall {
        /// Where the step began: the state is right up to here.
        time: f64,
        /// Its size.
        step: f64,
    },
    /// `max_steps` steps, accepted and rejected, were not enough.
    TooManySteps {
        /// How far they came.
        time: f64,
    },
    /// The drift, or the state, is NaN or infinite from here on.
    NotFinite {
        /// The last time with a finite state.
        time: f64,
    },
}

impl Status {
    /// Whether the end of the interval was reached.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::StepTooSmall { time, step } => {
                write!(f, "the error is too large at t = {time} even with a step of {step:e}")
            }
            Self::TooManySteps { time } => write!(f, "out of steps at t = {time}"),
            Self::NotFinite { time } => {
                write!(f, "the drift or the state is not finite after t = {time}")
            }
        }
    }
}

/// The states that were saved, how the integration ended, and what it took.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Solution<S> {
    /// The time of each saved state.
    pub times: Vec<f64>,
    /// The saved states: where the status is not [`Status::Done`], those up to there.
    pub states: Vec<S>,
    /// How the integration ended.
    pub status: Status,
    /// How many steps were accepted.
    pub accepted: usize,
    /// How many steps had too large an error and were tried again, smaller.
    pub rejected: usize,
    /// How often the drift was called.
    pub calls: usize,
}

impl<S> Solution<S> {
    /// The last saved state. None only if the integration failed before the first time asked for.
    pub fn last(&self) -> Option<&S> {
        self.states.last()
    }

    /// The last saved state, by value.
    pub fn into_last(mut self) -> Option<S> {
        self.states.pop()
    }
}
