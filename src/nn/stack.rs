//! Several blocks of one kind as one computation.

use dfdx::prelude::*;

use crate::device::{Backend, Real, Rows, TracedRows};

/// A pass through T blocks of one kind at once: their weights lie side by side, `[T, …]`, and their rows one block's after the
/// other's, `[T · batch, …]`. What depends on the input x alone may be there once for all blocks, `[batch, …]`, until the first
/// layer with weights.
pub struct StackPass<'a, E: Real, D: Backend<E>> {
    blocks: usize,
    batch: usize,
    /// `[T, numbers]` each, in the order in which dfdx visits them, which is that of the layers.
    weights: std::slice::Iter<'a, Tensor<(usize, usize), E, D>>,
}

impl<'a, E: Real, D: Backend<E>> StackPass<'a, E, D> {
    pub(crate) fn new(
        blocks: usize,
        batch: usize,
        weights: &'a [Tensor<(usize, usize), E, D>],
    ) -> Self {
        Self { blocks, batch, weights: weights.iter() }
    }

    /// Whether these rows belong to all blocks.
    pub(super) fn is_shared(&self, rows: usize) -> bool {
        rows == self.batch && self.blocks != 1
    }

    /// The next weights, on a tape of their own; `None` if there are no more, or not as many numbers.
    #[allow(clippy::type_complexity)]
    fn next<S: Shape>(
        &mut self,
        shape: S,
    ) -> Result<Option<Tensor<S, E, D, OwnedTape<E, D>>>, D::Err> {
        match self.weights.next() {
            Some(next) if next.shape().num_elements() == shape.num_elements() => {
                next.retaped::<OwnedTape<E, D>>().try_reshape_like(&shape).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A dense layer of each block on its rows: one batched product, or one product for all blocks where they share x.
    pub(super) fn dense<const I: usize, const O: usize>(
        &mut self,
        x: TracedRows<Const<I>, E, D>,
    ) -> Result<Option<TracedRows<Const<O>, E, D>>, D::Err> {
        let rows = x.shape().0;
        let x = x.try_reshape_like(&(rows, I))?;
        let Some(y) = self.product(x, [I, O])? else { return Ok(None) };
        y.try_reshape_like(&(self.blocks * self.batch, Const::<O>)).map(Some)
    }

    /// The same with sizes that are numbers: compiled once, and not for each layer.
    #[allow(clippy::type_complexity)]
    fn product(
        &mut self,
        x: Tensor<(usize, usize), E, D, OwnedTape<E, D>>,
        [i, o]: [usize; 2],
    ) -> Result<Option<Tensor<(usize, usize), E, D, OwnedTape<E, D>>>, D::Err> {
        let (blocks, batch) = (self.blocks, self.batch);
        let product = if self.is_shared(x.shape().0) {
            let Some(weight) = self.next((blocks * o, i))? else { return Ok(None) };
            x.try_matmul(weight.try_permute::<(usize, usize), Axes2<1, 0>>()?)?
                .try_reshape_like(&(batch, blocks, o))?
                .try_permute::<(usize, usize, usize), Axes3<1, 0, 2>>()?
        } else {
            let Some(weight) = self.next((blocks, o, i))? else { return Ok(None) };
            x.try_reshape_like(&(blocks, batch, i))?
                .try_matmul(weight.try_permute::<(usize, usize, usize), Axes3<0, 2, 1>>()?)?
        };
        let Some(bias) = self.next((blocks, o))? else { return Ok(None) };
        let bias = bias.try_broadcast_like::<_, Axis<1>>(product.shape())?;
        product.try_add(bias)?.try_reshape_like(&(blocks * batch, o)).map(Some)
    }
}

/// Rows of one block for each of `blocks` blocks.
pub(crate) fn repeated<N: ConstDim, E: Real, D: Backend<E>>(
    rows: Rows<N, E, D>,
    blocks: usize,
) -> Result<Rows<N, E, D>, D::Err> {
    let (batch, width) = *rows.shape();
    rows.try_broadcast_like::<_, Axis<0>>(&(blocks, batch, width))?
        .try_reshape_like(&(blocks * batch, width))
}
