//! Replicas of a block, each on its part of a batch.

use dfdx::{
    nn::{
        RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
        ViewTensorRef, ZeroGrads,
    },
    prelude::*,
};

use super::{Communicator, layout::Layout};
use crate::{
    device::{Backend, Real},
    error::Error,
};

/// The ranks that hold the same block.
#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    communicator: Communicator,
    ranks: Vec<usize>,
    /// Which of them this one is.
    place: u64,
}

/// What replicas average beside gradients.
#[derive(Debug)]
pub(crate) struct Beside<'a, E> {
    /// This rank's share of the batch's rows, from 0 to 1.
    pub(crate) share: f64,
    /// Means over the rows.
    pub(crate) means: Vec<&'a mut f64>,
    /// Sums over the rows.
    pub(crate) sums: Vec<&'a mut usize>,
    /// More gradients.
    pub(crate) gradients: Vec<&'a mut Vec<E>>,
}

impl<E> Beside<'_, E> {
    /// Nothing, for this share of the rows.
    pub(crate) fn rows(share: f64) -> Self {
        Self { share, means: Vec::new(), sums: Vec::new(), gradients: Vec::new() }
    }
}

impl Replicas {
    /// Those of the blocks that this rank holds; `None` where it is the only one to hold them.
    pub(crate) fn new(communicator: &Communicator, layout: Layout) -> Option<Self> {
        let (ranks, place) = (layout.replicas(), layout.replica() as u64);
        let communicator = communicator.clone();
        (ranks.len() > 1).then_some(Self { communicator, ranks, place })
    }

    /// Which of the replicas this one is, from 0 on.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// Replaces the gradients of all weights by their mean over the batch, and so what is not trained but moves (running
    /// statistics); the same at each replica, to the bit.
    pub(crate) fn average<M, E, D>(
        &self,
        module: &mut M,
        gradients: &mut Gradients<E, D>,
        beside: Beside<'_, E>,
    ) -> Result<(), Error>
    where
        M: TensorCollection<E, D>,
        E: Real,
        D: Backend<E>,
    {
        let failed = || Error::device("averaging gradients");
        let share = E::of(beside.share);
        let mut collect = Collect { gradients, share, values: Vec::new() };
        M::iter_tensors(&mut RecursiveWalker { m: &*module, f: &mut collect }).map_err(failed())?;
        let mut values = collect.values;
        for gradient in &beside.gradients {
            values.extend(gradient.iter().map(|g| share * *g));
        }
        values.extend(beside.means.iter().map(|mean| E::of(beside.share * **mean)));
        values.extend(beside.sums.iter().map(|sum| E::of(**sum as f64)));
        self.communicator.sum(&self.ranks, &mut values, "the sum of gradients")?;
        module.try_zero_grads(gradients).map_err(failed())?;
        let mut put = Put { gradients, values: &values };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut put }).map_err(failed())?;
        let mut rest = put.values.iter();
        for gradient in beside.gradients {
            gradient.iter_mut().zip(&mut rest).for_each(|(g, sum)| *g = *sum);
        }
        for (mean, sum) in beside.means.into_iter().zip(&mut rest) {
            *mean = sum.as_f64();
        }
        for (total, sum) in beside.sums.into_iter().zip(&mut rest) {
            *total = sum.as_f64().round() as usize;
        }
        Ok(())
    }
}

/// Gradients, or values where there is no gradient, times the share of this rank.
struct Collect<'a, E: Real, D: Backend<E>> {
    gradients: &'a mut Gradients<E, D>,
    share: E,
    values: Vec<E>,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Collect<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let values = if options.do_gradient_update {
            self.gradients.get_or_alloc_mut(tensor)?;
            self.gradients.get(tensor).as_vec()
        } else {
            tensor.as_vec()
        };
        self.values.extend(values.into_iter().map(|value| self.share * value));
        Ok(None)
    }
}

/// The same places, to be filled.
struct Put<'a, 'v, E: Real, D: Backend<E>> {
    gradients: &'a mut Gradients<E, D>,
    values: &'v [E],
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Put<'_, '_, E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let (own, rest) = self.values.split_at(tensor.shape().num_elements());
        self.values = rest;
        if options.do_gradient_update {
            D::add_gradient(tensor, self.gradients, own)?;
        } else {
            tensor.copy_from(own);
        }
        Ok(None)
    }
}
