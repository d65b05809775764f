//! Batch normalisation, over all but the last axis.

use dfdx::prelude::*;

use super::read;
use crate::{
    kernel::buffer::{filled, spent},
    number::Real,
    rows::{Column, Matrix},
};

/// y = γ (x − μ) / √(σ² + ε) + β with the batch's own μ and σ² of each channel, which come with it.
///
/// The mean and the variance are summed in f64.
pub(crate) fn batch_norm<E: Real, T: Tape<E, Cpu>>(
    x: Matrix<E, Cpu, T>,
    scale: &Column<E, Cpu>,
    shift: &Column<E, Cpu>,
    epsilon: f64,
) -> Result<(Matrix<E, Cpu, T>, [Column<E, Cpu>; 2]), CpuError> {
    let (x, mut tape) = x.split_tape();
    let (gamma, beta) = (read(scale)?, read(shift)?);
    let channels = gamma.len();
    let [mean, variance] = moments(read(&x)?, channels);
    let inverse: Vec<E> = variance.iter().map(|v| E::of(1.0 / (v + epsilon).sqrt())).collect();
    let mean: Vec<E> = mean.into_iter().map(E::of).collect();
    let variance: Vec<E> = variance.into_iter().map(E::of).collect();
    let factor: Vec<E> = gamma.iter().zip(&inverse).map(|(g, s)| *g * *s).collect();
    let y = affine(&x, &mean, &factor, beta)?;
    // Not that of x: these two outlive the step.
    let (device, shape) = (scale.device().clone(), *scale.shape());
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
            **gradients.get_or_alloc_mut(&y)? = spent(dy);
            Ok(())
        });
    }
    let kept = |values| device.try_tensor_from_vec(values, shape);
    Ok((y.put_tape(tape), [kept(mean)?, kept(variance)?]))
}

/// x γ + β for each channel, without a tape.
pub(crate) fn scale_and_shift<E: Real>(
    x: &Matrix<E, Cpu>,
    factor: &Column<E, Cpu>,
    shift: &Column<E, Cpu>,
) -> Result<Matrix<E, Cpu>, CpuError> {
    let zeros = vec![E::zero(); factor.shape().num_elements()];
    affine(x, &zeros, read(factor)?, read(shift)?)
}

/// (x − mean) · factor + shift.
fn affine<E: Real>(
    x: &Matrix<E, Cpu>,
    mean: &[E],
    factor: &[E],
    shift: &[E],
) -> Result<Matrix<E, Cpu>, CpuError> {
    let from = read(x)?;
    filled(x.device(), *x.shape(), |y| {
        y.copy_from_slice(from);
        transform(y, mean, factor, shift);
        Ok(())
    })
}

#[pulp::with_simd(transform = crate::kernel::instructions::arch())]
#[inline(always)]
fn transform_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    y: &'a mut [E],
    mean: &'a [E],
    factor: &'a [E],
    shift: &'a [E],
) {
    for row in y.chunks_exact_mut(factor.len().max(1)) {
        for (((y, m), f), s) in row.iter_mut().zip(mean).zip(factor).zip(shift) {
            *y = (*y - *m) * *f + *s;
        }
    }
}

/// Mean and variance of each channel, in two passes.
fn moments<E: Real>(x: &[E], channels: usize) -> [Vec<f64>; 2] {
    let count = (x.len() / channels.max(1)).max(1) as f64;
    let nothing = vec![0.0; channels];
    let mean = plain_sums(x, &nothing);
    let mean: Vec<f64> = mean.into_iter().map(|sum| sum / count).collect();
    let squares = square_sums(x, &mean);
    [mean, squares.into_iter().map(|sum| sum / count).collect()]
}

#[pulp::with_simd(plain_sums = crate::kernel::instructions::arch())]
#[inline(always)]
fn plain_sums_simd<'a, S: pulp::Simd, E: Real>(_: S, x: &'a [E], mean: &'a [f64]) -> Vec<f64> {
    sums(x, mean, |off| off)
}

#[pulp::with_simd(square_sums = crate::kernel::instructions::arch())]
#[inline(always)]
fn square_sums_simd<'a, S: pulp::Simd, E: Real>(_: S, x: &'a [E], mean: &'a [f64]) -> Vec<f64> {
    sums(x, mean, |off| off * off)
}

/// Σ f(x − μ) of each channel: in x's own type over some rows, and these in f64, so that a long sum
/// does not lose its end.
#[inline(always)]
fn sums<E: Real>(x: &[E], mean: &[f64], f: impl Fn(E) -> E) -> Vec<f64> {
    let channels = mean.len();
    let from: Vec<E> = mean.iter().map(|mean| E::of(*mean)).collect();
    let (mut total, mut some) = (vec![0.0; channels], vec![E::zero(); channels]);
    for rows in x.chunks(RUN * channels.max(1)) {
        for row in rows.chunks_exact(channels.max(1)) {
            for ((sum, mean), x) in some.iter_mut().zip(&from).zip(row) {
                *sum += f(*x - *mean);
            }
        }
        for (total, some) in total.iter_mut().zip(&mut some) {
            *total += some.as_f64();
            *some = E::zero();
        }
    }
    total
}

/// Rows that are summed in their own type.
const RUN: usize = 64;

/// x̂ = (x − μ) / √(σ² + ε).
struct Normal<'a, E> {
    x: &'a [E],
    mean: &'a [E],
    inverse: &'a [E],
}

impl<E: Real> Normal<'_, E> {
    /// Σ ∂y and Σ ∂y x̂ of each channel.
    fn sums(&self, dy: &[E]) -> [Vec<E>; 2] {
        both_sums(dy, self.x, self.mean, self.inverse)
            .map(|sums| sums.into_iter().map(E::of).collect())
    }

    /// ∂x += γ / √(σ² + ε) (∂y − mean ∂y − x̂ mean (∂y x̂)).
    fn backward(&self, dy: &[E], gamma: &[E], [sums, products]: [&[E]; 2], dx: &mut [E]) {
        let share = E::of(self.mean.len() as f64 / dy.len().max(1) as f64);
        let each = |f: &dyn Fn(usize) -> E| (0..self.mean.len()).map(f).collect::<Vec<E>>();
        // As a ∂y + b x + c.
        let a = each(&|c| gamma[c] * self.inverse[c]);
        let b = each(&|c| -a[c] * self.inverse[c] * share * products[c]);
        let c = each(&|c| -a[c] * share * sums[c] - b[c] * self.mean[c]);
        add_linear(dx, dy, self.x, [&a, &b, &c]);
    }
}

/// Σ ∂y and Σ ∂y x̂ of each channel.
#[pulp::with_simd(both_sums = crate::kernel::instructions::arch())]
#[inline(always)]
fn both_sums_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    dy: &'a [E],
    x: &'a [E],
    mean: &'a [E],
    inverse: &'a [E],
) -> [Vec<f64>; 2] {
    let c = mean.len();
    let (mut total, mut totals) = (vec![0.0; c], vec![0.0; c]);
    let (mut sum, mut product) = (vec![E::zero(); c], vec![E::zero(); c]);
    for (dy, x) in dy.chunks(RUN * c.max(1)).zip(x.chunks(RUN * c.max(1))) {
        for (dy, x) in dy.chunks_exact(c.max(1)).zip(x.chunks_exact(c.max(1))) {
            let sums = sum.iter_mut().zip(&mut product).zip(dy.iter().zip(x));
            for (((sum, product), (dy, x)), mean) in sums.zip(mean) {
                *sum += *dy;
                *product += *dy * (*x - *mean);
            }
        }
        for (total, sum) in total.iter_mut().zip(&mut sum) {
            *total += std::mem::replace(sum, E::zero()).as_f64();
        }
        for (total, product) in totals.iter_mut().zip(&mut product) {
            *total += std::mem::replace(product, E::zero()).as_f64();
        }
    }
    totals.iter_mut().zip(inverse).for_each(|(total, s)| *total *= s.as_f64());
    [total, totals]
}

/// dx ← dx + a ∂y + b x + c, channel by channel.
#[pulp::with_simd(add_linear = crate::kernel::instructions::arch())]
#[inline(always)]
fn add_linear_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    dx: &'a mut [E],
    dy: &'a [E],
    x: &'a [E],
    of: [&'a [E]; 3],
) {
    let [a, b, c] = of;
    let channels = a.len().max(1);
    let rows = dx.chunks_exact_mut(channels).zip(dy.chunks_exact(channels));
    for ((dx, dy), x) in rows.zip(x.chunks_exact(channels)) {
        let numbers = dx.iter_mut().zip(dy).zip(x);
        for (((dx, dy), x), ((a, b), c)) in numbers.zip(a.iter().zip(b).zip(c)) {
            *dx += *a * *dy + *b * *x + *c;
        }
    }
}
