//! Blocks by noise level: each block's steps one after the other.
//!
//! The crate's own way from noise to target takes them, on values of the graph instead of numbers.

use std::cell::RefCell;

use super::{
    Exported, begins, check_sampler,
    field::{Latent, MOST_CALLS},
    graph::{Graph, Value},
    network::{Call, Network},
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    infer::{Combination, InferenceRequest, STARTS},
    variant::Denoiser,
};

/// The answer, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    denoiser: &Denoiser,
    graph: &RefCell<Graph>,
    x: &Value,
) -> Result<Option<Value>, Error> {
    check_sampler("DiffusionBlocks::sampler", denoiser.sampler)?;
    let ways = if denoiser.setup.reading.has_classes() { 1 } else { STARTS };
    let calls = denoiser.calls().saturating_mul(denoiser.setup.blocks).saturating_mul(ways);
    if calls > MOST_CALLS {
        let expected = format!(
            "steps that call the blocks {MOST_CALLS} times at most, each of which is written out in \
             an ONNX graph; call `set_solver` with fewer"
        );
        return Err(Error::config("DiffusionBlocks::solver", expected, format!("{calls} calls")));
    }
    let combination = Combination::of(exported.asked.process, InferenceRequest::Answer);
    let networks = exported
        .asked
        .blocks
        .iter()
        .zip(1..)
        .map(|(block, t)| Network::<E, D>::new(graph, format!("block_{t}"), *block, x.clone()));
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    let mut answers = Vec::new();
    for value in begins(graph, combination, denoiser.setup.reading.latent, denoiser.start()) {
        let z = Latent { graph, value };
        answers.extend(answers_of(exported, denoiser, &networks, z, combination)?);
    }
    Ok(graph.borrow_mut().mean(&answers))
}

/// What makes up the answer of one way from noise to target.
fn answers_of<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    denoiser: &Denoiser,
    networks: &[Network<'_, E, D>],
    mut z: Latent<'_>,
    combination: Combination,
) -> Result<Vec<Value>, Error> {
    let (reading, embedding) = (denoiser.setup.reading, &exported.asked.embedding.0);
    let mut answers = Vec::new();
    for (network, t) in networks.iter().zip(1..) {
        let (mut said, name) = (None, format!("block_{t}"));
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
                said = Some(output.clone());
                nodes.estimate(reading, output, embedding, &at("estimate"))
            } else {
                let weights = [scales.skip, scales.out];
                let estimate = nodes.mixed(&z.value, &output, weights, &at("estimate"));
                said = Some(estimate.clone());
                estimate
            };
            Ok(z.with(estimate))
        })?;
        if let Some(answer) = said.filter(|_| combination.takes(t == 1, t == networks.len())) {
            answers.push(network.graph().answer(reading, answer));
        }
    }
    Ok(answers)
}
