//! Random directions that are made again from a seed instead of being kept.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::number::Real;

/// What a direction ε is drawn from: mean 0 and variance 1 in either case, so that the estimates
/// have the same mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Noise {
    /// 1 or −1, each with probability ½ (Spall 1992, *Multivariate stochastic approximation using a
    /// simultaneous perturbation gradient approximation*). A bit a number to draw, and the smallest
    /// variance: ‖g‖² − g_i² for the i-th number of the gradient g from one direction.
    #[default]
    Signs,
    /// The standard normal distribution; variance ‖g‖² + g_i².
    Normal,
}

/// One direction, number by number.
#[derive(Clone, Debug)]
pub(crate) struct Direction {
    noise: Noise,
    rng: ChaCha8Rng,
}

impl Direction {
    /// The direction with this seed, from its first number on.
    pub(crate) fn new(noise: Noise, seed: u64) -> Self {
        Self { noise, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next numbers, times `scale`. All runs but the last of a tensor have a length divisible
    /// by 64.
    pub(crate) fn fill<E: Real>(&mut self, out: &mut [E], scale: f64) {
        match self.noise {
            Noise::Signs => {
                let signs = [E::of(scale), E::of(-scale)];
                for run in out.chunks_mut(64) {
                    let bits = self.rng.next_u64();
                    let signed = |(k, out): (usize, &mut E)| *out = signs[(bits >> k & 1) as usize];
                    run.iter_mut().enumerate().for_each(signed);
                }
            }
            Noise::Normal => {
                for out in out {
                    let draw: f64 = self.rng.sample(StandardNormal);
                    // Never so far out that a weight leaves its grid.
                    *out = E::of(scale * draw.clamp(-FARTHEST, FARTHEST));
                }
            }
        }
    }

    /// The largest number that there can be.
    pub(crate) fn farthest(noise: Noise) -> f64 {
        match noise {
            Noise::Signs => 1.0,
            Noise::Normal => FARTHEST,
        }
    }
}

/// A normal number beyond this comes once in 10¹⁵ draws.
const FARTHEST: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::RUN;

    #[test]
    fn both_have_mean_0_and_variance_1_and_come_again_in_pieces() {
        for noise in [Noise::Signs, Noise::Normal] {
            let mut whole = vec![0f64; 50 * RUN + 17];
            Direction::new(noise, 3).fill(&mut whole, 1.0);
            let n = whole.len() as f64;
            let mean = whole.iter().sum::<f64>() / n;
            let variance = whole.iter().map(|x| x * x).sum::<f64>() / n;
            // Five standard deviations of each: 1/√n, and √(2/n) for normal numbers.
            assert!(mean.abs() < 5.0 / n.sqrt(), "{noise:?}: {mean}");
            assert!((variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{noise:?}: {variance}");

            let (mut again, mut pieces) = (vec![0f64; whole.len()], Direction::new(noise, 3));
            again.chunks_mut(RUN).for_each(|piece| pieces.fill(piece, 1.0));
            assert_eq!(again, whole);
            let mut other = vec![0f64; whole.len()];
            Direction::new(noise, 4).fill(&mut other, 1.0);
            assert_ne!(other, whole);
        }
    }
}
