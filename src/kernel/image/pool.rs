//! Pooling: each window to its largest number, or to its mean, channel by channel.

use dfdx::prelude::*;

use super::read;
use crate::{
    kernel::{
        Window,
        buffer::{filled, spent},
    },
    number::Real,
    rows::Matrix,
};

/// The largest number of each window; back: the gradient goes to the first that is as large.
/// Padding counts for nothing.
pub(crate) fn max_pool<E: Real, T: Tape<E, Cpu>>(
    x: Matrix<E, Cpu, T>,
    window: Window,
) -> Result<Matrix<E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let (from, shape) = (read(&x)?, (x.shape().0, window.pooled()));
    let y = filled(x.device(), shape, |y| {
        y.fill(E::neg_infinity());
        largest(window, from, y);
        Ok(())
    })?;
    if T::OWNS_TAPE {
        let kept = y.clone();
        tape.add_backward_op(move |gradients| {
            let mut dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&kept)?);
            let dx: &mut [E] = gradients.get_or_alloc_mut(&x)?;
            let (from, y) = (read(&x)?, read(&kept)?);
            to_the_largest(window, from, y, &mut dy, dx);
            **gradients.get_or_alloc_mut(&kept)? = spent(dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

#[pulp::with_simd(largest = crate::kernel::instructions::arch())]
#[inline(always)]
fn largest_simd<'a, S: pulp::Simd, E: Real>(_: S, window: Window, x: &'a [E], y: &'a mut [E]) {
    let c = window.channels;
    for (number, y) in y.chunks_exact_mut(c.max(1)).enumerate() {
        for at in pixels(window, number) {
            for (y, x) in y.iter_mut().zip(&x[at..at + c]) {
                *y = if *x > *y { *x } else { *y };
            }
        }
    }
}

/// What is given to a pixel is taken from dy, so that a second that is as large gets nothing.
#[pulp::with_simd(to_the_largest = crate::kernel::instructions::arch())]
#[inline(always)]
fn to_the_largest_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    window: Window,
    x: &'a [E],
    y: &'a [E],
    dy: &'a mut [E],
    dx: &'a mut [E],
) {
    let c = window.channels;
    let rows = dy.chunks_exact_mut(c.max(1)).zip(y.chunks_exact(c.max(1)));
    for (number, (dy, y)) in rows.enumerate() {
        for at in pixels(window, number) {
            let pixel = dx[at..at + c].iter_mut().zip(&x[at..at + c]);
            for ((dx, x), (dy, y)) in pixel.zip(dy.iter_mut().zip(y)) {
                let taken = if *x == *y { *dy } else { E::zero() };
                *dx += taken;
                *dy -= taken;
            }
        }
    }
}

/// The mean of each window, of `kernel`² numbers whatever of it is padding; back: as much to each.
pub(crate) fn average_pool<E: Real, T: Tape<E, Cpu>>(
    x: Matrix<E, Cpu, T>,
    window: Window,
) -> Result<Matrix<E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let (from, shape) = (read(&x)?, (x.shape().0, window.pooled()));
    let y = filled(x.device(), shape, |y| {
        mean(window, from, y);
        Ok(())
    })?;
    if T::OWNS_TAPE {
        let (x, ghost) = (x.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            let dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&ghost)?);
            let dx: &mut [E] = gradients.get_or_alloc_mut(&x)?;
            to_all(window, &dy, dx);
            **gradients.get_or_alloc_mut(&ghost)? = spent(dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

fn share<E: Real>(window: Window) -> E {
    E::of(1.0 / (window.kernel * window.kernel) as f64)
}

#[pulp::with_simd(mean = crate::kernel::instructions::arch())]
#[inline(always)]
fn mean_simd<'a, S: pulp::Simd, E: Real>(_: S, window: Window, x: &'a [E], y: &'a mut [E]) {
    let (c, share) = (window.channels, share::<E>(window));
    for (number, y) in y.chunks_exact_mut(c.max(1)).enumerate() {
        for at in pixels(window, number) {
            y.iter_mut().zip(&x[at..at + c]).for_each(|(y, x)| *y += share * *x);
        }
    }
}

#[pulp::with_simd(to_all = crate::kernel::instructions::arch())]
#[inline(always)]
fn to_all_simd<'a, S: pulp::Simd, E: Real>(_: S, window: Window, dy: &'a [E], dx: &'a mut [E]) {
    let (c, share) = (window.channels, share::<E>(window));
    for (number, dy) in dy.chunks_exact(c.max(1)).enumerate() {
        for at in pixels(window, number) {
            dx[at..at + c].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * *dy);
        }
    }
}

/// Where the pixels of a window begin in the batch, those on the image.
#[inline(always)]
fn pixels(window: Window, number: usize) -> impl Iterator<Item = usize> {
    let (image, inside) = (number / window.windows(), number % window.windows());
    let first = image * window.image();
    let rows = window.rows(inside).flatten();
    rows.flat_map(move |(start, columns)| {
        (start..start + columns.len()).map(move |pixel| first + pixel * window.channels)
    })
}
