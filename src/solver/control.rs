//! How long each step is, and whether it was good enough.

use super::state::weighted_sum;
use super::step::Trial;
use super::{State, Status, Tableau};
use crate::Error;

/// How the interval is cut into steps.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Steps {
    /// This many steps of equal length, at least 1.
    Fixed(usize),
    /// As long as the estimated error of each allows, for the methods with an embedded one.
    ///
    /// A step is accepted where the RMS over all elements of error / (atol + rtol · max(|z|,
    /// |z_new|)) is at most 1, and tried again, shorter, where not. The next length comes from a PI
    /// controller: h ← 0.9 h e_n^(−0.7/5) eₙ₋₁^(0.4/5), with e the errors of this accepted step
    /// and the one before (Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I*,
    /// II.4; Söderlind, *Automatic control and adaptive time-stepping*, Numer. Algorithms 31 (2002)
    /// 281–310). The tolerance is for a step: errors of many steps add up. In f32 a relative
    /// tolerance under about 1e-6 is below round-off.
    Adaptive {
        /// The relative tolerance, above 0.
        rtol: f64,
        /// The absolute tolerance, above 0.
        atol: f64,
        /// The length of the first step, above 0; `None`: guessed, by one more call.
        first_step: Option<f64>,
        /// No step but the last is shorter, at least 0. The rounding of t sets a limit in any case.
        min_step: f64,
        /// The most steps to try, the rejected included, at least 1.
        max_steps: usize,
    },
}

impl Default for Steps {
    /// 20 fixed steps.
    fn default() -> Self {
        Self::Fixed(20)
    }
}

impl Steps {
    /// Adaptive steps, with a guessed first one, no smallest one, and 10,000 at most.
    pub const fn adaptive(rtol: f64, atol: f64) -> Self {
        Self::Adaptive { rtol, atol, first_step: None, min_step: 0.0, max_steps: 10_000 }
    }

    pub(super) fn check(&self, tableau: &Tableau) -> Result<(), Error> {
        let positive = |setting, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(Error::config(setting, "a finite number above 0", value))
            }
        };
        match *self {
            Self::Fixed(count) => Error::check_count("Steps::Fixed", count),
            Self::Adaptive { rtol, atol, first_step, min_step, max_steps } => {
                if tableau.b_error.is_none() {
                    let expected = "a method that estimates its error (DormandPrince, Tsitouras)";
                    return Err(Error::config("Steps::Adaptive", expected, tableau.name));
                }
                positive("Steps::Adaptive::rtol", rtol)?;
                positive("Steps::Adaptive::atol", atol)?;
                first_step.map_or(Ok(()), |h| positive("Steps::Adaptive::first_step", h))?;
                if !(min_step.is_finite() && min_step >= 0.0) {
                    let expected = "a finite number, at least 0";
                    return Err(Error::config("Steps::Adaptive::min_step", expected, min_step));
                }
                match max_steps {
                    0 => Err(Error::config("Steps::Adaptive::max_steps", "at least 1", 0)),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The end of step `index` (from 0) of `count` equal ones.
pub(super) fn grid([t0, t1]: [f64; 2], count: usize, index: usize) -> f64 {
    if index + 1 == count { t1 } else { t0 + (t1 - t0) * ((index + 1) as f64 / count as f64) }
}

pub(super) enum Verdict {
    Accept,
    Reject,
    Stop(Status),
}

/// Proposes steps and judges them.
pub(super) enum Control {
    Fixed { interval: [f64; 2], count: usize, taken: usize },
    Adaptive(Pi),
}

impl Control {
    /// `slope` is the drift at the start.
    pub fn new<S: State>(
        steps: &Steps,
        tableau: &Tableau,
        drift: &mut impl FnMut(f64, &S) -> Result<S, Error>,
        interval: [f64; 2],
        z: &S,
        slope: &S,
    ) -> Result<Self, Error> {
        match *steps {
            Steps::Fixed(count) => Ok(Self::Fixed { interval, count, taken: 0 }),
            Steps::Adaptive { rtol, atol, first_step, min_step, max_steps } => {
                let step = match first_step {
                    Some(step) => step,
                    None => {
                        let norm = |state: &S| state.error_norm(z, z, rtol, atol);
                        guess(tableau, drift, interval, z, slope, &norm)?
                    }
                };
                let [t0, t1] = interval;
                // A few units in the last place of t: below that t + h is not t plus h.
                let min_step = min_step.max(16.0 * f64::EPSILON * t0.abs().max(t1.abs()));
                let step = step.max(min_step);
                Ok(Self::Adaptive(Pi {
                    rtol,
                    atol,
                    min_step,
                    t1,
                    left: max_steps,
                    step,
                    last_error: 1.0,
                    retry: false,
                }))
            }
        }
    }

    /// Where the step from `t` ends. None: there are no more steps.
    pub fn propose(&mut self, t: f64) -> Option<f64> {
        match self {
            Self::Fixed { interval, count, taken } => Some(grid(*interval, *count, *taken)),
            Self::Adaptive(pi) => pi.propose(t),
        }
    }

    pub fn judge<S: State>(
        &mut self,
        tableau: &Tableau,
        z: &S,
        trial: &Trial<S>,
    ) -> Result<Verdict, Error> {
        match self {
            Self::Fixed { taken, .. } => {
                *taken += 1;
                Ok(if trial.end.is_finite()? {
                    Verdict::Accept
                } else {
                    Verdict::Stop(Status::NotFinite { time: trial.t })
                })
            }
            Self::Adaptive(pi) => pi.judge(tableau, z, trial),
        }
    }
}

const SAFETY: f64 = 0.9;
const LEAST: f64 = 0.2;
const MOST: f64 = 10.0;

/// The PI controller.
pub(super) struct Pi {
    rtol: f64,
    atol: f64,
    min_step: f64,
    t1: f64,
    left: usize,
    /// The next step's length, without its sign.
    step: f64,
    /// The error of the last accepted step.
    last_error: f64,
    /// Whether the last step was rejected.
    retry: bool,
}

impl Pi {
    fn propose(&mut self, t: f64) -> Option<f64> {
        self.left = self.left.checked_sub(1)?;
        let rest = self.t1 - t;
        // What a step would leave behind must not be too short for the next one.
        Some(if self.step + self.min_step >= rest.abs() {
            self.t1
        } else {
            t + self.step.copysign(rest)
        })
    }

    fn judge<S: State>(
        &mut self,
        tableau: &Tableau,
        z: &S,
        trial: &Trial<S>,
    ) -> Result<Verdict, Error> {
        let (time, step) = (trial.t, (trial.t_new - trial.t).abs());
        let difference = trial.error(tableau)?;
        let error = difference.error_norm(z, &trial.end, self.rtol, self.atol)?;
        let order = tableau.order as f64;
        if error <= 1.0 {
            // An error of exactly 0 would make the factor infinite, and the next one 0.
            let error = error.max(1e-10);
            let factor = SAFETY * error.powf(-0.7 / order) * self.last_error.powf(0.4 / order);
            let most = if self.retry { 1.0 } else { MOST };
            self.step = (step * factor.clamp(LEAST, most)).max(self.min_step);
            (self.last_error, self.retry) = (error, false);
            return Ok(Verdict::Accept);
        }
        let finite = difference.is_finite()?;
        // A shorter step cannot help where the slope at its start is not a number.
        let hopeless = !finite && !trial.first_is_finite()?;
        if hopeless || step.min(self.step) <= self.min_step {
            return Ok(Verdict::Stop(if finite {
                Status::StepTooSmall { time, step }
            } else {
                Status::NotFinite { time }
            }));
        }
        let factor = if error.is_finite() { SAFETY * error.powf(-1.0 / order) } else { LEAST };
        self.step = (step * factor.clamp(LEAST, SAFETY)).max(self.min_step);
        self.retry = true;
        Ok(Verdict::Reject)
    }
}

/// The first step, from the sizes of z, of its slope, and of the slope's change over a short Euler
/// step (Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I*, II.4).
fn guess<S: State>(
    tableau: &Tableau,
    drift: &mut impl FnMut(f64, &S) -> Result<S, Error>,
    [t0, t1]: [f64; 2],
    z: &S,
    slope: &S,
    norm: &dyn Fn(&S) -> Result<f64, Error>,
) -> Result<f64, Error> {
    let span = (t1 - t0).abs();
    let (d0, d1) = (norm(z)?, norm(slope)?);
    let short = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
    // Not 0 either, where the slope is infinite.
    let short = short.min(span).max(f64::EPSILON * span);
    let h = short.copysign(t1 - t0);
    let there = weighted_sum(z.scaled(1.0)?, [(h, slope)])?;
    let change = weighted_sum(drift(t0 + h, &there)?.scaled(1.0)?, [(-1.0, slope)])?;
    let d2 = norm(&change)? / short;
    let steepest = d1.max(d2);
    let step = if steepest <= 1e-15 {
        (short * 1e-3).max(1e-6)
    } else {
        (0.01 / steepest).powf(1.0 / (tableau.order as f64 + 1.0))
    };
    Ok(step.min(100.0 * short).min(span))
}
