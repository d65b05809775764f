//! What the library asks of a device.

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Column, Filters, Lanes, Matrix, Normalised, Real, Rows, SharedSlot, TensorMut, Window, images,
    plain,
};
use crate::{
    kernel::{AdamWStep, Products, Reuse, SgdStep},
    number::Precision,
    random,
};

/// A device that trains blocks: the processor ([`Cpu`]) or, with the feature `cuda`, a GPU.
///
/// The methods have a plain version in dfdx's own operations; a device with a faster one overrides
/// it, and the plain one stays as its test.
pub trait Backend<E: Real>: Device<E> {
    /// A block without its type, as it goes to the device's threads.
    type Block: ?Sized + 'static;

    /// Whether work is shared by threads.
    const THREADS: bool = false;

    /// Whether blocks of one kind go faster as one computation than one after the other.
    const STACKS: bool = false;

    /// This device with a random stream of its own, so that what a layer draws (dropout) depends on
    /// the seed alone.
    fn seeded(&self, seed: u64) -> Self;

    /// The same numbers as this device's own, so that what a layer draws for them comes from its
    /// random stream.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn own<S: Shape>(&self, tensor: &Tensor<S, E, Self>) -> Result<Tensor<S, E, Self>, Self::Err> {
        tensor.try_to_device(self)
    }

    /// While the answer lives, what layers make of batches of `rows` rows on this thread lies in
    /// memory that the thread keeps for the next step. Nothing may draw from the device of such a
    /// tensor, since it is no seeded one.
    #[doc(hidden)]
    fn reuse(rows: usize) -> Option<Reuse> {
        let _ = rows;
        None
    }

    /// While the answer lives, the operands of this thread's large products have this precision;
    /// `None` where this device cannot do that.
    #[doc(hidden)]
    fn products_in(precision: Precision) -> Option<Products> {
        let _ = precision;
        None
    }

    /// Normal numbers, as many from each of the streams, one stream's after the other's: made on
    /// the device where it can, by what is left in `kept` for the next time, which depends on the
    /// seed alone; else on the host.
    #[doc(hidden)]
    fn normals(
        &self,
        seed: u64,
        kept: &mut Option<Lanes<Self>>,
        streams: &mut [ChaCha8Rng],
        shape: (usize, usize),
    ) -> Result<Matrix<E, Self>, Self::Err> {
        let _ = (seed, kept);
        let each = shape.num_elements() / streams.len().max(1);
        let all = streams.iter_mut().flat_map(|rng| random::normals(rng, each)).collect();
        self.try_tensor_from_vec(all, shape)
    }

    /// What `make` makes, made once for all threads that ask for it at the same slot; where tensors
    /// stay on their thread, for each.
    ///
    /// # Errors
    /// Those of `make`.
    #[doc(hidden)]
    fn shared<S: Shape>(
        slot: &SharedSlot,
        make: impl FnOnce() -> Result<Tensor<S, E, Self>, Self::Err>,
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        let _ = slot;
        make()
    }

    /// A tensor whose numbers `fill` writes over zeros, row-major.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn filled<S: Shape>(
        &self,
        shape: S,
        fill: &mut dyn FnMut(&mut [E]),
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        let mut numbers = vec![E::zero(); shape.num_elements()];
        fill(&mut numbers);
        self.try_tensor_from_vec(numbers, shape)
    }

    /// y = x Wᵀ + b, for x: `[batch, I]`, W: `[O, I]`, b: `[O]`.
    ///
    /// Where `input_gradient` is false nothing will ask for the gradient with respect to x, and a
    /// device need not compute it.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn dense<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        weight: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        let _ = input_gradient;
        plain::plain_dense(x, weight, bias)
    }

    /// [`dense`](Self::dense) added to `sum`.
    #[doc(hidden)]
    fn dense_onto<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        weight: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        sum: Matrix<E, Self, T>,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        Self::sum(sum, Self::dense(x, weight, bias, input_gradient)?)
    }

    /// Whether [`dense_transposed`](Self::dense_transposed) is faster than [`dense`](Self::dense).
    const TRANSPOSES: bool = false;

    /// Wᵀ, laid out row by row.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn transposed(weight: &Matrix<E, Self>) -> Result<Matrix<E, Self>, Self::Err> {
        weight.clone().try_permute::<(usize, usize), Axes2<1, 0>>()?.try_contiguous()
    }

    /// y = x V + b for V = Wᵀ, `[I, O]`, laid out so: [`dense`](Self::dense) without a tape, for
    /// many calls with the same weights. It is added to `sum`, if there is one.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn dense_transposed(
        x: Matrix<E, Self>,
        transposed: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        sum: Option<Matrix<E, Self>>,
    ) -> Result<Matrix<E, Self>, Self::Err> {
        let y = x.try_matmul(transposed.clone())?;
        let bias = bias.clone().try_broadcast_like::<_, Axis<0>>(y.shape())?;
        let y = y.try_add(bias)?;
        match sum {
            Some(sum) => Self::sum(sum, y),
            None => Ok(y),
        }
    }

    /// Σ g² over the gradient of one parameter tensor.
    ///
    /// # Errors
    /// The device's own.
    fn squared_gradient(
        parameter: &Column<E, Self>,
        gradients: &mut Gradients<E, Self>,
    ) -> Result<f64, Self::Err> {
        gradients.get_or_alloc_mut(parameter)?;
        let sum = gradients.get(parameter).try_square()?.try_sum::<(), _>()?.as_vec();
        Ok(sum.first().map_or(f64::NAN, |sum| sum.as_f64()))
    }

    /// [sin(t f_k), cos(t f_k)] with f_k = 10000^(−k / (W/2 − 1)), `[batch, W]` for the width W,
    /// for the times `[batch]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn time_embedding(times: Column<E, Self>, width: usize) -> Result<Matrix<E, Self>, Self::Err> {
        plain::plain_time_embedding(times, width)
    }

    /// max(x, 0), element by element.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn relu<S: Shape, T: Tape<E, Self>>(
        x: Tensor<S, E, Self, T>,
    ) -> Result<Tensor<S, E, Self, T>, Self::Err> {
        x.try_relu()
    }

    /// a + b, element by element.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn sum<S: Shape, T: Tape<E, Self>>(
        a: Tensor<S, E, Self, T>,
        b: Tensor<S, E, Self, T>,
    ) -> Result<Tensor<S, E, Self, T>, Self::Err> {
        a.try_add(b)
    }

    /// a + b for a: `[batch, N]` and b: `[1, N]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn add_row(a: Matrix<E, Self>, b: Matrix<E, Self>) -> Result<Matrix<E, Self>, Self::Err> {
        plain::plain_add_row(a, b)
    }

    /// weight · z + Σ weight · term.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn combined<S: Shape>(
        weight: f64,
        z: &Tensor<S, E, Self>,
        terms: &[(f64, &Tensor<S, E, Self>)],
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        plain::plain_combined(weight, z, terms)
    }

    /// Whether no number is NaN or infinite.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn is_finite<S: Shape>(z: &Tensor<S, E, Self>) -> Result<bool, Self::Err> {
        plain::plain_is_finite(z)
    }

    /// e^o over its sum, row by row.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn softmax<C: Dim, T: Tape<E, Self>>(
        rows: Rows<C, E, Self, T>,
    ) -> Result<Rows<C, E, Self, T>, Self::Err> {
        rows.try_softmax::<Axis<1>>()
    }

    /// −Σ_c y_c log softmax(o)_c of each row, for logits o and targets y, `[batch, C]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn cross_entropy<T: Tape<E, Self>>(
        logits: Matrix<E, Self, T>,
        targets: Matrix<E, Self>,
    ) -> Result<Column<E, Self, T>, Self::Err> {
        plain::plain_cross_entropy(logits, targets)
    }

    /// The convolution of x: `[batch, H, W, C]` with filters `[O, K, K, C]` and a bias `[O]`,
    /// `[batch, OH, OW, O]`: y_ijo = b_o + Σ f_oklc x[i S + k − P, j S + l − P, c] over k, l, c, where
    /// x is 0 outside of the image.
    ///
    /// # Errors
    /// The device's own, for lack of memory, or for sizes that do not agree.
    fn convolution<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        filter: &Filters<E, Self>,
        bias: &Column<E, Self>,
        window: Window,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        images::plain_convolution(x, filter, bias, window, input_gradient)
    }

    /// The largest number of each window, channel by channel; padding counts for nothing.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn max_pool<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        window: Window,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        images::plain_max_pool(x, window)
    }

    /// The mean of each window, channel by channel; padding counts as zeros.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn average_pool<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        window: Window,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        images::plain_average_pool(x, window)
    }

    /// γ (x − μ) / √(σ² + ε) + β over all axes but the last, with μ and the biased σ² of x itself,
    /// which come with it.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn batch_norm<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        scale: &Column<E, Self>,
        shift: &Column<E, Self>,
        epsilon: f64,
    ) -> Result<Normalised<E, Self, T>, Self::Err> {
        images::plain_batch_norm(x, scale, shift, epsilon)
    }

    /// x γ + β for each channel, the last axis.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn scale_and_shift(
        x: Matrix<E, Self>,
        factor: &Column<E, Self>,
        shift: &Column<E, Self>,
    ) -> Result<Matrix<E, Self>, Self::Err> {
        images::plain_scale_and_shift(x, factor, shift)
    }

    /// `[batch, C × pixels]`, a plane for each channel, to `[batch, …, C]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn channels_last<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        channels: usize,
    ) -> Result<Matrix<E, Self, T>, Self::Err> {
        images::plain_channels_last(x, channels)
    }

    /// One AdamW step of one parameter tensor, in place; its gradient is zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn adamw(
        parameter: &mut dyn TensorMut<E, Self>,
        gradients: &mut Gradients<E, Self>,
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), Self::Err> {
        plain::plain_adamw(parameter, gradients, first, second, step)
    }

    /// One step of stochastic gradient descent of one parameter tensor, in place; its gradient is
    /// zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn sgd(
        parameter: &mut dyn TensorMut<E, Self>,
        gradients: &mut Gradients<E, Self>,
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), Self::Err> {
        plain::plain_sgd(parameter, gradients, velocity, step)
    }

    /// [`adamw`](Self::adamw) with a gradient that `fill` writes, some numbers at a time from the
    /// first to the last.
    ///
    /// # Errors
    /// The device's own.
    fn adamw_by(
        parameter: &mut dyn TensorMut<E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), Self::Err> {
        let gradient = plain::filled(first, fill)?;
        plain::plain_adamw_by(parameter, gradient, first, second, step)
    }

    /// [`sgd`](Self::sgd) with a gradient that `fill` writes, some numbers at a time from the first
    /// to the last.
    ///
    /// # Errors
    /// The device's own.
    fn sgd_by(
        parameter: &mut dyn TensorMut<E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), Self::Err> {
        let gradient = plain::filled(velocity, fill)?;
        plain::plain_sgd_by(parameter, gradient, velocity, step)
    }

    /// Adds the gradient of one parameter tensor in `from` to that in `to`; it is zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn move_gradient(
        parameter: &Column<E, Self>,
        to: &mut Gradients<E, Self>,
        from: &mut Gradients<E, Self>,
    ) -> Result<(), Self::Err> {
        plain::plain_move_gradient(parameter, to, from)
    }

    /// Changes the numbers of a tensor, row-major; in place where the device's memory is the
    /// host's.
    ///
    /// # Errors
    /// The device's own.
    fn change<S: Shape>(
        tensor: &mut Tensor<S, E, Self>,
        change: &mut dyn FnMut(&mut [E]),
    ) -> Result<(), Self::Err> {
        let mut numbers = tensor.as_vec();
        change(&mut numbers);
        tensor.copy_from(&numbers);
        Ok(())
    }

    /// Adds `values`, one for each number of the parameter, to its gradient.
    ///
    /// # Errors
    /// The device's own.
    fn add_gradient(
        parameter: &Column<E, Self>,
        gradients: &mut Gradients<E, Self>,
        values: &[E],
    ) -> Result<(), Self::Err> {
        plain::plain_add_gradient(parameter, gradients, values)
    }
}
