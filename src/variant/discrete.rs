//! Discrete time (NoProp-DT): T blocks, each with its own weights, each trained on its own noise level.

use dfdx::{
    nn::{BuildOnDevice, ZeroGrads},
    prelude::*,
};
use rand::RngCore;

use super::{
    Answers, Ask, Variant,
    late::Late,
    objective::{BlockLoss, constant, terminal, value},
    stacked,
    step::{
        Call, OwnLoss, block_report, check_rows, check_shared, check_weight, layer_seed, measured,
        noise_of, on_device, on_device_target, own_step,
    },
    walk,
};
use crate::{
    data::Targets as _,
    device::{self, Backend, Place, Real, TracedRows, TracedScalar},
    distributed::{Communicator, Rows},
    error::Error,
    gradient::{Estimator, Forward, Problem},
    head::{Head, OneHot},
    nn::Pair,
    noprop::{Block, NoProp, OpsOf, TargetsOf},
    optim::{Optimizer, Stepping},
    random::{Purpose, normals, stream},
    schedule::{NoiseLevels, Schedule},
    train::{BlockReport, Chosen, Span, StepReport, Trained},
};

/// Discrete time: T blocks û_1 … û_T take noise to the target in T steps (Li, Teh, Pascanu 2025, section 3).
///
/// Block t takes z_{t−1} and x and estimates the target, û_t; then
///
/// z_t = a_t û_t + b_t z_{t−1} + √c_t ε
///
/// with the coefficients of [`NoiseLevels`]. In training z_{t−1} is drawn from
/// q(z_{t−1} | y) = N(√ᾱ_{t−1} u, (1 − ᾱ_{t−1}) I) directly, so that no block waits for another. The loss is
///
/// CE(p̂(y | z_T)) + KL(q(z_0 | y) ‖ N(0, I)) + mean_t (T/2) η (SNR(t) − SNR(t−1)) ‖û_t(z_{t−1}, x) − u‖²,
///
/// and to it each block may add the cross-entropy of its own logits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct DiscreteTime<H = OneHot> {
    /// T, the number of blocks: at least 1.
    pub blocks: usize,
    /// How noise turns into target.
    pub schedule: Schedule,
    /// η, the weight of the squared error: 0 or more.
    pub eta: f64,
    /// The weight of the cross-entropy on each block's own logits: 0 (the paper) or more.
    pub cross_entropy: f64,
    /// How answers are read off.
    pub sampler: Sampler,
    /// How blocks step.
    pub optimizer: Optimizer,
    /// How blocks get their gradient.
    #[cfg_attr(feature = "serde", serde(default))]
    pub estimator: Estimator,
    /// What the targets are.
    pub head: H,
    /// The seed of the initial weights.
    pub seed: u64,
}

impl<H: Default> Default for DiscreteTime<H> {
    /// The paper's T = 10, cosine schedule, η = 0.1 and AdamW, and in addition the cross-entropy on each block's own
    /// logits with weight 1.
    fn default() -> Self {
        Self {
            blocks: 10,
            schedule: Schedule::Cosine,
            eta: 0.1,
            cross_entropy: 1.0,
            sampler: Sampler::Deterministic,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

/// How z goes from noise to target in inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Sampler {
    /// Without noise: z_0 = 0 and ε = 0, the mean at each step. The same answer for the same row.
    #[default]
    Deterministic,
    /// With noise, as the paper has it: z_0 ~ N(0, I) and ε ~ N(0, I); the answers of several draws are averaged.
    Stochastic {
        /// How many draws are averaged: at least 1.
        draws: usize,
        /// The seed of the noise; each row has a stream of its own, by its place in the batch.
        seed: u64,
    },
}

impl Sampler {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Stochastic { draws: 0, .. } => {
                Err(Error::config("Sampler::Stochastic::draws", "at least 1", 0))
            }
            _ => Ok(()),
        }
    }
}

impl<H> DiscreteTime<H> {
    /// The loss of block t, counted from 1.
    pub fn block_loss(&self, levels: &NoiseLevels, t: usize) -> BlockLoss {
        BlockLoss {
            alpha_bar: levels.alpha_bar(t.saturating_sub(1)),
            denoising: 0.5 * self.blocks as f64 * self.eta * levels.snr_increment(t),
            cross_entropy: self.cross_entropy,
        }
    }
}

impl<H, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for DiscreteTime<H>
where
    H: Head<Z, E>,
{
    type Head = H;
    type Reader = H;
    type Input = Pair<Z, X>;
    type State = NoiseLevels;

    const NAME: &'static str = "discrete time";

    fn head(&self) -> &H {
        &self.head
    }

    fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn blocks(&self) -> usize {
        self.blocks
    }

    fn start(&self, _device: &D) -> Result<NoiseLevels, Error> {
        check_weight("DiscreteTime::eta", self.eta)?;
        check_weight("DiscreteTime::cross_entropy", self.cross_entropy)?;
        if self.eta == 0.0 && (self.cross_entropy == 0.0 || !H::CLASSES) {
            return Err(Error::config("DiscreteTime::eta", "above 0, or nothing is learned", 0));
        }
        self.sampler.check()?;
        self.estimator.check(H::LEARNED.then_some("embedding"))?;
        self.schedule.levels(self.blocks)
    }

    fn train<M: BuildOnDevice<D, E>>(
        trainer: &mut NoProp<Self, M, Z, X, E, D>,
        batches: &[Chosen<'_, X, TargetsOf<Self, Z, X, E, D>, E>],
        span: &Span<'_>,
    ) -> Result<Vec<StepReport>, Error> {
        check_shared(batches, &trainer.variant.estimator)?;
        check_embedding::<H, Z, E>(trainer.communicator.as_ref())?;
        let mut reports = Vec::with_capacity(batches.len());
        // Whether a step needs none of its numbers on the host: a learned embedding gets its gradient from each block by itself.
        let local = trainer.variant.estimator == Estimator::Local;
        let apart = local && !H::LEARNED && batches.iter().all(|batch| batch.shared.is_none());
        // A learned embedding moves after each step, and the next step of every block needs it.
        let together = if H::LEARNED { 1 } else { batches.len().max(1) };
        for batches in batches.chunks(together) {
            let first = reports.len();
            reports.resize_with(first + batches.len(), StepReport::default);
            let table = trainer.table.as_vec();
            let here = (span, first);
            let stacked = match trainer.stacked && apart {
                true => stacked::train(trainer, batches, &table, here)?,
                false => None,
            };
            let results = match stacked {
                Some(results) => results,
                None if trainer.late && apart => late(trainer, batches, &table, here),
                None => block_by_block(trainer, batches, &table, here),
            };
            trainer.steps += batches.len() as u64;
            let mut gradients = Vec::new();
            for result in results {
                let trained = result?;
                for (k, report) in trained.reports.into_iter().enumerate() {
                    reports[first + k].blocks.push(report);
                }
                gradients.push(trained.table_gradient);
            }
            let gradient = table_gradient(trainer, gradients, table.len())?;
            if let Some(batch) = batches.last() {
                let k = reports.len() - 1;
                let stepping = span.stepping(&trainer.variant.optimizer, k).without_decay();
                let terms = terminal_step(trainer, batch, gradient, span.seed(), &stepping)?;
                reports.iter_mut().skip(first).for_each(|report| report.terminal = terms);
            }
        }
        Ok(reports)
    }

    fn infer<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
        ask: Ask,
    ) -> Result<Answers<E>, Error> {
        Ok(Answers::collect(walk::parts(trainer, x, ask)?))
    }

    fn along<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
    ) -> Result<Vec<(f64, Answers<E>)>, Error> {
        let last = trainer.layout.blocks as f64;
        let moving = trainer.state.moving().zip(1..);
        let points: Vec<_> = moving.map(|(t, calls)| (t as f64 / last, calls)).collect();
        Ok(Answers::along(walk::parts(trainer, x, Ask::Along)?, &points, x.len()))
    }
}

/// Steps of the blocks, each by itself, from the `first` of the span on.
fn block_by_block<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, H::Targets, E>],
    table: &[E],
    (span, first): (&Span<'_>, usize),
) -> Vec<Result<Trained<E>, Error>>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    /// Bytes of inputs that are gathered for all blocks at a time.
    const MOST: usize = 8 << 20;
    let NoProp { variant, state: levels, ops, steps, blocks, own_noise, .. } = trainer;
    let (ops, own_noise, steps) = (*ops, *own_noise, *steps);
    // While one thread gathers them the others wait: with as many threads as blocks, each had better gather its own.
    let shares = !ops.draws && 2 * span.workers().at_once() <= blocks.len();
    let bytes = batches.first().map_or(0, |batch| batch.rows() * X * size_of::<E>());
    let together = if shares { MOST / bytes.max(1) } else { batches.len() }.max(1);
    let mut all: Vec<Result<Trained<E>, Error>> = Vec::new();
    all.resize_with(blocks.len(), || Ok(Trained::default()));
    for (i, batches) in batches.chunks(together).enumerate() {
        let done = i * together;
        let places: Vec<Place> = batches.iter().map(|_| Place::default()).collect();
        let trained = (ops.each)(blocks, span.workers(), &|_, block: &mut Block<_, E, D>| {
            let mut trained = Trained::default();
            for (k, (batch, place)) in batches.iter().zip(&places).enumerate() {
                let k = done + k;
                let stepping = span.stepping(&variant.optimizer, first + k);
                let how = (&*variant, &*levels, &stepping);
                let inputs = shares.then_some(place);
                let key = (span.seed(), steps + 1 + k as u64);
                let (report, gradient) =
                    block_step(how, (ops, own_noise), block, (batch, inputs), table, key)?;
                trained.reports.push(report);
                trained.table_gradient = gradient;
            }
            Ok(trained)
        });
        for (all, some) in all.iter_mut().zip(trained) {
            match (all.as_mut(), some) {
                (Ok(all), Ok(some)) => {
                    all.reports.extend(some.reports);
                    all.table_gradient = some.table_gradient;
                }
                (Ok(_), Err(error)) => *all = Err(error),
                (Err(_), _) => {}
            }
        }
        if all.iter().any(Result::is_err) {
            break;
        }
    }
    all
}

/// The steps of one block after the other's, with nothing read of a block before it has done them all.
fn late<H, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, H::Targets, E>],
    embedding: &[E],
    (span, first): (&Span<'_>, usize),
) -> Vec<Result<Trained<E>, Error>>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
{
    let NoProp { variant, state, blocks, table, ops, own_noise, resident, steps, .. } = trainer;
    let steps_of = |block: &mut Block<M::Built, E, D>| {
        let failed = || Error::device("a training step");
        let mut way = Late::new(block)?;
        let (t, objective) = (block.t, variant.block_loss(state, block.t));
        for ((k, batch), step) in batches.iter().enumerate().zip(*steps + 1..) {
            let (seed, rows) = (span.seed(), batch.rows());
            let device = block.device.seeded(layer_seed(batch, seed, t, step));
            let weights = batch.weights.as_deref();
            let target = on_device_target::<H, Z, E, D>(
                &device,
                &batch.targets,
                rows,
                weights,
                embedding,
                table,
            )?;
            let mut rng = [stream(seed, Purpose::Noise, t as u64, step)];
            let kept = own_noise.then_some((seed, &mut block.lanes));
            let noise = noise_of(batch, &device, &mut rng, kept)?;
            let x = batch.inputs_on(&device, resident).map_err(failed())?;
            let gradients = block.module.try_alloc_grads().map_err(failed())?;
            let module = &mut block.module;
            let forward = |z| (ops.train)(module, (z, x));
            let loss = objective.unread::<H, Z, E, D>(&target, noise, gradients, forward);
            let stepping = span.stepping(&variant.optimizer, first + k);
            way.step(block, &stepping, loss.map_err(failed())?, None).map_err(failed())?;
        }
        let mut trained = Trained::default();
        let left = way.end(block).map_err(failed())?;
        for (((read, _), batch), step) in left.into_iter().zip(batches).zip(*steps + 1..) {
            read.check((t, step))?;
            let (terms, norm) = (read.terms, read.gradient_norm);
            let report = block_report::<H, Z, E>(t, terms, &read.output, &batch.targets, norm);
            trained.reports.push(report);
        }
        Ok(trained)
    };
    blocks.iter_mut().map(steps_of).collect()
}

/// One step of block t on one batch; what it reports, and its part of the embedding's gradient if that is learned.
fn block_step<H, B, const Z: usize, const X: usize, E, D>(
    (variant, levels, stepping): (&DiscreteTime<H>, &NoiseLevels, &Stepping),
    (ops, own_noise): (OpsOf<DiscreteTime<H>, B, Z, X, E, D>, bool),
    block: &mut Block<B, E, D>,
    (batch, inputs): (&Chosen<'_, X, H::Targets, E>, Option<&Place>),
    embedding: &[E],
    (seed, step): (u64, u64),
) -> Result<(BlockReport, Vec<E>), Error>
where
    H: Head<Z, E>,
    E: Real,
    D: Backend<E>,
    B: dfdx::nn::TensorCollection<E, D>,
{
    let failed = || Error::device("a training step");
    let (t, rows) = (block.t, batch.rows());
    let free = variant.estimator.derivative_free::<B, Z, H::Out, E, D>();
    let _reuse = (free.is_none() && !ops.draws).then(|| D::reuse(rows));
    let device = block.device.seeded(layer_seed(batch, seed, t, step));
    let table = on_device(&device, embedding.to_vec(), Default::default())?;
    let weights = batch.weights.as_deref();
    let target =
        on_device_target::<H, Z, E, D>(&device, &batch.targets, rows, weights, embedding, &table)?;
    let mut rng = [stream(seed, Purpose::Noise, t as u64, step)];
    let kept = own_noise.then_some((seed, &mut block.lanes));
    let noise = noise_of(batch, &device, &mut rng, kept)?;
    let x = match inputs {
        Some(place) => batch.shared_inputs(&device, place),
        None => batch.inputs(&device, 0..rows),
    };
    let x = x.map_err(failed())?;

    let objective = variant.block_loss(levels, t);
    if let Some(free) = free {
        let loss = |forward: Forward<'_, Z, H::Out, E, D>| {
            let gradients = Gradients::leaky();
            let loss = objective.evaluate::<H, Z, E, D>(&target, noise.clone(), gradients, |z| {
                let (z, tape) = z.split_tape();
                Ok(forward(z)?.put_tape(tape))
            });
            loss.map(measured).map_err(failed())
        };
        let problem = Problem {
            loss: &loss,
            infer: &|module, z| (ops.infer)(module, (z, x.clone())),
            noised: &|module, z, pass| (ops.noised)(module, (z, x.clone()), pass),
            place: (t, step),
        };
        let (loss, gradient_norm) = free.step(&problem, block, stepping, seed)?;
        Error::diverged((t, step), "gradient", gradient_norm)?;
        let terms = [loss.denoising, loss.cross_entropy];
        let report = block_report::<H, Z, E>(t, terms, &loss.output, &batch.targets, gradient_norm);
        return Ok((report, Vec::new()));
    }

    let mut gradients = match block.gradients.take() {
        Some(gradients) => gradients,
        None => block.module.try_alloc_grads().map_err(failed())?,
    };
    if H::LEARNED {
        table.try_zero_grads(&mut gradients).map_err(failed())?;
    }
    let module = &mut block.module;
    let loss = objective
        .evaluate::<H, Z, E, D>(&target, noise, gradients, |z| (ops.train)(module, (z, x)))
        .map_err(failed())?;
    let value = loss.denoising + loss.cross_entropy;
    Error::diverged((t, step), "loss", value)?;
    let mut gradients = loss.total.try_backward().map_err(failed())?;
    let table_gradient = if H::LEARNED { gradients.get(&table).as_vec() } else { Vec::new() };
    let terms = [loss.denoising, loss.cross_entropy];
    let output = loss.output.as_vec();
    let mut report = block_report::<H, Z, E>(t, terms, &output, &batch.targets, 0.0);
    let mut more = [table_gradient];
    batch.average((&mut block.module, &mut gradients), &mut report, (&mut [], &mut more))?;
    report.gradient_norm = block.step(stepping, &mut gradients)?;
    Error::diverged((t, step), "gradient", report.gradient_norm)?;
    if !H::LEARNED {
        // The embedding is another tensor in each step, and would pile up.
        block.gradients = Some(gradients);
    }
    let [table_gradient] = more;
    Ok((report, table_gradient))
}

/// The terms without a block need the targets of the whole batch.
fn check_embedding<H: Head<Z, E>, const Z: usize, E: Real>(
    communicator: Option<&Communicator>,
) -> Result<(), Error> {
    let own = communicator.is_some_and(|communicator| communicator.settings().rows == Rows::Own);
    if H::LEARNED && own {
        let expected = "Rows::All, since the embedding is learned from all rows";
        return Err(Error::config("Settings::rows", expected, "Rows::Own"));
    }
    Ok(())
}

/// The mean over all blocks of their parts of the embedding's gradient, from those of this rank's blocks.
fn table_gradient<M, H, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    own: Vec<Vec<E>>,
    length: usize,
) -> Result<Vec<E>, Error>
where
    M: BuildOnDevice<D, E>,
    H: Head<Z, E>,
{
    let mut sum = vec![E::zero(); length];
    if !H::LEARNED {
        return Ok(sum);
    }
    let blocks = trainer.layout.blocks;
    let share = E::of(1.0 / blocks as f64);
    // In the order of the blocks, so that the sum is the same to the bit on any number of ranks.
    for gradient in trainer.of_all_blocks(own)? {
        sum.iter_mut().zip(gradient).for_each(|(g, b)| *g += share * b);
    }
    Ok(sum)
}

/// The terms without a block, and the embedding's step if it is learned: `gradient` is the blocks' part.
fn terminal_step<M, H, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<DiscreteTime<H>, M, Z, X, E, D>,
    batch: &Chosen<'_, X, H::Targets, E>,
    gradient: Vec<E>,
    seed: u64,
    stepping: &Stepping,
) -> Result<[f64; 2], Error>
where
    M: BuildOnDevice<D, E>,
    H: Head<Z, E>,
{
    let failed = || Error::device("a step of the embedding");
    let targets = batch.all_targets();
    let (rows, device) = (targets.len(), trainer.device.clone());
    let embedding = trainer.table.as_vec();
    let noise = normals(&mut stream(seed, Purpose::Noise, 0, trainer.steps), rows * Z);
    let noise = on_device(&device, noise, (rows, Const::<Z>))?;
    let table = &trainer.table;
    let target = on_device_target::<H, Z, E, D>(&device, targets, rows, None, &embedding, table)?;
    let gradients =
        if H::LEARNED { table.try_alloc_grads().map_err(failed())? } else { Gradients::leaky() };
    let levels = &trainer.state;
    let alpha_bar = constant(&device, levels.alpha_bar(0)).map_err(failed())?;
    let snr = constant(&device, levels.snr(levels.blocks())).map_err(failed())?;
    let [cross_entropy, kl] =
        terminal::<H, Z, E, D>([alpha_bar, snr], &target, noise, gradients).map_err(failed())?;
    let terms = [value(&cross_entropy), value(&kl)];
    if H::LEARNED {
        // The blocks' gradient joins as that of ⟨gradient, W⟩.
        let blocks = on_device(&device, gradient, Default::default())?;
        let linear = trainer.table.retaped::<OwnedTape<E, D>>().try_mul(blocks);
        let total = linear
            .and_then(|product| product.try_sum::<(), _>())
            .and_then(|sum| cross_entropy.try_add(kl)?.try_add(sum))
            .map_err(failed())?;
        let mut gradients = total.try_backward().map_err(failed())?;
        trainer
            .table_optimizer
            .update(stepping, &mut trainer.table, &mut gradients)
            .map_err(failed())?;
    }
    Ok(terms)
}

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<DiscreteTime<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The noise levels that the blocks work at.
    pub fn levels(&self) -> &NoiseLevels {
        &self.state
    }

    /// Whether the blocks train as one computation, with their weights side by side, and not one after the other: few large
    /// operations in the place of many small ones. By default on a GPU, where a small operation takes as long as a large one;
    /// on the processor the threads are better off with a block each.
    ///
    /// The weights are those of the blocks one by one, within rounding. It takes effect where the layers are dense, from here
    /// or from dfdx, convolutions and batch norms from here, or have no weights, in any tuples, residual connections and
    /// repetitions of them; with the one-hot, prototype and real-valued heads, and gradients by reverse mode. Anywhere else the
    /// blocks go one by one all the same.
    pub fn set_stacked(&mut self, stacked: bool) {
        self.stacked = stacked;
    }

    /// Whether the blocks train as one computation: false again where a run has found that its layers cannot.
    pub fn is_stacked(&self) -> bool {
        self.stacked
    }

    /// Changes how answers are read off; nothing is trained again.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; the model is then as it was.
    pub fn set_sampler(&mut self, sampler: Sampler) -> Result<(), Error> {
        sampler.check()?;
        self.variant.sampler = sampler;
        Ok(())
    }

    /// One step of block `t` (from 1 to T) on a loss of your own; the other blocks are not touched.
    ///
    /// `loss` gets the block's output for (z, x), `[batch, Out]`, and returns a scalar. `rng` feeds what the layers
    /// draw: dropout. The answer is the value of the loss before the step.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    /// use rand::SeedableRng;
    ///
    /// type Block = ConditionalResNetDt<32, 16>;
    /// let dev = AutoDevice::default();
    /// let mut model = NoProp::<DiscreteTime<Regression>, Block, 32, 16>::new(&dev, DiscreteTime::default())?;
    /// let z: Tensor<(usize, Const<32>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let x: Tensor<(usize, Const<16>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    /// let loss = model.train_step(1, (z, x), |output| output.try_square()?.try_mean(), &mut rng)?;
    /// assert!(loss > 0.0);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no block `t`, or z and x have different numbers of rows or none;
    /// [`Error::Diverged`] if the loss is not finite (the block is left as it was); [`Error::Device`].
    pub fn train_step(
        &mut self,
        t: usize,
        input: (device::Rows<Const<Z>, E, D>, device::Rows<Const<X>, E, D>),
        loss: impl Fn(TracedRows<H::Out, E, D>) -> Result<TracedScalar<E, D>, D::Err>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        let loss = |output| loss(output)?.try_reshape_like(&(1,));
        self.own_step("NoProp::train_step", t, input, OwnLoss::Traced(&loss), rng)
    }

    /// One step of block `t` (from 1 to T) on a loss that need not have a derivative, with [`DiscreteTime::estimator`]
    /// other than [`Estimator::Local`]; the other blocks are not touched.
    ///
    /// `losses` gets the block's output for (z, x), row-major, `[batch, Out]`, and returns a loss for each row, or one
    /// for all of them: mistakes counted, the answer of another program. It is called with the same batch several times
    /// ([`WeightNoise`](crate::gradient::WeightNoise) and [`ActivityNoise`](crate::gradient::ActivityNoise) say how often).
    /// The answer is the mean of the losses before the step.
    ///
    /// ```
    /// use dfdx_noprop::{gradient::WeightNoise, prelude::*};
    /// use rand::SeedableRng;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<2, 3>, 2, 3>;
    /// let dev = AutoDevice::default();
    /// let estimator = WeightNoise { noise_scale: 0.1, ..WeightNoise::default() }.into();
    /// let mut model = Model::new(&dev, DiscreteTime { estimator, ..DiscreteTime::default() })?;
    /// let z: Tensor<(usize, Const<2>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let x: Tensor<(usize, Const<3>), f32, _> = dev.sample_normal_like(&(8, Const));
    /// let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    /// // A mistake wherever the first class is not the more probable one.
    /// let mistakes = |logits: &[f32]| {
    ///     logits.chunks(2).map(|row| f64::from(u8::from(row[0] <= row[1]))).collect()
    /// };
    /// let share = model.train_step_by_losses(1, (z, x), mistakes, &mut rng)?;
    /// assert!((0.0..=1.0).contains(&share));
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`train_step`](Self::train_step); [`Error::Config`] for [`Estimator::Local`]; [`Error::Argument`] for
    /// another number of losses.
    pub fn train_step_by_losses(
        &mut self,
        t: usize,
        input: (device::Rows<Const<Z>, E, D>, device::Rows<Const<X>, E, D>),
        losses: impl Fn(&[E]) -> Vec<f64>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        self.own_step("NoProp::train_step_by_losses", t, input, OwnLoss::Numbers(&losses), rng)
    }

    fn own_step(
        &mut self,
        operation: &'static str,
        t: usize,
        (z, x): (device::Rows<Const<Z>, E, D>, device::Rows<Const<X>, E, D>),
        loss: OwnLoss<'_, H::Out, E, D>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        check_rows(operation, &[z.shape().0, x.shape().0])?;
        let (ops, step, expected) = (self.ops, self.steps + 1, self.expected_block());
        let Some(block) = self.blocks.iter_mut().find(|block| block.t == t) else {
            return Err(Error::argument(operation, expected, t));
        };
        let failed = || Error::device(operation);
        // A device of its own for what the layers draw; the data stays where it is on a GPU.
        let seed = rng.next_u64();
        let device = block.device.seeded(seed);
        let z = device.own(&z).map_err(failed())?;
        let x = device.own(&x).map_err(failed())?;
        let call = Call {
            z,
            train: &|module, z| (ops.train)(module, (z, x.clone())),
            infer: &|module, z| (ops.infer)(module, (z, x.clone())),
            noised: &|module, z, pass| (ops.noised)(module, (z, x.clone()), pass),
        };
        let how = (&self.variant.optimizer, &self.variant.estimator);
        own_step(operation, block, how, ((t, step), seed), call, loss)
    }
}
