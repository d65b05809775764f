//! What is drawn for a batch.

use dfdx::prelude::Const;
use rand::Rng;

use super::Target;
use crate::device::{Backend, Column, Matrix, Real, Rows};

/// How the time of each row of a batch is drawn, uniform in (0, 1) for each row in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TimeSampling {
    /// Each row on its own.
    Uniform,
    /// In pairs t and 1 − t.
    Antithetic,
    /// Evenly spread, with one random shift for the batch: t_i = (i + s) / n (Kingma et al. 2021,
    /// *Variational diffusion models*, appendix I.1). The least variance.
    #[default]
    LowDiscrepancy,
}

impl TimeSampling {
    /// One time for each of `rows` rows.
    pub fn draw(self, rows: usize, rng: &mut impl Rng) -> Vec<f64> {
        // Never 0 itself, so that 1 − t is never 0 either.
        let mut uniform = || rng.sample(rand::distributions::Open01);
        match self {
            Self::Uniform => (0..rows).map(|_| uniform()).collect(),
            Self::Antithetic => {
                let mut times = Vec::with_capacity(rows + 1);
                while times.len() < rows {
                    let t: f64 = uniform();
                    times.extend([t, 1.0 - t]);
                }
                times.truncate(rows);
                times
            }
            Self::LowDiscrepancy => {
                let shift: f64 = uniform();
                (0..rows).map(|i| (i as f64 + shift) / rows as f64).collect()
            }
        }
    }
}

/// z, x and t, with as many rows each.
pub type TimedRows<const Z: usize, const X: usize, E, D> =
    (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Column<E, D>);

/// A batch with all that is drawn for it.
#[derive(Clone)]
pub struct Draw<'a, E: Real, D: Backend<E>> {
    pub(crate) target: Target<'a, E, D>,
    /// ε (or z_0, in flow matching), `[batch, Z]`.
    pub(crate) noise: Matrix<E, D>,
    /// The noise of z at t = 1, for the terms without a network, where they are asked for.
    pub(crate) end_noise: Option<Matrix<E, D>>,
    /// t, where a block takes times: on the host, and `[batch]` on the device.
    pub(crate) times: Option<Times<E, D>>,
}

/// The times of a batch.
#[derive(Clone)]
pub(crate) struct Times<E: Real, D: Backend<E>> {
    pub(crate) host: Vec<f64>,
    pub(crate) device: Column<E, D>,
}
