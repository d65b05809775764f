//! The weights of several blocks of one kind side by side, and their optimiser's steps.

use dfdx::{
    nn::{
        RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
        ViewTensorRef,
    },
    prelude::*,
};

use super::{OptimizerState, Stepping, stepping::Numbers};
use crate::{
    device::{Backend, Real, plain_adamw_by, plain_sgd_by},
    nn::is_countable,
    noprop::Block,
};

type Flat<E, D> = Tensor<(usize,), E, D>;
/// A row for each block.
type Stacked<E, D> = Tensor<(usize, usize), E, D>;

/// T blocks of one kind: each parameter `[T, numbers]`, in the order in which dfdx visits them.
pub(crate) struct Stack<E: Real, D: Backend<E>> {
    blocks: usize,
    device: D,
    weights: Vec<Stacked<E, D>>,
    /// What is not trained: running statistics.
    running: Vec<Stacked<E, D>>,
    /// Whether a parameter is a matrix, which decays, and not a bias.
    matrices: Vec<bool>,
    /// `[T · numbers]` for each parameter.
    state: OptimizerState<E, D>,
}

impl<E: Real, D: Backend<E>> Stack<E, D> {
    /// The blocks' weights, and what their optimisers remember; `None` if these are not equally far, or more numbers than a
    /// GPU's kernels count.
    pub(crate) fn new<M: TensorCollection<E, D>>(
        blocks: &[Block<M, E, D>],
    ) -> Result<Option<Self>, D::Err> {
        let Some(first) = blocks.first() else { return Ok(None) };
        let (steps, kept) = (first.optimizer.steps, lengths(&first.optimizer));
        let same = |block: &Block<M, E, D>| {
            block.optimizer.steps == steps && lengths(&block.optimizer) == kept
        };
        if !blocks.iter().all(same) {
            return Ok(None);
        }
        let mut collects = Vec::with_capacity(blocks.len());
        for block in blocks {
            let mut collect = Collect::default();
            M::iter_tensors(&mut RecursiveWalker { m: &block.module, f: &mut collect })?;
            collects.push(collect);
        }
        let all = collects[0].weights.iter().map(|weight| blocks.len() * weight.shape().0);
        if !all.into_iter().all(is_countable) {
            return Ok(None);
        }
        let matrices = collects[0].matrices.clone();
        let weights = side_by_side(collects.iter().map(|collect| &collect.weights[..]))?;
        let running = side_by_side(collects.iter().map(|collect| &collect.running[..]))?;
        let kind = |of: fn(&OptimizerState<E, D>) -> &[Flat<E, D>]| {
            let stacked = side_by_side(blocks.iter().map(|block| of(&block.optimizer)))?;
            stacked.into_iter().map(flat).collect::<Result<Vec<_>, _>>()
        };
        let state = OptimizerState {
            steps,
            first: kind(|state| &state.first)?,
            second: kind(|state| &state.second)?,
            average: kind(|state| &state.average)?,
        };
        let (blocks, device) = (blocks.len(), first.device.clone());
        Ok(Some(Self { blocks, device, weights, running, matrices, state }))
    }

    /// The weights, for a pass.
    pub(crate) fn weights(&self) -> &[Stacked<E, D>] {
        &self.weights
    }

    /// What is not trained, for a pass.
    pub(crate) fn running(&self) -> &[Stacked<E, D>] {
        &self.running
    }

    /// What a pass has made of that.
    pub(crate) fn set_running(&mut self, running: Vec<Stacked<E, D>>) {
        self.running = running;
    }

    /// Moves every block by one step; the gradients are spent. The answer is Σ g² of each block, `[T]`, before clipping;
    /// where it is not finite the block is as it was.
    pub(crate) fn update(
        &mut self,
        stepping: &Stepping,
        gradients: &mut Gradients<E, D>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut all = Vec::with_capacity(self.weights.len());
        for weight in &self.weights {
            gradients.get_or_alloc_mut(weight)?;
            let gradient = gradients.get(weight);
            self.device.try_fill_with_zeros(gradients.get_or_alloc_mut(weight)?)?;
            all.push(gradient);
        }
        self.apply(stepping, all)
    }

    /// The same for a stack of one, with gradients that belong to the tensors of its module, which has the new weights then.
    pub(crate) fn update_module<M: TensorCollection<E, D>>(
        &mut self,
        stepping: &Stepping,
        module: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut gather = Gather { gradients, found: Vec::with_capacity(self.weights.len()) };
        M::iter_tensors(&mut RecursiveWalker { m: &*module, f: &mut gather })?;
        let found = gather.found;
        let squares = self.apply(stepping, found)?;
        // The module's layers have moved these themselves.
        self.running.clear();
        let weights = self.weights.iter().cloned().map(flat).collect::<Result<Vec<_>, _>>()?;
        let mut put = Put { weights: weights.into_iter(), running: Vec::new().into_iter() };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut put })?;
        Ok(squares)
    }

    /// One step by these gradients, one for each of the weights.
    fn apply(
        &mut self,
        stepping: &Stepping,
        all: Vec<Stacked<E, D>>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut squares = self.device.try_zeros_like(&(self.blocks,))?;
        let mut each = Vec::with_capacity(all.len());
        for gradient in &all {
            let square = gradient.clone().try_square()?.try_sum::<(usize,), Axis<1>>()?;
            squares = squares.try_add(square.clone())?;
            each.push(square);
        }
        self.state.steps += 1;
        let finite = squares.try_lt(E::infinity())?;
        let ones = self.device.try_ones_like(squares.shape())?;
        let zeros = self.device.try_zeros_like(squares.shape())?;
        let finite = finite.try_choose(ones, zeros.clone())?;
        let factor = match stepping.clip {
            Some(most) => {
                let norm = squares.clone().try_sqrt()?;
                Some(norm.try_recip()?.try_mul(E::of(most))?.try_clamp(0.0, 1.0)?)
            }
            None => None,
        };
        for (i, (gradient, square)) in all.into_iter().zip(each).enumerate() {
            let gradient = match &factor {
                Some(factor) => {
                    let shape = *gradient.shape();
                    gradient.try_mul(factor.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?
                }
                None => gradient,
            };
            // What no gradient reaches takes no part, and does not decay.
            let moves = square.try_gt(E::zero())?.try_choose(finite.clone(), zeros.clone())?;
            self.step(i, gradient, [&moves, &finite], stepping)?;
        }
        Ok(squares)
    }

    /// One parameter's step where `moves` is 1 and not 0, and its average's where `finite` is.
    fn step(
        &mut self,
        i: usize,
        gradient: Stacked<E, D>,
        [moves, finite]: [&Flat<E, D>; 2],
        stepping: &Stepping,
    ) -> Result<(), D::Err> {
        let shape = *gradient.shape();
        let mask = |blocks: &Flat<E, D>| {
            flat(blocks.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?.try_gt(E::of(0.5))
        };
        let moves = mask(moves)?;
        let keep = |new: Flat<E, D>, old: &Flat<E, D>| moves.clone().try_choose(new, old.clone());
        let gradient = flat(gradient)?;
        let zeros = || gradient.device().try_zeros_like(gradient.shape());
        let old = flat(self.weights[i].clone())?;
        let mut new = old.clone();
        let OptimizerState { steps, first, second, average } = &mut self.state;
        let (steps, matrix) = (*steps, self.matrices[i]);
        if i >= first.len() {
            first.push(zeros()?);
        }
        let mut mean = first[i].clone();
        // The norm is clipped already.
        match stepping.numbers(steps, 0.0) {
            Numbers::AdamW { step, undecayed } => {
                if i >= second.len() {
                    second.push(zeros()?);
                }
                let mut square = second[i].clone();
                let step = if matrix { &step } else { &undecayed };
                plain_adamw_by(&mut new, gradient, &mut mean, &mut square, step)?;
                second[i] = keep(square, &second[i])?;
            }
            Numbers::Sgd { step, undecayed } => {
                let step = if matrix { &step } else { &undecayed };
                plain_sgd_by(&mut new, gradient, &mut mean, step)?;
            }
        }
        first[i] = keep(mean, &first[i])?;
        let new = keep(new, &old)?;
        if let Some(memory) = stepping.memory(steps) {
            if i >= average.len() {
                average.push(new.clone());
            }
            let mut kept = average[i].clone();
            kept.try_axpy(memory, &new, 1.0 - memory)?;
            average[i] = mask(finite)?.try_choose(kept, average[i].clone())?;
        }
        self.weights[i] = new.try_reshape_like(&shape)?;
        Ok(())
    }

    /// Puts weights and memory back into the blocks.
    pub(crate) fn put<M: TensorCollection<E, D>>(
        self,
        blocks: &mut [Block<M, E, D>],
    ) -> Result<(), D::Err> {
        let count = blocks.len();
        for (t, block) in blocks.iter_mut().enumerate() {
            let row = |stacked: &Stacked<E, D>| {
                let numbers = stacked.shape().1;
                flat(stacked.clone().try_slice((t..t + 1, 0..numbers))?)
            };
            let rows = |all: &[Stacked<E, D>]| all.iter().map(row).collect::<Result<Vec<_>, _>>();
            let (weights, running) = (rows(&self.weights)?, rows(&self.running)?);
            let mut put = Put { weights: weights.into_iter(), running: running.into_iter() };
            M::iter_tensors(&mut RecursiveWalker { m: &mut block.module, f: &mut put })?;
            let kept = |flats: &[Flat<E, D>]| {
                let one = |flat: &Flat<E, D>| {
                    let numbers = flat.shape().0 / count;
                    row(&flat.clone().try_reshape_like(&(count, numbers))?)
                };
                flats.iter().map(one).collect::<Result<Vec<_>, _>>()
            };
            // The weights are other tensors now, and their gradients have other places.
            block.gradients = None;
            block.more_gradients.clear();
            block.optimizer = OptimizerState {
                steps: self.state.steps,
                first: kept(&self.state.first)?,
                second: kept(&self.state.second)?,
                average: kept(&self.state.average)?,
            };
        }
        Ok(())
    }
}

fn flat<E: Real, D: Backend<E>>(stacked: Stacked<E, D>) -> Result<Flat<E, D>, D::Err> {
    let numbers = stacked.shape().num_elements();
    stacked.try_reshape_like(&(numbers,))
}

/// How many tensors of each kind there are.
fn lengths<E: Real, D: Backend<E>>(state: &OptimizerState<E, D>) -> [usize; 3] {
    [state.first.len(), state.second.len(), state.average.len()]
}

/// The i-th tensors of all blocks as rows of one, for each i.
fn side_by_side<'a, E: Real, D: Backend<E>>(
    blocks: impl Iterator<Item = &'a [Flat<E, D>]> + Clone,
) -> Result<Vec<Stacked<E, D>>, D::Err> {
    let count = blocks.clone().next().map_or(0, <[_]>::len);
    let one =
        |i: usize| blocks.clone().map(|block| block[i].clone()).collect::<Vec<_>>().try_stack();
    (0..count).map(one).collect()
}

/// The tensors of a module, flat.
struct Collect<E: Real, D: Backend<E>> {
    weights: Vec<Flat<E, D>>,
    running: Vec<Flat<E, D>>,
    matrices: Vec<bool>,
}

impl<E: Real, D: Backend<E>> Default for Collect<E, D> {
    fn default() -> Self {
        Self { weights: Vec::new(), running: Vec::new(), matrices: Vec::new() }
    }
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Collect<E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let flat = tensor.clone().try_reshape_like(&(tensor.shape().num_elements(),))?;
        if options.do_gradient_update {
            self.weights.push(flat);
            self.matrices.push(S::NUM_DIMS > 1);
        } else {
            self.running.push(flat);
        }
        Ok(None)
    }
}

/// The gradients of the trained tensors of one module, `[1, numbers]` each.
struct Gather<'a, E: Real, D: Backend<E>> {
    gradients: &'a mut Gradients<E, D>,
    found: Vec<Stacked<E, D>>,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Gather<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            self.gradients.get_or_alloc_mut(tensor)?;
            let gradient = self.gradients.get(tensor);
            let numbers = gradient.shape().num_elements();
            self.found.push(gradient.try_reshape_like(&(1, numbers))?);
        }
        Ok(None)
    }
}

/// Puts flat tensors in the place of those of a module.
struct Put<E: Real, D: Backend<E>> {
    weights: std::vec::IntoIter<Flat<E, D>>,
    running: std::vec::IntoIter<Flat<E, D>>,
}

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Put<E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let new = if options.do_gradient_update { &mut self.weights } else { &mut self.running };
        if let Some(new) = new.next() {
            *tensor = new.try_reshape_like(tensor.shape())?;
        }
        Ok(None)
    }
}
