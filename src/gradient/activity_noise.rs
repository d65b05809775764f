//! Noise on what layers give.

use rand::RngCore;

use super::{Estimates, Measured, Noise, Problem};
use crate::{
    block::{AnyBlock, Host},
    device::Real,
    error::{Error, Place},
    optim::Stepping,
    plan::NoisyPass,
    random::{Direction, Purpose, stream},
};

/// The gradient of the loss by its change when what the layers give moves, each row of the batch by
/// noise of its own:
///
/// δ_l = 1/D Σ_d (L(a + σ ε_d) − L(a − σ ε_d)) / 2σ · ε_dl
///
/// estimates the gradient of a row's loss L with respect to what layer l gives, a_l, and the
/// layer's weights get δ_l times the layer's input: for a dense layer δ_l x_lᵀ, averaged over the
/// batch (Le Cun et al. 1988, *GEMINI: gradient estimation through matrix inversion after noise
/// injection*; Ren et al. 2022, *Scaling forward gradient with local losses*). The variance grows
/// with the number of units, not with that of weights, and a batch of n rows has n times as much
/// noise to learn from as [`WeightNoise`](super::WeightNoise) has.
///
/// It takes 2 D + 1 forward passes; what comes before the first layer with noise is computed once.
/// Layers with weights have noise on what they give; where a [`Condition`](crate::nn::Condition)
/// adds dense layers, there is noise on the sum. A [`Custom`](crate::nn::Custom) module is a layer
/// like any other: noise on what it gives, and its own derivative inside, if it is more than one
/// product. In noisy passes layers are as in inference: dropout does nothing, and batch norm uses
/// its running statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ActivityNoise {
    /// σ, by how much what a layer gives moves: above 0.
    /// Default: `0.01`.
    pub noise_scale: f64,
    /// D, the number of directions, each tried both ways: at least 1.
    /// Default: `8`.
    pub directions: usize,
    /// What directions are drawn from.
    /// Default: `Noise::Signs`.
    pub noise: Noise,
}

impl Default for ActivityNoise {
    /// σ = 0.01, 8 directions of signs.
    fn default() -> Self {
        Self { noise_scale: 0.01, directions: 8, noise: Noise::default() }
    }
}

impl<E: Real, D: Host<E>> Estimates<E, D> for ActivityNoise {
    fn step(
        &self,
        problem: &Problem<'_, E, D>,
        block: &mut D::Block,
        stepping: &Stepping,
        seed: u64,
    ) -> Result<(Measured<E>, f64), Error> {
        let failed = || Error::device("activity noise");
        let Place { block: index, step } = problem.place;
        let mut seeds = stream(seed, Purpose::Directions, index as u64, step);
        let mut pass = NoisyPass::new();
        let clean = problem.noisy(block, &mut pass)?;
        let share = 1.0 / (self.directions as f64 * 2.0 * self.noise_scale);
        for _ in 0..self.directions {
            let direction = Direction::new(self.noise, seeds.next_u64());
            let mut losses = |scale: f64| {
                pass.start(direction.clone(), scale);
                Ok(problem.noisy(block, &mut pass)?.rows)
            };
            let (up, down) = (losses(self.noise_scale)?, losses(-self.noise_scale)?);
            let change: Vec<f64> =
                up.iter().zip(&down).map(|(up, down)| share * (up - down)).collect();
            pass.learn(direction, &change);
        }
        let gradients = block.take_gradients().map_err(failed())?;
        let mut gradients = pass.gradients(gradients).map_err(failed())?;
        let norm = block.step(stepping, &mut gradients)?;
        problem.place.check("gradient", norm)?;
        block.keep_gradients(gradients);
        Ok((clean, norm))
    }
}
