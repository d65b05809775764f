//! One step of a Runge–Kutta method, and the values inside it.

use super::Tableau;
use super::save::Recorder;
use super::state::{State, weighted_sum};
use crate::Error;

/// A step that was tried: from z at t to `end` at `t_new`, with its stages.
pub(super) struct Trial<S> {
    pub t: f64,
    pub t_new: f64,
    pub end: S,
    pub stages: Vec<S>,
}

impl<S: State> Trial<S> {
    /// Steps from `z` at `t`, where the slope is `first`.
    pub fn new(
        tableau: &Tableau,
        drift: &mut impl FnMut(f64, &S) -> Result<S, Error>,
        t: f64,
        t_new: f64,
        z: &S,
        first: S,
    ) -> Result<Self, Error> {
        let h = t_new - t;
        let advance = |weights: &[f64], stages: &[S]| {
            let terms: Vec<_> = scaled_by(h, weights).zip(stages).collect();
            z.combined(1.0, &terms)
        };
        let mut stages = vec![first];
        let mut end = None;
        for (row, &c) in tableau.a.iter().zip(tableau.c).skip(1) {
            let point = advance(row, &stages)?;
            // Exactly the end where c is 1: a drift may not exist beyond the interval.
            let time = if c == 1.0 { t_new } else { t + c * h };
            stages.push(drift(time, &point)?);
            end = Some(point);
        }
        // With FSAL the last stage was taken at the new point.
        let end = match end {
            Some(end) if tableau.fsal => end,
            _ => advance(tableau.b, &stages)?,
        };
        Ok(Self { t, t_new, end, stages })
    }

    /// h Σ b_errorᵢ kᵢ. NaN wherever the new point is not finite: 0 times it is the start of the
    /// sum.
    pub fn error(&self, tableau: &Tableau) -> Result<S, Error> {
        let weights = scaled_by(self.t_new - self.t, tableau.b_error.unwrap_or_default());
        weighted_sum(self.end.scaled(0.0)?, weights.zip(&self.stages))
    }

    /// Whether the slope at the start is finite.
    pub fn first_is_finite(&self) -> Result<bool, Error> {
        self.stages.first().map_or(Ok(true), S::is_finite)
    }

    /// The state at `time` inside the step, from both ends with their slopes (cubic Hermite) and,
    /// where the tableau has it, the quartic term.
    fn interpolate(&self, tableau: &Tableau, time: f64, z: &S, end_slope: &S) -> Result<S, Error> {
        let h = self.t_new - self.t;
        let theta = (time - self.t) / h;
        let (rest, product) = (1.0 - theta, theta * (1.0 - theta));
        let blend = theta * theta * (3.0 - 2.0 * theta);
        let slopes = self.stages.first().map(|slope| (h * product * rest, slope));
        let ends = [(blend, &self.end), (-h * product * theta, end_slope)];
        let dense = tableau.dense.into_iter().flat_map(|d| scaled_by(h * product * product, d));
        let terms = ends.into_iter().chain(slopes).chain(dense.zip(&self.stages));
        weighted_sum(z.scaled(1.0 - blend)?, terms)
    }

    /// Saves what lies inside the step; false for a state there that is not finite. `slope` is that
    /// at its end, once somebody has computed it.
    pub fn save(
        &self,
        tableau: &Tableau,
        drift: &mut impl FnMut(f64, &S) -> Result<S, Error>,
        z: &S,
        slope: &mut Option<S>,
        recorder: &mut Recorder<'_, S>,
    ) -> Result<bool, Error> {
        while let Some(time) = recorder.next_before(self.t_new) {
            let end_slope = match slope.take() {
                Some(slope) => slope,
                None => drift(self.t_new, &self.end)?,
            };
            let inside = self.interpolate(tableau, time, z, &end_slope)?;
            if !inside.is_finite()? {
                return Ok(false);
            }
            recorder.push(time, &inside);
            *slope = Some(end_slope);
        }
        Ok(true)
    }
}

fn scaled_by(factor: f64, weights: &[f64]) -> impl Iterator<Item = f64> + use<'_> {
    weights.iter().map(move |weight| factor * weight)
}
