//! A model as a table.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    nn::Layer,
    plan::Summary,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The operations of a block with their output widths, parameters and multiply-adds a row, and
    /// the sums over all blocks.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// println!("{}", model.summary()?);
    /// assert_eq!(model.summary()?.lines[0].parameters * 10, model.parameters());
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] for a lack of memory.
    pub fn summary(&self) -> Result<Summary, Error> {
        let lines = match self.blocks.first() {
            Some(block) => self.engine.describe(self.erase.shared(block), [Z, X])?,
            None => Vec::new(),
        };
        Ok(Summary { lines, blocks: self.ranks.layout.blocks })
    }
}
