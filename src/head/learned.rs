//! Classes whose embedding is trained.

use dfdx::prelude::Const;

use super::{
    Classification, Evaluation, HasClasses, Head, Reading, Reads,
    classes::{self, class_methods},
};
use crate::{
    data::{Labels, TargetRows},
    device::Real,
    error::Error,
    random::{Purpose, normals, stream},
};

/// `C` classes with a trained embedding W: `[C, Z]`, which starts from a standard normal
/// distribution times `scale`.
///
/// Its gradient flows through the target u = W_y, the latent z, the estimate û = softmax(o) W, and
/// the terms CE(p̂(y | z_T)) and KL(q(z_0 | y) ‖ N(0, I)) of the loss; the blocks' parts are
/// summed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Learned<const C: usize> {
    /// The standard deviation of the initial embedding: above 0; 1 by default.
    #[cfg_attr(feature = "serde", serde(default = "unit"))]
    pub scale: f64,
}

// For serde, which has no defaults of types with const parameters.
#[cfg(feature = "serde")]
fn unit() -> f64 {
    1.0
}

impl<const C: usize, const Z: usize> Reads<Z> for Learned<C> {
    type Out = Const<C>;
}

impl<const C: usize> Default for Learned<C> {
    fn default() -> Self {
        Self { scale: 1.0 }
    }
}

#[diagnostic::do_not_recommend]
impl<const C: usize> HasClasses for Learned<C> {}

impl<const C: usize, const Z: usize, E: Real> Head<Z, E> for Learned<C> {
    class_methods!(C);

    const LEARNED: bool = true;

    fn table(&self, seed: u64) -> Result<Vec<E>, Error> {
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(Error::config("Learned::scale", "a finite number above 0", self.scale));
        }
        let normals: Vec<f64> = normals(&mut stream(seed, Purpose::Embedding, 0, 0), C * Z);
        Ok(normals.into_iter().map(|v| E::of(self.scale * v)).collect())
    }

    fn reading() -> Reading {
        Reading::embedded(C, Z, true)
    }
}
