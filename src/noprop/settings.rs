//! Settings that may change after a model was made, and how steps are executed.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    gradient::Estimator,
    nn::Layer,
    optim::Optimizer,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The variant's settings.
    pub fn variant(&self) -> &V {
        &self.variant
    }

    /// Takes other settings, which are checked.
    pub(super) fn set_variant(&mut self, variant: V) -> Result<(), Error> {
        self.engine.set_mathematics(&mut self.model, variant.mathematics()?);
        self.variant = variant;
        Ok(())
    }

    /// Changes how blocks step from now on: a smaller learning rate after a run that diverged, say.
    /// What the optimiser remembers stays, unless the new one is of another kind.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// model.set_optimizer(AdamW { learning_rate: 1e-4, ..AdamW::default() })?;
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_optimizer(&mut self, optimizer: impl Into<Optimizer>) -> Result<(), Error> {
        let optimizer = optimizer.into();
        optimizer.validate::<E>()?;
        let mut variant = self.variant.clone();
        let before = std::mem::replace(variant.steps_mut().0, optimizer);
        self.set_variant(variant)?;
        if std::mem::discriminant(&before) != std::mem::discriminant(&optimizer) {
            self.blocks.iter_mut().for_each(|block| block.forget_moments());
            self.model.forget_moments();
        }
        Ok(())
    }

    /// Changes how blocks get their gradient from now on.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_estimator(&mut self, estimator: Estimator) -> Result<(), Error> {
        let mut variant = self.variant.clone();
        *variant.steps_mut().1 = estimator;
        self.set_variant(variant)
    }

    /// Whether the device makes the noise of training by itself, and not the host, which then sends
    /// it there. By default on a GPU; on the processor the host's way is the faster one.
    ///
    /// In both ways the noise depends on the seed, the block and the step alone, but the numbers
    /// are not the same: a run that goes on in the other way draws other noise. Blocks that several
    /// ranks share have the host's noise in any case, as have inference and the terms of the loss
    /// that no block has a part in.
    pub fn set_device_noise(&mut self, on_device: bool) {
        self.model.switches.device_noise = on_device;
    }

    /// Whether the device makes the noise of training by itself.
    pub fn has_device_noise(&self) -> bool {
        self.model.switches.device_noise
    }

    /// Whether losses and norms of gradients stay on the device until a span of up to 64 steps is
    /// done, so that no step waits for the host; clipping, and leaving a block as it was where its
    /// gradient is not finite, are then done there. By default on a GPU; on the processor there is
    /// nothing to wait for.
    ///
    /// The weights are the same within rounding. Blocks that are one computation
    /// ([`set_stacked`](Self::set_stacked)) are read late in any case. What is learned beside the
    /// blocks (an embedding, a schedule), gradients without derivatives, and blocks that several
    /// ranks share need their numbers at each step all the same.
    pub fn set_late_reports(&mut self, late: bool) {
        self.model.switches.deferred = late;
    }

    /// Whether the numbers of steps are read once for a span of them.
    pub fn has_late_reports(&self) -> bool {
        self.model.switches.deferred
    }
}
