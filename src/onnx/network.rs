//! A block's operations as nodes of a graph.

use std::{
    cell::{RefCell, RefMut},
    collections::HashMap,
};

use dfdx::prelude::*;

use super::{
    OPERATION, failed,
    graph::{Graph, Value},
    names,
    weights::floats,
};
use crate::{
    block::{AnyBlock, Host},
    device::Real,
    error::Error,
    plan::{self, Operation, infer},
};

/// A block, whose output can be asked for any number of times. Its weights are stored once.
pub(super) struct Network<'a, E: Real, D: Host<E>> {
    pub graph: &'a RefCell<Graph>,
    name: String,
    plan: Operation<'a, E, D>,
    device: &'a D,
    x: Value,
    /// What depends on x alone, by its place in the network.
    of_x: RefCell<HashMap<String, Value>>,
}

/// What an operation takes.
#[derive(Clone)]
enum Input {
    /// All that goes into a block: z, with the others at hand.
    Block(Value),
    /// What another operation has given.
    Value(Value),
}

impl Input {
    /// A layer that takes one thing of all that goes into a block takes z.
    fn into_value(self) -> Value {
        match self {
            Self::Block(value) | Self::Value(value) => value,
        }
    }
}

/// One call of a network.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    /// What the names of its nodes begin with; empty, or with a slash at the end.
    pub prefix: &'c str,
    /// The time of all rows, where the network takes one.
    pub t: Option<f64>,
}

impl<'a, E: Real, D: Host<E>> Network<'a, E, D> {
    pub fn new(
        graph: &'a RefCell<Graph>,
        name: String,
        block: &'a D::Block,
        x: Value,
    ) -> Result<Self, Error> {
        let plan = block.plan().map_err(failed())?;
        let device = &block.state().device;
        Ok(Self { graph, name, plan, device, x, of_x: RefCell::default() })
    }

    /// The network's output at z, `[batch, Out]`.
    pub fn output(&self, call: Call<'_>, z: Value) -> Result<Value, Error> {
        let output = self.emit(&self.plan, Input::Block(z), call, &self.name)?;
        Ok(self.graph().as_rows(output, &node(call, &self.name)))
    }

    pub fn graph(&self) -> RefMut<'_, Graph> {
        self.graph.borrow_mut()
    }

    /// The nodes of an operation; `path` is its place in the network.
    fn emit(
        &self,
        operation: &Operation<'_, E, D>,
        input: Input,
        call: Call<'_>,
        path: &str,
    ) -> Result<Value, Error> {
        match operation {
            Operation::Sequence(operations) => {
                let parts = names::parts(operations);
                let layer = |input, (name, operation): (String, &Operation<'_, E, D>)| {
                    self.emit(operation, input, call, &format!("{path}/{name}")).map(Input::Value)
                };
                Ok(parts.into_iter().try_fold(input, layer)?.into_value())
            }
            Operation::Repeated(rounds) => {
                let round = |input, (i, round): (usize, &Operation<'_, E, D>)| {
                    self.emit(round, input, call, &format!("{path}/round_{i}")).map(Input::Value)
                };
                Ok((1..).zip(rounds).try_fold(input, round)?.into_value())
            }
            Operation::Condition { z, x, t } => {
                self.condition([z, x], t.as_deref(), input.into_value(), call, path)
            }
            Operation::Residual(branch) => {
                let skip = input.into_value();
                let branch = self.emit(branch, Input::Value(skip.clone()), call, path)?;
                Ok(self.graph().sum(skip, branch, &node(call, &format!("{path}/add"))))
            }
            Operation::Projected { branch, projection } => {
                let of =
                    |part, input, name| self.emit(part, input, call, &format!("{path}/{name}"));
                let branch = of(branch, input.clone(), "branch")?;
                let rest = of(projection, input, "projection")?;
                Ok(self.graph().sum(branch, rest, &node(call, &format!("{path}/add"))))
            }
            layer => self.layer(layer, input.into_value(), call, path),
        }
    }

    /// F_z(z) + F_x(x), + F_t(t): what depends on x alone is computed once, and what depends on the
    /// time alone is known.
    fn condition(
        &self,
        [of_z, of_x]: [&Operation<'_, E, D>; 2],
        of_t: Option<&Operation<'_, E, D>>,
        z: Value,
        call: Call<'_>,
        path: &str,
    ) -> Result<Value, Error> {
        let x_path = format!("{path}/x");
        let kept = self.of_x.borrow().get(&x_path).cloned();
        let x = match kept {
            Some(x) => x,
            None => {
                let once = Call { prefix: "", t: None };
                let x = self.emit(of_x, Input::Value(self.x.clone()), once, &x_path)?;
                let x = self.graph().as_rows(x, &node(once, &x_path));
                self.of_x.borrow_mut().insert(x_path, x.clone());
                x
            }
        };
        let z = self.emit(of_z, Input::Value(z), call, &format!("{path}/z"))?;
        let sum = self.graph().sum(z, x, &node(call, &format!("{path}/add")));
        let (Some(of_t), Some(t)) = (of_t, call.t) else { return Ok(sum) };
        let t = self.at_time(of_t, t, &format!("{path}/t"))?;
        Ok(self.graph().sum(sum, t, &node(call, &format!("{path}/add_time"))))
    }

    /// F_t(t), `[1, N]`: numbers, by the crate's own inference.
    fn at_time(&self, of_t: &Operation<'_, E, D>, t: f64, path: &str) -> Result<Value, Error> {
        let row = || {
            let times = self.device.try_tensor_from_vec(vec![E::of(t)], (1,))?;
            Ok(infer(of_t, plan::Value::Times(times), None)?.into_rows()?.0)
        };
        let row: Result<_, D::Err> = row();
        let row = row.map_err(failed())?;
        let width = row.shape().1;
        let name = format!("{}.at_{t}", names::dotted(path));
        let name = self.graph().weight(name, &[1, width], floats(&row));
        Ok(Value::rows(name, width))
    }

    /// A layer that is not made of others.
    fn layer(
        &self,
        layer: &Operation<'_, E, D>,
        value: Value,
        call: Call<'_>,
        path: &str,
    ) -> Result<Value, Error> {
        let at = &node(call, path);
        let graph = &mut *self.graph();
        match layer {
            Operation::Dense(dense) => Ok(graph.dense(dense, value, at, path)),
            Operation::Activation(function) => Ok(graph.activation(*function, value, at)),
            Operation::Dropout(_) | Operation::Flatten => Ok(value),
            Operation::LayerNorm { scale, shift, epsilon } => {
                Ok(graph.layer_norm(value, [scale, shift], *epsilon, at, path))
            }
            Operation::BatchNorm(norm) => graph.batch_norm(norm, value, at, path).map_err(failed()),
            Operation::Convolution(layer) => Ok(graph.convolution(layer, value, at, path)),
            Operation::Pool { by, window } => Ok(graph.pool(value, *by, *window, at)),
            Operation::ChannelsLast(channels) => Ok(graph.channels_last(value, *channels, at)),
            other => {
                if let Operation::Module(module) = other
                    && let Some(norm) = module.as_row_norm().map_err(failed())?
                {
                    return graph.batch_norm(&norm.into(), value, at, path).map_err(failed());
                }
                let expected = "layers that ONNX has too: those of `nn`, and dfdx's Linear, \
                                activations, Dropout, LayerNorm1D, BatchNorm1D, Residual, GeneralizedResidual \
                                and Repeated; replace the module by such layers";
                let found = format!("`{}` at {}", names::kind(other), names::dotted(path));
                Err(Error::argument(OPERATION, expected, found))
            }
        }
    }
}

/// What the node at a place in the network is called in a call.
fn node(call: Call<'_>, path: &str) -> String {
    format!("{}{path}", call.prefix)
}

impl Graph {
    /// a + b.
    pub fn sum(&mut self, a: Value, b: Value, at: &str) -> Value {
        // Both lie in the same way, or both as the crate has them.
        let (a, b) = match a.layout == b.layout {
            true => (a, b),
            false => (self.as_rows(a, at), self.as_rows(b, at)),
        };
        let name = self.node("Add", &[&a.name, &b.name], at, Vec::new());
        a.renamed(name)
    }

    /// `weight` times a value.
    pub fn times(&mut self, value: &Value, weight: f64, at: &str) -> Value {
        let weight = self.number(weight);
        self.scaled(value, &weight, at)
    }

    /// A known number of this name times a value.
    pub fn scaled(&mut self, value: &Value, weight: &str, at: &str) -> Value {
        value.renamed(self.node("Mul", &[&value.name, weight], at, Vec::new()))
    }
}
