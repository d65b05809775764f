//! The operations of a block as an inference uses them.

#[cfg(feature = "inference")]
use std::sync::Arc;

#[cfg(feature = "inference")]
use super::KeptPlan;
use super::{Inputs, Memo, Operation, Value, encode, infer};
use crate::device::{Backend, Matrix, Real};

/// Operations for an inference: its own, or those that a block keeps for all that are alike.
pub enum Prepared<'a, E: Real, D: Backend<E>> {
    /// For this inference alone.
    Own(Operation<'a, E, D>),
    /// Kept by a block whose weights do not move.
    #[cfg(feature = "inference")]
    Kept(Kept<E, D>),
}

/// Operations that a block keeps.
#[cfg(feature = "inference")]
pub struct Kept<E: Real, D: Backend<E>>(pub(crate) Arc<KeptPlan<E, D>>);

impl<E: Real, D: Backend<E>> Prepared<'_, E, D> {
    /// The part of the work that depends on x alone, done once for many z and t.
    pub(crate) fn encode(&self, x: &Matrix<E, D>) -> Result<Option<Memo<E, D>>, D::Err> {
        match self {
            Self::Own(operation) => encode(operation, x),
            #[cfg(feature = "inference")]
            Self::Kept(Kept(plan)) => encode(plan.operation(), x),
        }
    }

    /// The block's output.
    pub(crate) fn output(
        &self,
        inputs: Inputs<E, D>,
        memo: Option<&Memo<E, D>>,
    ) -> Result<Matrix<E, D>, D::Err> {
        let value = Value::Inputs(inputs);
        let output = match self {
            Self::Own(operation) => infer(operation, value, memo),
            #[cfg(feature = "inference")]
            Self::Kept(Kept(plan)) => infer(plan.operation(), value, memo),
        };
        Ok(output?.into_rows()?.0)
    }
}
