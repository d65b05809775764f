//! Discrete time: ᾱ_0 < ᾱ_1 < … < ᾱ_T.

use std::f64::consts::FRAC_PI_2;

use super::noise::shares;
use crate::{device::Real, error::Error};

/// How ᾱₜ, the share of the target's variance in zₜ, grows from noise (t = 0) to target (t = T).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Schedule {
    /// ᾱₜ = cos²(((1 − t/T + 0.008) / 1.008) π/2), clamped to [0.001, 0.999] (Nichol, Dhariwal
    /// 2021, eq. 17, with time reversed).
    #[default]
    Cosine,
    /// ᾱₜ = 0.001 + 0.998 t/T.
    Linear,
    /// ᾱ_0, …, ᾱ_T as given: T + 1 numbers in (0, 1) that never fall, the last above the first.
    AlphaBar(Vec<f64>),
}

impl Schedule {
    /// The levels for T = `blocks`.
    ///
    /// # Errors
    /// [`Error::Config`] if `blocks` is 0, or the given numbers are not T + 1, not in (0, 1), or
    /// fall.
    pub fn levels(&self, blocks: usize) -> Result<NoiseLevels, Error> {
        Error::check_count("DiscreteTime::blocks", blocks)?;
        let time = |t: usize| t as f64 / blocks as f64;
        let alpha_bar: Vec<f64> = match self {
            Self::Cosine => (0..=blocks)
                .map(|t| ((1.0 - time(t) + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2))
                .map(|alpha_bar| alpha_bar.clamp(0.001, 0.999))
                .collect(),
            Self::Linear => (0..=blocks).map(|t| 0.001 + 0.998 * time(t)).collect(),
            Self::AlphaBar(given) => given.clone(),
        };
        NoiseLevels::new(alpha_bar, blocks)
    }
}

/// ᾱ_0 … ᾱ_T, and what follows from them (design: Li, Teh, Pascanu 2025, section 3 and appendix A).
///
/// With α_t = ᾱₜ / ᾱₜ₊₁, the posterior of zₜ given zₜ₋₁ and the target u is
/// N(aₜ u + bₜ zₜ₋₁, cₜ I).
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseLevels {
    alpha_bar: Vec<f64>,
}

impl NoiseLevels {
    /// No levels at all.
    pub(crate) fn none() -> &'static Self {
        static NONE: NoiseLevels = NoiseLevels { alpha_bar: Vec::new() };
        &NONE
    }

    fn new(alpha_bar: Vec<f64>, blocks: usize) -> Result<Self, Error> {
        let setting = "Schedule::AlphaBar";
        if alpha_bar.len() != blocks + 1 {
            let expected = format!("{} numbers, ᾱ_0 to ᾱ_T for T = {blocks} blocks", blocks + 1);
            return Err(Error::config(setting, expected, alpha_bar.len()));
        }
        if let Some(t) = alpha_bar.iter().position(|a| !(*a > 0.0 && *a < 1.0)) {
            let found = format!("ᾱ_{t} = {}", alpha_bar[t]);
            return Err(Error::config(setting, "numbers above 0 and below 1", found));
        }
        if let Some(t) = (1..=blocks).find(|&t| alpha_bar[t] < alpha_bar[t - 1]) {
            let found = format!("ᾱ_{} = {} after {}", t, alpha_bar[t], alpha_bar[t - 1]);
            return Err(Error::config(setting, "numbers that never fall", found));
        }
        if alpha_bar[blocks] <= alpha_bar[0] {
            let found = format!("{} throughout", alpha_bar[0]);
            return Err(Error::config(setting, "ᾱ_T above ᾱ_0", found));
        }
        Ok(Self { alpha_bar })
    }

    /// T, the number of blocks.
    pub fn blocks(&self) -> usize {
        self.alpha_bar.len() - 1
    }

    /// ᾱₜ, for t from 0 to T.
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bar[t.min(self.blocks())]
    }

    /// α_t = ᾱₜ / ᾱₜ₊₁, the factor between zₜ₊₁ and zₜ; α_T = ᾱ_T, between u and z_T.
    pub fn alpha(&self, t: usize) -> f64 {
        if t >= self.blocks() {
            return self.alpha_bar(t);
        }
        self.alpha_bar(t) / self.alpha_bar(t + 1)
    }

    /// SNR(t) = ᾱₜ / (1 − ᾱₜ).
    pub fn snr(&self, t: usize) -> f64 {
        self.alpha_bar(t) / (1.0 - self.alpha_bar(t))
    }

    /// SNR(t) − SNR(t − 1), for t from 1 to T.
    pub fn snr_increment(&self, t: usize) -> f64 {
        self.snr(t) - self.snr(t.saturating_sub(1))
    }

    /// The blocks that change z, counted from 1: elsewhere the schedule stands still, a = 0, b = 1
    /// and c = 0.
    pub fn moving(&self) -> impl Iterator<Item = usize> {
        (1..=self.blocks()).filter(|t| self.snr_increment(*t) != 0.0)
    }

    /// aₜ = √ᾱₜ (1 − αₜ₋₁) / (1 − ᾱₜ₋₁), the weight of ûₜ in zₜ, for t from 1 to T.
    pub fn a(&self, t: usize) -> f64 {
        let before = t.saturating_sub(1);
        self.alpha_bar(t).sqrt() * (1.0 - self.alpha(before)) / (1.0 - self.alpha_bar(before))
    }

    /// bₜ = √αₜ₋₁ (1 − ᾱₜ) / (1 − ᾱₜ₋₁), the weight of zₜ₋₁ in zₜ, for t from 1 to T.
    pub fn b(&self, t: usize) -> f64 {
        let before = t.saturating_sub(1);
        self.alpha(before).sqrt() * (1.0 - self.alpha_bar(t)) / (1.0 - self.alpha_bar(before))
    }

    /// cₜ = (1 − ᾱₜ)(1 − αₜ₋₁) / (1 − ᾱₜ₋₁), the variance of the noise in zₜ, for t from 1
    /// to T.
    pub fn c(&self, t: usize) -> f64 {
        let before = t.saturating_sub(1);
        (1.0 - self.alpha_bar(t)) * (1.0 - self.alpha(before)) / (1.0 - self.alpha_bar(before))
    }

    /// The share of the label's information that zₜ holds, for t from 0 to T: I(y; zₜ) / ln C with
    /// equal priors, by Monte Carlo over the rows of an embedding `[C, Z]`, as
    /// [`NoiseParts::information`](super::NoiseParts::information). Block t takes zₜ₋₁.
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than two rows, or numbers that are not finite.
    pub fn information<const Z: usize, E: Real>(
        &self,
        embedding: &[[E; Z]],
    ) -> Result<Vec<f64>, Error> {
        let sigmas: Vec<f64> = (0..=self.blocks()).map(|t| self.snr(t).powf(-0.5)).collect();
        shares("NoiseLevels::information", embedding, &sigmas)
    }

    /// KL(q(z_0 | y) ‖ N(0, I)) = ½ (ᾱ_0 ‖u‖² − Z ᾱ_0 − Z ln(1 − ᾱ_0)), with ‖u‖² = `squared_norm`
    /// and Z = `width`.
    pub fn kl(&self, squared_norm: f64, width: usize) -> f64 {
        let alpha_bar = self.alpha_bar(0);
        0.5 * (alpha_bar * squared_norm - width as f64 * (alpha_bar + (-alpha_bar).ln_1p()))
    }
}
