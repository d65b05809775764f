//! What outputs stand for, by [`Reading`].

use dfdx::prelude::*;

use super::{
    graph::{Graph, Value},
    messages::AttributeProto,
    weights::floats,
};
use crate::{
    device::{Backend, Matrix, Real},
    head::Reading,
};

/// What the embedding is called.
const EMBEDDING: &str = "embedding";

impl Graph {
    fn softmax(&mut self, output: &Value, at: &str) -> Value {
        let axis = vec![AttributeProto::int("axis", -1)];
        output.renamed(self.node("Softmax", &[&output.name], at, axis))
    }

    fn embedding<E: Real, D: Backend<E>>(&mut self, embedding: &Matrix<E, D>) -> String {
        let (classes, latent) = *embedding.shape();
        self.weight(EMBEDDING.to_owned(), &[classes, latent], floats(embedding))
    }

    /// û from a block's output: [`Reading::estimate`].
    pub fn estimate<E: Real, D: Backend<E>>(
        &mut self,
        reading: Reading,
        output: Value,
        embedding: &Matrix<E, D>,
        at: &str,
    ) -> Value {
        if !reading.has_classes() {
            return output;
        }
        let probabilities = self.softmax(&output, &format!("{at}/softmax"));
        if !reading.has_rows() {
            return probabilities;
        }
        let embedding = self.embedding(embedding);
        let name = self.node("MatMul", &[&probabilities.name, &embedding], at, Vec::new());
        Value::rows(name, reading.latent)
    }

    /// The answer of a latent before [`answer`](Self::answer): [`Reading::read`].
    pub fn read<E: Real, D: Backend<E>>(
        &mut self,
        reading: Reading,
        latent: Value,
        embedding: &Matrix<E, D>,
        sharpness: f64,
        at: &str,
    ) -> Result<Value, D::Err> {
        if !reading.has_classes() {
            return Ok(latent);
        }
        // The logits are linear in z: κ W z and what they are at z = 0.
        let origin = embedding.device().try_zeros_like(&(1, reading.latent))?;
        let origin = reading.read(origin, embedding, sharpness)?;
        let bias = self.weight(format!("{at}.bias"), &[1, reading.outputs], floats(&origin));
        let embedding = self.embedding(embedding);
        let attributes =
            vec![AttributeProto::int("transB", 1), AttributeProto::float("alpha", sharpness)];
        let name = self.node("Gemm", &[&latent.name, &embedding, &bias], at, attributes);
        Ok(Value::rows(name, reading.outputs))
    }

    /// The model's answer from a block's output: [`Reading::answer`].
    pub fn answer(&mut self, reading: Reading, output: Value) -> Value {
        if reading.has_classes() { self.softmax(&output, "answer") } else { output }
    }

    /// w_z z + w_o o of a latent and an output.
    pub fn mixed(&mut self, z: &Value, output: &Value, weights: [f64; 2], at: &str) -> Value {
        let [of_z, of_output] = weights;
        let of_z = self.times(z, of_z, &format!("{at}/of_z"));
        let of_output = self.times(output, of_output, &format!("{at}/of_output"));
        self.sum(of_output, of_z, at)
    }

    /// The mean of answers; none of none.
    pub fn mean(&mut self, answers: &[Value]) -> Option<Value> {
        let first = answers.first()?;
        if answers.len() == 1 {
            return Some(first.clone());
        }
        let names: Vec<&str> = answers.iter().map(|answer| &*answer.name).collect();
        Some(first.renamed(self.node("Mean", &names, "mean", Vec::new())))
    }

    /// p^(1/T) of probabilities p, normalised.
    pub fn at_temperature(&mut self, probabilities: &Value, temperature: f64) -> Value {
        let logarithm = self.node("Log", &[&probabilities.name], "logarithm", Vec::new());
        let scaled = self.times(&probabilities.renamed(logarithm), 1.0 / temperature, "tempered");
        self.softmax(&scaled, "at_temperature")
    }
}
