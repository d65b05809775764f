//! From noise to target through blocks, each of which works in its own part of the noise.

use super::Preconditioning;
use crate::{
    device::{Backend, Matrix, Real},
    error::Error,
    solver::{Method, Save, Solver, State, Steps},
    variant::{ReverseProcess, Sampler, Setup, Transition},
};
#[cfg(feature = "inference")]
use crate::{schedule::LearnedGamma, variant::ReverseSettings};

/// The blocks' way from σ_max to σ_min.
pub(crate) struct Denoiser {
    pub(crate) setup: Setup,
    /// From σ_max down to σ_min: where a block takes over, and the ends of the steps between.
    levels: Vec<f64>,
    method: Method,
    sigma_data: f64,
    pub(crate) sampler: Sampler,
}

impl Denoiser {
    /// What the variant is called.
    pub(crate) const NAME: &'static str = "diffusion blocks";

    /// More noise levels than these within a block's part are of no use.
    const MOST_STEPS: usize = 10_000;

    /// How many steps a solver takes for each block.
    ///
    /// # Errors
    /// [`Error::Config`] for a number of steps that is not fixed.
    pub(super) fn steps(solver: &Solver) -> Result<usize, Error> {
        let Steps::Fixed(steps) = solver.steps else {
            let expected = "`Steps::Fixed`, since all rows take the same noise levels";
            return Err(Error::config("DiffusionBlocks::solver", expected, "`Steps::Adaptive`"));
        };
        solver.check()?;
        if steps > Self::MOST_STEPS {
            let expected = format!("{} steps a block at most", Self::MOST_STEPS);
            return Err(Error::config("DiffusionBlocks::solver", expected, steps));
        }
        Ok(steps)
    }

    /// Of noise levels that fall, as many for each of the blocks.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range.
    pub(in crate::variant) fn new(
        setup: Setup,
        levels: Vec<f64>,
        solver: &Solver,
        sigma_data: f64,
        sampler: Sampler,
    ) -> Result<Self, Error> {
        if !(1e-9..=1e9).contains(&sigma_data) {
            let setting = "DiffusionBlocks::sigma_data";
            return Err(Error::config(setting, "a number above 0, from 1e-9 to 1e9", sigma_data));
        }
        sampler.check()?;
        let (steps, setting) = (Self::steps(solver)?, "DiffusionBlocks::noise");
        if Some(levels.len()) != setup.blocks.checked_mul(steps).map(|steps| steps + 1) {
            let expected = format!("{steps} steps for each of {} blocks", setup.blocks);
            return Err(Error::config(setting, expected, format!("{} levels", levels.len())));
        }
        let is_level = |level: &f64| (1e-9..=1e9).contains(level);
        if !levels.iter().all(is_level) || levels.windows(2).any(|pair| pair[0] <= pair[1]) {
            let expected = "noise levels that fall, from 1e9 at most to 1e-9 at least";
            return Err(Error::config(setting, expected, format!("{levels:?}")));
        }
        Ok(Self { setup, levels, method: solver.method, sigma_data, sampler })
    }

    /// What answers need, with nothing left to train.
    #[cfg(feature = "inference")]
    pub(in crate::variant) fn trained(
        levels: Vec<f64>,
        solver: &Solver,
        sigma_data: f64,
        sampler: Sampler,
        setup: Setup,
    ) -> Result<Self, Error> {
        Self::new(setup, levels, solver, sigma_data, sampler)
    }

    /// σ_max, the standard deviation of z at the start.
    pub(crate) fn start(&self) -> f64 {
        self.levels[0]
    }

    /// σ_d.
    pub(super) fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    /// From σ_max to σ_min, where block after block takes over.
    pub(super) fn edges(&self) -> impl Iterator<Item = f64> {
        self.levels.iter().copied().step_by(self.steps_of_block())
    }

    fn steps_of_block(&self) -> usize {
        ((self.levels.len() - 1) / self.setup.blocks.max(1)).max(1)
    }

    /// How often a block is called for a row.
    pub(crate) fn calls(&self) -> usize {
        self.steps_of_block() * self.method.tableau().b.len()
    }

    /// The scales at σ.
    pub(crate) fn at(&self, sigma: f64) -> Preconditioning {
        Preconditioning::new(self.sigma_data, sigma)
    }

    /// z after block `t`, from 1 to B; `denoise` calls it: D from σ and z.
    ///
    /// With D held still dz/dσ = (z − D)/σ leads to z′ = (σ′/σ) z + (1 − σ′/σ) D, whatever the
    /// length of the step; for z/σ over 1/σ that is Euler's step, d(z/σ)/d(1/σ) = D, and the others
    /// take means of D, where in σ itself they would extrapolate over long steps.
    pub(crate) fn pass<S: State>(
        &self,
        t: usize,
        mut z: S,
        mut denoise: impl FnMut(f64, &S) -> Result<S, Error>,
    ) -> Result<S, Error> {
        let solver = Solver { method: self.method, steps: Steps::Fixed(1), save: Save::End };
        let steps = self.steps_of_block();
        let last = (t * steps).min(self.levels.len() - 1);
        for pair in self.levels[last.saturating_sub(steps)..=last].windows(2) {
            let [from, to] = [1.0 / pair[0], 1.0 / pair[1]];
            let slope =
                |inverse: f64, scaled: &S| denoise(1.0 / inverse, &scaled.scaled(1.0 / inverse)?);
            let solution = solver.integrate(slope, z.scaled(from)?, from, to)?;
            let status = solution.status;
            z = match solution.into_last() {
                Some(scaled) if status.is_done() => scaled.scaled(pair[1])?,
                _ => {
                    return Err(Error::Integration {
                        operation: "inference",
                        expected: pair[1],
                        found: status.to_string(),
                    });
                }
            };
        }
        Ok(z)
    }

    /// What an output at (z, σ) stands for: the answer before it is read, and D.
    pub(crate) fn estimate<E: Real, D: Backend<E>>(
        &self,
        sigma: f64,
        z: &Matrix<E, D>,
        output: Matrix<E, D>,
        embedding: &Matrix<E, D>,
    ) -> Result<[Matrix<E, D>; 2], D::Err> {
        let reading = self.setup.reading;
        if reading.has_classes() {
            return Ok([output.clone(), reading.estimate(output, embedding)?]);
        }
        let Preconditioning { skip, out, .. } = self.at(sigma);
        let estimate = D::combined(out, &output, &[(skip, z)])?;
        Ok([estimate.clone(), estimate])
    }
}

impl<E: Real, D: Backend<E>> ReverseProcess<E, D> for Denoiser {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn transition(&self) -> Transition<'_, E, D> {
        Transition::Denoiser(self)
    }

    #[cfg(feature = "inference")]
    fn settings(&self, _learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings {
        ReverseSettings::Blocks {
            levels: self.levels.clone(),
            steps: self.steps_of_block(),
            method: self.method,
            sigma_data: self.sigma_data,
            sampler: self.sampler,
        }
    }
}
