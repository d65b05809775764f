//! Parameters that a step moves as one tensor.

use dfdx::prelude::*;

use super::{
    super::{AdamWStep, SgdStep, Stepping, stepping::Numbers},
    tensors::{Flat, Stacked, flat},
};
use crate::device::{Backend, Real, plain_adamw_by, plain_sgd_by};

/// Parameters that the optimiser moves as one tensor, `[T, K · C]`: each begins with a chunk of C
/// numbers, and the rest of its last one is 0 and stays so. A GPU needs as long for a small
/// operation as for a tiny one.
pub(super) struct Group<E: Real, D: Backend<E>> {
    pub(super) chunk: usize,
    pub(super) weights: Stacked<E, D>,
    /// `[T · K · C]` each: what the optimiser remembers, once it does.
    pub(super) first: Option<Flat<E, D>>,
    pub(super) second: Option<Flat<E, D>>,
    pub(super) average: Option<Flat<E, D>>,
    pub(super) decay: Decay<E, D>,
}

/// What decays: matrices, and not biases.
pub(super) enum Decay<E: Real, D: Backend<E>> {
    /// One parameter is all there is: is it a matrix?
    Whole(bool),
    /// Of several, each chunk by itself.
    Chunks {
        /// 1 for a chunk of a matrix, 0 for one of a bias, `[K]`.
        matrices: Flat<E, D>,
        /// 1 where a chunk is of a parameter, else 0: `[K, parameters]`.
        owners: Stacked<E, D>,
    },
}

impl<E: Real, D: Backend<E>> Group<E, D> {
    /// T, K and C.
    fn chunks(&self) -> (usize, usize, usize) {
        let (blocks, width) = *self.weights.shape();
        (blocks, width / self.chunk.max(1), self.chunk)
    }

    /// Σ g² of each chunk, `[T, K]`.
    pub(super) fn squares(&self, gradient: &Stacked<E, D>) -> Result<Stacked<E, D>, D::Err> {
        let square = gradient.clone().try_square()?.try_reshape_like(&self.chunks())?;
        square.try_sum::<(usize, usize), Axis<2>>()
    }

    /// A number of each chunk for each of its numbers.
    fn spread(&self, of_chunks: Stacked<E, D>) -> Result<Flat<E, D>, D::Err> {
        let all = of_chunks.try_broadcast_like::<_, Axis<2>>(&self.chunks())?;
        all.try_reshape_like(&(self.weights.shape().num_elements(),))
    }

    /// 1 for chunks of a parameter that some gradient reaches, of a block whose gradient is finite;
    /// else 0: `[T, K]`. What no gradient reaches takes no part, and does not decay.
    fn moves(&self, squares: Stacked<E, D>, finite: &Flat<E, D>) -> Result<Stacked<E, D>, D::Err> {
        let of_parameters = match &self.decay {
            Decay::Whole(_) => squares,
            Decay::Chunks { owners, .. } => squares.try_matmul(owners.clone())?,
        };
        let shape = *of_parameters.shape();
        let finite = finite.clone().try_broadcast_like::<_, Axis<1>>(&shape)?;
        let zeros = finite.device().try_zeros_like(&shape)?;
        let moves = of_parameters.try_gt(E::zero())?.try_choose(finite, zeros)?;
        match &self.decay {
            Decay::Whole(_) => Ok(moves),
            Decay::Chunks { owners, .. } => {
                moves.try_matmul(owners.clone().try_permute::<(usize, usize), Axes2<1, 0>>()?)
            }
        }
    }

    /// The weights after they have decayed, where not all of them do so alike, and what the step
    /// has to multiply them by.
    fn decayed(&self, [matrix, bias]: [f64; 2]) -> Result<(Flat<E, D>, f64), D::Err> {
        let weights = self.weights.clone();
        match &self.decay {
            Decay::Whole(is_matrix) => Ok((flat(weights)?, if *is_matrix { matrix } else { bias })),
            Decay::Chunks { .. } if matrix == bias => Ok((flat(weights)?, matrix)),
            Decay::Chunks { matrices, .. } => {
                let keep = matrices.clone().try_mul(E::of(matrix - bias))?.try_add(E::of(bias))?;
                let chunks = self.chunks();
                let keep = keep.try_broadcast_like::<_, Axes2<0, 2>>(&chunks)?;
                let kept = weights.try_reshape_like(&chunks)?.try_mul(keep)?;
                Ok((kept.try_reshape_like(&(self.weights.shape().num_elements(),))?, 1.0))
            }
        }
    }

    /// One step of all parameters that take part.
    pub(super) fn step(
        &mut self,
        gradient: Stacked<E, D>,
        squares: Stacked<E, D>,
        finite: &Flat<E, D>,
        stepping: &Stepping,
        steps: u64,
    ) -> Result<(), D::Err> {
        let shape = *gradient.shape();
        let moves = self.spread(self.moves(squares, finite)?)?.try_gt(E::of(0.5))?;
        let keep = |new: Flat<E, D>, old: Flat<E, D>| moves.clone().try_choose(new, old);
        let gradient = flat(gradient)?;
        let zeros = || gradient.device().try_zeros_like(gradient.shape());
        let old = flat(self.weights.clone())?;
        let kept = self.first.take().map_or_else(zeros, Ok)?;
        let mut mean = kept.clone();
        // The norm is clipped already.
        let new = match stepping.numbers(steps, 0.0) {
            Numbers::AdamW { step, undecayed } => {
                let kept = self.second.take().map_or_else(zeros, Ok)?;
                let mut square = kept.clone();
                let (mut new, keeps) = self.decayed([step.keep, undecayed.keep])?;
                let step = AdamWStep { keep: keeps, ..step };
                plain_adamw_by(&mut new, gradient, &mut mean, &mut square, &step)?;
                self.second = Some(keep(square, kept)?);
                new
            }
            Numbers::Sgd { step, undecayed } => {
                let (mut new, keeps) = self.decayed([step.keep, undecayed.keep])?;
                plain_sgd_by(&mut new, gradient, &mut mean, &SgdStep { keep: keeps, ..step })?;
                new
            }
        };
        self.first = Some(keep(mean, kept)?);
        let new = keep(new, old)?;
        if let Some(memory) = stepping.memory(steps) {
            self.average = Some(match self.average.take() {
                Some(old) => {
                    let mut kept = old.clone();
                    kept.try_axpy(memory, &new, 1.0 - memory)?;
                    let finite = finite.clone().try_broadcast_like::<_, Axis<1>>(&shape)?;
                    flat(finite)?.try_gt(E::of(0.5))?.try_choose(kept, old)?
                }
                None => new.clone(),
            });
        }
        self.weights = new.try_reshape_like(&shape)?;
        Ok(())
    }

    /// What is remembered, a row for each block.
    pub(super) fn remembered(
        &self,
        of: &Option<Flat<E, D>>,
    ) -> Result<Option<Stacked<E, D>>, D::Err> {
        of.as_ref().map(|of| of.clone().try_reshape_like(self.weights.shape())).transpose()
    }
}

impl<E: Real, D: Backend<E>> Decay<E, D> {
    pub(super) fn new(
        device: &D,
        members: &[usize],
        sizes: &[usize],
        matrices: &[bool],
        chunk: usize,
    ) -> Result<Self, D::Err> {
        if let [one] = members {
            return Ok(Self::Whole(matrices[*one]));
        }
        let (mut is_matrix, mut owners) = (Vec::new(), Vec::new());
        for (own, &i) in members.iter().enumerate() {
            for _ in 0..sizes[i].div_ceil(chunk) {
                is_matrix.push(if matrices[i] { E::one() } else { E::zero() });
                let owns = |j| if j == own { E::one() } else { E::zero() };
                owners.extend((0..members.len()).map(owns));
            }
        }
        let count = is_matrix.len();
        Ok(Self::Chunks {
            matrices: device.try_tensor_from_vec(is_matrix, (count,))?,
            owners: device.try_tensor_from_vec(owners, (count, members.len()))?,
        })
    }
}
