//! One block of several by noise level: out of its part of the noise.

use dfdx::prelude::*;

use super::{failed, on_device};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    error::Error,
    plan::{Inputs, Value, infer},
    variant::Denoiser,
};

/// What comes of a block.
pub(super) struct Passed<E: Real, D: Host<E>> {
    pub(super) z: Matrix<E, D>,
    /// The answers of its first and of its last call, before they are read.
    pub(super) first: Matrix<E, D>,
    pub(super) last: Matrix<E, D>,
}

/// Rows through a block.
pub(super) fn pass<E: Real, D: Host<E>>(
    denoiser: &Denoiser,
    block: &D::Block,
    z: Matrix<E, D>,
    x: &Matrix<E, D>,
    embedding: &Matrix<E, D>,
) -> Result<Passed<E, D>, Error> {
    let rows = z.shape().0;
    let plan = block.prepared(rows, denoiser.calls()).map_err(failed())?;
    let mut answers: Option<[Matrix<E, D>; 2]> = None;
    let z = denoiser.pass(block.state().t, z, |sigma, z| {
        let scales = denoiser.at(sigma);
        let times = on_device(z.device(), vec![E::of(scales.time); rows], (rows,))?;
        let called = || {
            let scaled = z.clone().try_mul(E::of(scales.into))?;
            let inputs = Inputs { z: scaled, x: x.clone(), t: Some(times) };
            let (output, _) = infer(&plan, Value::Inputs(inputs), None)?.into_rows()?;
            denoiser.estimate(sigma, z, output, embedding)
        };
        let called: Result<_, D::Err> = called();
        let [answer, estimate] = called.map_err(failed())?;
        let first = answers.take().map_or_else(|| answer.clone(), |[first, _]| first);
        answers = Some([first, answer]);
        Ok(estimate)
    })?;
    let [first, last] = answers.unwrap_or_else(|| [z.clone(), z.clone()]);
    Ok(Passed { z, first, last })
}
