//! Euler–Maruyama, for stochastic differential equations.

use super::check_interval;
use super::control::grid;
use super::save::Recorder;
use super::{Save, Solution, State, Status};
use crate::Error;

/// Integrates dz = f(t, z) dt + g(t) dW by z ← z + h f(t, z) + g(t) √|h| ε, ε standard normal.
///
/// Weak order 1; strong order 1 as well, since g does not depend on z (Kloeden and Platen,
/// *Numerical Solution of Stochastic Differential Equations*, 10.2 and 10.3). Backwards in time h
/// is negative and the noise is added all the same: the Itô equation of a process that runs from t0
/// down to t1.
///
/// By default: 200 steps, the end only.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EulerMaruyama {
    /// How many steps of equal length, at least 1. Those that [`Save::Times`] splits are more.
    /// Default: `200`.
    pub steps: usize,
    /// Which states to keep.
    /// Default: `Save::End`.
    pub save: Save,
}

impl Default for EulerMaruyama {
    fn default() -> Self {
        Self { steps: 200, save: Save::End }
    }
}

impl EulerMaruyama {
    /// Integrates from `z0` at `t0` to `t1`; `noise(z)` draws standard normal numbers of the shape
    /// of z.
    ///
    /// With t0 = t1 the result is the start alone. Where the state is no longer finite the
    /// integration ends ([`Status::NotFinite`]) with what was saved by then.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work, [`Error::Argument`] for times that are not
    /// finite and a drift or noise of another shape than z, and whatever the drift or the noise
    /// returns.
    pub fn integrate<S: State>(
        &self,
        mut drift: impl FnMut(f64, &S) -> Result<S, Error>,
        diffusion: impl Fn(f64) -> f64,
        mut noise: impl FnMut(&S) -> Result<S, Error>,
        z0: S,
        t0: f64,
        t1: f64,
    ) -> Result<Solution<S>, Error> {
        check_interval("EulerMaruyama::integrate", t0, t1)?;
        Error::check_count("EulerMaruyama::steps", self.steps)?;
        self.save.check(t0, t1)?;

        let mut recorder = Recorder::new(&self.save, t0, t1);
        recorder.reach(t0, &z0);
        let (mut t, mut z) = (t0, z0);
        let start_is_finite = z.is_finite()?;
        let (mut index, mut accepted, mut calls) = (0, 0, 0);
        let status = loop {
            if !start_is_finite {
                break Status::NotFinite { time: t };
            }
            if t == t1 {
                break Status::Done;
            }
            let whole = grid([t0, t1], self.steps, index);
            let t_new = recorder.next_before(whole).unwrap_or(whole);
            let h = t_new - t;
            let (slope, draw) = (drift(t, &z)?, noise(&z)?);
            calls += 1;
            let terms = [(h, &slope), (diffusion(t) * h.abs().sqrt(), &draw)];
            let end = z.combined(1.0, &terms)?;
            if !end.is_finite()? {
                break Status::NotFinite { time: t };
            }
            (t, z) = (t_new, end);
            accepted += 1;
            index += usize::from(t_new == whole);
            recorder.reach(t, &z);
        };
        recorder.finish(t, &z);
        let Recorder { times, states, .. } = recorder;
        Ok(Solution { times, states, status, accepted, rejected: 0, calls })
    }
}
