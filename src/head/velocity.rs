//! A network that predicts a velocity.

use dfdx::prelude::Const;

use super::Reads;

/// In flow matching: the network gives the velocity v itself, `Z` wide, whatever the targets are.
///
/// The class is read from the latent by κ (z · u_c − ‖u_c‖² / 2): see "Flow matching" in
/// `docs/mathematics.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Velocity {
    /// κ, how sharply a class is read from a latent: above 0; 3 by default. For one-hot embeddings
    /// softmax(κ z) up to a constant. The answer is read from the final latent with 1.5 κ.
    pub sharpness: f64,
    /// Whether the network gives what z does not say of the velocity of numbers, v = (2t − 1) / s² z + o
    /// / s with s² = t² + (1 − t)², instead of the velocity itself, v = o (the preconditioning of
    /// Karras et al. 2022 for straight lines, with σ_data = 1). Of no effect for classes.
    /// Default: `true`.
    pub preconditioned: bool,
}

impl Default for Velocity {
    fn default() -> Self {
        Self { sharpness: 3.0, preconditioned: true }
    }
}

impl<const Z: usize> Reads<Z> for Velocity {
    type Out = Const<Z>;
}
