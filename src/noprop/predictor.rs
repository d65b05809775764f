//! A trained model for use elsewhere.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    engine::Number,
    error::Error,
    nn::Layer,
    predictor::{AnyPredictor, Predictor},
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The model as it is by now, for use: the weights without what trains them, on the processor,
    /// wherever they were trained. For the moving averages of the weights call it on
    /// [`averaged`](Self::averaged).
    ///
    /// ```
    /// use dfdx_noprop::{Predictor, prelude::*};
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// let predictor: Predictor<10, 64> = model.predictor()?;
    /// assert_eq!(predictor.predict(&[[0.0; 64]])?, model.predict(&[[0.0; 64]])?);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for one rank's part of a distributed trainer, or a module of your own on
    /// a GPU; [`Error::Device`] for a lack of memory.
    pub fn predictor(&self) -> Result<Predictor<Z, X, V::Head, E>, Error>
    where
        E: Number,
    {
        let parts = self.engine.predictor(&self.asked(&[]))?;
        AnyPredictor::new(parts)?.try_into()
    }
}
