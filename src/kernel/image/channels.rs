//! From planes of one channel each to pixels of all channels.

use dfdx::prelude::*;

use super::read;
use crate::{
    kernel::buffer::{filled, spent},
    number::Real,
    rows::Matrix,
};

/// `[batch, C, pixels]` to `[batch, pixels, C]`; back: the other way round.
pub(crate) fn channels_last<E: Real, T: Tape<E, Cpu>>(
    x: Matrix<E, Cpu, T>,
    channels: usize,
) -> Result<Matrix<E, Cpu, T>, CpuError> {
    let (x, mut tape) = x.split_tape();
    let (shape, c) = (*x.shape(), channels.max(1));
    let each = shape.1;
    let pixels = each / c;
    let from = read(&x)?;
    let y = filled(x.device(), shape, |y| {
        for (y, image) in y.chunks_exact_mut(each.max(1)).zip(from.chunks_exact(each.max(1))) {
            y.iter_mut().enumerate().for_each(|(i, y)| *y = image[i % c * pixels + i / c]);
        }
        Ok(())
    })?;
    if T::OWNS_TAPE {
        let (x, y) = (x.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            let dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&y)?);
            let dx = gradients.get_or_alloc_mut(&x)?;
            for (dx, dy) in dx.chunks_exact_mut(each.max(1)).zip(dy.chunks_exact(each.max(1))) {
                dy.iter().enumerate().for_each(|(i, dy)| dx[i % c * pixels + i / c] += *dy);
            }
            **gradients.get_or_alloc_mut(&y)? = spent(dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}
