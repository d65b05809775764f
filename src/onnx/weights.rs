//! Weights as ONNX has them.

use dfdx::prelude::*;

use crate::device::{Backend, Real};

/// A tensor's numbers in f32, row-major, whenever they are asked for.
pub(super) fn floats<S: Shape, E: Real, D: Backend<E>>(
    tensor: &Tensor<S, E, D>,
) -> impl Fn() -> Vec<f32> + use<S, E, D> {
    let tensor = tensor.clone();
    move || tensor.as_vec().into_iter().map(|v| v.as_f64() as f32).collect()
}

/// The same, of `[outer, pixels, channels]` numbers as `[outer, channels, pixels]`.
pub(super) fn channels_first<S: Shape, E: Real, D: Backend<E>>(
    tensor: &Tensor<S, E, D>,
    pixels: usize,
    channels: usize,
) -> impl Fn() -> Vec<f32> + use<S, E, D> {
    let floats = floats(tensor);
    move || {
        let from = floats();
        let images = from.chunks_exact((pixels * channels).max(1));
        let image = |image: &[f32]| -> Vec<f32> {
            let plane = |c| image.iter().skip(c).step_by(channels).copied();
            (0..channels).flat_map(plane).collect()
        };
        images.flat_map(image).collect()
    }
}
