//! How the noise levels are drawn, and where one block's part ends and the next one's begins.

use super::{NoiseParts, information::Draws, normal::LogNormal};
use crate::error::Error;

/// The noise levels of training: ln σ ~ N(P_m, P_s²), between σ_min and σ_max (Karras et al. 2022,
/// *Elucidating the design space of diffusion-based generative models*, table 1).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NoiseDistribution {
    /// P_m, the mean of ln σ: finite.
    /// Default: `-1.2`.
    pub p_mean: f64,
    /// P_s, the standard deviation of ln σ: finite, above 0.
    /// Default: `1.2`.
    pub p_std: f64,
    /// σ_min, the least noise: from 1e-9 to below σ_max.
    /// Default: `0.002`.
    pub sigma_min: f64,
    /// σ_max, the most noise: from above σ_min to 1e9.
    /// Default: `80`.
    pub sigma_max: f64,
}

impl Default for NoiseDistribution {
    /// That of the paper: P_m = −1.2, P_s = 1.2, σ from 0.002 to 80.
    fn default() -> Self {
        Self { p_mean: -1.2, p_std: 1.2, sigma_min: 0.002, sigma_max: 80.0 }
    }
}

impl NoiseDistribution {
    /// Without its ends, if all of it is in range.
    pub(super) fn check(&self) -> Result<LogNormal, Error> {
        let Self { p_mean, p_std, sigma_min, sigma_max } = *self;
        let wrong = |setting, expected: &str, found| Err(Error::config(setting, expected, found));
        if !p_mean.is_finite() {
            return wrong("NoiseDistribution::p_mean", "a finite number", p_mean);
        }
        if !(p_std.is_finite() && p_std > 0.0) {
            return wrong("NoiseDistribution::p_std", "a finite number above 0", p_std);
        }
        if !(1e-9..1e9).contains(&sigma_min) {
            return wrong(
                "NoiseDistribution::sigma_min",
                "1e-9 or more, below sigma_max",
                sigma_min,
            );
        }
        if !(sigma_max > sigma_min && sigma_max <= 1e9) {
            let expected = "a number above sigma_min, 1e9 at most";
            return wrong("NoiseDistribution::sigma_max", expected, sigma_max);
        }
        let noise = LogNormal { mean: p_mean, std: p_std };
        check_probability("NoiseDistribution::p_mean", noise, [sigma_min, sigma_max])?;
        Ok(noise)
    }

    /// σ_min and σ_max.
    fn range(&self) -> [f64; 2] {
        [self.sigma_min, self.sigma_max]
    }
}

/// A part from which nothing can be drawn has no block to train.
fn check_probability(setting: &'static str, noise: LogNormal, part: [f64; 2]) -> Result<(), Error> {
    let probability = noise.probability(part);
    if probability > 1e-290 {
        return Ok(());
    }
    let [lo, hi] = part;
    let expected = "noise levels that are drawn at times in each part";
    Err(Error::config(setting, expected, format!("probability {probability:e} from {lo} to {hi}")))
}

/// Where one block's part of the noise ends and the next one's begins.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Partition {
    /// Parts of equal probability, so that all blocks see as much of the noise: with
    /// q = Φ((ln σ − P_m) / P_s) the edges are σ_b = exp(P_m + P_s Φ⁻¹(q_min + (b/B)(q_max −
    /// q_min))) (Shing, Koyama, Akiba 2025, section 3.2).
    #[default]
    EqualProbability,
    /// Parts in each of which z gains as much of the label's information: I(y; u_y + σ ε) rises by
    /// the same amount from edge to edge, by Monte Carlo over the embedding as it is at the start.
    /// For classes alone.
    EqualInformation,
    /// σ_1 < … < σ at B − 1, the edges between the parts: B − 1 numbers between σ_min and σ_max.
    Edges(Vec<f64>),
}

/// The embedding of the classes, `[C, Z]`, row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Classes<'a> {
    pub(crate) rows: &'a [f64],
    pub(crate) width: usize,
}

impl Partition {
    /// The parts of `blocks` blocks, which overlap by `overlap`; `classes` are none for numbers.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range.
    pub(crate) fn parts(
        &self,
        noise: NoiseDistribution,
        blocks: usize,
        overlap: f64,
        classes: Option<Classes<'_>>,
    ) -> Result<NoiseParts, Error> {
        Error::check_count("DiffusionBlocks::blocks", blocks)?;
        if !(0.0..=1.0).contains(&overlap) {
            return Err(Error::config("DiffusionBlocks::overlap", "0 to 1", overlap));
        }
        let log_normal = noise.check()?;
        let setting = "DiffusionBlocks::partition";
        let inner = match self {
            Self::EqualProbability => {
                let at = |b: usize| log_normal.quantile(noise.range(), b as f64 / blocks as f64);
                (1..blocks).map(at).collect()
            }
            Self::EqualInformation => match classes {
                Some(Classes { rows, width }) => {
                    Draws::new(setting, rows, width)?.edges(noise.range(), blocks)
                }
                None => {
                    let expected =
                        "`EqualProbability` or `Edges` for numbers, which are no classes";
                    return Err(Error::config(setting, expected, "`EqualInformation`"));
                }
            },
            Self::Edges(given) if given.len() + 1 != blocks => {
                let expected = format!("{} edges between {blocks} parts", blocks - 1);
                return Err(Error::config("Partition::Edges", expected, given.len()));
            }
            Self::Edges(given) => given.clone(),
        };
        let ends = noise.range();
        let edges: Vec<f64> = [ends[0]].into_iter().chain(inner).chain([ends[1]]).collect();
        if let Some(pair) = edges.windows(2).find(|pair| !pair.is_sorted_by(|a, b| a < b)) {
            let expected = format!("edges that rise between {} and {}", ends[0], ends[1]);
            let found = format!("{} after {}", pair[1], pair[0]);
            let setting = if let Self::Edges(_) = self { "Partition::Edges" } else { setting };
            return Err(Error::config(setting, expected, found));
        }
        for pair in edges.windows(2) {
            check_probability(setting, log_normal, [pair[0], pair[1]])?;
        }
        Ok(NoiseParts { edges, overlap, noise: log_normal })
    }
}
