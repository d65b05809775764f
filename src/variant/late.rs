//! Steps whose numbers stay on the device until the last of a span is done.

use dfdx::{nn::TensorCollection, prelude::*};

use super::objective::Unread;
use crate::{
    device::{Backend, Real, Rows, TracedScalar},
    error::Error,
    noprop::Block,
    optim::{Stack, Stepping},
};

/// What a step leaves on the device: for the rows of all blocks, one block's after the other's.
pub(super) struct Left<O: ConstDim, E: Real, D: Backend<E>> {
    pub(super) denoising: Tensor<(usize,), E, D>,
    pub(super) cross_entropy: Option<Tensor<(usize,), E, D>>,
    pub(super) output: Rows<O, E, D>,
    /// Σ g² of each block.
    pub(super) squares: Tensor<(usize,), E, D>,
}

/// The same on the host, of one block.
pub(super) struct Read<E> {
    /// The means of the weighted squared error and the weighted cross-entropy.
    pub(super) terms: [f64; 2],
    pub(super) output: Vec<E>,
    pub(super) gradient_norm: f64,
}

impl<E> Read<E> {
    /// [`Error::Diverged`] of block and step if a number is not finite.
    pub(super) fn check(&self, place: (usize, u64)) -> Result<(), Error> {
        Error::diverged(place, "loss", self.terms[0] + self.terms[1])?;
        Error::diverged(place, "gradient", self.gradient_norm)
    }
}

impl<O: ConstDim, E: Real, D: Backend<E>> Left<O, E, D> {
    /// What each block has left.
    pub(super) fn read(self) -> Vec<Read<E>> {
        let (denoising, output) = (self.denoising.as_vec(), self.output.as_vec());
        let cross_entropy = self.cross_entropy.map(|term| term.as_vec());
        let squares = self.squares.as_vec();
        let rows = denoising.len() / squares.len().max(1);
        let width = O::default().size();
        let of_block = |(i, square): (usize, &E)| {
            let mean = |terms: &[E]| {
                let own = &terms[i * rows..][..rows];
                own.iter().map(|term| term.as_f64()).sum::<f64>() / rows as f64
            };
            Read {
                terms: [mean(&denoising), cross_entropy.as_deref().map_or(0.0, mean)],
                output: output[i * rows * width..][..rows * width].to_vec(),
                gradient_norm: square.as_f64().sqrt(),
            }
        };
        squares.iter().enumerate().map(of_block).collect()
    }
}

/// One block on its way through a span: forward it goes by itself, and it steps as a stack of one, which needs nothing on the host.
pub(super) struct Late<O: ConstDim, E: Real, D: Backend<E>> {
    stack: Stack<E, D>,
    left: Vec<(Left<O, E, D>, Option<[TracedScalar<E, D>; 2]>)>,
}

impl<O: ConstDim, E: Real, D: Backend<E>> Late<O, E, D> {
    pub(super) fn new<B: TensorCollection<E, D>>(block: &Block<B, E, D>) -> Result<Self, Error> {
        let stack = Stack::new(std::slice::from_ref(block));
        let stack = stack.map_err(Error::device("a training step"))?.ok_or_else(|| {
            Error::argument("a training step", "weights that a GPU's kernels can count", "more")
        })?;
        Ok(Self { stack, left: Vec::new() })
    }

    /// Back from a loss, with the terms that the block has no part in, and the block's step.
    pub(super) fn step<B: TensorCollection<E, D>>(
        &mut self,
        block: &mut Block<B, E, D>,
        stepping: &Stepping,
        loss: Unread<O, E, D>,
        terminal: Option<[TracedScalar<E, D>; 2]>,
    ) -> Result<(), D::Err> {
        let Unread { total, denoising, cross_entropy, output, .. } = loss;
        let mut gradients = total.try_backward()?;
        let squares = self.stack.update_module(stepping, &mut block.module, &mut gradients)?;
        self.left.push((Left { denoising, cross_entropy, output, squares }, terminal));
        Ok(())
    }

    /// The block's optimiser has its memory back; what the steps left, with the terms that the block has no part in.
    #[allow(clippy::type_complexity)]
    pub(super) fn end<B: TensorCollection<E, D>>(
        self,
        block: &mut Block<B, E, D>,
    ) -> Result<Vec<(Read<E>, Option<[f64; 2]>)>, D::Err> {
        self.stack.put(std::slice::from_mut(block))?;
        let read = |(left, terminal): (Left<O, E, D>, Option<[TracedScalar<E, D>; 2]>)| {
            let terminal = terminal.map(|terms| terms.map(|term| super::objective::value(&term)));
            left.read().into_iter().map(move |read| (read, terminal))
        };
        Ok(self.left.into_iter().flat_map(read).collect())
    }
}
