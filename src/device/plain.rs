//! What the library asks of a device, in dfdx's own operations: where there is nothing faster, and
//! as the test of what is.

use dfdx::prelude::*;

use super::{Backend, Column, Matrix, Real, TensorMut};
use crate::kernel::{AdamWStep, RUN, SgdStep};

/// Adds to a gradient in dfdx's own operations: the gradient of ⟨parameter, more⟩ is `more`.
fn add_to_gradient<E: Real, D: Device<E>>(
    parameter: &Column<E, D>,
    gradients: &mut Gradients<E, D>,
    more: Column<E, D>,
) -> Result<(), D::Err> {
    let own = std::mem::replace(gradients, Gradients::leaky());
    *gradients = parameter.clone().traced(own).try_mul(more)?.try_sum::<(), _>()?.try_backward()?;
    Ok(())
}

/// Numbers of the host added to a gradient, in dfdx's own operations.
pub(crate) fn plain_add_gradient<E: Real, D: Device<E>>(
    parameter: &Column<E, D>,
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

/// The cross-entropy in dfdx's own operations.
pub(crate) fn plain_cross_entropy<E: Real, D: Device<E>, T: Tape<E, D>>(
    logits: Matrix<E, D, T>,
    targets: Matrix<E, D>,
) -> Result<Column<E, D, T>, D::Err> {
    let picked = logits.try_log_softmax::<Axis<1>>()?.try_mul(targets)?;
    picked.try_sum::<(usize,), Axis<1>>()?.try_negate()
}

/// A gradient that `fill` writes, as long as `like`.
pub(super) fn filled<E: Real, D: Device<E>>(
    like: &Tensor<(usize,), E, D>,
    fill: &mut dyn FnMut(&mut [E]),
) -> Result<Tensor<(usize,), E, D>, D::Err> {
    let mut gradient = vec![E::zero(); like.shape().0];
    gradient.chunks_mut(RUN).for_each(fill);
    like.device().try_tensor_from_vec(gradient, *like.shape())
}

/// The dense layer in dfdx's own operations.
pub(crate) fn plain_dense<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    weight: &Matrix<E, D>,
    bias: &Column<E, D>,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = (x.shape().0, weight.shape().0);
    x.try_matmul(weight.retaped::<T>().try_permute::<(usize, usize), Axes2<1, 0>>()?)?
        .try_add(bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?)
}

/// The sum with one row in dfdx's own operations.
pub(crate) fn plain_add_row<E: Real, D: Device<E>>(
    a: Matrix<E, D>,
    b: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let shape = *a.shape();
    let row = b.try_sum::<(usize,), Axis<0>>()?;
    a.try_add(row.try_broadcast_like::<_, Axis<0>>(&shape)?)
}

/// The embedding of times in dfdx's own operations.
pub(crate) fn plain_time_embedding<E: Real, D: Device<E>>(
    times: Column<E, D>,
    width: usize,
) -> Result<Matrix<E, D>, D::Err> {
    let half = width / 2;
    let spread = half.saturating_sub(1).max(1) as f64;
    let frequency = |k: usize| E::of(10_000f64.powf(-((k % half.max(1)) as f64) / spread));
    // cos x = sin(x + π/2): one table of frequencies, one of phases.
    let phase = |k: usize| E::of(if k < half { 0.0 } else { std::f64::consts::FRAC_PI_2 });
    let (device, shape) = (times.device().clone(), (times.shape().0, width));
    let row = |value: &dyn Fn(usize) -> E| {
        let row = device.try_tensor_from_vec((0..width).map(value).collect(), (width,))?;
        row.try_broadcast_like::<_, Axis<0>>(&shape)
    };
    let (frequencies, phases) = (row(&frequency)?, row(&phase)?);
    let times = times.try_broadcast_like::<_, Axis<1>>(&shape)?;
    times.try_mul(frequencies)?.try_add(phases)?.try_sin()
}

/// AdamW in dfdx's own operations.
pub(crate) fn plain_adamw<E: Real, D: Backend<E>>(
    parameter: &mut dyn TensorMut<E, D>,
    gradients: &mut Gradients<E, D>,
    first: &mut Tensor<(usize,), E, D>,
    second: &mut Tensor<(usize,), E, D>,
    step: &AdamWStep,
) -> Result<(), D::Err> {
    let gradient = spent(&parameter.flat()?, gradients)?;
    plain_adamw_by(parameter, gradient, first, second, step)
}

/// The same with the gradient as a tensor.
pub(crate) fn plain_adamw_by<E: Real, D: Backend<E>>(
    parameter: &mut dyn TensorMut<E, D>,
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
    let mut flat = parameter.flat()?;
    flat.try_axpy(step.keep, &update, -step.rate)?;
    parameter.replace(flat)
}

/// The move of a gradient in dfdx's own operations.
pub(crate) fn plain_move_gradient<E: Real, D: Device<E>>(
    parameter: &Column<E, D>,
    to: &mut Gradients<E, D>,
    from: &mut Gradients<E, D>,
) -> Result<(), D::Err> {
    let gradient = spent(parameter, from)?;
    add_to_gradient(parameter, to, gradient)
}

/// A copy of a gradient, which is zero afterwards.
fn spent<E: Real, D: Device<E>>(
    parameter: &Column<E, D>,
    gradients: &mut Gradients<E, D>,
) -> Result<Column<E, D>, D::Err> {
    gradients.get_or_alloc_mut(parameter)?;
    let gradient = gradients.get(parameter);
    parameter.device().try_fill_with_zeros(gradients.get_or_alloc_mut(parameter)?)?;
    Ok(gradient)
}

/// Stochastic gradient descent in dfdx's own operations.
pub(crate) fn plain_sgd<E: Real, D: Backend<E>>(
    parameter: &mut dyn TensorMut<E, D>,
    gradients: &mut Gradients<E, D>,
    velocity: &mut Tensor<(usize,), E, D>,
    step: &SgdStep,
) -> Result<(), D::Err> {
    let gradient = spent(&parameter.flat()?, gradients)?;
    plain_sgd_by(parameter, gradient, velocity, step)
}

/// The same with the gradient as a tensor.
pub(crate) fn plain_sgd_by<E: Real, D: Backend<E>>(
    parameter: &mut dyn TensorMut<E, D>,
    gradient: Tensor<(usize,), E, D>,
    velocity: &mut Tensor<(usize,), E, D>,
    step: &SgdStep,
) -> Result<(), D::Err> {
    velocity.try_axpy(step.momentum, &gradient, step.scale)?;
    let mut flat = parameter.flat()?;
    flat.try_axpy(step.keep, velocity, -step.rate)?;
    parameter.replace(flat)
}
