//! dfdx's batch norm of rows, with its width known when the program runs.

use dfdx::prelude::*;

use crate::{
    device::{Backend, Column, Matrix, Real},
    plan::{BatchNorm, ModuleOperation, Running, Value},
};

/// (x − μ) · γ / √(σ² + ε) + β by running statistics, in dfdx's order, so that the bits are dfdx's.
#[derive(Clone, Debug)]
pub struct RowNorm<E: Real, D: Backend<E>> {
    /// How wide a row is.
    pub(crate) width: usize,
    /// ε.
    pub(crate) epsilon: f64,
    /// γ, β, μ and σ².
    pub(crate) tensors: [Column<E, D>; 4],
}

impl<E: Real, D: Backend<E>> From<RowNorm<E, D>> for BatchNorm<'_, E, D> {
    fn from(norm: RowNorm<E, D>) -> Self {
        let RowNorm { epsilon, tensors: [scale, shift, mean, variance], .. } = norm;
        let running = Running::Fixed([mean, variance]);
        // Nothing moves the statistics by then.
        Self { scale, shift, epsilon, momentum: 0.0, running }
    }
}

impl<E: Real, D: Backend<E>> ModuleOperation<E, D> for RowNorm<E, D> {
    fn name(&self) -> String {
        "BatchNorm1D".to_owned()
    }

    fn parameters(&self) -> usize {
        2 * self.width
    }

    fn has_tensors(&self) -> bool {
        true
    }

    fn draws(&self) -> bool {
        false
    }

    fn is_rowwise(&self) -> bool {
        true
    }

    fn infer(&self, value: Value<E, D>) -> Result<Matrix<E, D>, D::Err> {
        let (x, _) = value.into_rows()?;
        let shape = *x.shape();
        let [scale, shift, mean, variance] = self.tensors.clone();
        let deviation = variance.try_add(E::of(self.epsilon))?.try_sqrt()?;
        let scale = scale.try_div(deviation)?.try_broadcast_like::<_, Axis<0>>(&shape)?;
        let x = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
        x.try_mul(scale)?.try_add(shift.try_broadcast_like::<_, Axis<0>>(&shape)?)
    }

    fn train(
        &mut self,
        value: Value<E, D, OwnedTape<E, D>>,
    ) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        // Its statistics are those of a model that is trained.
        let (x, _) = value.into_rows()?;
        let (x, tape) = x.split_tape();
        Ok(self.infer(Value::Rows(x))?.put_tape(tape))
    }

    fn as_row_norm(&self) -> Result<Option<RowNorm<E, D>>, D::Err> {
        Ok(Some(self.clone()))
    }
}
