//! The weights of several blocks of one kind side by side, and their optimiser's steps.

mod group;
mod tensors;

use std::ops::Range;

use dfdx::prelude::*;

use super::{OptimizerState, Stepping};
use crate::device::{Backend, Real, StackedWeights, Tensors, is_countable};
use group::{Decay, Group};
use tensors::{Collected, Flat, Stacked, flat, joined, lengths, put, row, side_by_side};

/// A block as its optimiser sees it.
pub(crate) struct Unit<'a, E: Real, D: Backend<E>> {
    pub(crate) tensors: &'a mut dyn Tensors<E, D>,
    pub(crate) optimizer: &'a mut OptimizerState<E, D>,
}

/// T blocks of one kind, with their parameters in groups.
pub(crate) struct Stack<E: Real, D: Backend<E>> {
    blocks: usize,
    device: D,
    groups: Vec<Group<E, D>>,
    /// In the order in which dfdx visits the parameters.
    places: Vec<Location>,
    /// What is not trained: running statistics, `[T, numbers]` each.
    running: Vec<Stacked<E, D>>,
    steps: u64,
}

/// Where a parameter is: in which group, and which of a block's numbers there.
#[derive(Clone, Debug)]
struct Location {
    group: usize,
    numbers: Range<usize>,
}

/// Numbers in a chunk of a group of several parameters.
const CHUNK: usize = 64;

/// A parameter of so many numbers in all blocks keeps a GPU busy by itself; side by side with
/// others it would only be copied.
const LARGE: usize = 1 << 22;

impl<E: Real, D: Backend<E>> Stack<E, D> {
    /// The blocks' weights, and what their optimisers remember; `None` if these are not equally
    /// far, or more numbers than a GPU's kernels count.
    pub(crate) fn new(device: &D, blocks: &[Unit<'_, E, D>]) -> Result<Option<Self>, D::Err> {
        let Some(block) = blocks.first() else { return Ok(None) };
        let (steps, kept) = (block.optimizer.steps, lengths(block.optimizer));
        let same = |block: &Unit<'_, E, D>| {
            block.optimizer.steps == steps && lengths(block.optimizer) == kept
        };
        if !blocks.iter().all(same) {
            return Ok(None);
        }
        let collects = blocks.iter().map(|block| Collected::new(&*block.tensors));
        let collects = collects.collect::<Result<Vec<_>, _>>()?;
        let (count, device) = (blocks.len(), device.clone());
        let sizes: Vec<_> = collects[0].weights.iter().map(|weight| weight.shape().0).collect();
        if !sizes.iter().all(|size| is_countable(count * size)) {
            return Ok(None);
        }
        let matrices = &collects[0].matrices;
        let weights = side_by_side(collects.iter().map(|collect| &collect.weights[..]))?;
        let running = side_by_side(collects.iter().map(|collect| &collect.running[..]))?;
        let kind = |of: fn(&OptimizerState<E, D>) -> &[Flat<E, D>]| {
            side_by_side(blocks.iter().map(|block| of(block.optimizer)))
        };
        let [first, second, average] = [
            kind(|state| &state.first)?,
            kind(|state| &state.second)?,
            kind(|state| &state.average)?,
        ];
        let together: Vec<_> = (0..sizes.len()).filter(|&i| count * sizes[i] < LARGE).collect();
        let alone = (0..sizes.len()).filter(|i| !together.contains(i)).map(|i| vec![i]);
        let members = alone.chain([together.clone()]).filter(|members| !members.is_empty());
        let mut places = vec![Location { group: 0, numbers: 0..0 }; sizes.len()];
        let mut groups = Vec::new();
        for members in members.collect::<Vec<_>>() {
            let chunk = if members.len() > 1 { CHUNK } else { sizes[members[0]] };
            let mut start = 0;
            for &i in &members {
                places[i] = Location { group: groups.len(), numbers: start..start + sizes[i] };
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
                decay: Decay::new(&device, &members, &sizes, matrices, chunk)?,
            });
        }
        Ok(Some(Self { blocks: count, device, groups, places, running, steps }))
    }

    /// The weights, for a pass.
    pub(crate) fn weights(&self) -> Vec<StackedWeights<'_, E, D>> {
        let of = |Location { group, numbers }: &Location| StackedWeights {
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

    /// Moves every block by one step, and makes other tensors of its weights. The answer is Σ g² of
    /// each block, `[T]`, before clipping; where it is not finite the block is as it was.
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

    /// The same for a stack of one, with gradients that belong to the tensors of its module, which
    /// has the new weights then.
    pub(crate) fn update_module(
        &mut self,
        stepping: &Stepping,
        module: &mut dyn Tensors<E, D>,
        gradients: &mut Gradients<E, D>,
    ) -> Result<Flat<E, D>, D::Err> {
        let mut found: Vec<_> = self.groups.iter().map(|_| Vec::new()).collect();
        let mut places = self.places.iter();
        module.visit_trained(&mut |parameter| {
            let parameter = parameter.flat()?;
            gradients.get_or_alloc_mut(&parameter)?;
            let gradient = gradients.get(&parameter);
            let numbers = gradient.shape().num_elements();
            if let Some(place) = places.next() {
                found[place.group].push(gradient.try_reshape_like(&(1, numbers))?);
            }
            Ok(())
        })?;
        let groups = self.groups.iter().zip(found);
        let all = groups.map(|(group, parts)| joined(&self.device, parts, group.chunk));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let squares = self.apply(stepping, all)?;
        // The module's layers have moved these themselves.
        self.running.clear();
        let weights = self.rows(0, |group| Ok(Some(group.weights.clone())))?;
        put(module, weights, Vec::new())?;
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
            group.step(gradient, square, &finite, stepping, self.steps)?;
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
        for Location { group, numbers } in &self.places {
            if let Some(all) = of(&self.groups[*group])? {
                found.push(row(all, block, numbers.clone())?);
            }
        }
        Ok(found)
    }

    /// Puts weights and memory back into the blocks.
    pub(crate) fn put(self, blocks: &mut [Unit<'_, E, D>]) -> Result<(), D::Err> {
        for (t, block) in blocks.iter_mut().enumerate() {
            let running = self.running.iter().map(|all| row(all.clone(), t, 0..all.shape().1));
            let running = running.collect::<Result<Vec<_>, _>>()?;
            let weights = self.rows(t, |group| Ok(Some(group.weights.clone())))?;
            put(block.tensors, weights, running)?;
            *block.optimizer = OptimizerState {
                steps: self.steps,
                first: self.rows(t, |group| group.remembered(&group.first))?,
                second: self.rows(t, |group| group.remembered(&group.second))?,
                average: self.rows(t, |group| group.remembered(&group.average))?,
            };
        }
        Ok(())
    }
}
