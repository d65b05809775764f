//! Discrete time: the blocks one after the other.

use super::{
    Exported, check_sampler,
    graph::{Graph, Value},
    network::{Call, Network},
    start,
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    infer::{Combination, InferenceRequest, passed},
    variant::Discrete,
};

/// The answer, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    discrete: &Discrete,
    graph: &std::cell::RefCell<Graph>,
    x: &Value,
) -> Result<Option<Value>, Error> {
    check_sampler("DiscreteTime::sampler", discrete.sampler)?;
    let (reading, embedding) = (discrete.setup.reading, &exported.asked.embedding.0);
    let combination = Combination::of(exported.asked.process, InferenceRequest::Answer);
    let (mut z, mut answers) = (start(graph, 0, vec![0.0; reading.latent]), Vec::new());
    let moving = passed(discrete.levels.moving(), combination);
    for (k, &t) in moving.iter().enumerate() {
        let name = format!("block_{t}");
        let network =
            Network::<E, D>::new(graph, name.clone(), exported.asked.blocks[t - 1], x.clone())?;
        let mut output = network.output(Call { prefix: "", t: None }, z.clone())?;
        let graph = &mut *network.graph();
        if discrete.is_preconditioned() {
            let weights = [discrete.alpha_bar(t), 1.0 - discrete.alpha_bar(t)].map(f64::sqrt);
            output = graph.mixed(&z, &output, weights, &format!("{name}/conditioned"));
        }
        if combination.takes(k == 0, k + 1 == moving.len()) {
            answers.push(graph.answer(reading, output.clone()));
        }
        let [a, b, _] = discrete.coefficients(t);
        let [a, b] = [("a", a), ("b", b)].map(|(coefficient, value)| {
            graph.weight(format!("{name}.{coefficient}"), &[], move || vec![value as f32])
        });
        let estimate = graph.estimate(reading, output, embedding, &format!("{name}/estimate"));
        let of_z = graph.scaled(&z, &b, &format!("{name}/b_z"));
        let of_estimate = graph.scaled(&estimate, &a, &format!("{name}/a_estimate"));
        z = graph.sum(of_z, of_estimate, &format!("{name}/next_z"));
    }
    Ok(graph.borrow_mut().mean(&answers))
}
