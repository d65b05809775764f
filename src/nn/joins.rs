//! Sums of two signals.

use dfdx::prelude::*;

use super::{Signal, Takes, Width};
use crate::device::{Backend, Real, Rows, TracedRows};

/// A signal that `Layer` can add to `Other`: both are activations of one width.
#[diagnostic::on_unimplemented(
    message = "the two sides of `{Layer}` do not meet: a `{Self}` cannot be added to a `{Other}`",
    label = "a `{Self}` arrives where a `{Other}` is needed",
    note = "both layers of a `Condition` need the same width, and so do both ends of a `Residual`"
)]
pub trait Joins<Other: Signal<E, D>, Layer, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
    /// The sum in inference.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn add_plain(other: Other::Plain, this: Self::Plain) -> Result<Other::Plain, D::Err>;

    /// The sum in inference where this may have one row for all of the other's.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn add_shared(other: Other::Plain, this: Self::Plain) -> Result<Other::Plain, D::Err>;

    /// The sum in training; the tapes are merged.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn add_traced(other: Other::Traced, this: Self::Traced) -> Result<Other::Traced, D::Err>;

    /// The sum in training with the output of a layer.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn add_output<F, In>(
        other: Other::Traced,
        layer: (&mut F::Built, In::Traced),
    ) -> Result<Other::Traced, D::Err>
    where
        F: Takes<In, E, D, Out = Self>,
        In: Signal<E, D>,
        Self: Sized;
}

impl<Layer, const N: usize, E: Real, D: Backend<E>> Joins<Width<N>, Layer, E, D> for Width<N> {
    fn add_plain(
        other: Rows<Const<N>, E, D>,
        this: Rows<Const<N>, E, D>,
    ) -> Result<Rows<Const<N>, E, D>, D::Err> {
        D::sum(other, this)
    }

    fn add_shared(
        other: Rows<Const<N>, E, D>,
        this: Rows<Const<N>, E, D>,
    ) -> Result<Rows<Const<N>, E, D>, D::Err> {
        if this.shape().0 == other.shape().0 {
            D::sum(other, this)
        } else {
            D::add_row(other, this)
        }
    }

    fn add_traced(
        other: TracedRows<Const<N>, E, D>,
        this: TracedRows<Const<N>, E, D>,
    ) -> Result<TracedRows<Const<N>, E, D>, D::Err> {
        D::sum(other, this)
    }

    fn add_output<F, In>(
        other: TracedRows<Const<N>, E, D>,
        (built, input): (&mut F::Built, In::Traced),
    ) -> Result<TracedRows<Const<N>, E, D>, D::Err>
    where
        F: Takes<In, E, D, Out = Self>,
        In: Signal<E, D>,
    {
        F::train_onto(built, input, other)
    }
}
