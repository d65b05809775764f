//! Gradients of several pieces of a batch, put together.

use dfdx::prelude::*;

use crate::device::{Backend, Real, Tensors};

/// Adds the gradients of a module's weights in `from` to those in `to`; they are zero afterwards.
pub(crate) fn move_gradients<E: Real, D: Backend<E>>(
    module: &mut dyn Tensors<E, D>,
    to: &mut Gradients<E, D>,
    from: &mut Gradients<E, D>,
) -> Result<(), D::Err> {
    module.visit_trained(&mut |parameter| D::move_gradient(&parameter.flat()?, to, from))
}
