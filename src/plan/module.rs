//! A module of a user's own as one operation.

use dfdx::prelude::OwnedTape;

#[cfg(feature = "inference")]
use super::RowNorm;
use super::Value;
use crate::device::{Backend, Matrix, Real};

/// An operation that the plan knows nothing of but what goes in and what comes out.
pub trait ModuleOperation<E: Real, D: Backend<E>> {
    /// Its name, for a summary.
    fn name(&self) -> String;

    /// How many trained numbers it has.
    fn parameters(&self) -> usize;

    /// Whether it has tensors, trained or not.
    fn has_tensors(&self) -> bool;

    /// Whether it may draw from its input's device in training.
    fn draws(&self) -> bool {
        true
    }

    /// Whether what comes out of a row depends on that row alone, and on nothing that is drawn.
    fn is_rowwise(&self) -> bool {
        false
    }

    /// Itself as a batch norm of rows, if it is one.
    ///
    /// # Errors
    /// The device's own.
    #[doc(hidden)]
    #[cfg(feature = "inference")]
    fn as_row_norm(&self) -> Result<Option<RowNorm<E, D>>, D::Err> {
        Ok(None)
    }

    /// The output in inference.
    ///
    /// # Errors
    /// The module's own.
    fn infer(&self, value: Value<E, D>) -> Result<Matrix<E, D>, D::Err>;

    /// The output in training.
    ///
    /// # Errors
    /// The module's own.
    fn train(
        &mut self,
        value: Value<E, D, OwnedTape<E, D>>,
    ) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err>;
}
