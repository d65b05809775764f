//! Continuous time and flow matching: the steps of the solver one after the other.
//!
//! The crate's own solver takes them, on values of the graph instead of numbers.

use std::cell::{Cell, RefCell};

use super::{
    Exported, begins, failed,
    graph::{Graph, Value},
    network::{Call, Network},
};
use crate::{
    block::Host,
    device::Real,
    error::Error,
    head::Reading,
    infer::{Combination, InferenceRequest, STARTS},
    solver::{Save, Solver, State, Steps},
    variant::{DriftTerms, Ending, Inference, Opinion, VectorField},
};

/// How often a graph may call the network: each call is a copy of its nodes.
pub(super) const MOST_CALLS: usize = 10_000;

/// The answer, `[batch, Out]`.
pub(super) fn unrolled<E: Real, D: Host<E>>(
    exported: &Exported<'_, E, D>,
    field: &dyn VectorField<E, D>,
    graph: &RefCell<Graph>,
    x: &Value,
) -> Result<Option<Value>, Error> {
    let asked = exported.asked;
    let (reading, embedding) = (asked.process.reading(), &asked.embedding.0);
    let solver = fixed_solver(field, reading)?;
    let curve = field.curve(asked.learned);
    let network = Network::<E, D>::new(graph, "network".to_owned(), asked.blocks[0], x.clone())?;
    let calls = Cell::new(0);
    let output = |t: f64, z: &Value| {
        calls.set(calls.get() + 1);
        let prefix = format!("call_{}/", calls.get());
        let mut output = network.output(Call { prefix: &prefix, t: Some(t) }, z.clone())?;
        if let Some(weights) = field.skip(&curve, t) {
            let nodes = &mut *network.graph();
            output = nodes.mixed(z, &output, weights, &format!("{prefix}conditioned"));
        }
        Ok::<_, Error>((prefix, output))
    };
    let combination = Combination::of(asked.process, InferenceRequest::Answer);
    let answers = RefCell::new(Vec::new());
    let drift = |t: f64, z: &Latent<'_>| {
        let (prefix, output) = output(t, &z.value)?;
        if combination == Combination::Mean {
            let nodes = &mut *network.graph();
            let (output, latent) = (output.clone(), z.value.clone());
            let answer = match field.opinion(t) {
                Opinion::Output => output,
                Opinion::Extrapolated { time_left, sharpness } => {
                    let moved = nodes.times(&output, time_left, &format!("{prefix}moved"));
                    let end = nodes.sum(latent, moved, &format!("{prefix}extrapolated"));
                    let at = format!("{prefix}reading");
                    nodes.read(reading, end, embedding, sharpness, &at).map_err(failed())?
                }
            };
            answers.borrow_mut().push(nodes.answer(reading, answer));
        }
        let DriftTerms::Weighted { estimate, latent } = field.terms(&curve, t) else {
            return Ok(Latent { graph, value: output });
        };
        let nodes = &mut *network.graph();
        let of_output = nodes.estimate(reading, output, embedding, &format!("{prefix}estimate"));
        let of_output = nodes.times(&of_output, estimate, &format!("{prefix}drift/of_estimate"));
        let of_z = nodes.times(&z.value, latent, &format!("{prefix}drift/of_z"));
        Ok(Latent { graph, value: nodes.sum(of_output, of_z, &format!("{prefix}drift")) })
    };
    for value in begins(graph, combination, reading.latent, 1.0) {
        let solution = solver.integrate(&drift, Latent { graph, value }, 0.0, field.end())?;
        let Some(end) = solution.into_last() else {
            return Err(Error::argument(super::OPERATION, "a solver that ends somewhere", "none"));
        };
        if combination == Combination::Mean {
            continue;
        }
        let last = match field.ending() {
            Ending::Output => output(field.end(), &end.value)?.1,
            Ending::Latent { sharpness } => {
                let graph = &mut *network.graph();
                graph.read(reading, end.value, embedding, sharpness, "reading").map_err(failed())?
            }
        };
        answers.borrow_mut().push(network.graph().answer(reading, last));
    }
    let answers = answers.borrow();
    Ok(network.graph().mean(&answers))
}

/// The solver, if its steps are the same for all rows.
fn fixed_solver<E: Real, D: Host<E>>(
    field: &dyn VectorField<E, D>,
    reading: Reading,
) -> Result<Solver, Error> {
    let [setting, call] = field.setting();
    let solver = match field.inference() {
        Inference::Ode(solver) => solver,
        Inference::Sde { .. } => {
            let expected = format!(
                "`Inference::Ode`, since an ONNX graph draws no noise here; call `{call}` with it"
            );
            return Err(Error::config(setting, expected, "`Inference::Sde`"));
        }
    };
    let Steps::Fixed(steps) = solver.steps else {
        let expected = format!(
            "`Steps::Fixed`, since an ONNX graph takes the same steps for all rows; call `{call}` \
             with it"
        );
        return Err(Error::config(setting, expected, "`Steps::Adaptive`"));
    };
    solver.check()?;
    let starts = if reading.has_classes() { 1 } else { STARTS };
    let calls = steps.saturating_mul(solver.method.tableau().b.len()).saturating_mul(starts);
    if calls > MOST_CALLS {
        let expected = format!(
            "steps that call the network {MOST_CALLS} times at most, each of which is written out \
             in an ONNX graph; call `{call}` with fewer"
        );
        return Err(Error::config(setting, expected, format!("{calls} calls")));
    }
    Ok(Solver { save: Save::End, ..solver })
}

/// A latent of the graph, as a state that a solver steps.
#[derive(Clone)]
pub(super) struct Latent<'g> {
    pub(super) graph: &'g RefCell<Graph>,
    pub(super) value: Value,
}

impl Latent<'_> {
    /// Another value of the same graph.
    pub(super) fn with(&self, value: Value) -> Self {
        Self { graph: self.graph, value }
    }
}

impl State for Latent<'_> {
    fn scaled(&self, weight: f64) -> Result<Self, Error> {
        if weight == 1.0 {
            return Ok(self.clone());
        }
        let scaled = self.graph.borrow_mut().times(&self.value, weight, "solver/weighted");
        Ok(self.with(scaled))
    }

    fn add_scaled(self, weight: f64, other: &Self) -> Result<Self, Error> {
        let term = other.scaled(weight)?;
        let sum = self.graph.borrow_mut().sum(self.value.clone(), term.value, "solver/z");
        Ok(self.with(sum))
    }

    fn combined(&self, weight: f64, terms: &[(f64, &Self)]) -> Result<Self, Error> {
        let mut all = vec![self.scaled(weight)?];
        for (weight, term) in terms.iter().filter(|(weight, _)| *weight != 0.0) {
            all.push(term.scaled(*weight)?);
        }
        let names: Vec<&str> = all.iter().map(|term| &*term.value.name).collect();
        let sum = self.graph.borrow_mut().node("Sum", &names, "solver/z", Vec::new());
        Ok(self.with(self.value.renamed(sum)))
    }

    /// Of use for steps that depend on the rows, which are refused.
    fn error_norm(&self, _a: &Self, _b: &Self, _rtol: f64, _atol: f64) -> Result<f64, Error> {
        Ok(0.0)
    }

    /// What the numbers will be is not known.
    fn is_finite(&self) -> Result<bool, Error> {
        Ok(true)
    }
}
