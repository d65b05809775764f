//! Which states an integration keeps.

use super::State;
use crate::Error;

/// Which states to keep.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Save {
    /// The last one: of the end, or of where the integration failed.
    #[default]
    End,
    /// The start and the end of every accepted step: N + 1 states for N steps.
    Steps,
    /// Those at these times, in the order of integration, all within the interval.
    ///
    /// The steps stay as they are. Between their ends a [`Solver`](super::Solver) interpolates: a
    /// cubic Hermite polynomial through both ends and their slopes, with an error of O(h⁴), to
    /// which the 5(4) methods add a quartic term for O(h⁵). So the saved states converge with the
    /// order of the method, for every method. The slope at the end of the step is the next step's
    /// first stage, and costs a call only in the last step of a method without FSAL. A path of
    /// [`EulerMaruyama`](super::EulerMaruyama) has no slope: there the steps are split at these
    /// times.
    Times(Vec<f64>),
}

impl Save {
    pub(super) fn check(&self, t0: f64, t1: f64) -> Result<(), Error> {
        let Self::Times(times) = self else { return Ok(()) };
        if times.is_empty() {
            return Err(Error::config("Save::Times", "at least one time", "none"));
        }
        let mut before = t0;
        for &time in times {
            let within = (t0.min(t1)..=t0.max(t1)).contains(&time);
            if !within || (time - before) * (t1 - t0) < 0.0 {
                let expected = format!("times from {t0} to {t1}, in this order");
                return Err(Error::config(
                    "Save::Times",
                    expected,
                    format!("{time} after {before}"),
                ));
            }
            before = time;
        }
        Ok(())
    }
}

/// Collects what a [`Save`] asks for.
pub(super) struct Recorder<'a, S> {
    save: &'a Save,
    forwards: bool,
    pub times: Vec<f64>,
    pub states: Vec<S>,
}

impl<'a, S: State> Recorder<'a, S> {
    pub fn new(save: &'a Save, t0: f64, t1: f64) -> Self {
        Self { save, forwards: t1 >= t0, times: vec![], states: vec![] }
    }

    fn next(&self) -> Option<f64> {
        match self.save {
            Save::Times(times) => times.get(self.times.len()).copied(),
            _ => None,
        }
    }

    /// The next time asked for, if it comes before `t`.
    pub fn next_before(&self, t: f64) -> Option<f64> {
        self.next().filter(|&next| if self.forwards { next < t } else { next > t })
    }

    pub fn push(&mut self, t: f64, z: &S) {
        self.times.push(t);
        self.states.push(z.clone());
    }

    /// A step ended, or the first one begins, with `z` at `t`.
    pub fn reach(&mut self, t: f64, z: &S) {
        if *self.save == Save::Steps {
            self.push(t, z);
        }
        while self.next() == Some(t) {
            self.push(t, z);
        }
    }

    /// The integration ended with `z` at `t`.
    pub fn finish(&mut self, t: f64, z: &S) {
        if *self.save == Save::End {
            self.push(t, z);
        }
    }
}
