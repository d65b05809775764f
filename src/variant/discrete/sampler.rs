//! How z goes from noise to target.

use crate::error::Error;

/// How z goes from noise to target in inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Sampler {
    /// Without noise: z_0 = 0 and ε = 0, the mean at each step. The same answer for the same row.
    #[default]
    Deterministic,
    /// With noise, as the paper has it: z_0 ~ N(0, I) and ε ~ N(0, I); the answers of several draws
    /// are averaged.
    Stochastic {
        /// How many draws are averaged: at least 1.
        draws: usize,
        /// The seed of the noise; each row has a stream of its own, by its place in the batch.
        seed: u64,
    },
}

/// How wide the noise of a step zₜ = aₜ ûₜ + bₜ zₜ₋₁ + √v_t ε is in sampling.
///
/// q(zₜ | zₜ₋₁, u) has the variance cₜ for a *known* u. With ûₜ instead of u it is wider, by
/// what block t does not know of u.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ReverseVariance {
    /// v_t = cₜ (Li, Teh, Pascanu 2025): draws are too much alike.
    Posterior,
    /// For numbers v_t = cₜ + aₜ² sₜ² with sₜ² = E‖ûₜ − u‖² / Z (Bao et al. 2022,
    /// *Analytic-DPM*, the optimal reverse variance), which is measured at the end of a run, by the
    /// rows of [`validation`](crate::train::Training::validation) where there are some and by those
    /// that were learned from elsewhere; cₜ before. For classes a class is drawn from the block's
    /// probabilities, and its embedding takes the place of ûₜ: the covariance that these imply.
    #[default]
    Optimal,
}

impl Sampler {
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Stochastic { draws, .. } => {
                Error::check_count("Sampler::Stochastic::draws", *draws)
            }
            Self::Deterministic => Ok(()),
        }
    }
}
