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
}

impl Default for Velocity {
    fn default() -> Self {
        Self { sharpness: 3.0 }
    }
}

impl<const Z: usize> Reads<Z> for Velocity {
    type Out = Const<Z>;
}
