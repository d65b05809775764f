//! Pooling: each window to its largest number, or to its mean, channel by channel.

use dfdx::prelude::*;

use super::read;
use crate::{
    device::{Real, Window},
    kernel::vector::vectorised,
};

/// The largest number of each window; back: the gradient goes to the first that is as large. Padding counts for nothing.
pub(crate) fn max_pool<X: Shape, Y: Shape, E: Real, T: Tape<E, Cpu>>(
    x: Tensor<X, E, Cpu, T>,
    window: Window,
    shape: Y,
) -> Result<Tensor<Y, E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let c = window.channels;
    let mut y = vec![E::neg_infinity(); shape.num_elements()];
    let from = read(&x)?;
    vectorised(|| {
        each_pixel(window, &mut y, |image, pixel, y| {
            let from = &from[image + pixel * c..][..c];
            y.iter_mut().zip(from).for_each(|(y, x)| *y = if *x > *y { *x } else { *y });
        });
    });
    let y = x.device().try_tensor_from_vec(y, shape)?;
    if T::OWNS_TAPE {
        let kept = y.clone();
        tape.add_backward_op(move |gradients| {
            let mut dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&kept)?);
            let dx = gradients.get_or_alloc_mut(&x)?;
            let (from, y) = (read(&x)?, read(&kept)?);
            vectorised(|| {
                let mut at = 0;
                // What is given away is taken, so that a second that is as large gets nothing.
                for (number, left) in dy.chunks_exact_mut(c.max(1)).enumerate() {
                    let image = number / window.windows() * window.image();
                    let y = &y[at..at + c];
                    at += c;
                    for (start, columns) in window.rows(number % window.windows()).flatten() {
                        for pixel in start..start + columns.len() {
                            let (from, dx) = (
                                &from[image + pixel * c..][..c],
                                &mut dx[image + pixel * c..][..c],
                            );
                            for i in 0..c {
                                let taken = if from[i] == y[i] { left[i] } else { E::zero() };
                                dx[i] += taken;
                                left[i] = left[i] - taken;
                            }
                        }
                    }
                }
            });
            **gradients.get_or_alloc_mut(&kept)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// The mean of each window, of `kernel`² numbers whatever of it is padding; back: as much to each.
pub(crate) fn average_pool<X: Shape, Y: Shape, E: Real, T: Tape<E, Cpu>>(
    x: Tensor<X, E, Cpu, T>,
    window: Window,
    shape: Y,
) -> Result<Tensor<Y, E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let c = window.channels;
    let share = E::of(1.0 / (window.kernel * window.kernel) as f64);
    let mut y = vec![E::zero(); shape.num_elements()];
    let from = read(&x)?;
    vectorised(|| {
        each_pixel(window, &mut y, |image, pixel, y| {
            let from = &from[image + pixel * c..][..c];
            y.iter_mut().zip(from).for_each(|(y, x)| *y += share * *x);
        });
    });
    let y = x.device().try_tensor_from_vec(y, shape)?;
    if T::OWNS_TAPE {
        let (x, ghost) = (x.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            let mut dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&ghost)?);
            let dx = gradients.get_or_alloc_mut(&x)?;
            vectorised(|| {
                each_pixel(window, &mut dy, |image, pixel, dy| {
                    let dx = &mut dx[image + pixel * c..][..c];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * *dy);
                });
            });
            **gradients.get_or_alloc_mut(&ghost)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Calls `work` with where each window's image begins, each of its pixels on the image, and the window's numbers in `y`.
#[inline(always)]
fn each_pixel<E>(window: Window, y: &mut [E], mut work: impl FnMut(usize, usize, &mut [E])) {
    for (number, y) in y.chunks_exact_mut(window.channels.max(1)).enumerate() {
        let image = number / window.windows() * window.image();
        for (start, columns) in window.rows(number % window.windows()).flatten() {
            for pixel in start..start + columns.len() {
                work(image, pixel, y);
            }
        }
    }
}
