//! A plan of stored operations that is made once, for all threads.

use crate::{
    device::{Backend, Column, Filters, Matrix, Real},
    plan::Operation,
};

/// What [`StoredOperation::lower`](super::StoredOperation::lower) has made, fused for some kind of
/// calls.
pub(crate) struct KeptPlan<E: Real, D: Backend<E>>(Operation<'static, E, D>);

impl<E: Real, D: Backend<E>> KeptPlan<E, D> {
    /// # Safety
    /// The operation comes from stored ones: the only modules in it are those of this crate, which
    /// are made of tensors, and no statistics are borrowed.
    pub(crate) unsafe fn new(operation: Operation<'static, E, D>) -> Self {
        Self(operation)
    }

    pub(crate) fn operation(&self) -> &Operation<'static, E, D> {
        &self.0
    }
}

// SAFETY: all that is in it are tensors and numbers (see `new`), and an operation that is shared is
// only read. A user's module, for which the type has a place, need be neither `Send` nor `Sync`.
unsafe impl<E: Real, D: Backend<E>> Send for KeptPlan<E, D>
where
    Column<E, D>: Send + Sync,
    Matrix<E, D>: Send + Sync,
    Filters<E, D>: Send + Sync,
{
}

// SAFETY: as for `Send`.
unsafe impl<E: Real, D: Backend<E>> Sync for KeptPlan<E, D>
where
    Column<E, D>: Send + Sync,
    Matrix<E, D>: Send + Sync,
    Filters<E, D>: Send + Sync,
{
}
