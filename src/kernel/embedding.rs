//! Times as sines and cosines.

use dfdx::prelude::*;
use num_traits::Float;

use crate::device::{Real, Rows};

/// [sin(t f_k), cos(t f_k)] for each row. Rows of one time, as a solver has them, cost one of them.
pub(crate) fn time_embedding<const DIM: usize, E: Real>(
    times: &Tensor<(usize,), E, Cpu>,
) -> Result<Rows<Const<DIM>, E, Cpu>, CpuError> {
    let (half, host) = (DIM / 2, times.as_vec());
    // f_k = r^k, by one power.
    let ratio = 10_000f64.powf(-1.0 / half.saturating_sub(1).max(1) as f64);
    let powers = std::iter::successors(Some(1.0), |power| Some(power * ratio));
    let frequencies: Vec<E> = powers.take(half).map(E::of).collect();
    let mut values = Vec::with_capacity(host.len() * DIM);
    for (row, &t) in host.iter().enumerate() {
        if row > 0 && t == host[row - 1] {
            values.extend_from_within((row - 1) * DIM..);
            continue;
        }
        values.extend(frequencies.iter().map(|&f| Float::sin(t * f)));
        values.extend(frequencies.iter().map(|&f| Float::cos(t * f)));
    }
    times.device().try_tensor_from_vec(values, (host.len(), Const::<DIM>))
}
