//! The bound of functions that are generic in the model.

#[cfg(feature = "checkpoint")]
use std::path::Path;

use dfdx::prelude::AutoDevice;

use super::{NoProp, Runs};
use crate::{
    device::{Backend, Real},
    distributed::Communicator,
    error::Error,
    head::SuitsHead,
    nn::{Denoises, Layer},
    variant::Variant,
};

/// A block's declaration that suits the variant `V`, the widths `Z` and `X`, the numbers `E` and the
/// device `D`: all that the making of a [`NoProp<V, Self, Z, X, E, D>`](NoProp) asks of it, as one
/// bound.
///
/// ```
/// use dfdx_noprop::{data::Labels, prelude::*};
///
/// type Digits = Dataset<64, Labels<10>>;
///
/// /// Trains any block by any variant, for images of 8 × 8 pixels and ten classes.
/// fn trained<V, M>(variant: V, digits: &Digits) -> Result<NoProp<V, M, 10, 64>, Error>
/// where
///     V: Variant<10, 64, Head = OneHot>,
///     M: Suits<V, 10, 64>,
/// {
///     let mut model = M::model(&AutoDevice::default(), variant)?;
///     model.fit(digits, &Fit { epochs: 2, ..Fit::default() })?;
///     Ok(model)
/// }
///
/// let digits = data::digits()?;
/// type Block = ConditionalResNetDt<10, 64>;
/// let model = trained::<_, Block>(DiscreteTime::default(), &digits.train)?;
/// assert!(model.evaluate(&digits.test)?.accuracy > 0.5);
/// # Ok::<(), Error>(())
/// ```
///
/// Every type that fits has it: there is nothing to implement. Where the types are known,
/// [`NoProp::new`] says the same.
pub trait Suits<V, const Z: usize, const X: usize, E: Real = f32, D: Backend<E> = AutoDevice>:
    Layer<D, E> + Sized
where
    V: Variant<Z, X, E, D>,
{
    /// A trainer with fresh weights: [`NoProp::new`].
    ///
    /// # Errors
    /// Those of [`NoProp::new`].
    fn model(device: &D, variant: V) -> Result<NoProp<V, Self, Z, X, E, D>, Error>;

    /// One rank's part of a trainer: [`NoProp::distributed`].
    ///
    /// # Errors
    /// Those of [`NoProp::distributed`].
    fn distributed(
        device: &D,
        variant: V,
        communicator: &Communicator,
    ) -> Result<NoProp<V, Self, Z, X, E, D>, Error>;

    /// A trainer from a checkpoint: [`NoProp::from_checkpoint`].
    ///
    /// # Errors
    /// Those of [`NoProp::from_checkpoint`].
    #[cfg(feature = "checkpoint")]
    fn from_checkpoint(
        device: &D,
        path: impl AsRef<Path>,
    ) -> Result<NoProp<V, Self, Z, X, E, D>, Error>;
}

impl<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>> Suits<V, Z, X, E, D> for M
where
    V: Variant<Z, X, E, D>,
    M: Denoises<V::Input, E, D>,
    M::Gives: SuitsHead<V::Reader, Z, E, D>,
    D: Runs<V, M, Z, X, E>,
{
    fn model(device: &D, variant: V) -> Result<NoProp<V, M, Z, X, E, D>, Error> {
        NoProp::new(device, variant)
    }

    fn distributed(
        device: &D,
        variant: V,
        communicator: &Communicator,
    ) -> Result<NoProp<V, M, Z, X, E, D>, Error> {
        NoProp::distributed(device, variant, communicator)
    }

    #[cfg(feature = "checkpoint")]
    fn from_checkpoint(
        device: &D,
        path: impl AsRef<Path>,
    ) -> Result<NoProp<V, M, Z, X, E, D>, Error> {
        NoProp::from_checkpoint(device, path)
    }
}
