//! Optimiser steps in place, one pass over memory.

use dfdx::prelude::*;
use num_traits::Float;
use rayon::prelude::*;

use super::vector::{piece, threads, vectorised};
use crate::{number::Real, rows::Column};

/// What one step of AdamW needs, with all that depends on the step number worked out.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε.
    pub epsilon: f64,
    /// η / (1 − β₁ᵏ).
    pub rate: f64,
    /// 1 / (1 − β₂ᵏ).
    pub correction2: f64,
    /// 1 − η λ.
    pub keep: f64,
    /// What the gradient is multiplied by first: 1 unless it is clipped.
    pub scale: f64,
}

/// What one step of stochastic gradient descent needs.
#[derive(Clone, Copy, Debug)]
pub struct SgdStep {
    /// η.
    pub rate: f64,
    /// μ.
    pub momentum: f64,
    /// 1 − η λ.
    pub keep: f64,
    /// What the gradient is multiplied by first: 1 unless it is clipped.
    pub scale: f64,
}

/// How many numbers of a streamed gradient are made at a time: a multiple of the 64 signs that one
/// draw gives, so that runs of this length and a whole tensor get the same.
pub(crate) const RUN: usize = 4096;

/// 0 instead of a number too small for the processor's fast path. The means of a unit that gets no
/// gradient any more fall to there and stay, since the least number times 0.9 rounds to itself;
/// each of them costs a hundred cycles a step.
#[inline(always)]
fn flushed<E: Real>(mean: E) -> E {
    if mean.abs() < E::min_positive_value() { E::zero() } else { mean }
}

/// The gradient of a parameter, made if there is none yet.
pub(crate) fn gradient<'a, E: Real>(
    gradients: &'a mut Gradients<E, Cpu>,
    parameter: &Column<E, Cpu>,
) -> Result<&'a mut [E], CpuError> {
    Ok(gradients.get_or_alloc_mut(parameter)?)
}

/// Σ g², in several sums side by side, which one after the other would wait for each other.
pub(crate) fn sum_of_squares<E: Real>(gradient: &[E]) -> f64 {
    /// A sum for each of these, whatever the number of threads.
    const PIECE: usize = 1 << 16;
    let sum = |piece| vectorised(|| squares(piece));
    if gradient.len() <= PIECE || threads() == 1 {
        return gradient.chunks(PIECE).map(sum).sum();
    }
    let sums: Vec<f64> = gradient.par_chunks(PIECE).map(sum).collect();
    sums.into_iter().sum()
}

/// to ← to + from, of one parameter; from ← 0.
pub(crate) fn move_gradient<E: Real>(to: &mut [E], from: &mut [E]) {
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

/// AdamW on p with the moments m and v; the gradient is zero afterwards. A tensor whose gradient is
/// exactly zero took no part and stays as it is.
pub(crate) fn adamw<E: Real>(p: &mut [E], g: &mut [E], m: &mut [E], v: &mut [E], step: &AdamWStep) {
    if g.iter().all(|g| *g == E::zero()) {
        return;
    }
    let (run, each) = (AdamWRun::new(step), piece(p.len()));
    if each >= p.len() {
        return run.update(p, m, v, g);
    }
    let moments = m.par_chunks_mut(each).zip(v.par_chunks_mut(each));
    p.par_chunks_mut(each)
        .zip(moments)
        .zip(g.par_chunks_mut(each))
        .for_each(|((p, (m, v)), g)| run.update(p, m, v, g));
}

/// AdamW with a gradient that `fill` makes as it goes.
pub(crate) fn adamw_by<E: Real>(
    p: &mut [E],
    fill: &mut dyn FnMut(&mut [E]),
    m: &mut [E],
    v: &mut [E],
    step: &AdamWStep,
) {
    let (run, mut gradient) = (AdamWRun::new(step), [E::zero(); RUN]);
    for ((p, m), v) in p.chunks_mut(RUN).zip(m.chunks_mut(RUN)).zip(v.chunks_mut(RUN)) {
        let gradient = &mut gradient[..p.len()];
        fill(gradient);
        run.update(p, m, v, gradient);
    }
}

/// Stochastic gradient descent on p with the velocity u; the gradient is zero afterwards. A tensor
/// whose gradient is exactly zero took no part and stays as it is.
pub(crate) fn sgd<E: Real>(p: &mut [E], g: &mut [E], u: &mut [E], step: &SgdStep) {
    if g.iter().any(|g| *g != E::zero()) {
        descend(p, u, g, step);
    }
}

/// Stochastic gradient descent with a gradient that `fill` makes as it goes.
pub(crate) fn sgd_by<E: Real>(
    p: &mut [E],
    fill: &mut dyn FnMut(&mut [E]),
    u: &mut [E],
    step: &SgdStep,
) {
    let mut gradient = [E::zero(); RUN];
    for (p, u) in p.chunks_mut(RUN).zip(u.chunks_mut(RUN)) {
        let gradient = &mut gradient[..p.len()];
        fill(gradient);
        descend(p, u, gradient, step);
    }
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
