//! Several blocks of one kind as one computation.

use dfdx::prelude::*;

use super::{BatchNorm, Dense, Operation, Value, train::train};
use crate::device::{Backend, Matrix, Real, StackedWeights, Window, is_countable, plain_patches};

type Traced<E, D> = Matrix<E, D, OwnedTape<E, D>>;

/// A pass through T blocks of one kind at once: their weights lie side by side, `[T, …]`, and their
/// rows one block's after the other's, `[T · batch, …]`. What depends on the input x alone may be
/// there once for all blocks, `[batch, …]`, until the first layer with weights.
pub(crate) struct StackPass<'a, E: Real, D: Backend<E>> {
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
    fn is_shared(&self, rows: usize) -> bool {
        rows == self.batch && self.blocks != 1
    }

    /// The next weights, on a tape of their own; `None` if there are no more, or not as many
    /// numbers.
    #[allow(clippy::type_complexity, reason = "a tensor of the caller's shape, with its tape")]
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

    /// A dense layer of each block on its rows: one batched product, or one product for all blocks
    /// where they share x.
    fn dense(
        &mut self,
        layer: &Dense<E, D>,
        x: Traced<E, D>,
    ) -> Result<Option<Traced<E, D>>, D::Err> {
        self.product(x, layer.inputs(), layer.outputs(), 1)
    }

    /// A convolution of each block on its images, which becomes that product by windows instead of
    /// rows.
    fn convolution(
        &mut self,
        x: Traced<E, D>,
        window: Window,
        filters: usize,
        input_gradient: bool,
    ) -> Result<Option<Traced<E, D>>, D::Err> {
        let images = x.shape().num_elements() / window.image().max(1);
        if !is_countable(images * window.windows() * window.patch()) {
            return Ok(None);
        }
        let patches = plain_patches(x, window, input_gradient)?;
        let (rows, each) = (self.blocks * self.batch, window.windows());
        let Some(y) = self.product(patches, window.patch(), filters, each)? else {
            return Ok(None);
        };
        y.try_reshape_like(&(rows, each * filters)).map(Some)
    }

    /// Batch normalisation of each block by the statistics of its own rows, channels last; the
    /// running ones follow.
    fn batch_norm(
        &mut self,
        norm: &BatchNorm<'_, E, D>,
        x: Traced<E, D>,
    ) -> Result<Option<Traced<E, D>>, D::Err> {
        let (channels, momentum) = (norm.scale.shape().0, norm.momentum);
        let (blocks, shape) = (self.blocks, (self.blocks * self.batch, x.shape().1));
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
        let deviation = variance.try_add(E::of(norm.epsilon))?.try_sqrt()?;
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

    /// The product from `i` numbers to `o`; a row of the batch is `each` rows of it.
    fn product(
        &mut self,
        x: Traced<E, D>,
        i: usize,
        o: usize,
        each: usize,
    ) -> Result<Option<Traced<E, D>>, D::Err> {
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

/// The output of several blocks at once; `operation` is that of one of them. `None` for layers that
/// cannot do it.
pub(crate) fn stacked<E: Real, D: Backend<E>>(
    operation: &mut Operation<'_, E, D>,
    value: Value<E, D, OwnedTape<E, D>>,
    pass: &mut StackPass<'_, E, D>,
) -> Result<Option<Value<E, D, OwnedTape<E, D>>>, D::Err> {
    let output = match (operation, value) {
        (Operation::Sequence(operations) | Operation::Repeated(operations), mut value) => {
            for operation in operations {
                let Some(next) = stacked(operation, value, pass)? else { return Ok(None) };
                value = next;
            }
            return Ok(Some(value));
        }
        (Operation::Condition { z, x, t }, Value::Inputs(inputs)) => {
            let Some(z) = stacked(z, Value::Rows(inputs.z), pass)? else { return Ok(None) };
            let Some(x) = stacked(x, Value::Given(inputs.x), pass)? else { return Ok(None) };
            let ((z, _), (x, _)) = (z.into_rows()?, x.into_rows()?);
            if pass.is_shared(x.shape().0) {
                // Nothing on the way of x has weights: it is there once for all blocks.
                return Ok(None);
            }
            let sum = D::sum(z, x)?;
            match (t, inputs.t) {
                (Some(t), Some(times)) => {
                    let Some(t) = stacked(t, Value::Times(times), pass)? else { return Ok(None) };
                    Some(D::sum(sum, t.into_rows()?.0)?)
                }
                _ => Some(sum),
            }
        }
        (Operation::Residual(branch), value) => {
            let (input, _) = value.into_rows()?;
            let skip = input.with_empty_tape();
            let Some(branch) = stacked(branch, Value::Rows(input), pass)? else { return Ok(None) };
            Some(D::sum(skip, branch.into_rows()?.0)?)
        }
        (Operation::Dense(layer), value) => pass.dense(layer, value.into_rows()?.0)?,
        (Operation::Convolution(layer), value) => {
            let (x, gradient) = value.into_rows()?;
            pass.convolution(x, layer.window, layer.bias.shape().0, gradient)?
        }
        (Operation::BatchNorm(norm), value) => pass.batch_norm(norm, value.into_rows()?.0)?,
        (operation, value) => match operation.has_tensors() {
            true => return Ok(None),
            false => return train(operation, value).map(Some),
        },
    };
    Ok(output.map(Value::Rows))
}

/// Rows of one block for each of `blocks` blocks.
pub(crate) fn repeated<E: Real, D: Backend<E>>(
    rows: Matrix<E, D>,
    blocks: usize,
) -> Result<Matrix<E, D>, D::Err> {
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
        assert!(pass.product(rows, 1, 1, 1).unwrap().is_none());
        assert!(is_countable((1 << 32) - 1) && !is_countable(1 << 32));
    }
}
