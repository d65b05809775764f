//! Random streams that depend on a seed and on what they are for, never on the order of threads.

mod direction;

pub(crate) use direction::Direction;
pub use direction::Noise;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::number::Real;

/// What a stream is for; two purposes never share one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The initial weights of a block.
    Weights = 1,
    /// The initial embedding of the classes.
    Embedding = 2,
    /// The order of the rows in an epoch.
    Order = 3,
    /// The noise of a training step.
    Noise = 4,
    /// What layers draw in a training step: dropout.
    Layers = 5,
    /// What the hook on a batch draws.
    Batch = 7,
    /// The noise of inference.
    Inference = 6,
    /// The directions in which an estimator of gradients looks.
    Directions = 8,
    /// What a device needs to make noise by itself.
    Lanes = 9,
    /// The noise by which the widths of sampling are measured.
    Widths = 10,
    /// The order of the starts that a mean is made of.
    Starts = 11,
    /// What a noised embedding says of the label, by Monte Carlo.
    Information = 12,
}

/// The stream of one block (or row) at one step. All four numbers are the key, so a step needs no
/// state of the last.
pub(crate) fn stream(seed: u64, purpose: Purpose, index: u64, step: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, index, step]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// `n` draws from the standard normal distribution.
pub(crate) fn normals<E: Real>(rng: &mut impl Rng, n: usize) -> Vec<E> {
    (0..n).map(|_| E::of(rng.sample(StandardNormal))).collect()
}
