//! Images: this crate has the channels last, ONNX's operators have them first.

use dfdx::prelude::HasShape;

use super::{
    graph::{Graph, Layout, Value},
    messages::AttributeProto,
    names::dotted,
    weights::channels_first,
};
use crate::{
    device::{Backend, Real, Window},
    plan::{BatchNorm, Convolution, Pooling},
};

impl Graph {
    /// `[batch, N]` in the order of this crate, pixel by pixel.
    pub fn as_rows(&mut self, value: Value, at: &str) -> Value {
        let Some(channels) = value.layout.planes() else { return value };
        let (width, pixels) = (value.width, value.width / channels.max(1));
        if channels == 1 || pixels == 1 {
            // The two orders are one.
            return Value { layout: Layout::Rows, ..self.as_flat(value, at) };
        }
        let planes = self.reshape(&value.name, &[0, channels as i64, pixels as i64], at);
        let turned = self.transpose(&planes, &[0, 2, 1], at);
        Value::rows(self.reshape(&turned, &[0, width as i64], at), width)
    }

    /// `[batch, N]` plane by plane, or pixel by pixel where it was so.
    pub fn as_flat(&mut self, value: Value, at: &str) -> Value {
        let Layout::Image { channels, .. } = value.layout else { return value };
        let name = self.reshape(&value.name, &[0, value.width as i64], at);
        Value { name, layout: Layout::Planes { channels }, ..value }
    }

    /// `[batch, C, H, W]`.
    fn as_image(&mut self, value: Value, window: Window, at: &str) -> Value {
        let Window { channels, height, width, .. } = window;
        let [c, h, w] = [channels, height, width].map(|size| size as i64);
        let name = match value.layout {
            Layout::Image { .. } => return value,
            Layout::Rows if channels > 1 => {
                let pixels = self.reshape(&value.name, &[0, h, w, c], at);
                self.transpose(&pixels, &[0, 3, 1, 2], at)
            }
            _ => self.reshape(&value.name, &[0, c, h, w], at),
        };
        Value { name, layout: Layout::Image { channels, height, width }, ..value }
    }

    fn reshape(&mut self, name: &str, sizes: &[i64], at: &str) -> String {
        let shape = self.shape(sizes);
        self.node("Reshape", &[name, &shape], &format!("{at}/reshape"), Vec::new())
    }

    fn transpose(&mut self, name: &str, axes: &[i64], at: &str) -> String {
        let axes = vec![AttributeProto::ints("perm", axes)];
        self.node("Transpose", &[name], &format!("{at}/transpose"), axes)
    }

    /// Planes of one channel each, which is how ONNX has them.
    pub fn channels_last(&mut self, value: Value, channels: usize, at: &str) -> Value {
        let value = self.as_rows(value, at);
        Value { layout: Layout::Planes { channels }, ..value }
    }

    /// A convolution, with its filters as `[O, C, K, K]`.
    pub fn convolution<E: Real, D: Backend<E>>(
        &mut self,
        layer: &Convolution<E, D>,
        value: Value,
        at: &str,
        path: &str,
    ) -> Value {
        let (window, filters) = (layer.window, layer.bias.shape().0);
        let image = self.as_image(value, window, at);
        let (kernel, channels) = (window.kernel, window.channels);
        let numbers = channels_first(&layer.filter, kernel * kernel, channels);
        let name = format!("{}.weight", dotted(path));
        let weight = self.weight(name, &[filters, channels, kernel, kernel], numbers);
        let bias = self.column("bias", &layer.bias, path);
        let inputs = [&*image.name, &*weight, &*bias];
        let name = self.node("Conv", &inputs, at, window_attributes(window));
        image_of(name, filters, window)
    }

    /// One number for each window and channel.
    pub fn pool(&mut self, value: Value, by: Pooling, window: Window, at: &str) -> Value {
        let image = self.as_image(value, window, at);
        let mut attributes = window_attributes(window);
        let operator = match by {
            Pooling::Max => "MaxPool",
            Pooling::Mean => {
                attributes.push(AttributeProto::int("count_include_pad", 1));
                "AveragePool"
            }
        };
        let name = self.node(operator, &[&image.name], at, attributes);
        image_of(name, window.channels, window)
    }

    /// Batch norm by the running statistics.
    pub fn batch_norm<E: Real, D: Backend<E>>(
        &mut self,
        norm: &BatchNorm<'_, E, D>,
        value: Value,
        at: &str,
        path: &str,
    ) -> Result<Value, D::Err> {
        let [mean, variance] = norm.running.now()?;
        let parameters = [
            ("scale", &norm.scale),
            ("shift", &norm.shift),
            ("mean", &mean),
            ("variance", &variance),
        ];
        let names = parameters.map(|(name, column)| self.column(name, column, path));
        let (channels, width) = (norm.scale.shape().0, value.width);
        let pixels = width / channels.max(1);
        let [c, p] = [channels, pixels].map(|size| size as i64);
        // ONNX has the channels on the second axis.
        let name = match value.layout {
            Layout::Rows if pixels > 1 => self.reshape(&value.name, &[-1, c], at),
            Layout::Planes { .. } if pixels > 1 => self.reshape(&value.name, &[0, c, p], at),
            _ => value.name.clone(),
        };
        let inputs: Vec<&str> = [&name].into_iter().chain(&names).map(String::as_str).collect();
        let attributes = vec![AttributeProto::float("epsilon", norm.epsilon)];
        let name = self.node("BatchNormalization", &inputs, at, attributes);
        let is_image = matches!(value.layout, Layout::Image { .. });
        let name = match pixels > 1 && !is_image {
            true => self.reshape(&name, &[-1, width as i64], at),
            false => name,
        };
        Ok(value.renamed(name))
    }
}

impl Layout {
    /// How many planes lie one after the other, where they do.
    pub fn planes(self) -> Option<usize> {
        match self {
            Self::Rows => None,
            Self::Planes { channels } | Self::Image { channels, .. } => Some(channels),
        }
    }
}

fn image_of(name: String, channels: usize, window: Window) -> Value {
    let (height, width) = (window.out_height, window.out_width);
    let layout = Layout::Image { channels, height, width };
    Value { name, width: channels * height * width, layout }
}

fn window_attributes(window: Window) -> Vec<AttributeProto> {
    let Window { kernel, stride, padding, .. } = window;
    let [kernel, stride, padding] = [kernel, stride, padding].map(|n| n as i64);
    vec![
        AttributeProto::ints("kernel_shape", &[kernel; 2]),
        AttributeProto::ints("strides", &[stride; 2]),
        AttributeProto::ints("pads", &[padding; 4]),
    ]
}
