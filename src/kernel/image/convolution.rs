//! The convolution as blocked matrix products: the windows of some pixels at a time lie in a
//! buffer, never those of a batch.

use std::cell::Cell;

use dfdx::prelude::*;
use rayon::prelude::*;

use super::read;
use crate::{
    kernel::{
        Window,
        buffer::{filled, spent},
        product::{Matrix, Start, product, transpose},
        vector::{piece, vectorised},
    },
    number::Real,
    rows::{self, Column, Filters},
};

/// For contiguous tensors, x: `[batch, H W C]`, filter: `[O, K, K, C]`, bias: `[O]`: y of shape
/// `[batch, OH OW O]`.
pub(crate) fn convolution<E: Real, T: Tape<E, Cpu>>(
    x: rows::Matrix<E, Cpu, T>,
    filter: &Filters<E, Cpu>,
    bias: &Column<E, Cpu>,
    window: Window,
    input_gradient: bool,
) -> Result<rows::Matrix<E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let (from, weights, start) = (read(&x)?, read(filter)?, read(bias)?);
    let shape = (x.shape().0, window.windows() * start.len());
    let y = filled(x.device(), shape, |y| forward(window, from, weights, start, y))?;
    if T::OWNS_TAPE {
        let (filter, bias, y) = (filter.clone(), bias.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            // Taken out so that the others can be borrowed, and put back after.
            let dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&y)?);
            let mut df = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&filter)?);
            let dx = match input_gradient {
                true => Some(&mut **gradients.get_or_alloc_mut(&x)?),
                false => None,
            };
            let convolved = Convolved { window, x: read(&x)?, filter: read(&filter)?, dy: &dy };
            convolved.backward(&mut df, dx)?;
            **gradients.get_or_alloc_mut(&filter)? = df;
            let db = gradients.get_or_alloc_mut(&bias)?;
            vectorised(|| {
                for row in dy.chunks_exact(db.len().max(1)) {
                    db.iter_mut().zip(row).for_each(|(sum, dy)| *sum += *dy);
                }
            });
            **gradients.get_or_alloc_mut(&y)? = spent(dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

fn forward<E: Real>(
    window: Window,
    x: &[E],
    filter: &[E],
    bias: &[E],
    y: &mut [E],
) -> Result<(), CpuError> {
    let (filters, patch) = (bias.len(), window.patch());
    if y.len() != rows(window, x, filter, filters)? * filters {
        return Err(CpuError::WrongNumElements);
    }
    with_buffers(|[patches, by_patch]: &mut [Vec<E>; 2]| {
        // By columns, so that no block has to rearrange it again.
        by_patch.resize(filter.len(), E::zero());
        transpose(filter, [filters, patch], by_patch);
        let each = block(patch);
        for (i, y) in y.chunks_mut(each * filters.max(1)).enumerate() {
            let count = y.len() / filters;
            gather(window, x, i * each, count, patches);
            product(
                y,
                Start::Row(bias),
                Matrix::new(patches, count, patch),
                Matrix::new(by_patch, patch, filters),
            )?;
        }
        Ok(())
    })
}

/// What a convolution's way back reads.
struct Convolved<'a, E> {
    window: Window,
    x: &'a [E],
    filter: &'a [E],
    dy: &'a [E],
}

impl<E: Real> Convolved<'_, E> {
    /// Adds to the gradient of the filter, and to that of x where it is asked for.
    fn backward(&self, df: &mut [E], mut dx: Option<&mut Vec<E>>) -> Result<(), CpuError> {
        let Self { window, x, filter, dy } = *self;
        let patch = window.patch();
        let filters = filter.len() / patch.max(1);
        rows(window, x, filter, filters)?;
        with_buffers(|[patches, _]: &mut [Vec<E>; 2]| {
            let each = block(patch);
            for (i, dy) in dy.chunks(each * filters.max(1)).enumerate() {
                let count = dy.len() / filters;
                let dy = Matrix::new(dy, count, filters);
                gather(window, x, i * each, count, patches);
                product(df, Start::There, dy.transposed(), Matrix::new(patches, count, patch))?;
                if let Some(dx) = &mut dx {
                    patches.fill(E::zero());
                    product(patches, Start::There, dy, Matrix::new(filter, filters, patch))?;
                    scatter(window, patches, i * each, dx);
                }
            }
            Ok(())
        })
    }
}

/// How many windows there are in the batch, if all sizes agree.
fn rows<E>(window: Window, x: &[E], filter: &[E], filters: usize) -> Result<usize, CpuError> {
    if !x.len().is_multiple_of(window.image().max(1)) || filter.len() != filters * window.patch() {
        return Err(CpuError::WrongNumElements);
    }
    Ok(x.len() / window.image().max(1) * window.windows())
}

/// How many windows lie in the buffer at a time: so many that it fits the processor's second cache,
/// with room for the rest.
fn block(patch: usize) -> usize {
    const NUMBERS: usize = 1 << 17;
    (NUMBERS / patch.max(1)).clamp(64, 2048)
}

/// The windows from `first` on, a row each.
fn gather<E: Real>(window: Window, x: &[E], first: usize, count: usize, patches: &mut Vec<E>) {
    let patch = window.patch();
    patches.clear();
    patches.resize(count * patch, E::zero());
    let each = piece(patches.len()).div_ceil(patch.max(1));
    if each >= count {
        return copy_windows(window, x, patches, first);
    }
    let pieces = patches.par_chunks_mut(each * patch).enumerate();
    pieces.for_each(|(i, rows)| copy_windows(window, x, rows, first + i * each));
}

#[pulp::with_simd(copy_windows = crate::kernel::instructions::arch())]
#[inline(always)]
fn copy_windows_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    window: Window,
    x: &'a [E],
    patches: &'a mut [E],
    first: usize,
) {
    let (side, c) = (window.kernel * window.channels, window.channels);
    for (to, number) in patches.chunks_exact_mut(window.patch().max(1)).zip(first..) {
        let image = &x[number / window.windows() * window.image()..];
        let lines = to.chunks_exact_mut(side).zip(window.rows(number % window.windows()));
        for (to, line) in lines {
            if let Some((start, columns)) = line {
                let to = &mut to[columns.start * c..columns.end * c];
                let from = &image[start * c..][..to.len()];
                // A loop, since most of these are too short for a call.
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Adds gradients of windows to those of the pixels.
fn scatter<E: Real>(window: Window, patches: &[E], first: usize, dx: &mut [E]) {
    add_windows(window, patches, first, dx);
}

#[pulp::with_simd(add_windows = crate::kernel::instructions::arch())]
#[inline(always)]
fn add_windows_simd<'a, S: pulp::Simd, E: Real>(
    _: S,
    window: Window,
    patches: &'a [E],
    first: usize,
    dx: &'a mut [E],
) {
    let (side, c) = (window.kernel * window.channels, window.channels);
    for (from, number) in patches.chunks_exact(window.patch().max(1)).zip(first..) {
        let image = &mut dx[number / window.windows() * window.image()..];
        let lines = from.chunks_exact(side).zip(window.rows(number % window.windows()));
        for (from, line) in lines {
            if let Some((start, columns)) = line {
                let from = &from[columns.start * c..columns.end * c];
                let to = &mut image[start * c..][..from.len()];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            }
        }
    }
}

/// Buffers that live as long as the thread.
fn with_buffers<E: Real, R>(work: impl FnOnce(&mut [Vec<E>; 2]) -> R) -> R {
    thread_local! {
        static BUFFERS: Cell<Option<Box<dyn std::any::Any>>> = const { Cell::new(None) };
    }
    let kept = BUFFERS.take().and_then(|buffers| buffers.downcast().ok());
    let mut buffers: Box<[Vec<E>; 2]> = kept.unwrap_or_default();
    let result = work(&mut buffers);
    BUFFERS.set(Some(buffers));
    result
}
