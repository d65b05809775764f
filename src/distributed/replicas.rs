//! Replicas of a block, each on its part of a batch.

use dfdx::prelude::*;

use super::{Communicator, layout::Layout};
use crate::{
    device::{Backend, Real, Slot, Tensors},
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

/// What replicas average beside the gradients of weights.
#[derive(Debug)]
pub(crate) struct Totals<'a, E> {
    /// This rank's share of the batch's rows, from 0 to 1.
    pub(crate) share: f64,
    /// Means over the rows.
    pub(crate) means: Vec<&'a mut f64>,
    /// Sums over the rows.
    pub(crate) sums: Vec<&'a mut usize>,
    /// More gradients.
    pub(crate) gradients: Vec<&'a mut Vec<E>>,
}

impl<E> Totals<'_, E> {
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

    /// Replaces the gradients of all weights by their mean over the batch, and so what is not
    /// trained but moves (running statistics); the same at each replica, to the bit.
    pub(crate) fn average<E: Real, D: Backend<E>>(
        &self,
        module: &mut dyn Tensors<E, D>,
        gradients: &mut Gradients<E, D>,
        totals: Totals<'_, E>,
    ) -> Result<(), Error> {
        let failed = || Error::device("averaging gradients");
        let share = E::of(totals.share);
        let mut values = Vec::new();
        module
            .visit_mut(&mut |slot| {
                let own = match slot {
                    Slot::Trained(tensor) => {
                        let flat = tensor.flat()?;
                        gradients.get_or_alloc_mut(&flat)?;
                        gradients.get(&flat).as_vec()
                    }
                    Slot::Running(tensor) => tensor.flat()?.as_vec(),
                    Slot::Scalar(_) => Vec::new(),
                };
                values.extend(own.into_iter().map(|value| share * value));
                Ok(())
            })
            .map_err(failed())?;
        for gradient in &totals.gradients {
            values.extend(gradient.iter().map(|g| share * *g));
        }
        values.extend(totals.means.iter().map(|mean| E::of(totals.share * **mean)));
        values.extend(totals.sums.iter().map(|sum| E::of(**sum as f64)));
        self.communicator.sum(&self.ranks, &mut values, "the sum of gradients")?;
        let mut rest = &values[..];
        module.visit_mut(&mut |slot| put(slot, gradients, &mut rest)).map_err(failed())?;
        let mut rest = rest.iter();
        for gradient in totals.gradients {
            gradient.iter_mut().zip(&mut rest).for_each(|(g, sum)| *g = *sum);
        }
        for (mean, sum) in totals.means.into_iter().zip(&mut rest) {
            *mean = sum.as_f64();
        }
        for (total, sum) in totals.sums.into_iter().zip(&mut rest) {
            *total = sum.as_f64().round() as usize;
        }
        Ok(())
    }
}

/// Puts the next of the values where they came from.
fn put<E: Real, D: Backend<E>>(
    slot: Slot<'_, E, D>,
    gradients: &mut Gradients<E, D>,
    values: &mut &[E],
) -> Result<(), D::Err> {
    let mut take = |count: usize| {
        let (own, rest) = values.split_at(count.min(values.len()));
        *values = rest;
        own
    };
    match slot {
        Slot::Trained(tensor) => {
            let flat = tensor.flat()?;
            let own = take(flat.shape().0);
            let gradient = gradients.get_or_alloc_mut(&flat)?;
            flat.device().try_fill_with_zeros(gradient)?;
            D::add_gradient(&flat, gradients, own)
        }
        Slot::Running(tensor) => {
            let count = tensor.flat()?.shape().0;
            tensor.write(take(count));
            Ok(())
        }
        Slot::Scalar(_) => Ok(()),
    }
}
