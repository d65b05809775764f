//! Each block's part of the noise.

use super::{information::shares, normal::LogNormal};
use crate::{device::Real, error::Error};

/// The noise levels σ_0 = σ_min < … < σ_B = σ_max between which the blocks work, and what each is
/// trained on. Blocks are counted from noise to target: block 1 has the part up to σ_max, block B
/// that from σ_min on.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseParts {
    pub(super) edges: Vec<f64>,
    pub(super) overlap: f64,
    pub(super) noise: LogNormal,
}

impl NoiseParts {
    /// No parts at all.
    pub(crate) fn none() -> &'static Self {
        static NONE: NoiseParts = NoiseParts {
            edges: Vec::new(),
            overlap: 0.0,
            noise: LogNormal { mean: 0.0, std: 1.0 },
        };
        &NONE
    }

    /// B, the number of blocks.
    pub fn blocks(&self) -> usize {
        self.edges.len() - 1
    }

    /// σ_0 = σ_min to σ_B = σ_max, B + 1 numbers that rise.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Where block `t`, from 1 to B, works in inference: from the first to the second, lo < hi.
    pub fn part(&self, t: usize) -> [f64; 2] {
        let low = self.blocks() - t.clamp(1, self.blocks());
        [self.edges[low], self.edges[low + 1]]
    }

    /// What block `t`, from 1 to B, is trained on: [lo r^−γ, hi r^γ] with r = hi / lo and the
    /// overlap γ, cut to [σ_min, σ_max] (Shing, Koyama, Akiba 2025, section 3.3).
    pub fn span(&self, t: usize) -> [f64; 2] {
        let [lo, hi] = self.part(t);
        let ratio = (hi / lo).powf(self.overlap);
        [(lo / ratio).max(self.edges[0]), (hi * ratio).min(self.edges[self.blocks()])]
    }

    /// The noise level of block `t` for a number `u` that is uniform on (0, 1): the inverse of the
    /// distribution function of σ in [`span`](Self::span).
    pub fn sigma(&self, t: usize, u: f64) -> f64 {
        self.noise.quantile(self.span(t), u)
    }

    /// From σ_max down to σ_min, with each part in `steps` steps of equal probability:
    /// B · `steps` + 1 numbers that fall.
    pub(crate) fn levels(&self, steps: usize) -> Vec<f64> {
        let mut levels = Vec::with_capacity(self.blocks() * steps + 1);
        for t in 1..=self.blocks() {
            let part = self.part(t);
            levels.push(part[1]);
            let inner = (1..steps).rev();
            levels.extend(inner.map(|i| self.noise.quantile(part, i as f64 / steps as f64)));
        }
        levels.push(self.edges[0]);
        levels
    }

    /// The share of the label's information that z = u + σ ε holds at each of
    /// [`edges`](Self::edges): I(y; z) / ln C with equal priors, from 0 (x alone tells the class)
    /// to 1 (z alone does), by Monte Carlo over the rows of an embedding `[C, Z]`. 10,000 draws:
    /// within about 0.005.
    ///
    /// Blocks between two edges with the same share have nothing to learn from x.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiffusionBlocks, ConditionalResNetCt<10, 64>, 10, 64>;
    /// let model = Model::new(&AutoDevice::default(), DiffusionBlocks::default())?;
    /// let shares = model.noise_parts().information(model.embedding().as_chunks::<10>().0)?;
    /// // At σ_min, 0.18, 0.51 and σ_max.
    /// assert!(shares[1] > 0.97 && shares[2] < 0.7 && shares[3] < 0.01);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than two rows, or numbers that are not finite.
    pub fn information<const Z: usize, E: Real>(
        &self,
        embedding: &[[E; Z]],
    ) -> Result<Vec<f64>, Error> {
        shares("NoiseParts::information", embedding, &self.edges)
    }
}
