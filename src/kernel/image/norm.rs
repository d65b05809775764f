//! Batch normalisation, over all but the last axis.

use dfdx::prelude::*;

use super::read;
use crate::{device::Real, kernel::vector::vectorised};

/// y = γ (x − μ) / √(σ² + ε) + β with the batch's own μ and σ² of each channel, which come with it.
///
/// The mean and the variance are summed in f64.
pub(crate) fn batch_norm<S: Shape, C: Shape, E: Real, T: Tape<E, Cpu>>(
    x: Tensor<S, E, Cpu, T>,
    (scale, shift): (&Tensor<C, E, Cpu>, &Tensor<C, E, Cpu>),
    epsilon: f64,
) -> Result<(Tensor<S, E, Cpu, T>, [Tensor<C, E, Cpu>; 2]), CpuError> {
    let (x, mut tape) = x.split_tape();
    let (gamma, beta) = (read(scale)?, read(shift)?);
    let channels = gamma.len();
    let [mean, variance] = moments(read(&x)?, channels);
    let inverse: Vec<E> = variance.iter().map(|v| E::of(1.0 / (v + epsilon).sqrt())).collect();
    let mean: Vec<E> = mean.into_iter().map(E::of).collect();
    let variance: Vec<E> = variance.into_iter().map(E::of).collect();
    let factor: Vec<E> = gamma.iter().zip(&inverse).map(|(g, s)| *g * *s).collect();
    let y = affine(read(&x)?, &mean, &factor, beta);
    let (y_device, shape) = (x.device().clone(), *scale.shape());
    let y = y_device.try_tensor_from_vec(y, *x.shape())?;
    if T::OWNS_TAPE {
        let (scale, shift, y, mean) = (scale.clone(), shift.ghost(), y.ghost(), mean.clone());
        tape.add_backward_op(move |gradients| {
            let dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&y)?);
            let normal = Normal { x: read(&x)?, mean: &mean, inverse: &inverse };
            let [sums, products] = normal.sums(&dy);
            let add = |to: &mut Vec<E>, from: &[E]| {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            };
            add(gradients.get_or_alloc_mut(&scale)?, &products);
            add(gradients.get_or_alloc_mut(&shift)?, &sums);
            normal.backward(
                &dy,
                read(&scale)?,
                [&sums, &products],
                gradients.get_or_alloc_mut(&x)?,
            );
            **gradients.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    let kept = |values| y_device.try_tensor_from_vec(values, shape);
    Ok((y.put_tape(tape), [kept(mean)?, kept(variance)?]))
}

/// x γ + β for each channel, without a tape.
pub(crate) fn scale_and_shift<S: Shape, C: Shape, E: Real>(
    x: &Tensor<S, E, Cpu>,
    factor: &Tensor<C, E, Cpu>,
    shift: &Tensor<C, E, Cpu>,
) -> Result<Tensor<S, E, Cpu>, CpuError> {
    let zeros = vec![E::zero(); factor.shape().num_elements()];
    let y = affine(read(x)?, &zeros, read(factor)?, read(shift)?);
    x.device().try_tensor_from_vec(y, *x.shape())
}

/// (x − mean) · factor + shift.
fn affine<E: Real>(x: &[E], mean: &[E], factor: &[E], shift: &[E]) -> Vec<E> {
    let mut y = x.to_vec();
    vectorised(|| {
        for row in y.chunks_exact_mut(factor.len().max(1)) {
            for (((y, m), f), s) in row.iter_mut().zip(mean).zip(factor).zip(shift) {
                *y = (*y - *m) * *f + *s;
            }
        }
    });
    y
}

/// Mean and variance of each channel, in two passes.
fn moments<E: Real>(x: &[E], channels: usize) -> [Vec<f64>; 2] {
    let count = (x.len() / channels.max(1)).max(1) as f64;
    let mut mean = vec![0.0; channels];
    let mut variance = vec![0.0; channels];
    vectorised(|| {
        for row in x.chunks_exact(channels.max(1)) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.as_f64());
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        for row in x.chunks_exact(channels.max(1)) {
            for ((sum, mean), x) in variance.iter_mut().zip(&mean).zip(row) {
                let off = x.as_f64() - mean;
                *sum += off * off;
            }
        }
        variance.iter_mut().for_each(|sum| *sum /= count);
    });
    [mean, variance]
}

/// x̂ = (x − μ) / √(σ² + ε).
struct Normal<'a, E> {
    x: &'a [E],
    mean: &'a [E],
    inverse: &'a [E],
}

impl<E: Real> Normal<'_, E> {
    /// Σ ∂y and Σ ∂y x̂ of each channel.
    fn sums(&self, dy: &[E]) -> [Vec<E>; 2] {
        let channels = self.mean.len();
        let (mut sums, mut products) = (vec![0.0; channels], vec![0.0; channels]);
        vectorised(|| {
            let rows = dy.chunks_exact(channels.max(1)).zip(self.x.chunks_exact(channels.max(1)));
            for (dy, x) in rows {
                for c in 0..channels {
                    sums[c] += dy[c].as_f64();
                    products[c] += (dy[c] * (x[c] - self.mean[c]) * self.inverse[c]).as_f64();
                }
            }
        });
        [sums, products].map(|sums| sums.into_iter().map(E::of).collect())
    }

    /// ∂x += γ / √(σ² + ε) (∂y − mean ∂y − x̂ mean (∂y x̂)).
    fn backward(&self, dy: &[E], gamma: &[E], [sums, products]: [&[E]; 2], dx: &mut [E]) {
        let channels = self.mean.len();
        let share = E::of(channels as f64 / dy.len().max(1) as f64);
        vectorised(|| {
            let rows = dx.chunks_exact_mut(channels.max(1));
            let rows = rows.zip(dy.chunks_exact(channels.max(1)));
            for ((dx, dy), x) in rows.zip(self.x.chunks_exact(channels.max(1))) {
                for c in 0..channels {
                    let normal = (x[c] - self.mean[c]) * self.inverse[c];
                    let rest = dy[c] - share * sums[c] - normal * share * products[c];
                    dx[c] += gamma[c] * self.inverse[c] * rest;
                }
            }
        });
    }
}
