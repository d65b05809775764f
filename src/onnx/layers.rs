//! Layers on rows of numbers.

use dfdx::prelude::HasShape;

use super::{
    graph::{Graph, Layout, Value},
    messages::AttributeProto,
    names::dotted,
    weights::{channels_first, floats},
};
use crate::{
    device::{Backend, Column, Real},
    plan::{Activation, Dense},
};

impl Graph {
    /// x Wᵀ + b. Where x is an image plane by plane, the columns of W are put in that order.
    pub fn dense<E: Real, D: Backend<E>>(
        &mut self,
        layer: &Dense<E, D>,
        value: Value,
        at: &str,
        path: &str,
    ) -> Value {
        let value = self.as_flat(value, at);
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let (name, dims) = (format!("{}.weight", dotted(path)), [outputs, inputs]);
        let weight = match value.layout {
            Layout::Planes { channels } => {
                let pixels = inputs / channels.max(1);
                self.weight(name, &dims, channels_first(&layer.weight, pixels, channels))
            }
            _ => self.weight(name, &dims, floats(&layer.weight)),
        };
        let bias = self.column("bias", &layer.bias, path);
        let attributes = vec![AttributeProto::int("transB", 1)];
        let name = self.node("Gemm", &[&value.name, &weight, &bias], at, attributes);
        Value::rows(name, outputs)
    }

    /// A parameter with one number for each channel or output.
    pub fn column<E: Real, D: Backend<E>>(
        &mut self,
        name: &str,
        column: &Column<E, D>,
        path: &str,
    ) -> String {
        self.weight(format!("{}.{name}", dotted(path)), &[column.shape().0], floats(column))
    }

    pub fn layer_norm<E: Real, D: Backend<E>>(
        &mut self,
        value: Value,
        [scale, shift]: [&Column<E, D>; 2],
        epsilon: f64,
        at: &str,
        path: &str,
    ) -> Value {
        let value = self.as_rows(value, at);
        let scale = self.column("scale", scale, path);
        let shift = self.column("shift", shift, path);
        let attributes =
            vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", epsilon)];
        let inputs = [&*value.name, &*scale, &*shift];
        value.renamed(self.node("LayerNormalization", &inputs, at, attributes))
    }

    /// A function of each number.
    pub fn activation(&mut self, function: Activation, x: Value, at: &str) -> Value {
        let operator = match function {
            Activation::Relu => "Relu",
            Activation::FastGelu => return self.fast_gelu(&x, at),
            Activation::Gelu => return self.gelu(&x, at),
            Activation::Sigmoid => "Sigmoid",
            Activation::Tanh => "Tanh",
            Activation::Sin => "Sin",
            Activation::Cos => "Cos",
            Activation::Abs => "Abs",
            Activation::Square => return self.product(&x, &x, at),
        };
        x.renamed(self.node(operator, &[&x.name], at, Vec::new()))
    }

    fn product(&mut self, a: &Value, b: &Value, at: &str) -> Value {
        a.renamed(self.node("Mul", &[&a.name, &b.name], at, Vec::new()))
    }

    /// ½ x (1 + erf(x / √2)): ONNX has it as one operator from opset 20 on.
    fn gelu(&mut self, x: &Value, at: &str) -> Value {
        let inside = self.times(x, std::f64::consts::FRAC_1_SQRT_2, &format!("{at}/inside"));
        let erf = self.node("Erf", &[&inside.name], &format!("{at}/erf"), Vec::new());
        self.half_of(x, &x.renamed(erf), at)
    }

    /// ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), as dfdx has it.
    fn fast_gelu(&mut self, x: &Value, at: &str) -> Value {
        let square = self.product(x, x, &format!("{at}/square"));
        let cube = self.product(&square, x, &format!("{at}/cube"));
        let cube = self.times(&cube, 0.044715, &format!("{at}/small_cube"));
        let inside = self.sum(x.clone(), cube, &format!("{at}/add"));
        let factor = std::f64::consts::FRAC_2_PI.sqrt();
        let inside = self.times(&inside, factor, &format!("{at}/inside"));
        let tanh = self.node("Tanh", &[&inside.name], &format!("{at}/tanh"), Vec::new());
        self.half_of(x, &x.renamed(tanh), at)
    }

    /// ½ x (1 + y).
    fn half_of(&mut self, x: &Value, y: &Value, at: &str) -> Value {
        let one = self.number(1.0);
        let sum = self.node("Add", &[&y.name, &one], &format!("{at}/add_one"), Vec::new());
        let product = self.product(x, &y.renamed(sum), &format!("{at}/product"));
        self.times(&product, 0.5, at)
    }
}
