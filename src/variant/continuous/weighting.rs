//! How much each time counts.

/// The weight of the squared error at time t.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Weighting {
    /// ½ η SNR′(t): the paper's, the bound on the likelihood. Nearly all of it is at t near 1.
    SnrSlope,
    /// η at all times.
    Uniform,
    /// η (1 + SNR(t)) for numbers, which gives the network's own output the same weight at all
    /// times where the model is [`preconditioned`](super::ContinuousTime::preconditioned) (Salimans & Ho
    /// 2022, "SNR + 1"; Karras et al. 2022, λ(σ)); η for classes.
    #[default]
    ByTargets,
}
