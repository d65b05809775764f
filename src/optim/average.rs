//! Weights put in the place of others.

use dfdx::{
    nn::{
        RecursiveWalker, ScalarOptions, TensorCollection, TensorOptions, TensorVisitor,
        ViewTensorMut, ViewTensorRef,
    },
    prelude::*,
};
use num_traits::NumCast;

use super::OptimizerState;
use crate::device::{Backend, Real};

impl<E: Real, D: Backend<E>> OptimizerState<E, D> {
    /// Puts the moving averages in the place of the module's weights; nothing happens where none are kept.
    pub(crate) fn put_averages<M: TensorCollection<E, D>>(
        &self,
        module: &mut M,
    ) -> Result<(), D::Err> {
        let mut put = Put { weights: self.average.iter() };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut put })?;
        Ok(())
    }
}

/// Makes the numbers of one module those of another of the same shape, trained or not.
pub(crate) fn copy_module<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    from: &M,
    to: &mut M,
) -> Result<(), D::Err> {
    M::iter_tensors(&mut RecursiveWalker { m: (from, to), f: &mut CopyOver })?;
    Ok(())
}

struct Put<'a, E: Real, D: Backend<E>> {
    weights: std::slice::Iter<'a, Tensor<(usize,), E, D>>,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Put<'_, E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        parameter: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update
            && let Some(weights) = self.weights.next()
        {
            parameter.copy_from(&weights.as_vec());
        }
        Ok(None)
    }
}

struct CopyOver;

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for CopyOver {
    type Viewer = (ViewTensorRef, ViewTensorMut);
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        _options: TensorOptions<S, E, D>,
        (from, to): (&Tensor<S, E, D>, &mut Tensor<S, E, D>),
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        to.copy_from(&from.as_vec());
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _options: ScalarOptions<N>,
        (from, to): (&N, &mut N),
    ) -> Result<Option<N>, D::Err> {
        if let Some(value) = from.to_f64().and_then(N::from) {
            *to = value;
        }
        Ok(None)
    }
}
