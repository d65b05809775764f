//! Trained models as ONNX graphs: from x to the answer, with the way from noise to target written
//! out.
//!
//! The messages are declared in `messages.rs`, so that nothing is generated when the crate is
//! built.

mod denoise;
mod discrete;
mod field;
mod file;
mod graph;
mod images;
mod layers;
mod messages;
mod names;
mod network;
mod reading;
mod units;
mod weights;

use std::{cell::RefCell, path::Path};

use crate::{
    block::Host,
    data::Statistics,
    device::{Backend, Real},
    error::Error,
    infer::{Asked, Combination, starts},
    variant::{Sampler, Transition},
};
use graph::{Graph, Value};
use messages::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};

/// What the user has called.
const OPERATION: &str = "NoProp::export_onnx";

/// That of ONNX 1.12, the first with [`OPERATORS`].
const IR_VERSION: i64 = 8;

/// The first operator set with LayerNormalization.
const OPERATORS: i64 = 17;

/// A model to be written, with all of its blocks.
pub struct Exported<'a, E: Real, D: Backend<E>> {
    pub(crate) asked: &'a Asked<'a, E, D>,
    /// By which rows become the model's inputs.
    pub(crate) inputs: Option<&'a Statistics>,
    /// By which the model's answers become numbers.
    pub(crate) targets: Option<&'a Statistics>,
    /// What the classes are called, where that is known.
    pub(crate) class_names: &'a [String],
}

impl<E: Real, D: Host<E>> Exported<'_, E, D> {
    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let reading = self.asked.process.reading();
        let (name, meaning) = match reading.has_classes() {
            true => ("probabilities", "the probability of each class"),
            false => ("values", "the numbers that are predicted"),
        };
        let graph = self.graph(name)?;
        let outline = GraphProto {
            name: "noprop".to_owned(),
            doc_string: format!("NoProp in {}, from x to {name}", self.asked.process.setup().name),
            input: vec![ValueInfoProto::rows(
                "x",
                self.asked.inputs.width,
                "the inputs, a row each",
            )],
            output: vec![ValueInfoProto::rows(name, reading.outputs, meaning)],
            ..GraphProto::default()
        };
        file::write(&self.head(), outline, graph, path)
    }

    /// The file without its graph.
    fn head(&self) -> ModelProto {
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        let mut metadata_props = vec![entry("variant", self.asked.process.setup().name.to_owned())];
        if !self.class_names.is_empty() {
            let names = serde_json::Value::from(self.class_names.to_vec());
            metadata_props.push(entry("class_names", names.to_string()));
        }
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "dfdx-noprop".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATORS }],
            metadata_props,
            ..ModelProto::default()
        }
    }

    /// The nodes from `x` to the output of this name.
    fn graph(&self, output: &str) -> Result<Graph, Error> {
        let graph = RefCell::new(Graph::default());
        for name in ["x", output] {
            graph.borrow_mut().reserve(name);
        }
        let x = Value::rows("x".to_owned(), self.asked.inputs.width);
        let x = match self.inputs {
            Some(statistics) => graph.borrow_mut().standardised(x, statistics),
            None => x,
        };
        let found = match self.asked.process.transition() {
            Transition::Blocks(discrete) => discrete::unrolled(self, discrete, &graph, &x)?,
            Transition::Denoiser(denoiser) => denoise::unrolled(self, denoiser, &graph, &x)?,
            Transition::Field(field) => field::unrolled(self, field, &graph, &x)?,
        };
        let mut graph = graph.into_inner();
        let Some(mut answer) = found else {
            return Err(Error::argument(OPERATION, "a block that changes z", "none"));
        };
        if let Some(temperature) = self.asked.calibration.temperature {
            answer = graph.at_temperature(&answer, temperature);
        }
        if let Some(statistics) = self.targets {
            answer = graph.in_units(answer, statistics);
        }
        graph.rename(&answer.name, output);
        graph.prune(output);
        Ok(graph)
    }
}

/// Where the ways begin whose answers are averaged: z_0 = 0, or the starts that stand for all, with
/// this deviation.
fn begins(
    graph: &RefCell<Graph>,
    combination: Combination,
    latent: usize,
    deviation: f64,
) -> Vec<Value> {
    if combination != Combination::Starts {
        return vec![start(graph, 0, vec![0.0; latent])];
    }
    let all: Vec<f32> = starts(latent);
    let scaled = |z: &[f32]| z.iter().map(|v| deviation as f32 * v).collect();
    all.chunks(latent).enumerate().map(|(k, z)| start(graph, k, scaled(z))).collect()
}

/// [`Error::Config`] for noise in inference.
fn check_sampler(setting: &'static str, sampler: Sampler) -> Result<(), Error> {
    let Sampler::Stochastic { .. } = sampler else { return Ok(()) };
    let expected = "`Sampler::Deterministic`, since an ONNX graph draws no noise here; call \
                    `set_sampler(Sampler::Deterministic)`";
    Err(Error::config(setting, expected, "`Sampler::Stochastic`"))
}

/// The k-th z_0: one row, which stands for all.
fn start(graph: &RefCell<Graph>, k: usize, z: Vec<f32>) -> Value {
    let latent = z.len();
    let name = graph.borrow_mut().weight(format!("z_0.{k}"), &[1, latent], move || z.clone());
    Value::rows(name, latent)
}

fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("writing an ONNX graph")
}
