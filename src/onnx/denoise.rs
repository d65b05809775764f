//! Blocks by noise level: each block's steps one after the other.
//!
//! The crate's own way from noise to target takes them, on values of the graph instead of numbers.

use std::cell::RefCell;

use super::{
    Exported,
    field::{Latent, MOST_CALLS},
    graph::{Graph, Value},
    network::{Call, Network},
    start,
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    variant::{Denoiser, Sampler},
};

/// The answer before it is read, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    denoiser: &Denoiser,
    graph: &RefCell<Graph>,
    x: &Value,
) -> Result<Value, Error> {
    if let Sampler::Stochastic { .. } = denoiser.sampler {
        let expected = "`Sampler::Deterministic`, since an ONNX graph draws no noise here; call \
                        `set_sampler(Sampler::Deterministic)`";
        return Err(Error::config("DiffusionBlocks::sampler", expected, "`Sampler::Stochastic`"));
    }
    let calls = denoiser.calls().saturating_mul(denoiser.setup.blocks);
    if calls > MOST_CALLS {
        let expected = format!(
            "steps that call the blocks {MOST_CALLS} times at most, each of which is written out in \
             an ONNX graph; call `set_solver` with fewer"
        );
        return Err(Error::config("DiffusionBlocks::solver", expected, format!("{calls} calls")));
    }
    let (reading, embedding) = (denoiser.setup.reading, &exported.asked.embedding.0);
    let mut z = Latent { graph, value: start(graph, reading.latent) };
    let mut answer = z.value.clone();
    for (block, t) in exported.asked.blocks.iter().zip(1..) {
        let name = format!("block_{t}");
        let network = Network::<E, D>::new(graph, name.clone(), block, x.clone())?;
        let mut calls = 0;
        z = denoiser.pass(t, z, |sigma, z| {
            calls += 1;
            let (prefix, scales) = (format!("call_{calls}/"), denoiser.at(sigma));
            let at = |what: &str| format!("{name}/{prefix}{what}");
            let scaled = network.graph().times(&z.value, scales.into, &at("scaled_z"));
            let call = Call { prefix: &prefix, t: Some(scales.time) };
            let output = network.output(call, scaled)?;
            let nodes = &mut *network.graph();
            let estimate = if reading.has_classes() {
                answer = output.clone();
                nodes.estimate(reading, output, embedding, &at("estimate"))
            } else {
                let of_output = nodes.times(&output, scales.out, &at("of_output"));
                let of_z = nodes.times(&z.value, scales.skip, &at("of_z"));
                answer = nodes.sum(of_output, of_z, &at("estimate"));
                answer.clone()
            };
            Ok(Latent { graph, value: estimate })
        })?;
    }
    Ok(answer)
}
