//! A plan in words and numbers.

use dfdx::prelude::*;

use super::{Activation, Convolution, FusedResidual, Operation, Pooling};
use crate::device::{Backend, Real};

/// One operation of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SummaryLine {
    /// How many operations it lies in.
    pub depth: usize,
    /// What it does.
    pub operation: String,
    /// How many numbers come out of a row.
    pub outputs: usize,
    /// How many trained numbers it has, parts included.
    pub parameters: usize,
    /// How many multiply-adds a row takes, parts included.
    pub multiply_adds: usize,
}

/// The operations of a block, and what they cost: for `println!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The operations of one block, each before its parts.
    pub lines: Vec<SummaryLine>,
    /// How many such blocks there are.
    pub blocks: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heads = ["operation", "outputs", "parameters", "multiply-adds"];
        writeln!(f, "{:40} {:>10} {:>12} {:>14}", heads[0], heads[1], heads[2], heads[3])?;
        for line in &self.lines {
            let operation = format!("{}{}", "  ".repeat(line.depth), line.operation);
            let SummaryLine { outputs, parameters, multiply_adds, .. } = line;
            writeln!(f, "{operation:40} {outputs:>10} {parameters:>12} {multiply_adds:>14}")?;
        }
        let total = self.lines.first();
        let (parameters, cost) = total.map_or((0, 0), |all| (all.parameters, all.multiply_adds));
        let (parameters, cost) = (parameters * self.blocks, cost * self.blocks);
        let all = format!("{} of them", self.blocks);
        write!(f, "{all:40} {:>10} {parameters:>12} {cost:>14}", "")
    }
}

/// What goes into an operation: the widths of z and x at the start of a block, one width after
/// that.
#[derive(Clone, Copy)]
struct Widths {
    z: usize,
    x: usize,
}

/// The operations of a block that takes z and x of these widths, each before its parts.
pub fn describe<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    z: usize,
    x: usize,
) -> Vec<SummaryLine> {
    let mut lines = Vec::new();
    add(operation, Widths { z, x }, 0, &mut lines);
    lines
}

/// Adds an operation and its parts; its place among the lines.
fn add<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    width: Widths,
    depth: usize,
    lines: &mut Vec<SummaryLine>,
) -> usize {
    let at = lines.len();
    lines.push(SummaryLine {
        depth,
        operation: name(operation),
        outputs: 0,
        parameters: own_parameters(operation),
        multiply_adds: own_multiply_adds(operation),
    });
    let mut outputs = own_outputs(operation, width.z);
    let mut part = |operation: &Operation<'_, E, D>, z: usize| {
        let part = add(operation, Widths { z, ..width }, depth + 1, lines);
        let SummaryLine { outputs, parameters, multiply_adds, .. } = lines[part];
        lines[at].parameters += parameters;
        lines[at].multiply_adds += multiply_adds;
        outputs
    };
    match operation {
        Operation::Sequence(parts) | Operation::Repeated(parts) => {
            outputs = parts.iter().fold(width.z, |z, operation| part(operation, z));
        }
        Operation::FusedResidual(fused) => {
            let FusedResidual { front, next, .. } = &**fused;
            front.iter().fold(width.z, |z, operation| part(operation, z));
            outputs = next.outputs();
        }
        Operation::Condition { z, x, t } => {
            outputs = part(z, width.z);
            part(x, width.x);
            if let Some(t) = t {
                part(t, 1);
            }
        }
        Operation::Residual(branch) => {
            outputs = part(branch, width.z);
        }
        Operation::Projected { branch, projection } => {
            outputs = part(branch, width.z);
            part(projection, width.z);
        }
        _ => {}
    }
    lines[at].outputs = outputs;
    at
}

fn name<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>) -> String {
    let window = |what: &str, window: &crate::device::Window| {
        let side = window.kernel;
        format!("{what} {side} x {side} onto {} x {}", window.out_height, window.out_width)
    };
    match operation {
        Operation::Sequence(_) => "sequence".to_owned(),
        Operation::Condition { t: None, .. } => "condition on z and x".to_owned(),
        Operation::Condition { .. } => "condition on z, x and t".to_owned(),
        Operation::Residual(_) => "residual".to_owned(),
        Operation::Projected { .. } => "projected residual".to_owned(),
        Operation::Repeated(rounds) => format!("repeated {} times", rounds.len()),
        Operation::Dense(layer) => format!("dense {} to {}", layer.inputs(), layer.outputs()),
        Operation::FusedResidual(fused) => {
            let next = &fused.next;
            format!("residual and dense to {}", next.outputs())
        }
        Operation::Activation(Activation::Relu) => "ReLU".to_owned(),
        Operation::Activation(function) => format!("{function:?}").to_lowercase(),
        Operation::Dropout(share) => format!("dropout {share}"),
        Operation::LayerNorm { .. } => "layer norm".to_owned(),
        Operation::BatchNorm(_) => "batch norm".to_owned(),
        Operation::Convolution(layer) => window("convolution", &layer.window),
        Operation::Pool { by: Pooling::Max, window: at } => window("max pool", at),
        Operation::Pool { window: at, .. } => window("mean pool", at),
        Operation::ChannelsLast(channels) => format!("planes of {channels} channels"),
        Operation::Flatten => "flatten".to_owned(),
        Operation::TimeEmbedding(width) => format!("time embedding {width}"),
        Operation::Module(module) => module.name(),
    }
}

/// How many numbers come out of a row, where the operation has no parts.
fn own_outputs<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>, width: usize) -> usize {
    match operation {
        Operation::Dense(layer) => layer.outputs(),
        Operation::Convolution(layer) => layer.window.windows() * layer.bias.shape().0,
        Operation::Pool { window, .. } => window.windows() * window.channels,
        Operation::TimeEmbedding(width) => *width,
        _ => width,
    }
}

fn own_parameters<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>) -> usize {
    match operation {
        Operation::Dense(layer) => (layer.inputs() + 1) * layer.outputs(),
        Operation::LayerNorm { scale, .. } => 2 * scale.shape().0,
        Operation::BatchNorm(norm) => 2 * norm.scale.shape().0,
        Operation::Convolution(layer) => {
            let Convolution { filter, bias, .. } = &**layer;
            filter.shape().num_elements() + bias.shape().0
        }
        Operation::Module(module) => module.parameters(),
        _ => 0,
    }
}

fn own_multiply_adds<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>) -> usize {
    match operation {
        Operation::Dense(layer) => layer.inputs() * layer.outputs(),
        Operation::Convolution(layer) => {
            let Convolution { filter, window, .. } = &**layer;
            window.windows() * filter.shape().num_elements()
        }
        _ => 0,
    }
}
