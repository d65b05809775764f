//! Times as sines and cosines.

use dfdx::prelude::*;
use num_traits::Float;

use super::buffer::filled;
use crate::{number::Real, rows::Matrix};

/// [sin(t f_k), cos(t f_k)] for each row. Rows of one time, as a solver has them, cost one of them.
pub(crate) fn time_embedding<E: Real>(
    times: &Tensor<(usize,), E, Cpu>,
    width: usize,
) -> Result<Matrix<E, Cpu>, CpuError> {
    let (half, host) = (width / 2, times.as_vec());
    // f_k = r^k, by one power.
    let ratio = 10_000f64.powf(-1.0 / half.saturating_sub(1).max(1) as f64);
    let powers = std::iter::successors(Some(1.0), |power| Some(power * ratio));
    let frequencies: Vec<E> = powers.take(half).map(E::of).collect();
    filled(times.device(), (host.len(), width), |values| {
        for (row, &t) in host.iter().enumerate() {
            let at = row * width;
            if row > 0 && t == host[row - 1] {
                values.copy_within(at - width..at, at);
                continue;
            }
            let (sines, cosines) = values[at..at + width].split_at_mut(half);
            for ((sine, cosine), &f) in sines.iter_mut().zip(cosines).zip(&frequencies) {
                (*sine, *cosine) = (Float::sin(t * f), Float::cos(t * f));
            }
        }
        Ok(())
    })
}
