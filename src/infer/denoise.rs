//! One block of several by noise level: out of its part of the noise.

use dfdx::prelude::*;

use super::{failed, on_device};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    error::Error,
    plan::Inputs,
    variant::Denoiser,
};

/// z after a block, and its last answer before it is read.
pub(super) fn pass<E: Real, D: Host<E>>(
    denoiser: &Denoiser,
    block: &D::Block,
    z: Matrix<E, D>,
    x: &Matrix<E, D>,
    embedding: &Matrix<E, D>,
) -> Result<[Matrix<E, D>; 2], Error> {
    let rows = z.shape().0;
    let plan = block.prepared(rows, denoiser.calls()).map_err(failed())?;
    let mut last = z.clone();
    let z = denoiser.pass(block.state().t, z, |sigma, z| {
        let scales = denoiser.at(sigma);
        let times = on_device(z.device(), vec![E::of(scales.time); rows], (rows,))?;
        let called = || {
            let scaled = z.clone().try_mul(E::of(scales.into))?;
            let inputs = Inputs { z: scaled, x: x.clone(), t: Some(times) };
            let output = plan.output(inputs, None)?;
            denoiser.estimate(sigma, z, output, embedding)
        };
        let called: Result<_, D::Err> = called();
        let [answer, estimate] = called.map_err(failed())?;
        last = answer;
        Ok(estimate)
    })?;
    Ok([z, last])
}
