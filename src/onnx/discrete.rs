//! Discrete time: the blocks one after the other.

use super::{
    Exported,
    graph::{Graph, Value},
    network::{Call, Network},
    start,
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    variant::{Discrete, Sampler},
};

/// The output of the last block, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    discrete: &Discrete,
    graph: &std::cell::RefCell<Graph>,
    x: &Value,
) -> Result<Option<Value>, Error> {
    if let Sampler::Stochastic { .. } = discrete.sampler {
        let expected = "`Sampler::Deterministic`, since an ONNX graph draws no noise here; call \
                        `set_sampler(Sampler::Deterministic)`";
        return Err(Error::config("DiscreteTime::sampler", expected, "`Sampler::Stochastic`"));
    }
    let (reading, embedding) = (discrete.setup.reading, &exported.asked.embedding.0);
    let (mut z, mut answer) = (start(graph, reading.latent), None);
    for t in discrete.levels.moving() {
        let name = format!("block_{t}");
        let network =
            Network::<E, D>::new(graph, name.clone(), exported.asked.blocks[t - 1], x.clone())?;
        let output = network.output(Call { prefix: "", t: None }, z.clone())?;
        let graph = &mut *network.graph();
        let [a, b, _] = discrete.coefficients(t);
        let [a, b] = [("a", a), ("b", b)].map(|(coefficient, value)| {
            graph.weight(format!("{name}.{coefficient}"), &[], move || vec![value as f32])
        });
        let estimate =
            graph.estimate(reading, output.clone(), embedding, &format!("{name}/estimate"));
        let of_z = graph.scaled(&z, &b, &format!("{name}/b_z"));
        let of_estimate = graph.scaled(&estimate, &a, &format!("{name}/a_estimate"));
        z = graph.sum(of_z, of_estimate, &format!("{name}/next_z"));
        answer = Some(output);
    }
    Ok(answer)
}
