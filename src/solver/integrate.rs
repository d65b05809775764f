//! The loop: propose a step, try it, judge it, save.

use super::check_interval;
use super::control::{Control, Verdict};
use super::save::Recorder;
use super::step::Trial;
use super::{Method, Save, Solution, State, Status, Steps};
use crate::Error;

/// Integrates dz/dt = f(t, z) from t0 to t1, forwards (t0 < t1) or backwards (t1 < t0).
///
/// By default: [`Method::Heun`], 20 fixed steps (40 calls), the end only.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Solver {
    /// The method.
    /// Default: `Method::Heun`.
    pub method: Method,
    /// Its steps: fixed, or adaptive for the 5(4) methods.
    /// Default: `Steps::Fixed(20)`.
    pub steps: Steps,
    /// Which states to keep.
    /// Default: `Save::End`.
    pub save: Save,
}

impl Solver {
    /// [`Error::Config`] for steps that no solver can take.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.steps.check(self.method.tableau())
    }

    /// Integrates from `z0` at `t0` to `t1`, with `drift(t, z)` as dz/dt, of the shape of z.
    ///
    /// With t0 = t1 the result is the start alone, without a call. Where the drift or the state is
    /// no longer finite the integration ends ([`Status::NotFinite`]) with what was saved by then;
    /// an adaptive one first tries shorter steps.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work, [`Error::Argument`] for times that are not
    /// finite and a drift of another shape than z, and whatever the drift returns.
    pub fn integrate<S: State>(
        &self,
        mut drift: impl FnMut(f64, &S) -> Result<S, Error>,
        z0: S,
        t0: f64,
        t1: f64,
    ) -> Result<Solution<S>, Error> {
        let tableau = self.method.tableau();
        check_interval("Solver::integrate", t0, t1)?;
        self.steps.check(tableau)?;
        self.save.check(t0, t1)?;

        let (mut accepted, mut rejected, mut calls) = (0, 0, 0);
        let mut drift = |t: f64, z: &S| {
            calls += 1;
            drift(t, z)
        };
        let mut recorder = Recorder::new(&self.save, t0, t1);
        recorder.reach(t0, &z0);

        let (mut t, mut z) = (t0, z0);
        let start_is_finite = z.is_finite()?;
        let mut slope = None;
        let mut control = None;
        let status = loop {
            if !start_is_finite {
                break Status::NotFinite { time: t };
            }
            if t == t1 {
                break Status::Done;
            }
            let first = match slope.take() {
                Some(slope) => slope,
                None => drift(t, &z)?,
            };
            let control = match &mut control {
                Some(control) => control,
                None => control.insert(Control::new(
                    &self.steps,
                    tableau,
                    &mut drift,
                    [t0, t1],
                    &z,
                    &first,
                )?),
            };
            let Some(t_new) = control.propose(t) else {
                break Status::TooManySteps { time: t };
            };
            let trial = Trial::new(tableau, &mut drift, t, t_new, &z, first.clone())?;
            match control.judge(tableau, &z, &trial)? {
                Verdict::Stop(status) => break status,
                Verdict::Reject => {
                    rejected += 1;
                    slope = Some(first);
                    continue;
                }
                Verdict::Accept => accepted += 1,
            }
            if tableau.fsal {
                slope = trial.stages.last().cloned();
            }
            let finite = trial.save(tableau, &mut drift, &z, &mut slope, &mut recorder)?;
            if !finite {
                break Status::NotFinite { time: t };
            }
            (t, z) = (t_new, trial.end);
            recorder.reach(t, &z);
        };
        recorder.finish(t, &z);
        let Recorder { times, states, .. } = recorder;
        Ok(Solution { times, states, status, accepted, rejected, calls })
    }
}
