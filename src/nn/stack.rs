//! Several blocks of one kind as one computation.

use std::ops::Range;

use dfdx::prelude::*;

use crate::device::{Backend, Real, Rows, TracedRows, Window, plain_patches};

/// The weights of one layer's parameter in T blocks: some of the columns of `[T, …]`.
#[derive(Clone)]
pub(crate) struct StackedWeights<'a, E: Real, D: Backend<E>> {
    pub(crate) all: &'a Tensor<(usize, usize), E, D>,
    pub(crate) own: Range<usize>,
}

impl<E: Real, D: Backend<E>> StackedWeights<'_, E, D> {
    /// `[T, numbers]`, on a tape of their own.
    #[allow(clippy::type_complexity)]
    fn traced(&self) -> Result<Tensor<(usize, usize), E, D, OwnedTape<E, D>>, D::Err> {
        let (blocks, width) = *self.all.shape();
        let all = self.all.retaped::<OwnedTape<E, D>>();
        if self.own.len() == width {
            return Ok(all);
        }
        all.try_slice((0..blocks, self.own.clone()))
    }
}

/// A pass through T blocks of one kind at once: their weights lie side by side, `[T, …]`, and their rows one block's after the
/// other's, `[T · batch, …]`. What depends on the input x alone may be there once for all blocks, `[batch, …]`, until the first
/// layer with weights.
pub struct StackPass<'a, E: Real, D: Backend<E>> {
    blocks: usize,
    batch: usize,
    /// In the order in which dfdx visits them, which is that of the layers.
    weights: std::slice::Iter<'a, StackedWeights<'a, E, D>>,
    /// The same for what is not trained: running statistics.
    running: std::slice::Iter<'a, Tensor<(usize, usize), E, D>>,
    /// What becomes of those in this pass.
    moved: Vec<Tensor<(usize, usize), E, D>>,
}

impl<'a, E: Real, D: Backend<E>> StackPass<'a, E, D> {
    pub(crate) fn new(
        blocks: usize,
        batch: usize,
        weights: &'a [StackedWeights<'a, E, D>],
        running: &'a [Tensor<(usize, usize), E, D>],
    ) -> Self {
        let moved = Vec::with_capacity(running.len());
        Self { blocks, batch, weights: weights.iter(), running: running.iter(), moved }
    }

    /// The running statistics after this pass; `None` if a layer has left out its own.
    pub(crate) fn moved(self) -> Option<Vec<Tensor<(usize, usize), E, D>>> {
        (self.running.len() == 0).then_some(self.moved)
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
            Some(next) if self.blocks * next.own.len() == shape.num_elements() => {
                next.traced()?.try_reshape_like(&shape).map(Some)
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
        let Some(y) = self.product(x, [I, O], 1)? else { return Ok(None) };
        y.try_reshape_like(&(self.blocks * self.batch, Const::<O>)).map(Some)
    }

    /// A convolution of each block on its images, which becomes that product by windows in the place of rows.
    pub(super) fn convolution<X: Shape, Y: Shape>(
        &mut self,
        x: Tensor<X, E, D, OwnedTape<E, D>>,
        (window, input_gradient): (Window, bool),
        shape: impl FnOnce(usize) -> Y,
    ) -> Result<Option<Tensor<Y, E, D, OwnedTape<E, D>>>, D::Err> {
        if !is_countable(
            x.shape().num_elements() / window.image().max(1) * window.windows() * window.patch(),
        ) {
            return Ok(None);
        }
        let patches = plain_patches(x, window, input_gradient)?;
        let shape = shape(self.blocks * self.batch);
        let images = self.blocks * self.batch * window.windows();
        let sizes = [window.patch(), shape.num_elements() / images.max(1)];
        let Some(y) = self.product(patches, sizes, window.windows())? else { return Ok(None) };
        y.try_reshape_like(&shape).map(Some)
    }

    /// Batch normalisation of each block by the statistics of its own rows, channels last; the running ones follow by
    /// `momentum`.
    #[allow(clippy::type_complexity)]
    pub(super) fn batch_norm<X: Shape, Y: Shape>(
        &mut self,
        x: Tensor<X, E, D, OwnedTape<E, D>>,
        (channels, epsilon, momentum): (usize, f64, f64),
        shape: impl FnOnce(usize) -> Y,
    ) -> Result<Option<Tensor<Y, E, D, OwnedTape<E, D>>>, D::Err> {
        let (blocks, shape) = (self.blocks, shape(self.blocks * self.batch));
        let count = shape.num_elements() / (blocks * channels).max(1);
        let like = (blocks, count, channels);
        let x = if x.shape().num_elements() < shape.num_elements() {
            x.try_reshape_like(&(count, channels))?.try_broadcast_like::<_, Axis<0>>(&like)?
        } else {
            x.try_reshape_like(&like)?
        };
        let scale = self.next((blocks, channels))?;
        let (Some(scale), Some(shift)) = (scale, self.next((blocks, channels))?) else {
            return Ok(None);
        };
        let mean = x.with_empty_tape().try_mean::<(usize, usize), Axis<1>>()?;
        let kept_mean = mean.retaped::<NoneTape>();
        let off = x.try_sub(mean.try_broadcast_like::<_, Axis<1>>(&like)?)?;
        let variance = off.with_empty_tape().try_square()?;
        let variance = variance.try_mean::<(usize, usize), Axis<1>>()?;
        let kept_variance = variance.retaped::<NoneTape>();
        let deviation = variance.try_add(E::of(epsilon))?.try_sqrt()?;
        let y = off
            .try_div(deviation.try_broadcast_like::<_, Axis<1>>(&like)?)?
            .try_mul(scale.try_broadcast_like::<_, Axis<1>>(&like)?)?
            .try_add(shift.try_broadcast_like::<_, Axis<1>>(&like)?)?;
        // One number says nothing of the variance.
        let unbiased = if count > 1 { count as f64 / (count - 1) as f64 } else { 0.0 };
        let forget = if count > 1 { momentum } else { 0.0 };
        for (new, keep, share) in [
            (kept_mean, 1.0 - momentum, momentum),
            (kept_variance, 1.0 - forget, momentum * unbiased),
        ] {
            let Some(old) = self.running.next() else { return Ok(None) };
            let mut moved = old.clone();
            moved.try_axpy(keep, &new, share)?;
            self.moved.push(moved);
        }
        y.try_reshape_like(&shape).map(Some)
    }

    /// The product with sizes that are numbers, compiled once and not for each layer; `each` is how many rows of it one of the
    /// batch has.
    #[allow(clippy::type_complexity)]
    fn product(
        &mut self,
        x: Tensor<(usize, usize), E, D, OwnedTape<E, D>>,
        [i, o]: [usize; 2],
        each: usize,
    ) -> Result<Option<Tensor<(usize, usize), E, D, OwnedTape<E, D>>>, D::Err> {
        let (blocks, batch) = (self.blocks, self.batch * each);
        if !is_countable(x.shape().0 * i) || !is_countable(blocks * batch * o) {
            return Ok(None);
        }
        let product = if self.is_shared(x.shape().0 / each.max(1)) {
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

/// Whether dfdx's kernels for a GPU can count that many numbers: they do so in 32 bits, and would go on from 0.
pub(crate) fn is_countable(numbers: usize) -> bool {
    u32::try_from(numbers).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_than_kernels_count_are_no_stack() {
        let dev = Cpu::default();
        let one = dev.zeros_like(&(1, 1));
        let weights = [(); 2].map(|()| StackedWeights { all: &one, own: 0..1 });
        let mut pass = StackPass::<f32, Cpu>::new(1, 1 << 32, &weights, &[]);
        // One number, seen as so many.
        let row: Tensor<(usize,), f32, Cpu> = dev.zeros_like(&(1,));
        let rows = row.broadcast_like::<_, Axis<0>>(&(1 << 32, 1)).leaky_trace();
        assert!(pass.product(rows, [1, 1], 1).unwrap().is_none());
        assert!(is_countable((1 << 32) - 1) && !is_countable(1 << 32));
    }
}
