//! Moving averages instead of weights.

use super::OptimizerState;
use crate::device::{Backend, Real, Tensors};

impl<E: Real, D: Backend<E>> OptimizerState<E, D> {
    /// Replaces the module's weights by their moving averages; nothing happens where none
    /// are kept.
    pub(crate) fn put_averages(&self, module: &mut dyn Tensors<E, D>) -> Result<(), D::Err> {
        let mut averages = self.average.iter();
        module.visit_trained(&mut |parameter| {
            if let Some(average) = averages.next() {
                parameter.write(&average.as_vec());
            }
            Ok(())
        })
    }
}
