//! Noise levels σ in parts, one for each block.

mod information;
mod normal;
mod partition;
mod parts;

pub(super) use information::shares;
pub(crate) use partition::Classes;
pub use partition::{NoiseDistribution, Partition};
pub use parts::NoiseParts;

#[cfg(test)]
mod tests;
