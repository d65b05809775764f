//! Several blocks as one computation: few, large operations instead of many small ones.

use dfdx::prelude::*;
use rayon::prelude::*;

use super::{
    Runtime, Span, StepBatch, Trainee,
    blocks::{BlockSteps, OfBlocks},
    context,
    deferred::DeferredStep,
    draw::{layer_seed, on_device, target, times_on},
};
use crate::{
    block::AnyBlock,
    device::{Backend, Column, Matrix, Real},
    error::{Error, Place},
    kernel,
    optim::{Stack, Unit},
    plan::{Inputs, StackPass, Value, repeated, stacked},
    random::{Purpose, normals, stream},
    variant::{
        Discrete, Draw, StepLoss, Target, Times, TracedForward, Transition, squared_error, weigh,
    },
};

fn failed<Err: std::fmt::Debug>() -> impl Fn(Err) -> Error {
    Error::device("a step of stacked blocks")
}

/// Steps of all blocks at once; `None` where the blocks cannot be stacked. Nothing is read from the
/// device before the last of the steps is done.
pub(super) fn train<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    batches: &[StepBatch<'_, E>],
    span: &Span<'_>,
) -> Result<Option<OfBlocks<E>>, Error> {
    let device = trainee.model.device.clone();
    let mut stack = {
        let units = units(&mut trainee.blocks);
        let Some(stack) = Stack::new(&device, &units).map_err(failed())? else { return Ok(None) };
        stack
    };
    let on_host = trainee.model.embedding.numbers();
    let columns = Columns::new(trainee)?;
    let mut left = Vec::with_capacity(batches.len());
    for (k, batch) in batches.iter().enumerate() {
        let step = trainee.steps + 1 + k as u64;
        let loss = loss_of(trainee, &mut stack, &columns, &on_host, batch, span.seed(), step)?;
        let Some(loss) = loss else {
            trainee.model.switches.stacked = false;
            return Ok(None);
        };
        let stepping = span.stepping(trainee.model.objective.optimizer(), k);
        let StepLoss { total, denoising, cross_entropy, output, .. } = loss;
        let back = || {
            // The sum over the blocks of their means: the gradient of each is that of its own loss.
            let total = total.try_mul(E::of(trainee.blocks.len() as f64))?;
            stack.update(&stepping, &mut total.try_backward()?)
        };
        let squares = back().map_err(failed())?;
        left.push(DeferredStep { denoising, cross_entropy, output, squares });
    }
    stack.put(&mut units(&mut trainee.blocks)).map_err(failed())?;
    for block in &mut trainee.blocks {
        // The weights are other tensors now, and their gradients have other places.
        let (state, _) = block.parts();
        state.gradients = None;
        state.more_gradients.clear();
    }
    Ok(Some(read(trainee, left, batches, &on_host, span)))
}

/// The blocks as their optimisers see them.
fn units<'a, E: Real, D: Runtime<E>>(blocks: &'a mut [&mut D::Block]) -> Vec<Unit<'a, E, D>> {
    let unit = |block: &'a mut &mut D::Block| {
        let (state, tensors) = block.parts();
        Unit { tensors, optimizer: &mut state.optimizer }
    };
    blocks.iter_mut().map(unit).collect()
}

/// What the steps report of each block.
fn read<E: Real, D: Runtime<E>>(
    trainee: &Trainee<'_, E, D>,
    left: Vec<DeferredStep<E, D>>,
    batches: &[StepBatch<'_, E>],
    on_host: &[E],
    span: &Span<'_>,
) -> OfBlocks<E> {
    let context = context(trainee.model, on_host, span, false);
    let mut all: Vec<BlockSteps<E>> = Vec::new();
    all.resize_with(trainee.blocks.len(), BlockSteps::default);
    let mut errors: Vec<Option<Error>> = Vec::new();
    errors.resize_with(trainee.blocks.len(), || None);
    for ((left, batch), step) in left.into_iter().zip(batches).zip(trainee.steps + 1..) {
        for (i, (numbers, block)) in left.read().into_iter().zip(&trainee.blocks).enumerate() {
            let place = Place { block: block.state().t, step };
            errors[i] = errors[i].take().or(numbers.check(place).err());
            let norm = numbers.gradient_norm;
            let report = context.report(place.block, numbers.terms, &numbers.output, batch, norm);
            all[i].reports.push(report);
        }
    }
    let each = all.into_iter().zip(errors);
    each.map(|(steps, error)| error.map_or(Ok(steps), Err)).collect()
}

/// Forward through all blocks; `None` where their layers cannot do that.
fn loss_of<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    stack: &mut Stack<E, D>,
    columns: &Columns<E, D>,
    on_host: &[E],
    batch: &StepBatch<'_, E>,
    seed: u64,
    step: u64,
) -> Result<Option<StepLoss<E, D>>, Error> {
    let (rows, blocks) = (batch.rows(), trainee.blocks.len());
    let Some(first) = trainee.blocks.first() else { return Ok(None) };
    let place = Place { block: first.state().t, step };
    let device = first.state().device.seeded(layer_seed(batch, seed, place));
    let Drawn { noise, times } = draw(trainee, &device, rows, seed, step)?;
    let model = &mut *trainee.model;
    let reading = model.objective.reading();
    let weights = batch.weights.as_deref();
    let embedding = &model.embedding.0;
    let target = target(&device, reading, &batch.targets, weights, on_host, embedding)?;
    let x = batch.inputs_on(&device, &mut model.device_inputs).map_err(failed())?;
    let target = of_all_blocks(target, blocks).map_err(failed())?;
    let t = times.as_ref().map(|times| times.device.clone());
    let mut running = None;
    let mut forward = |z: Matrix<E, D, OwnedTape<E, D>>| {
        let weights = stack.weights();
        let mut pass = StackPass::new(blocks, rows, &weights, stack.running());
        let mut plan = trainee.blocks[0].plan_mut()?;
        let inputs = Value::Inputs(Inputs { z, x: x.clone(), t: t.clone() });
        let output = stacked(&mut plan, inputs, &mut pass)?;
        running = output.is_some().then(|| pass.moved()).flatten();
        match output {
            Some(output) => Ok(output.into_rows()?.0),
            // Nobody looks at it.
            None => {
                let nothing: Matrix<E, D> =
                    device.try_zeros_like(&(blocks * rows, reading.outputs))?;
                Ok(nothing.put_tape(OwnedTape::default()))
            }
        }
    };
    let loss = match model.objective.transition() {
        Transition::Blocks(discrete) => columns.loss(discrete, &target, noise, &mut forward),
        Transition::Denoiser(_) => {
            // The noise levels of the rows say all that a block's place does.
            let draw = Draw { target, noise, end_noise: None, times };
            model.objective.loss(place.block, draw, None, Gradients::leaky(), &mut forward)
        }
        Transition::Field(_) => return Ok(None),
    };
    let loss = loss.map_err(failed())?;
    let Some(running) = running else { return Ok(None) };
    stack.set_running(running);
    Ok(Some(loss))
}

/// What is drawn for the rows of all blocks, one block's after the other's.
struct Drawn<E: Real, D: Backend<E>> {
    noise: Matrix<E, D>,
    times: Option<Times<E, D>>,
}

/// The numbers that the blocks draw one by one.
fn draw<E: Real, D: Runtime<E>>(
    trainee: &mut Trainee<'_, E, D>,
    device: &D,
    rows: usize,
    seed: u64,
    step: u64,
) -> Result<Drawn<E, D>, Error> {
    let objective = &trainee.model.objective;
    let (width, sampling) = (objective.reading().latent, objective.setup().times);
    let blocks: Vec<usize> = trainee.blocks.iter().map(|block| block.state().t).collect();
    let of_block = |&t: &usize| stream(seed, Purpose::Noise, t as u64, step);
    let mut streams: Vec<_> = blocks.iter().map(of_block).collect();
    let times = sampling.map(|sampling| {
        let each = blocks.iter().zip(&mut streams).flat_map(|(&t, rng)| {
            let uniform = sampling.draw(rows, rng).into_iter();
            uniform.map(move |u| objective.time(t, u))
        });
        times_on(device, each.collect())
    });
    let times = times.transpose()?;
    let shape = (streams.len() * rows, width);
    if trainee.model.switches.device_noise {
        let (state, _) = trainee.blocks[0].parts();
        let lanes = &mut state.lanes;
        let noise = device.normals(seed, lanes, &mut streams, shape).map_err(failed())?;
        return Ok(Drawn { noise, times });
    }
    let noise = |mut rng| normals(&mut rng, rows * width);
    let noise = match kernel::threads() {
        1 => streams.into_iter().flat_map(noise).collect(),
        // A GPU would wait for one core.
        _ => streams.into_par_iter().flat_map_iter(noise).collect(),
    };
    Ok(Drawn { noise: on_device(device, noise, shape)?, times })
}

/// What a step needs of the schedule, on the device for all steps of a span: a number for each
/// block, `[T]`.
struct Columns<E: Real, D: Backend<E>> {
    /// √ᾱ.
    share: Column<E, D>,
    /// √(1 − ᾱ).
    spread: Column<E, D>,
    /// The weight of the squared error.
    weight: Column<E, D>,
}

impl<E: Real, D: Backend<E>> Columns<E, D> {
    fn new(trainee: &Trainee<'_, E, D>) -> Result<Self, Error>
    where
        D: Runtime<E>,
    {
        let (device, blocks) = (&trainee.model.device, trainee.blocks.len());
        let discrete = match trainee.model.objective.transition() {
            Transition::Blocks(discrete) => Some(discrete),
            Transition::Denoiser(_) | Transition::Field(_) => None,
        };
        let column = |of: fn(&Discrete, usize) -> f64| {
            let t = trainee.blocks.iter().map(|block| block.state().t);
            let each = t.map(|t| E::of(discrete.map_or(0.0, |discrete| of(discrete, t))));
            on_device(device, each.collect(), (blocks,))
        };
        Ok(Self {
            share: column(|discrete, t| discrete.alpha_bar(t).sqrt())?,
            spread: column(|discrete, t| (1.0 - discrete.alpha_bar(t)).sqrt())?,
            weight: column(Discrete::denoising_weight)?,
        })
    }

    /// z = √ᾱ u + √(1 − ᾱ) ε for the rows of all blocks.
    fn noised<T: Tape<E, D>>(
        &self,
        u: Matrix<E, D>,
        noise: Matrix<E, D, T>,
    ) -> Result<Matrix<E, D, T>, D::Err> {
        let (rows, blocks) = (*u.shape(), self.share.shape().0);
        let shape = (blocks, rows.0 / blocks, rows.1);
        let wide = |by: &Column<E, D>| by.clone().try_broadcast_like::<_, Axes2<1, 2>>(&shape);
        let of_u = u.try_reshape_like(&shape)?.try_mul(wide(&self.share)?)?;
        let of_noise = noise.try_reshape_like(&shape)?.try_mul(wide(&self.spread)?)?;
        of_noise.try_add(of_u)?.try_reshape_like(&rows)
    }

    /// The loss of discrete time for the rows of all blocks.
    fn loss(
        &self,
        discrete: &Discrete,
        target: &Target<'_, E, D>,
        noise: Matrix<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err> {
        let (reading, blocks) = (discrete.setup.reading, self.weight.shape().0);
        let z = self.noised(target.u.clone(), noise)?;
        let of_z = discrete.is_preconditioned().then(|| z.clone());
        let mut output = forward(z.traced(Gradients::leaky()))?;
        if let Some(z) = of_z {
            output = self.noised(z, output)?;
        }
        let (output, tape) = output.split_tape();
        let estimate = reading.estimate(output.clone().put_tape(tape), target.embedding)?;
        let rows = target.u.shape().0 / blocks;
        let weight = self.weights(rows)?.put_tape(OwnedTape::default());
        let error = squared_error(estimate, target.u.clone(), target.weigh_rows(weight)?)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        weigh(error, logits, target, discrete.cross_entropy, output)
    }

    /// The weights of `rows` rows of each block.
    fn weights(&self, rows: usize) -> Result<Column<E, D>, D::Err> {
        let shape = (self.weight.shape().0, rows);
        let all = self.weight.clone().try_broadcast_like::<_, Axis<1>>(&shape)?;
        all.try_reshape_like(&(shape.0 * rows,))
    }
}

/// The targets of a batch once for each block.
fn of_all_blocks<E: Real, D: Backend<E>>(
    target: Target<'_, E, D>,
    blocks: usize,
) -> Result<Target<'_, E, D>, D::Err> {
    let Target { u, one_hot, embedding, weights } = target;
    let weights = match weights {
        Some(weights) => {
            let rows = weights.shape().0;
            let all = weights.try_broadcast_like::<_, Axis<0>>(&(blocks, rows))?;
            Some(all.try_reshape_like(&(blocks * rows,))?)
        }
        None => None,
    };
    let one_hot = one_hot.map(|one_hot| repeated(one_hot, blocks)).transpose()?;
    Ok(Target { u: repeated(u, blocks)?, one_hot, embedding, weights })
}
