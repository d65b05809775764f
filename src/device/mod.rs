//! What the library asks of a device beyond dfdx: its own numbers, fast paths, and how blocks run side by side.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod execute;
mod images;
mod lanes;
mod real;
mod window;
mod workers;

pub use execute::Execute;
pub use lanes::Lanes;
pub use real::Real;
pub use window::Window;
pub use workers::Workers;

pub(crate) use images::plain_patches;
#[cfg(test)]
pub(crate) use images::{
    plain_average_pool, plain_batch_norm, plain_channels_last, plain_convolution, plain_max_pool,
    plain_scale_and_shift,
};

use std::{any::Any, sync::Mutex};

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::{
    gradient::RUN,
    kernel::Reuse,
    optim::{AdamWStep, SgdStep},
    random,
};

/// A batch of rows, `[batch, N]`, with `N` such as `Const<10>`.
pub type Rows<N, E, D, T = NoneTape> = Tensor<(usize, N), E, D, T>;

/// A batch of rows that carries the tape, in training.
pub type TracedRows<N, E, D> = Rows<N, E, D, OwnedTape<E, D>>;

/// A number that carries the tape: a loss.
pub type TracedScalar<E, D> = Tensor<(), E, D, OwnedTape<E, D>>;

/// A place for a tensor that threads share.
pub(crate) type Place = Mutex<Option<Box<dyn Any + Send>>>;

/// A device that trains blocks: the processor ([`Cpu`]) or, with the feature `cuda`, a GPU.
///
/// The methods have a plain version in dfdx's own operations; a device with a faster one overrides it, and the
/// plain one stays as its test.
pub trait Backend<E: Real>: Device<E> {
    /// Whether work is shared by threads.
    const THREADS: bool = false;

    /// Whether blocks of one kind go faster as one computation than one after the other.
    const STACKS: bool = false;

    /// This device with a random stream of its own, so that what a layer draws (dropout) depends on the seed alone.
    fn seeded(&self, seed: u64) -> Self;

    /// The same numbers as this device's own, so that what a layer draws for them comes from its random stream.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn own<S: Shape>(&self, tensor: &Tensor<S, E, Self>) -> Result<Tensor<S, E, Self>, Self::Err> {
        tensor.try_to_device(self)
    }

    /// While the answer lives, what layers make of batches of `rows` rows on this thread lies in memory that the thread keeps
    /// for the next step. Nothing may draw from the device of such a tensor, since it is no seeded one.
    #[doc(hidden)]
    fn reuse(rows: usize) -> Option<Reuse> {
        let _ = rows;
        None
    }

    /// Normal numbers, as many from each of the streams, one stream's after the other's: made on the device where it can, by what
    /// is left in `kept` for the next time, which depends on the seed alone; else on the host.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn normals<S: Shape>(
        &self,
        (seed, kept): (u64, &mut Option<Lanes<Self>>),
        streams: &mut [ChaCha8Rng],
        shape: S,
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        let _ = (seed, kept);
        let each = shape.num_elements() / streams.len().max(1);
        let all = streams.iter_mut().flat_map(|rng| random::normals(rng, each)).collect();
        self.try_tensor_from_vec(all, shape)
    }

    /// What `make` makes, made once for all threads that ask for it at the same place; where tensors stay on their thread, for
    /// each.
    ///
    /// # Errors
    /// Those of `make`.
    #[doc(hidden)]
    fn shared<S: Shape>(
        place: &Place,
        make: impl FnOnce() -> Result<Tensor<S, E, Self>, Self::Err>,
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        let _ = place;
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
    /// Where `input_gradient` is false nothing will ask for the gradient with respect to x, and a device need not
    /// compute it.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn dense<const I: usize, const O: usize, T: Tape<E, Self>>(
        x: Rows<Const<I>, E, Self, T>,
        weight: &Tensor<Rank2<O, I>, E, Self>,
        bias: &Tensor<Rank1<O>, E, Self>,
        input_gradient: bool,
    ) -> Result<Rows<Const<O>, E, Self, T>, Self::Err> {
        let _ = input_gradient;
        plain_dense(x, weight, bias)
    }

    /// [`dense`](Self::dense) added to `sum`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn dense_onto<const I: usize, const O: usize, T: Tape<E, Self>>(
        x: Rows<Const<I>, E, Self, T>,
        (weight, bias): (&Tensor<Rank2<O, I>, E, Self>, &Tensor<Rank1<O>, E, Self>),
        sum: Rows<Const<O>, E, Self, T>,
        input_gradient: bool,
    ) -> Result<Rows<Const<O>, E, Self, T>, Self::Err> {
        Self::sum(sum, Self::dense(x, weight, bias, input_gradient)?)
    }

    /// Whether [`dense_turned`](Self::dense_turned) is faster than [`dense`](Self::dense).
    #[doc(hidden)]
    const TURNS: bool = false;

    /// Wᵀ, laid out row by row.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn turned<const I: usize, const O: usize>(
        weight: &Tensor<Rank2<O, I>, E, Self>,
    ) -> Result<Tensor<Rank2<I, O>, E, Self>, Self::Err> {
        weight.clone().try_permute::<Rank2<I, O>, _>()?.try_contiguous()
    }

    /// y = x V + b for V = Wᵀ, `[I, O]`, laid out so: [`dense`](Self::dense) without a tape, for many calls with the same weights.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn dense_turned<const I: usize, const O: usize>(
        x: Rows<Const<I>, E, Self>,
        turned: &Tensor<Rank2<I, O>, E, Self>,
        bias: &Tensor<Rank1<O>, E, Self>,
    ) -> Result<Rows<Const<O>, E, Self>, Self::Err> {
        let shape = (x.shape().0, Const::<O>);
        x.try_matmul(turned.clone())?.try_add(bias.clone().try_broadcast_like(&shape)?)
    }

    /// Σ g² over the gradient of one parameter tensor.
    ///
    /// # Errors
    /// The device's own.
    fn squared_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
    ) -> Result<f64, Self::Err> {
        gradients.get_or_alloc_mut(parameter)?;
        let sum = gradients.get(parameter).try_square()?.try_sum::<(), _>()?.as_vec();
        Ok(sum.first().map_or(f64::NAN, |sum| sum.as_f64()))
    }

    /// [sin(t f_k), cos(t f_k)] with f_k = 10000^(−k / (DIM/2 − 1)), `[batch, DIM]`, for the times `[batch]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn time_embedding<const DIM: usize>(
        times: Tensor<(usize,), E, Self>,
    ) -> Result<Rows<Const<DIM>, E, Self>, Self::Err> {
        plain_time_embedding(times)
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
    fn add_row<const N: usize>(
        a: Rows<Const<N>, E, Self>,
        b: Rows<Const<N>, E, Self>,
    ) -> Result<Rows<Const<N>, E, Self>, Self::Err> {
        plain_add_row(a, b)
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
        plain_combined(weight, z, terms)
    }

    /// Whether no number is NaN or infinite.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn is_finite<S: Shape>(z: &Tensor<S, E, Self>) -> Result<bool, Self::Err> {
        plain_is_finite(z)
    }

    /// e^o over its sum, row by row.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn softmax<C: ConstDim, T: Tape<E, Self>>(
        rows: Rows<C, E, Self, T>,
    ) -> Result<Rows<C, E, Self, T>, Self::Err> {
        rows.try_softmax::<Axis<1>>()
    }

    /// The convolution of x: `[batch, H, W, C]` with filters `[O, K, K, C]` and a bias `[O]`, `[batch, OH, OW, O]`:
    /// y_ijo = b_o + Σ_{k l c} f_oklc x_{i S + k − P, j S + l − P, c}, where x is 0 outside of the image.
    ///
    /// # Errors
    /// The device's own, for lack of memory, or for sizes that do not agree.
    fn convolution<X: Shape, F: Shape, B: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        filter: (&Tensor<F, E, Self>, &Tensor<B, E, Self>),
        window: Window,
        shape: Y,
        input_gradient: bool,
    ) -> Result<Tensor<Y, E, Self, T>, Self::Err> {
        images::plain_convolution(x, filter, window, shape, input_gradient)
    }

    /// The largest number of each window, channel by channel; padding counts for nothing.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn max_pool<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        window: Window,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, Self::Err> {
        images::plain_max_pool(x, window, shape)
    }

    /// The mean of each window, channel by channel; padding counts as zeros.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn average_pool<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        window: Window,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, Self::Err> {
        images::plain_average_pool(x, window, shape)
    }

    /// γ (x − μ) / √(σ² + ε) + β over all axes but the last, with μ and the biased σ² of x itself, which come with it.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[allow(clippy::type_complexity)]
    fn batch_norm<S: Shape, C: Shape, T: Tape<E, Self>>(
        x: Tensor<S, E, Self, T>,
        affine: (&Tensor<C, E, Self>, &Tensor<C, E, Self>),
        epsilon: f64,
    ) -> Result<(Tensor<S, E, Self, T>, [Tensor<C, E, Self>; 2]), Self::Err> {
        images::plain_batch_norm(x, affine, epsilon)
    }

    /// x γ + β for each channel, the last axis.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn scale_and_shift<S: Shape, C: Shape>(
        x: Tensor<S, E, Self>,
        factor: &Tensor<C, E, Self>,
        shift: &Tensor<C, E, Self>,
    ) -> Result<Tensor<S, E, Self>, Self::Err> {
        images::plain_scale_and_shift(x, factor, shift)
    }

    /// `[batch, C × pixels]`, a plane for each channel, to `[batch, …, C]`.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn channels_last<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        channels: usize,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, Self::Err> {
        images::plain_channels_last(x, channels, shape)
    }

    /// One AdamW step of one parameter tensor, in place; its gradient is zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn adamw<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), Self::Err> {
        plain_adamw(parameter, gradients, first, second, step)
    }

    /// One step of stochastic gradient descent of one parameter tensor, in place; its gradient is zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn sgd<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), Self::Err> {
        plain_sgd(parameter, gradients, velocity, step)
    }

    /// [`adamw`](Self::adamw) with a gradient that `fill` writes, some numbers at a time from the first to the last.
    ///
    /// # Errors
    /// The device's own.
    fn adamw_by<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), Self::Err> {
        let gradient = filled(first, fill)?;
        plain_adamw_by(parameter, gradient, first, second, step)
    }

    /// [`sgd`](Self::sgd) with a gradient that `fill` writes, some numbers at a time from the first to the last.
    ///
    /// # Errors
    /// The device's own.
    fn sgd_by<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), Self::Err> {
        let gradient = filled(velocity, fill)?;
        plain_sgd_by(parameter, gradient, velocity, step)
    }

    /// Adds the gradient of one parameter tensor in `from` to that in `to`; it is zero afterwards.
    ///
    /// # Errors
    /// The device's own.
    fn move_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        to: &mut Gradients<E, Self>,
        from: &mut Gradients<E, Self>,
    ) -> Result<(), Self::Err> {
        plain_move_gradient(parameter, to, from)
    }

    /// Changes the numbers of a tensor, row-major; in place where the device's memory is the host's.
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
    fn add_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        values: &[E],
    ) -> Result<(), Self::Err> {
        plain_add_gradient(parameter, gradients, values)
    }
}

/// Adds to a gradient in dfdx's own operations: the gradient of ⟨parameter, more⟩ is `more`.
fn add_to_gradient<S: Shape, E: Real, D: Device<E>>(
    parameter: &Tensor<S, E, D>,
    gradients: &mut Gradients<E, D>,
    more: Tensor<S, E, D>,
) -> Result<(), D::Err> {
    let own = std::mem::replace(gradients, Gradients::leaky());
    *gradients = parameter.clone().traced(own).try_mul(more)?.try_sum::<(), _>()?.try_backward()?;
    Ok(())
}

/// Numbers of the host added to a gradient, in dfdx's own operations.
pub(crate) fn plain_add_gradient<S: Shape, E: Real, D: Device<E>>(
    parameter: &Tensor<S, E, D>,
    gradients: &mut Gradients<E, D>,
    values: &[E],
) -> Result<(), D::Err> {
    let values = parameter.device().try_tensor_from_vec(values.to_vec(), *parameter.shape())?;
    add_to_gradient(parameter, gradients, values)
}

/// The weighted sum in dfdx's own operations.
pub(crate) fn plain_combined<S: Shape, E: Real, D: Device<E>>(
    weight: f64,
    z: &Tensor<S, E, D>,
    terms: &[(f64, &Tensor<S, E, D>)],
) -> Result<Tensor<S, E, D>, D::Err> {
    // The product has an id of its own: a clone would share its gradients with z.
    let mut sum = z.clone().try_mul(E::of(weight))?.try_contiguous()?;
    for (weight, term) in terms {
        // A drift may return a broadcast or permuted tensor.
        let term = Tensor::clone(term).try_contiguous()?;
        sum.try_axpy(1.0, &term, *weight)?;
    }
    Ok(sum)
}

/// Whether all numbers are finite, in dfdx's own operations.
pub(crate) fn plain_is_finite<S: Shape, E: Real, D: Device<E>>(
    z: &Tensor<S, E, D>,
) -> Result<bool, D::Err> {
    if z.shape().num_elements() == 0 {
        return Ok(true);
    }
    // 0 times NaN or infinity is NaN, so the sum is 0 or NaN: one number to read.
    let zero = z.clone().try_mul(E::zero())?.try_sum::<(), S::AllAxes>()?;
    Ok(zero.as_vec().iter().all(|sum| *sum == E::zero()))
}

/// A gradient that `fill` writes, as long as `like`.
fn filled<E: Real, D: Device<E>>(
    like: &Tensor<(usize,), E, D>,
    fill: &mut dyn FnMut(&mut [E]),
) -> Result<Tensor<(usize,), E, D>, D::Err> {
    let mut gradient = vec![E::zero(); like.shape().0];
    gradient.chunks_mut(RUN).for_each(fill);
    like.device().try_tensor_from_vec(gradient, *like.shape())
}

/// The dense layer in dfdx's own operations.
pub(crate) fn plain_dense<const I: usize, const O: usize, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Rows<Const<I>, E, D, T>,
    weight: &Tensor<Rank2<O, I>, E, D>,
    bias: &Tensor<Rank1<O>, E, D>,
) -> Result<Rows<Const<O>, E, D, T>, D::Err> {
    let shape = (x.shape().0, Const::<O>);
    x.try_matmul(weight.retaped::<T>().try_permute()?)?
        .try_add(bias.retaped::<T>().try_broadcast_like(&shape)?)
}

/// The sum with one row in dfdx's own operations.
pub(crate) fn plain_add_row<const N: usize, E: Real, D: Device<E>>(
    a: Rows<Const<N>, E, D>,
    b: Rows<Const<N>, E, D>,
) -> Result<Rows<Const<N>, E, D>, D::Err> {
    let shape = *a.shape();
    let row = b.try_sum::<(Const<N>,), Axis<0>>()?;
    a.try_add(row.try_broadcast_like::<_, Axis<0>>(&shape)?)
}

/// The embedding of times in dfdx's own operations.
pub(crate) fn plain_time_embedding<const DIM: usize, E: Real, D: Device<E>>(
    times: Tensor<(usize,), E, D>,
) -> Result<Rows<Const<DIM>, E, D>, D::Err> {
    let half = DIM / 2;
    let spread = half.saturating_sub(1).max(1) as f64;
    let frequency = |k: usize| E::of(10_000f64.powf(-((k % half.max(1)) as f64) / spread));
    // cos x = sin(x + π/2): one table of frequencies, one of phases.
    let phase = |k: usize| E::of(if k < half { 0.0 } else { std::f64::consts::FRAC_PI_2 });
    let (device, shape) = (times.device().clone(), (times.shape().0, Const::<DIM>));
    let row = |value: &dyn Fn(usize) -> E| {
        let row = device.try_tensor_from_vec((0..DIM).map(value).collect(), (Const::<DIM>,))?;
        row.try_broadcast_like::<_, Axis<0>>(&shape)
    };
    let (frequencies, phases) = (row(&frequency)?, row(&phase)?);
    let times = times.try_broadcast_like::<_, Axis<1>>(&shape)?;
    times.try_mul(frequencies)?.try_add(phases)?.try_sin()
}

/// AdamW in dfdx's own operations.
pub(crate) fn plain_adamw<S: Shape, E: Real, D: Device<E>>(
    parameter: &mut Tensor<S, E, D>,
    gradients: &mut Gradients<E, D>,
    first: &mut Tensor<(usize,), E, D>,
    second: &mut Tensor<(usize,), E, D>,
    step: &AdamWStep,
) -> Result<(), D::Err> {
    gradients.get_or_alloc_mut(parameter)?;
    let gradient = spent(parameter, gradients)?.try_reshape_like(first.shape())?;
    plain_adamw_by(parameter, gradient, first, second, step)
}

/// The same with the gradient as a tensor.
pub(crate) fn plain_adamw_by<S: Shape, E: Real, D: Device<E>>(
    parameter: &mut Tensor<S, E, D>,
    gradient: Tensor<(usize,), E, D>,
    first: &mut Tensor<(usize,), E, D>,
    second: &mut Tensor<(usize,), E, D>,
    step: &AdamWStep,
) -> Result<(), D::Err> {
    let gradient = gradient.try_mul(E::of(step.scale))?;
    first.try_axpy(step.beta1, &gradient, 1.0 - step.beta1)?;
    second.try_axpy(step.beta2, &gradient.try_square()?, 1.0 - step.beta2)?;
    let root = second.clone().try_mul(E::of(step.correction2))?.try_sqrt()?;
    let update = first.clone().try_div(root.try_add(E::of(step.epsilon))?)?;
    let shape = *parameter.shape();
    parameter.try_axpy(step.keep, &update.try_reshape_like(&shape)?, -step.rate)
}

/// The move of a gradient in dfdx's own operations.
pub(crate) fn plain_move_gradient<S: Shape, E: Real, D: Device<E>>(
    parameter: &Tensor<S, E, D>,
    to: &mut Gradients<E, D>,
    from: &mut Gradients<E, D>,
) -> Result<(), D::Err> {
    from.get_or_alloc_mut(parameter)?;
    let gradient = spent(parameter, from)?;
    add_to_gradient(parameter, to, gradient)
}

/// A copy of a gradient, which is zero afterwards.
fn spent<S: Shape, E: Real, D: Device<E>>(
    parameter: &Tensor<S, E, D>,
    gradients: &mut Gradients<E, D>,
) -> Result<Tensor<S, E, D>, D::Err> {
    let gradient = gradients.get(parameter);
    parameter.device().try_fill_with_zeros(gradients.get_or_alloc_mut(parameter)?)?;
    Ok(gradient)
}

/// Stochastic gradient descent in dfdx's own operations.
pub(crate) fn plain_sgd<S: Shape, E: Real, D: Device<E>>(
    parameter: &mut Tensor<S, E, D>,
    gradients: &mut Gradients<E, D>,
    velocity: &mut Tensor<(usize,), E, D>,
    step: &SgdStep,
) -> Result<(), D::Err> {
    gradients.get_or_alloc_mut(parameter)?;
    let gradient = spent(parameter, gradients)?.try_reshape_like(velocity.shape())?;
    plain_sgd_by(parameter, gradient, velocity, step)
}

/// The same with the gradient as a tensor.
pub(crate) fn plain_sgd_by<S: Shape, E: Real, D: Device<E>>(
    parameter: &mut Tensor<S, E, D>,
    gradient: Tensor<(usize,), E, D>,
    velocity: &mut Tensor<(usize,), E, D>,
    step: &SgdStep,
) -> Result<(), D::Err> {
    velocity.try_axpy(step.momentum, &gradient, step.scale)?;
    let shape = *parameter.shape();
    parameter.try_axpy(step.keep, &velocity.clone().try_reshape_like(&shape)?, -step.rate)
}
