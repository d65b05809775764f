//! Passes through a block with noise on what its layers give.

use std::any::Any;

use dfdx::prelude::*;

use super::Signal;
use crate::{
    device::{Backend, Real, TracedScalar},
    gradient::Direction,
};

/// Passes through a block on one batch: first one without noise, which finds the layers that learn and keeps their inputs, then
/// those with noise.
pub struct NoisedPass<E: Real, D: Backend<E>> {
    layers: Vec<Layer<E, D>>,
    /// The noise of this pass and its scale; `None` in the first.
    noise: Option<(Direction, f64)>,
    /// How many layers that learn this pass has met.
    met: usize,
}

/// A layer that learns.
struct Layer<E: Real, D: Backend<E>> {
    /// How many rows it gives, and how many numbers in each.
    size: [usize; 2],
    /// What it gives without noise, where no noise comes before it: then it need not be computed again.
    clean: Option<Box<dyn Any>>,
    /// The estimated gradient of the rows' losses with respect to what it gives.
    delta: Vec<E>,
    /// ⟨what it gives, δ⟩ on a tape of the layer's own: its gradient is the layer's part.
    #[allow(clippy::type_complexity)]
    product: Box<dyn FnOnce(Vec<E>) -> Result<TracedScalar<E, D>, D::Err>>,
}

impl<E: Real, D: Backend<E>> NoisedPass<E, D> {
    pub(crate) fn new() -> Self {
        Self { layers: Vec::new(), noise: None, met: 0 }
    }

    /// The next pass has this noise.
    pub(crate) fn start(&mut self, direction: Direction, scale: f64) {
        self.noise = Some((direction, scale));
        self.met = 0;
    }

    /// Adds `change`, a number for each row (or one for all), times the direction to what is known of the gradient.
    pub(crate) fn learn(&mut self, mut direction: Direction, change: &[f64]) {
        for layer in &mut self.layers {
            let mut noise = vec![E::zero(); layer.delta.len()];
            direction.fill(&mut noise, 1.0);
            let [rows, width] = layer.size;
            let width = width.max(1);
            for (i, (delta, noise)) in
                layer.delta.chunks_mut(width).zip(noise.chunks(width)).enumerate()
            {
                // The loss of all rows together is no mean over them.
                let change = if change.len() == 1 { rows as f64 * change[0] } else { change[i] };
                let change = E::of(change);
                delta.iter_mut().zip(noise).for_each(|(d, n)| *d += change * *n);
            }
        }
    }

    /// Adds the layers' gradients to `gradients`.
    pub(crate) fn gradients(
        self,
        mut gradients: Gradients<E, D>,
    ) -> Result<Gradients<E, D>, D::Err> {
        for layer in self.layers {
            let product = (layer.product)(layer.delta)?;
            let nothing = product.device().try_zeros_like(&())?;
            gradients = nothing.traced(gradients).try_add(product)?.try_backward()?;
        }
        Ok(gradients)
    }

    /// A layer that learns from noise on what it gives: `train` and `infer` are the layer itself, with and without a tape.
    ///
    /// # Errors
    /// Those of the layer.
    pub fn layer<In: Signal<E, D>, Out: Signal<E, D>, B>(
        &mut self,
        built: &mut B,
        input: In::Plain,
        train: impl FnOnce(&mut B, In::Traced) -> Result<Out::Traced, D::Err>,
        infer: impl FnOnce(&B, In::Plain) -> Result<Out::Plain, D::Err>,
    ) -> Result<Out::Plain, D::Err> {
        let Some((direction, scale)) = &mut self.noise else {
            let traced = train(built, In::trace(input))?;
            let plain = Out::untrace(&traced);
            let [rows, width] = Out::numbers(&plain);
            let clean = self.layers.is_empty().then(|| Box::new(plain.clone()) as Box<dyn Any>);
            let product = Box::new(move |delta: Vec<E>| {
                let scale = E::of(1.0 / rows.max(1) as f64);
                Out::product(traced, delta)?.try_mul(scale)
            });
            let delta = vec![E::zero(); rows * width];
            self.layers.push(Layer { size: [rows, width], clean, delta, product });
            return Ok(plain);
        };
        let layer = self.layers.get(self.met);
        self.met += 1;
        let clean =
            layer.and_then(|layer| layer.clean.as_ref()?.downcast_ref::<Out::Plain>().cloned());
        let plain = clean.map_or_else(|| infer(built, input), Ok)?;
        let [rows, width] = Out::numbers(&plain);
        let mut noise = vec![E::zero(); rows * width];
        direction.fill(&mut noise, *scale);
        Out::moved(plain, noise)
    }
}
