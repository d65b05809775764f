//! Sums of two signals.

use dfdx::prelude::AutoDevice;

use super::{Kind, Signal, Width};
use crate::device::{Backend, Real};

/// A signal that `Layer` can add to `Other`: both are activations of one width.
#[diagnostic::on_unimplemented(
    message = "the two sides of `{Layer}` do not meet: a `{Self}` cannot be added to a `{Other}`",
    label = "a `{Self}` arrives where a `{Other}` is needed",
    note = "both layers of a `Condition` need the same width, and so do both ends of a `Residual`"
)]
pub trait Joins<Other: Signal<E, D>, Layer, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
}

impl<L, const N: usize, K: Kind, E: Real, D: Backend<E>> Joins<Width<N>, L, E, D> for Width<N, K> {}
