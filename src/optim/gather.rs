//! Gradients of several pieces of a batch, put together.

use dfdx::{
    nn::{RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorRef},
    prelude::*,
};

use crate::device::{Backend, Real};

/// Adds the gradients of a module's weights in `from` to those in `to`; they are zero afterwards.
pub(crate) fn move_gradients<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    module: &M,
    to: &mut Gradients<E, D>,
    from: &mut Gradients<E, D>,
) -> Result<(), D::Err> {
    M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut Move { to, from } })?;
    Ok(())
}

struct Move<'a, E: Real, D: Backend<E>> {
    to: &'a mut Gradients<E, D>,
    from: &'a mut Gradients<E, D>,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Move<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        parameter: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            D::move_gradient(parameter, self.to, self.from)?;
        }
        Ok(None)
    }
}
