//! Blocks by noise level: their parts of the noise, and how answers are read off.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    head::Head,
    nn::Layer,
    schedule::NoiseParts,
    solver::Solver,
    variant::{DiffusionBlocks, Sampler},
};

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<DiffusionBlocks<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The parts of the noise that the blocks work in.
    pub fn noise_parts(&self) -> &NoiseParts {
        self.model.objective.noise_parts()
    }

    /// Whether the blocks train as one computation: with their weights side by side, as
    /// in discrete time. By default on a GPU; the weights are those of the blocks one by one, within
    /// rounding.
    pub fn set_stacked(&mut self, stacked: bool) {
        self.model.switches.stacked = stacked;
    }

    /// Whether the blocks train as one computation: false again where a run has found that its
    /// layers cannot.
    pub fn is_stacked(&self) -> bool {
        self.model.switches.stacked
    }

    /// Changes the method within each block's part of the noise, and its steps; nothing is trained
    /// again.
    ///
    /// # Errors
    /// [`Error::Config`] for a solver that cannot work, or whose steps are not fixed; the model is
    /// then as it was.
    pub fn set_solver(&mut self, solver: Solver) -> Result<(), Error> {
        self.set_variant(DiffusionBlocks { solver, ..self.variant.clone() })
    }

    /// Changes how answers are read off; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_sampler(&mut self, sampler: Sampler) -> Result<(), Error> {
        self.set_variant(DiffusionBlocks { sampler, ..self.variant.clone() })
    }
}
