//! How z goes from noise to target.

use crate::{
    error::Error,
    solver::{Method, Save, Solver, Steps},
};

/// How z goes from noise (t = 0) to target (t = 1) in inference.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Inference {
    /// The probability-flow ODE, from z_0 = 0: the same answer for the same row.
    Ode(Solver),
    /// The SDE, from z_0 ~ N(0, I), by Euler–Maruyama; the answers of several draws are averaged.
    Sde {
        /// How many steps: at least 1.
        steps: usize,
        /// How many draws are averaged: at least 1.
        draws: usize,
        /// The seed of the noise; each row has a stream of its own, by its place in the batch.
        seed: u64,
    },
}

impl Default for Inference {
    /// Ten steps of Heun's method: 20 calls of the network.
    fn default() -> Self {
        Self::Ode(Solver { method: Method::Heun, steps: Steps::Fixed(10), save: Save::End })
    }
}

impl Inference {
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Sde { steps, draws, .. } => {
                Error::check_count("Inference::Sde::steps", *steps)?;
                Error::check_count("Inference::Sde::draws", *draws)
            }
            Self::Ode(solver) => solver.check(),
        }
    }
}
