//! Blocks of discrete time as one computation: few, large operations in the place of many small ones.

use dfdx::{nn::BuildOnDevice, prelude::*};
use rayon::prelude::*;

use super::{
    DiscreteTime,
    late::Left,
    objective::{Target, Unread, squared_error, weigh},
    step::{block_report, layer_seed, on_device, on_device_target},
};
use crate::{
    device::{Backend, Real, Rows},
    error::Error,
    head::Head,
    nn::{StackPass, repeated},
    noprop::{Block, NoProp, TargetsOf},
    optim::{Stack, Stepping},
    random::{Purpose, normals, stream},
    train::{Chosen, Span, Trained},
};

/// Steps of all blocks at once, from the `first` of the span on; `None` where the blocks cannot be stacked.
///
/// `table` is the embedding on the host. Nothing is read from the device before the last of the steps is done.
#[allow(clippy::type_complexity)]
pub(super) fn train<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, TargetsOf<DiscreteTime<H>, Z, X, E, D>, E>],
    table: &[E],
    (span, first): (&Span<'_>, usize),
) -> Result<Option<Vec<Result<Trained<E>, Error>>>, Error>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    let failed = || Error::device("a step of stacked blocks");
    let Some(mut stack) = Stack::new(&trainer.blocks).map_err(failed())? else { return Ok(None) };
    let columns = Columns::new(trainer)?;
    let mut left = Vec::with_capacity(batches.len());
    for (k, batch) in batches.iter().enumerate() {
        let step = trainer.steps + 1 + k as u64;
        let stepping = span.stepping(&trainer.variant.optimizer, first + k);
        let how = (&mut stack, &stepping, &columns, table);
        let Some(of_step) = step_of(trainer, how, batch, (span.seed(), step))? else {
            trainer.stacked = false;
            return Ok(None);
        };
        left.push(of_step);
    }
    stack.put(&mut trainer.blocks).map_err(failed())?;
    let mut all: Vec<Trained<E>> = Vec::new();
    all.resize_with(trainer.blocks.len(), Trained::default);
    let mut errors: Vec<Option<Error>> = Vec::new();
    errors.resize_with(trainer.blocks.len(), || None);
    for ((left, batch), step) in left.into_iter().zip(batches).zip(trainer.steps + 1..) {
        for (i, (read, block)) in left.read().into_iter().zip(&trainer.blocks).enumerate() {
            let (terms, norm) = (read.terms, read.gradient_norm);
            let report =
                block_report::<H, Z, E>(block.t, terms, &read.output, &batch.targets, norm);
            errors[i] = errors[i].take().or(read.check((block.t, step)).err());
            all[i].reports.push(report);
        }
    }
    let each = all.into_iter().zip(errors);
    Ok(Some(each.map(|(trained, error)| error.map_or(Ok(trained), Err)).collect()))
}

/// Forward and back through all blocks, and their step.
#[allow(clippy::type_complexity)]
fn step_of<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    (stack, stepping, columns, table): (&mut Stack<E, D>, &Stepping, &Columns<E, D>, &[E]),
    batch: &Chosen<'_, X, TargetsOf<DiscreteTime<H>, Z, X, E, D>, E>,
    (seed, step): (u64, u64),
) -> Result<Option<Left<H::Out, E, D>>, Error>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    let failed = || Error::device("a step of stacked blocks");
    let (rows, blocks) = (batch.rows(), trainer.blocks.len());
    let Some(first) = trainer.blocks.first() else { return Ok(None) };
    let device = first.device.seeded(layer_seed(batch, seed, first.t, step));
    let weights = batch.weights.as_deref();
    let target = on_device_target::<H, Z, E, D>(
        &device,
        &batch.targets,
        rows,
        weights,
        table,
        &trainer.table,
    )?;
    let of_block = |block: &Block<_, E, D>| stream(seed, Purpose::Noise, block.t as u64, step);
    let mut streams: Vec<_> = trainer.blocks.iter().map(of_block).collect();
    let shape = (blocks * rows, Const::<Z>);
    let noise = if trainer.own_noise {
        let lanes = (seed, &mut trainer.blocks[0].lanes);
        device.normals(lanes, &mut streams, shape).map_err(failed())?
    } else {
        // By all cores: a GPU would wait for one of them.
        let noise = streams.into_par_iter().flat_map_iter(|mut rng| normals(&mut rng, rows * Z));
        on_device(&device, noise.collect(), shape)?
    };
    let x = batch.inputs_on(&device, &mut trainer.resident).map_err(failed())?;
    let ops = trainer.ops;
    let target = of_all_blocks::<H::Out, Z, E, D>(target, blocks).map_err(failed())?;
    let z = columns.noised(target.u.clone(), noise).map_err(failed())?.traced(Gradients::leaky());
    let weights = stack.weights();
    let mut pass = StackPass::new(blocks, rows, &weights, stack.running());
    let module = &mut trainer.blocks[0].module;
    let Some(output) = (ops.stacked)(module, (z, x), &mut pass).map_err(failed())? else {
        return Ok(None);
    };
    let Some(running) = pass.moved() else { return Ok(None) };
    stack.set_running(running);
    let loss = || {
        let (output, tape) = output.split_tape();
        let estimate = H::estimate(output.clone().put_tape(tape), target.table)?;
        let weight = columns.weights(rows)?.put_tape(OwnedTape::default());
        let weight = target.weigh_rows(weight)?;
        let error = squared_error(estimate, target.u.clone(), weight)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        let loss = weigh::<H, Z, E, D>(error, logits, &target, trainer.variant.cross_entropy)?;
        let Unread { total, denoising, cross_entropy, output, .. } = loss.into_loss(output);
        // The sum over the blocks of their means: the gradient of each is that of its own loss.
        let total = total.try_mul(E::of(blocks as f64))?;
        let squares = stack.update(stepping, &mut total.try_backward()?)?;
        Ok(Some(Left { denoising, cross_entropy, output, squares }))
    };
    loss().map_err(failed())
}

/// What a step needs of the schedule, on the device for all steps of a span: a number for each block, `[T]`.
struct Columns<E: Real, D: Backend<E>> {
    /// √ᾱ.
    share: Tensor<(usize,), E, D>,
    /// √(1 − ᾱ).
    spread: Tensor<(usize,), E, D>,
    /// The weight of the squared error.
    weight: Tensor<(usize,), E, D>,
}

impl<E: Real, D: Backend<E>> Columns<E, D> {
    fn new<H: Head<Z, E>, M: BuildOnDevice<D, E>, const Z: usize, const X: usize>(
        trainer: &NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    ) -> Result<Self, Error> {
        let loss = |t| trainer.variant.block_loss(&trainer.state, t);
        let column = |of: fn(&super::BlockLoss) -> f64| {
            let each = trainer.blocks.iter().map(|block| E::of(of(&loss(block.t))));
            on_device(&trainer.device, each.collect(), (trainer.blocks.len(),))
        };
        Ok(Self {
            share: column(|loss| loss.alpha_bar.sqrt())?,
            spread: column(|loss| (1.0 - loss.alpha_bar).sqrt())?,
            weight: column(|loss| loss.denoising)?,
        })
    }

    /// z = √ᾱ u + √(1 − ᾱ) ε for the rows of all blocks.
    fn noised<N: ConstDim>(
        &self,
        u: Rows<N, E, D>,
        noise: Rows<N, E, D>,
    ) -> Result<Rows<N, E, D>, D::Err> {
        let (rows, blocks) = (*u.shape(), self.share.shape().0);
        let shape = (blocks, rows.0 / blocks, rows.1);
        let scaled = |rows: Rows<N, E, D>, by: &Tensor<(usize,), E, D>| {
            let by = by.clone().try_broadcast_like::<_, Axes2<1, 2>>(&shape)?;
            rows.try_reshape_like(&shape)?.try_mul(by)
        };
        let z = scaled(u, &self.share)?.try_add(scaled(noise, &self.spread)?)?;
        z.try_reshape_like(&rows)
    }

    /// The weights of `rows` rows of each block.
    fn weights(&self, rows: usize) -> Result<Tensor<(usize,), E, D>, D::Err> {
        let shape = (self.weight.shape().0, rows);
        let all = self.weight.clone().try_broadcast_like::<_, Axis<1>>(&shape)?;
        all.try_reshape_like(&(shape.0 * rows,))
    }
}

/// The targets of a batch once for each block.
fn of_all_blocks<O: ConstDim, const Z: usize, E: Real, D: Backend<E>>(
    target: Target<'_, O, Z, E, D>,
    blocks: usize,
) -> Result<Target<'_, O, Z, E, D>, D::Err> {
    let Target { u, one_hot, table, weights } = target;
    let weights = match weights {
        Some(weights) => {
            let rows = weights.shape().0;
            let all = weights.try_broadcast_like::<_, Axis<0>>(&(blocks, rows))?;
            Some(all.try_reshape_like(&(blocks * rows,))?)
        }
        None => None,
    };
    let one_hot = one_hot.map(|one_hot| repeated(one_hot, blocks)).transpose()?;
    Ok(Target { u: repeated(u, blocks)?, one_hot, table, weights })
}
