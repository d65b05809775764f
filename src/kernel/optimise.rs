//! Optimiser steps in place, one pass over memory.

use dfdx::prelude::*;
use num_traits::Float;
use rayon::prelude::*;

use super::{
    vector::{piece, threads, vectorised},
    view::elements_mut,
};
use crate::{
    device::Real,
    gradient::RUN,
    optim::{AdamWStep, SgdStep},
};

/// 0 in the place of a number too small for the processor's fast path. The means of a unit that gets no gradient any more
/// fall to there and stay, since the least number times 0.9 rounds to itself; each of them costs a hundred cycles a step.
#[inline(always)]
fn flushed<E: Real>(mean: E) -> E {
    if mean.abs() < E::min_positive_value() { E::zero() } else { mean }
}

/// Σ g², in several sums side by side, which one after the other would wait for each other.
pub(crate) fn squared_gradient<S: Shape, E: Real>(
    parameter: &Tensor<S, E, Cpu>,
    gradients: &mut Gradients<E, Cpu>,
) -> Result<f64, CpuError> {
    /// A sum for each of these, whatever the number of threads.
    const PIECE: usize = 1 << 16;
    let gradient: &[E] = gradients.get_or_alloc_mut(parameter)?;
    let sum = |piece| vectorised(|| squares(piece));
    if gradient.len() <= PIECE || threads() == 1 {
        return Ok(gradient.chunks(PIECE).map(sum).sum());
    }
    let sums: Vec<f64> = gradient.par_chunks(PIECE).map(sum).collect();
    Ok(sums.into_iter().sum())
}

/// Adds `values` to the gradient.
pub(crate) fn add_gradient<S: Shape, E: Real>(
    parameter: &Tensor<S, E, Cpu>,
    gradients: &mut Gradients<E, Cpu>,
    values: &[E],
) -> Result<(), CpuError> {
    let gradient: &mut [E] = gradients.get_or_alloc_mut(parameter)?;
    gradient.iter_mut().zip(values).for_each(|(gradient, value)| *gradient += *value);
    Ok(())
}

/// to ← to + from, of one parameter; from ← 0.
pub(crate) fn move_gradient<S: Shape, E: Real>(
    parameter: &Tensor<S, E, Cpu>,
    to: &mut Gradients<E, Cpu>,
    from: &mut Gradients<E, Cpu>,
) -> Result<(), CpuError> {
    let (to, from) = (to.get_or_alloc_mut(parameter)?, from.get_or_alloc_mut(parameter)?);
    let add = |to: &mut [E], from: &mut [E]| {
        vectorised(|| {
            for (to, from) in to.iter_mut().zip(from) {
                *to += *from;
                *from = E::zero();
            }
        });
    };
    let each = piece(to.len());
    if each >= to.len() {
        add(to, from);
    } else {
        let pieces = to.par_chunks_mut(each).zip(from.par_chunks_mut(each));
        pieces.for_each(|(to, from)| add(to, from));
    }
    Ok(())
}

#[inline(always)]
fn squares<E: Real>(gradient: &[E]) -> f64 {
    const LANES: usize = 32;
    let mut total = 0.0;
    // Short runs in the gradient's own type, so that the rounding of a long sum does not matter.
    for run in gradient.chunks(LANES * 64) {
        let (lanes, rest) = run.as_chunks::<LANES>();
        let mut sums = [E::zero(); LANES];
        for lane in lanes {
            sums.iter_mut().zip(lane).for_each(|(sum, &g)| *sum += g * g);
        }
        total += sums.iter().map(|sum| sum.as_f64()).sum::<f64>();
        total += rest.iter().map(|&g| (g * g).as_f64()).sum::<f64>();
    }
    total
}

/// AdamW on some numbers of a tensor.
#[derive(Clone, Copy)]
struct AdamWRun<E> {
    b1: E,
    b2: E,
    c1: E,
    c2: E,
    rate: E,
    keep: E,
    epsilon: E,
    correction2: E,
    scale: E,
}

impl<E: Real> AdamWRun<E> {
    fn new(step: &AdamWStep) -> Self {
        Self {
            b1: E::of(step.beta1),
            b2: E::of(step.beta2),
            c1: E::of(1.0 - step.beta1),
            c2: E::of(1.0 - step.beta2),
            rate: E::of(step.rate),
            keep: E::of(step.keep),
            epsilon: E::of(step.epsilon),
            correction2: E::of(step.correction2),
            scale: E::of(step.scale),
        }
    }

    fn update(self, p: &mut [E], m: &mut [E], v: &mut [E], g: &mut [E]) {
        let Self { b1, b2, c1, c2, rate, keep, epsilon, correction2, scale } = self;
        vectorised(|| {
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                let scaled = scale * *g;
                *g = E::zero();
                *m = flushed(b1 * *m + c1 * scaled);
                *v = flushed(b2 * *v + c2 * scaled * scaled);
                *p = keep * *p - rate * *m / (Float::sqrt(correction2 * *v) + epsilon);
            }
        });
    }
}

/// AdamW; the gradient is zero afterwards. A tensor whose gradient is exactly zero took no part and stays as it is.
pub(crate) fn adamw<S: Shape, E: Real>(
    parameter: &mut Tensor<S, E, Cpu>,
    gradients: &mut Gradients<E, Cpu>,
    first: &mut Tensor<(usize,), E, Cpu>,
    second: &mut Tensor<(usize,), E, Cpu>,
    step: &AdamWStep,
) -> Result<(), CpuError> {
    let gradient = gradients.get_or_alloc_mut(parameter)?;
    if gradient.iter().all(|g| *g == E::zero()) {
        return Ok(());
    }
    let (Some(p), Some(m), Some(v)) =
        (elements_mut(parameter), elements_mut(first), elements_mut(second))
    else {
        return Err(CpuError::WrongNumElements);
    };
    let (run, each) = (AdamWRun::new(step), piece(p.len()));
    if each >= p.len() {
        run.update(p, m, v, gradient);
    } else {
        let moments = m.par_chunks_mut(each).zip(v.par_chunks_mut(each));
        p.par_chunks_mut(each)
            .zip(moments)
            .zip(gradient.par_chunks_mut(each))
            .for_each(|((p, (m, v)), g)| run.update(p, m, v, g));
    }
    Ok(())
}

/// AdamW with a gradient that is made as it goes.
pub(crate) fn adamw_by<S: Shape, E: Real>(
    parameter: &mut Tensor<S, E, Cpu>,
    fill: &mut dyn FnMut(&mut [E]),
    first: &mut Tensor<(usize,), E, Cpu>,
    second: &mut Tensor<(usize,), E, Cpu>,
    step: &AdamWStep,
) -> Result<(), CpuError> {
    let (Some(p), Some(m), Some(v)) =
        (elements_mut(parameter), elements_mut(first), elements_mut(second))
    else {
        return Err(CpuError::WrongNumElements);
    };
    let (run, mut gradient) = (AdamWRun::new(step), [E::zero(); RUN]);
    for ((p, m), v) in p.chunks_mut(RUN).zip(m.chunks_mut(RUN)).zip(v.chunks_mut(RUN)) {
        let gradient = &mut gradient[..p.len()];
        fill(gradient);
        run.update(p, m, v, gradient);
    }
    Ok(())
}

/// Stochastic gradient descent; the gradient is zero afterwards. A tensor whose gradient is exactly zero took no part and stays as it is.
pub(crate) fn sgd<S: Shape, E: Real>(
    parameter: &mut Tensor<S, E, Cpu>,
    gradients: &mut Gradients<E, Cpu>,
    velocity: &mut Tensor<(usize,), E, Cpu>,
    step: &SgdStep,
) -> Result<(), CpuError> {
    let gradient = gradients.get_or_alloc_mut(parameter)?;
    if gradient.iter().all(|g| *g == E::zero()) {
        return Ok(());
    }
    let (Some(p), Some(u)) = (elements_mut(parameter), elements_mut(velocity)) else {
        return Err(CpuError::WrongNumElements);
    };
    descend(p, u, gradient, step);
    Ok(())
}

/// Stochastic gradient descent with a gradient that is made as it goes.
pub(crate) fn sgd_by<S: Shape, E: Real>(
    parameter: &mut Tensor<S, E, Cpu>,
    fill: &mut dyn FnMut(&mut [E]),
    velocity: &mut Tensor<(usize,), E, Cpu>,
    step: &SgdStep,
) -> Result<(), CpuError> {
    let (Some(p), Some(u)) = (elements_mut(parameter), elements_mut(velocity)) else {
        return Err(CpuError::WrongNumElements);
    };
    let mut gradient = [E::zero(); RUN];
    for (p, u) in p.chunks_mut(RUN).zip(u.chunks_mut(RUN)) {
        let gradient = &mut gradient[..p.len()];
        fill(gradient);
        descend(p, u, gradient, step);
    }
    Ok(())
}

fn descend<E: Real>(p: &mut [E], u: &mut [E], gradient: &mut [E], step: &SgdStep) {
    let (rate, keep, momentum) = (E::of(step.rate), E::of(step.keep), E::of(step.momentum));
    let scale = E::of(step.scale);
    vectorised(|| {
        for ((p, u), g) in p.iter_mut().zip(u).zip(gradient.iter_mut()) {
            *u = flushed(momentum * *u + scale * *g);
            *g = E::zero();
            *p = keep * *p - rate * *u;
        }
    });
}
