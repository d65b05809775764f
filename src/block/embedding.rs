//! The embedding of the classes as something that is trained.

use dfdx::prelude::{Gradients, HasShape};

use crate::device::{Backend, Matrix, NamedValues, Real, Slot, TensorMut, Tensors, VisitMut};

/// W, `[C, Z]`.
#[derive(Clone, Debug)]
pub struct Embedding<E: Real, D: Backend<E>>(pub(crate) Matrix<E, D>);

impl<E: Real, D: Backend<E>> Embedding<E, D> {
    /// Its numbers, row-major.
    pub(crate) fn numbers(&self) -> Vec<E> {
        self.0.as_vec()
    }
}

impl<E: Real, D: Backend<E>> Tensors<E, D> for Embedding<E, D> {
    fn named(&self) -> Result<Vec<NamedValues<E, D>>, D::Err> {
        let (classes, latent) = *self.0.shape();
        let values = self.0.flat()?;
        Ok(vec![NamedValues {
            path: String::new(),
            shape: vec![classes, latent],
            trained: true,
            values,
        }])
    }

    fn visit_mut(&mut self, visit: &mut VisitMut<'_, E, D>) -> Result<(), D::Err> {
        visit(Slot::Trained(&mut self.0))
    }

    /// Nothing: dfdx marks only tensors whose shape is known when the program is compiled, so that
    /// gradients with respect to an embedding are collected where none is dropped.
    fn zero_gradients(&self, _gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        Ok(())
    }
}
