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
    infer::{Combination, InferenceRequest, passed},
    variant::{Denoiser, Sampler},
};

/// The answer, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    denoiser: &Denoiser,
    graph: &RefCell<Graph>,
    x: &Value,
) -> Result<Option<Value>, Error> {
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
    let combination = Combination::of(exported.asked.process, InferenceRequest::Answer);
    let mut z = Latent { graph, value: start(graph, 0, vec![0.0; reading.latent]) };
    let mut answers = Vec::new();
    let blocks = passed(1..=denoiser.setup.blocks, combination);
    for &t in &blocks {
        let block = exported.asked.blocks[t - 1];
        let mut said: Vec<Value> = Vec::new();
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
                said.push(output.clone());
                nodes.estimate(reading, output, embedding, &at("estimate"))
            } else {
                let of_output = nodes.times(&output, scales.out, &at("of_output"));
                let of_z = nodes.times(&z.value, scales.skip, &at("of_z"));
                let estimate = nodes.sum(of_output, of_z, &at("estimate"));
                said.push(estimate.clone());
                estimate
            };
            Ok(Latent { graph, value: estimate })
        })?;
        let answer = if combination == Combination::First { said.first() } else { said.last() };
        if let Some(answer) = answer.filter(|_| combination.takes(t == 1, t == blocks.len())) {
            answers.push(network.graph().answer(reading, answer.clone()));
        }
    }
    Ok(graph.borrow_mut().mean(&answers))
}
