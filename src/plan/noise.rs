//! The pass with noise on each layer's output.

use dfdx::prelude::*;

use super::{Inputs, Operation, Value, infer::infer, train::train};
use crate::{
    device::{Backend, Matrix, Real},
    random::Direction,
};

/// Passes through a block on one batch: first one without noise, which finds the layers that learn
/// and keeps their inputs, then those with noise.
pub(crate) struct NoisyPass<E: Real, D: Backend<E>> {
    layers: Vec<Layer<E, D>>,
    /// The noise of this pass and its scale; `None` in the first.
    noise: Option<(Direction, f64)>,
    /// How many layers that learn this pass has met.
    met: usize,
}

/// A layer that learns.
struct Layer<E: Real, D: Backend<E>> {
    /// Its output without noise, where no noise comes before it: then it need not be computed
    /// again.
    clean: Option<Matrix<E, D>>,
    /// Its output on a tape of its own, which leads back to its weights.
    output: Matrix<E, D, OwnedTape<E, D>>,
    /// The estimated gradient of the rows' losses with respect to its output.
    delta: Vec<E>,
}

impl<E: Real, D: Backend<E>> NoisyPass<E, D> {
    pub(crate) fn new() -> Self {
        Self { layers: Vec::new(), noise: None, met: 0 }
    }

    /// The next pass has this noise.
    pub(crate) fn start(&mut self, direction: Direction, scale: f64) {
        self.noise = Some((direction, scale));
        self.met = 0;
    }

    /// Adds `change`, a number for each row (or one for all), times the direction to what is known
    /// of the gradient.
    pub(crate) fn learn(&mut self, mut direction: Direction, change: &[f64]) {
        for layer in &mut self.layers {
            let mut noise = vec![E::zero(); layer.delta.len()];
            direction.fill(&mut noise, 1.0);
            let (rows, width) = *layer.output.shape();
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

    /// Adds the layers' gradients to `gradients`: each that of ⟨output, δ⟩ over the rows.
    pub(crate) fn gradients(
        self,
        mut gradients: Gradients<E, D>,
    ) -> Result<Gradients<E, D>, D::Err> {
        for Layer { output, delta, .. } in self.layers {
            let (rows, device) = (output.shape().0, output.device().clone());
            let flat = (output.shape().num_elements(),);
            let delta = device.try_tensor_from_vec(delta, flat)?;
            let product = output.try_reshape_like(&flat)?.try_mul(delta)?;
            let product = product.try_sum::<(), Axis<0>>()?;
            let product = product.try_mul(E::of(1.0 / rows.max(1) as f64))?;
            let nothing = device.try_zeros_like(&())?;
            gradients = nothing.traced(gradients).try_add(product)?.try_backward()?;
        }
        Ok(gradients)
    }

    /// A layer that learns from noise on its output.
    fn layer(
        &mut self,
        operation: &mut Operation<'_, E, D>,
        value: Value<E, D>,
    ) -> Result<Value<E, D>, D::Err> {
        let Some((direction, scale)) = &mut self.noise else {
            let (output, _) = train(operation, value.traced())?.into_rows()?;
            let plain = output.retaped::<NoneTape>();
            let clean = self.layers.is_empty().then(|| plain.clone());
            let delta = vec![E::zero(); plain.shape().num_elements()];
            self.layers.push(Layer { clean, output, delta });
            return Ok(Value::Rows(plain));
        };
        let clean = self.layers.get(self.met).and_then(|layer| layer.clean.clone());
        self.met += 1;
        let plain = match clean {
            Some(clean) => clean,
            None => infer(operation, value, None)?.into_rows()?.0,
        };
        let mut noise = vec![E::zero(); plain.shape().num_elements()];
        direction.fill(&mut noise, *scale);
        let noise = plain.device().try_tensor_from_vec(noise, *plain.shape())?;
        D::sum(plain, noise).map(Value::Rows)
    }
}

/// The output of an operation with noise on the layers that it is made of.
pub(crate) fn noisy<E: Real, D: Backend<E>>(
    operation: &mut Operation<'_, E, D>,
    value: Value<E, D>,
    pass: &mut NoisyPass<E, D>,
) -> Result<Value<E, D>, D::Err> {
    // One noise on the sum serves all branches.
    let one = matches!(operation, Operation::Condition { .. })
        && operation.parts().all(Operation::is_linear);
    match (operation, value) {
        (Operation::Sequence(operations) | Operation::Repeated(operations), value) => {
            operations.iter_mut().try_fold(value, |value, operation| noisy(operation, value, pass))
        }
        (Operation::Condition { z, x, t }, Value::Inputs(inputs)) if !one => {
            let (h, _) = noisy(z, Value::Rows(inputs.z), pass)?.into_rows()?;
            let (x, _) = noisy(x, Value::Given(inputs.x), pass)?.into_rows()?;
            match (t, inputs.t) {
                (Some(of_t), Some(t)) => {
                    let (t, _) = noisy(of_t, Value::Times(t), pass)?.into_rows()?;
                    D::sum(D::sum(h, x)?, t)
                }
                _ => D::sum(h, x),
            }
            .map(Value::Rows)
        }
        (Operation::Residual(branch), value) => {
            let (skip, _) = value.into_rows()?;
            let (branch, _) = noisy(branch, Value::Rows(skip.clone()), pass)?.into_rows()?;
            D::sum(skip, branch).map(Value::Rows)
        }
        (Operation::Projected { branch, projection }, value) => {
            let (branch, _) = noisy(branch, value.clone(), pass)?.into_rows()?;
            let (rest, _) = noisy(projection, value, pass)?.into_rows()?;
            D::sum(branch, rest).map(Value::Rows)
        }
        // What comes before learns from noise of its own, and not through this layer.
        (operation @ Operation::Dense(_), value) => {
            pass.layer(operation, Value::Given(value.into_rows()?.0))
        }
        (operation, value) => match operation.learns() {
            true => pass.layer(operation, value),
            false => infer(operation, value, None),
        },
    }
}

impl<E: Real, D: Backend<E>> Operation<'_, E, D> {
    /// Whether it has trained numbers.
    fn learns(&self) -> bool {
        match self {
            Self::Module(module) => module.parameters() > 0,
            other => other.has_tensors(),
        }
    }
}

/// What goes into a block, with noise on its layers.
impl<E: Real, D: Backend<E>> Inputs<E, D> {
    /// The block's output.
    pub(crate) fn through_noise(
        self,
        operation: &mut Operation<'_, E, D>,
        pass: &mut NoisyPass<E, D>,
    ) -> Result<Matrix<E, D>, D::Err> {
        Ok(noisy(operation, Value::Inputs(self), pass)?.into_rows()?.0)
    }

    /// The block's output in inference.
    pub(crate) fn through_inference(
        self,
        operation: &Operation<'_, E, D>,
    ) -> Result<Matrix<E, D>, D::Err> {
        Ok(infer(operation, Value::Inputs(self), None)?.into_rows()?.0)
    }
}
