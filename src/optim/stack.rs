//! The weights of several blocks of one kind side by side, and their optimiser's steps.

use std::ops::Range;

use dfdx::{
    nn::{
        RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
        ViewTensorRef,
    },
    prelude::*,
};

use super::{AdamWStep, OptimizerState, SgdStep, Stepping, stepping::Numbers};
use crate::{
    device::{Backend, Real, plain_adamw_by, plain_sgd_by},
    nn::{StackedWeights, is_countable},
    noprop::Block,
};

type Flat<E, D> = Tensor<(usize,), E, D>;
/// A row for each block.
type Stacked<E, D> = Tensor<(usize, usize), E, D>;

/// T blocks of one kind, with their parameters in groups.
pub(crate) struct Stack<E: Real, D: Backend<E>> {
    blocks: usize,
    device: D,
    groups: Vec<Group<E, D>>,
    /// In the order in which dfdx visits the parameters.
    places: Vec<Place>,
    /// What is not trained: running statistics, `[T, numbers]` each.
    running: Vec<Stacked<E, D>>,
    steps: u64,
}

/// Where a parameter is: in which group, and which of a block's numbers there.
#[derive(Clone, Debug)]
struct Place {
    group: usize,
    numbers: Range<usize>,
}

/// Parameters that the optimiser moves as one tensor, `[T, K · C]`: each begins with a chunk of C numbers, and the rest of its last
/// one is 0 and stays so. A GPU needs as long for a small operation as for a tiny one.
struct Group<E: Real, D: Backend<E>> {
    chunk: usize,
    weights: Stacked<E, D>,
    /// `[T · K · C]` each: what the optimiser remembers, once it does.
    first: Option<Flat<E, D>>,
    second: Option<Flat<E, D>>,
    average: Option<Flat<E, D>>,
    decay: Decay<E, D>,
}

/// What decays: matrices, and not biases.
enum Decay<E: Real, D: Backend<E>> {
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

/// Numbers in a chunk of a group of several parameters.
const CHUNK: usize = 64;

/// A parameter of so many numbers in all blocks keeps a GPU busy by itself; side by side with others it would only be copied.
const LARGE: usize = 1 << 22;

impl<E: Real, D: Backend<E>> Stack<E, D> {
    /// The blocks' weights, and what their optimisers remember; `None` if these are not equally far, or more numbers than a
    /// GPU's kernels count.
    pub(crate) fn new<M: TensorCollection<E, D>>(
        blocks: &[Block<M, E, D>],
    ) -> Result<Option<Self>, D::Err> {
        let Some(block) = blocks.first() else { return Ok(None) };
        let (steps, kept) = (block.optimizer.steps, lengths(&block.optimizer));
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
        let (count, device) = (blocks.len(), block.device.clone());
        let sizes: Vec<_> = collects[0].weights.iter().map(|weight| weight.shape().0).collect();
        if !sizes.iter().all(|size| is_countable(count * size)) {
            return Ok(None);
        }
        let matrices = &collects[0].matrices;
        let weights = side_by_side(collects.iter().map(|collect| &collect.weights[..]))?;
        let running = side_by_side(collects.iter().map(|collect| &collect.running[..]))?;
        let kind = |of: fn(&OptimizerState<E, D>) -> &[Flat<E, D>]| {
            side_by_side(blocks.iter().map(|block| of(&block.optimizer)))
        };
        let [first, second, average] = [
            kind(|state| &state.first)?,
            kind(|state| &state.second)?,
            kind(|state| &state.average)?,
        ];
        let small = |size: usize| count * size < LARGE;
        let together: Vec<_> = (0..sizes.len()).filter(|&i| small(sizes[i])).collect();
        let alone = (0..sizes.len()).filter(|i| !together.contains(i)).map(|i| vec![i]);
        let members = alone.chain([together.clone()]).filter(|members| !members.is_empty());
        let mut places = vec![Place { group: 0, numbers: 0..0 }; sizes.len()];
        let mut groups = Vec::new();
        for members in members.collect::<Vec<_>>() {
            let chunk = if members.len() > 1 { CHUNK } else { sizes[members[0]] };
            let mut start = 0;
            for &i in &members {
                places[i] = Place { group: groups.len(), numbers: start..start + sizes[i] };
                start += sizes[i].next_multiple_of(chunk.max(1));
            }
            if !is_countable(count * start) {
                return Ok(None);
            }
            let take = |all: &[Stacked<E, D>]| {
                joined(&device, members.iter().map(|&i| all[i].clone()).collect(), chunk)
            };
            let remembered = |all: &[Stacked<E, D>]| match all {
                [] => Ok(None),
                _ => flat(take(all)?).map(Some),
            };
            groups.push(Group {
                chunk,
                weights: take(&weights)?,
                first: remembered(&first)?,
                second: remembered(&second)?,
                average: remembered(&average)?,
                decay: Decay::new(&device, &members, (&sizes, matrices, chunk))?,
            });
        }
        Ok(Some(Self { blocks: count, device, groups, places, running, steps }))
    }

    /// The weights, for a pass.
    pub(crate) fn weights(&self) -> Vec<StackedWeights<'_, E, D>> {
        let of = |Place { group, numbers }: &Place| StackedWeights {
            all: &self.groups[*group].weights,
            own: numbers.clone(),
        };
        self.places.iter().map(of).collect()
    }

    /// What is not trained, for a pass.
    pub(crate) fn running(&self) -> &[Stacked<E, D>] {
        &self.running
    }

    /// What a pass has made of that.
    pub(crate) fn set_running(&mut self, running: Vec<Stacked<E, D>>) {
        self.running = running;
    }

    /// Moves every block by one step, and makes other tensors of its weights. The answer is Σ g² of each block, `[T]`, before clipping;
    /// where it is not finite the block is as it was.
    pub(crate) fn update(
        &mut self,
        stepping: &Stepping,
        gradients: &mut Gradients<E, D>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut all = Vec::with_capacity(self.groups.len());
        for Group { weights, .. } in &self.groups {
            gradients.get_or_alloc_mut(weights)?;
            all.push(gradients.get(weights));
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
        let mut gather = Gather { gradients, found: Vec::with_capacity(self.places.len()) };
        M::iter_tensors(&mut RecursiveWalker { m: &*module, f: &mut gather })?;
        let mut found: Vec<_> = self.groups.iter().map(|_| Vec::new()).collect();
        for (place, gradient) in self.places.iter().zip(gather.found) {
            found[place.group].push(gradient);
        }
        let groups = self.groups.iter().zip(found);
        let all = groups.map(|(group, parts)| joined(&self.device, parts, group.chunk));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let squares = self.apply(stepping, all)?;
        // The module's layers have moved these themselves.
        self.running.clear();
        let weights = self.rows(0, |group| Ok(Some(group.weights.clone())))?;
        let mut put = Put { weights: weights.into_iter(), running: Vec::new().into_iter() };
        M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut put })?;
        Ok(squares)
    }

    /// One step by these gradients, one for each group.
    fn apply(
        &mut self,
        stepping: &Stepping,
        all: Vec<Stacked<E, D>>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut sum: Option<Flat<E, D>> = None;
        let mut each = Vec::with_capacity(all.len());
        for (group, gradient) in self.groups.iter().zip(&all) {
            let square = group.squares(gradient)?;
            let own = match square.shape().1 {
                1 => flat(square.clone())?,
                _ => square.clone().try_sum::<(usize,), Axis<1>>()?,
            };
            sum = Some(match sum {
                Some(sum) => sum.try_add(own)?,
                None => own,
            });
            each.push(square);
        }
        let squares = match sum {
            Some(sum) => sum,
            None => self.device.try_zeros_like(&(self.blocks,))?,
        };
        self.steps += 1;
        let finite = squares.try_lt(E::infinity())?;
        let ones = self.device.try_ones_like(squares.shape())?;
        let zeros = self.device.try_zeros_like(squares.shape())?;
        let finite = finite.try_choose(ones, zeros)?;
        let factor = match stepping.clip {
            Some(most) => {
                let norm = squares.clone().try_sqrt()?;
                Some(norm.try_recip()?.try_mul(E::of(most))?.try_clamp(0.0, 1.0)?)
            }
            None => None,
        };
        for ((group, gradient), square) in self.groups.iter_mut().zip(all).zip(each) {
            let gradient = match &factor {
                Some(factor) => {
                    let shape = *gradient.shape();
                    gradient.try_mul(factor.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?
                }
                None => gradient,
            };
            group.step(gradient, (square, &finite), (stepping, self.steps))?;
        }
        Ok(squares)
    }

    /// What `of` a group belongs to a block, a tensor for each parameter; none where there is none.
    fn rows(
        &self,
        block: usize,
        of: impl Fn(&Group<E, D>) -> Result<Option<Stacked<E, D>>, D::Err>,
    ) -> Result<Vec<Flat<E, D>>, D::Err> {
        let mut found = Vec::with_capacity(self.places.len());
        for Place { group, numbers } in &self.places {
            if let Some(all) = of(&self.groups[*group])? {
                found.push(row(all, block, numbers.clone())?);
            }
        }
        Ok(found)
    }

    /// Puts weights and memory back into the blocks.
    pub(crate) fn put<M: TensorCollection<E, D>>(
        self,
        blocks: &mut [Block<M, E, D>],
    ) -> Result<(), D::Err> {
        for (t, block) in blocks.iter_mut().enumerate() {
            let running = self.running.iter().map(|all| row(all.clone(), t, 0..all.shape().1));
            let running = running.collect::<Result<Vec<_>, _>>()?;
            let weights = self.rows(t, |group| Ok(Some(group.weights.clone())))?;
            let mut put = Put { weights: weights.into_iter(), running: running.into_iter() };
            M::iter_tensors(&mut RecursiveWalker { m: &mut block.module, f: &mut put })?;
            // The weights are other tensors now, and their gradients have other places.
            block.gradients = None;
            block.more_gradients.clear();
            block.optimizer = OptimizerState {
                steps: self.steps,
                first: self.rows(t, |group| group.remembered(&group.first))?,
                second: self.rows(t, |group| group.remembered(&group.second))?,
                average: self.rows(t, |group| group.remembered(&group.average))?,
            };
        }
        Ok(())
    }
}

impl<E: Real, D: Backend<E>> Group<E, D> {
    /// T, K and C.
    fn chunks(&self) -> (usize, usize, usize) {
        let (blocks, width) = *self.weights.shape();
        (blocks, width / self.chunk.max(1), self.chunk)
    }

    /// Σ g² of each chunk, `[T, K]`.
    fn squares(&self, gradient: &Stacked<E, D>) -> Result<Stacked<E, D>, D::Err> {
        let square = gradient.clone().try_square()?.try_reshape_like(&self.chunks())?;
        square.try_sum::<(usize, usize), Axis<2>>()
    }

    /// A number of each chunk for each of its numbers.
    fn spread(&self, of_chunks: Stacked<E, D>) -> Result<Flat<E, D>, D::Err> {
        let all = of_chunks.try_broadcast_like::<_, Axis<2>>(&self.chunks())?;
        all.try_reshape_like(&(self.weights.shape().num_elements(),))
    }

    /// 1 for chunks of a parameter that some gradient reaches, of a block whose gradient is finite; else 0: `[T, K]`. What no
    /// gradient reaches takes no part, and does not decay.
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

    /// The weights after they have decayed, where not all of them do so alike, and what the step has to multiply them by.
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
    fn step(
        &mut self,
        gradient: Stacked<E, D>,
        (squares, finite): (Stacked<E, D>, &Flat<E, D>),
        (stepping, steps): (&Stepping, u64),
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
    fn remembered(&self, of: &Option<Flat<E, D>>) -> Result<Option<Stacked<E, D>>, D::Err> {
        of.as_ref().map(|of| of.clone().try_reshape_like(self.weights.shape())).transpose()
    }
}

impl<E: Real, D: Backend<E>> Decay<E, D> {
    fn new(
        device: &D,
        members: &[usize],
        (sizes, matrices, chunk): (&[usize], &[bool], usize),
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

/// Parameters `[T, numbers]` in one tensor, each filled up with zeros to whole chunks.
fn joined<E: Real, D: Backend<E>>(
    device: &D,
    parts: Vec<Stacked<E, D>>,
    chunk: usize,
) -> Result<Stacked<E, D>, D::Err> {
    let mut pieces = Vec::with_capacity(2 * parts.len());
    for part in parts {
        let (blocks, numbers) = *part.shape();
        pieces.push(part);
        match numbers.next_multiple_of(chunk.max(1)) - numbers {
            0 => {}
            rest => pieces.push(device.try_zeros_like(&(blocks, rest))?),
        }
    }
    // In pairs, so that a number is copied log₂ n times.
    while pieces.len() > 1 {
        let mut pairs = Vec::with_capacity(pieces.len().div_ceil(2));
        let mut rest = pieces.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => (left, right).try_concat_along(Axis::<1>)?,
                None => left,
            });
        }
        pieces = pairs;
    }
    match pieces.pop() {
        Some(all) => Ok(all),
        None => device.try_zeros_like(&(0, 0)),
    }
}

/// Some numbers of one block.
fn row<E: Real, D: Backend<E>>(
    all: Stacked<E, D>,
    block: usize,
    numbers: Range<usize>,
) -> Result<Flat<E, D>, D::Err> {
    if all.shape().0 == 1 && numbers.len() == all.shape().1 {
        return flat(all);
    }
    flat(all.try_slice((block..block + 1, numbers))?)
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
