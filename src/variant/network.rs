//! What the variants with one network on (z, x, t) share: a step, and the way from noise to target.

use std::cell::Cell;

use dfdx::{
    nn::{BuildOnDevice, TensorCollection, ZeroGrads},
    prelude::*,
};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

use super::{
    Answers, Ask, Inference, State, TOGETHER, Variant,
    late::Late,
    objective::{Loss, Target, Unread, value},
    pieces,
    step::{
        Call, OwnLoss, block_report, check_rows, check_shared, layer_seed, measured, noise_of,
        on_device, on_device_target, own_step,
    },
};
use crate::{
    device::{Backend, Lanes, Real, Rows, TracedRows, TracedScalar},
    error::Error,
    gradient::{Estimator, Forward, Problem, WeightNoise},
    head::{Head, Reads},
    nn::{Encoded, Signal, Timed},
    noprop::{Block, NoProp, OpsOf, Out, TargetsOf, Train},
    optim::copy_module,
    random::{Purpose, normals, stream},
    solver::{EulerMaruyama, Save, Solution, Solver, State as _, Steps},
    train::{Chosen, Span, StepReport, Trained},
};

/// How the time of each row of a batch is drawn, uniform in (0, 1) for each row in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TimeSampling {
    /// Each row on its own.
    Uniform,
    /// In pairs t and 1 − t.
    Antithetic,
    /// Evenly spread, with one random shift for the batch: t_i = (i + s) / n (Kingma et al. 2021, *Variational
    /// diffusion models*, appendix I.1). The least variance.
    #[default]
    LowDiscrepancy,
}

impl TimeSampling {
    /// One time for each of `rows` rows.
    pub fn draw(self, rows: usize, rng: &mut impl Rng) -> Vec<f64> {
        // Never 0 itself, so that 1 − t is never 0 either.
        let mut uniform = || rng.sample(rand::distributions::Open01);
        match self {
            Self::Uniform => (0..rows).map(|_| uniform()).collect(),
            Self::Antithetic => {
                let mut times = Vec::with_capacity(rows + 1);
                while times.len() < rows {
                    let t: f64 = uniform();
                    times.extend([t, 1.0 - t]);
                }
                times.truncate(rows);
                times
            }
            Self::LowDiscrepancy => {
                let shift: f64 = uniform();
                (0..rows).map(|i| (i as f64 + shift) / rows as f64).collect()
            }
        }
    }
}

/// A batch with all that is drawn for it.
#[derive(Clone)]
pub(super) struct Draw<'a, O: ConstDim, const Z: usize, E: Real, D: Backend<E>> {
    pub(super) target: Target<'a, O, Z, E, D>,
    /// ε (or z_0, in flow matching), `[batch, Z]`.
    pub(super) noise: Rows<Const<Z>, E, D>,
    /// The noise of z at t = 1, for the terms without a network, where they are asked for.
    pub(super) end_noise: Option<Rows<Const<Z>, E, D>>,
    /// t, `[batch]`, on the host and on the device.
    pub(super) host_times: Vec<f64>,
    pub(super) times: Tensor<(usize,), E, D>,
}

/// A loss, with the terms that the network has no part in: they are in the total too.
pub(super) struct NetworkLoss<O: ConstDim, E: Real, D: Backend<E>> {
    pub(super) loss: Unread<O, E, D>,
    pub(super) terminal: Option<[TracedScalar<E, D>; 2]>,
}

impl<O: ConstDim, E: Real, D: Backend<E>> NetworkLoss<O, E, D> {
    /// The loss with its numbers, and those of the terms without a network.
    fn read(self) -> (Loss<Rows<O, E, D>, E, D>, [f64; 2]) {
        let terminal = self.terminal.map_or([0.0; 2], |terms| terms.map(|term| value(&term)));
        (self.loss.read(), terminal)
    }
}

/// The width of the head's answers, as a type.
pub(super) type HeadOut<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Reads<Z>>::Out;

/// A variant with one network.
pub(super) trait Network<const Z: usize, const X: usize, E: Real, D: Backend<E>>:
    Variant<Z, X, E, D, Input = Timed<Z, X>>
{
    /// What the drift needs of the state, on the host.
    type Curve: Send + Sync;

    /// Whether the loss has terms that the network has no part in.
    const TERMS: bool;

    /// Where integration ends: 1, or just before where the drift is singular there.
    const END: f64;

    fn curve(&self, state: &Self::State) -> Self::Curve;

    fn times(&self) -> TimeSampling;

    fn estimator(&self) -> &Estimator;

    fn inference(&self) -> Inference;

    /// The loss; `forward` takes z with its tape to the network's output.
    fn loss(
        &self,
        state: &Self::State,
        draw: Draw<'_, HeadOut<Self, Z, X, E, D>, Z, E, D>,
        gradients: Gradients<E, D>,
        forward: impl FnOnce(
            TracedRows<Const<Z>, E, D>,
        ) -> Result<TracedRows<Out<Self, Z, X, E, D>, E, D>, D::Err>,
    ) -> Result<NetworkLoss<HeadOut<Self, Z, X, E, D>, E, D>, D::Err>;

    /// dz/dt, from the network's output at (z, x, t).
    fn drift(
        &self,
        curve: &Self::Curve,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<Out<Self, Z, X, E, D>, E, D>,
        table: &Tensor<(HeadOut<Self, Z, X, E, D>, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err>;

    /// The drift of the SDE, if there is one.
    fn sde_drift(
        &self,
        curve: &Self::Curve,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<Out<Self, Z, X, E, D>, E, D>,
        table: &Tensor<(HeadOut<Self, Z, X, E, D>, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D>, D::Err>;

    /// √c at time t.
    fn diffusion(&self, curve: &Self::Curve, t: f64) -> f64;

    /// The answer before [`Head::answer`], as the network sees it at (z, x, t).
    fn answer_at(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
        output: Rows<Out<Self, Z, X, E, D>, E, D>,
        table: &Tensor<(HeadOut<Self, Z, X, E, D>, Const<Z>), E, D>,
    ) -> Result<Rows<HeadOut<Self, Z, X, E, D>, E, D>, D::Err>;

    /// The latent at t = 1 and the answer before [`Head::answer`], from z where integration ended; `output` calls the
    /// network once more, for those who need it.
    fn finish(
        &self,
        z: Rows<Const<Z>, E, D>,
        table: &Tensor<(HeadOut<Self, Z, X, E, D>, Const<Z>), E, D>,
        output: impl FnOnce(&Rows<Const<Z>, E, D>) -> Result<Rows<Out<Self, Z, X, E, D>, E, D>, Error>,
    ) -> Result<(Rows<Const<Z>, E, D>, Rows<HeadOut<Self, Z, X, E, D>, E, D>), Error>;
}

/// Steps of the one network, one batch after the other.
pub(super) fn train<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>],
    span: &Span<'_>,
) -> Result<Vec<StepReport>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    check_shared(batches, trainer.variant.estimator())?;
    // Where nothing is trained but the network, the other terms are the same but for their noise.
    let all = V::Head::LEARNED || trainer.state.learned().is_some();
    let terms = |k: usize| V::TERMS && (all || k + 1 == batches.len());
    let mut reports = match *trainer.variant.estimator() {
        Estimator::WeightNoise(noise) if span.workers().at_once().min(noise.directions) > 1 => {
            let copies = span.workers().at_once().min(noise.directions);
            side_by_side(trainer, batches, span, (&noise, copies), &terms)?
        }
        Estimator::Local
            if trainer.late && !all && batches.iter().all(|batch| batch.shared.is_none()) =>
        {
            late(trainer, batches, span, &terms)?
        }
        _ => (trainer.whole)(trainer, span.workers(), &|trainer| {
            let steps = batches.iter().enumerate();
            steps.map(|(k, batch)| step(trainer, batch, span, (k, terms(k)))).collect()
        })?,
    };
    if !all && let Some(last) = reports.last().map(|last| last.terminal) {
        reports.iter_mut().for_each(|report| report.terminal = last);
    }
    Ok(reports)
}

/// Steps that nothing is read of before the last of them is done.
fn late<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>],
    span: &Span<'_>,
    terms: &dyn Fn(usize) -> bool,
) -> Result<Vec<StepReport>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let failed = || Error::device("a training step");
    let NoProp { variant, state, blocks, table, ops, own_noise, resident, steps, .. } = trainer;
    let (Some(block), embedding) = (blocks.first_mut(), table.as_vec()) else {
        return Ok(Vec::new());
    };
    let mut way = Late::new(block)?;
    let before = *steps;
    for (k, batch) in batches.iter().enumerate() {
        let (key, beside) = ((span.seed(), before + 1 + k as u64), (&*variant, &*state, &*table));
        let how = (&block.device, own_noise.then_some(&mut block.lanes), &embedding[..]);
        let draw = draw_batch::<V, Z, X, E, D>(beside, how, batch, key, terms(k))?;
        let times = draw.times.clone();
        let x = batch.inputs_on(times.device(), resident).map_err(failed())?;
        let gradients = block.module.try_alloc_grads().map_err(failed())?;
        let module = &mut block.module;
        let loss = variant.loss(state, draw, gradients, |z| (ops.train)(module, (z, x, times)));
        let NetworkLoss { loss, terminal } = loss.map_err(failed())?;
        let stepping = span.stepping(variant.optimizer(), k);
        way.step(block, &stepping, loss, terminal).map_err(failed())?;
    }
    *steps += batches.len() as u64;
    let mut reports = Vec::with_capacity(batches.len());
    let left = way.end(block).map_err(failed())?;
    for (((read, terminal), batch), step) in left.into_iter().zip(batches).zip(before + 1..) {
        read.check((1, step))?;
        let (terms, norm) = (read.terms, read.gradient_norm);
        let block = block_report::<V::Head, Z, E>(1, terms, &read.output, &batch.targets, norm);
        let terminal = terminal.unwrap_or_default();
        reports.push(StepReport { blocks: vec![block], terminal, ..StepReport::default() });
    }
    Ok(reports)
}

/// Steps by weight noise with the directions shared out among copies of the network.
fn side_by_side<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    batches: &[Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>],
    span: &Span<'_>,
    (noise, copies): (&WeightNoise, usize),
    terms: &dyn Fn(usize) -> bool,
) -> Result<Vec<StepReport>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let copy = |block: &Block<M::Built, E, D>| -> Result<_, D::Err> {
        let device = block.device.clone();
        let mut module = M::try_build_on_device(&device)?;
        copy_module(&block.module, &mut module)?;
        Ok(Block::new(block.t, module, device))
    };
    for _ in 1..copies {
        let copy = copy(&trainer.blocks[0]).map_err(Error::device("copying the network"))?;
        trainer.blocks.push(copy);
    }
    let steps = batches.iter().enumerate();
    let reports =
        steps.map(|(k, batch)| shared_step(trainer, batch, span, noise, (k, terms(k)))).collect();
    trainer.blocks.truncate(1);
    reports
}

/// One of them: the first block is the network, the others are its copies.
fn shared_step<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    batch: &Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>,
    span: &Span<'_>,
    noise: &WeightNoise,
    (k, terms): (usize, bool),
) -> Result<StepReport, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let (step, copies) = (trainer.steps + 1, trainer.blocks.len());
    let (table, seeds) = (trainer.table.as_vec(), noise.seeds((1, step), span.seed()));
    let (variant, ops, own_noise) = (&trainer.variant, trainer.ops, trainer.own_noise);
    let parts =
        (ops.each)(&mut trainer.blocks, span.workers(), &|i, block: &mut Block<_, E, D>| {
            // Nothing is trained beside the network, so that the state follows from the settings.
            let state = variant.start(&block.device)?;
            let on_device = on_device(&block.device, table.clone(), Default::default())?;
            let beside = (variant, &state, &on_device);
            let drawn = draw_batch::<V, Z, X, E, D>(
                beside,
                (&block.device, own_noise.then_some(&mut block.lanes), &table),
                batch,
                (span.seed(), step),
                terms,
            )?;
            with_problem(beside, ops, &drawn, batch, step, |problem, terminal| {
                let mut part = Trained::default();
                if i == 0 {
                    let loss = WeightNoise::loss(problem, &block.module)?;
                    let terms = [loss.denoising, loss.cross_entropy];
                    let report = block_report::<V::Head, Z, E>;
                    part.reports.push(report(1, terms, &loss.output, &batch.targets, 0.0));
                    part.terminal = terminal.get();
                }
                let own = seeds.iter().copied().skip(i).step_by(copies);
                part.losses = noise.losses(problem, &mut block.module, own)?;
                Ok(part)
            })
        });
    let parts = parts.into_iter().collect::<Result<Vec<Trained<E>>, Error>>()?;
    let losses: Vec<_> = (0..seeds.len()).map(|d| parts[d % copies].losses[d / copies]).collect();
    let stepping = span.stepping(trainer.variant.optimizer(), k);
    let mut report = StepReport::default();
    if let (Some((network, others)), Some(part)) =
        (trainer.blocks.split_first_mut(), parts.into_iter().next())
    {
        let norm = noise.apply(&losses, &seeds, network, &stepping)?;
        Error::diverged((1, step), "gradient", norm)?;
        for other in others {
            copy_module(&network.module, &mut other.module)
                .map_err(Error::device("copying the network"))?;
        }
        (report.blocks, report.terminal) = (part.reports, part.terminal);
        report.blocks.iter_mut().for_each(|block| block.gradient_norm = norm);
    }
    trainer.steps = step;
    Ok(report)
}

/// One step, with all that is trained beside the network.
fn step<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    batch: &Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>,
    span: &Span<'_>,
    (k, terms): (usize, bool),
) -> Result<StepReport, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let failed = || Error::device("a training step");
    let step = trainer.steps + 1;
    let stepping = span.stepping(trainer.variant.optimizer(), k);
    let NoProp { variant, state, blocks, table, table_optimizer, ops, own_noise, .. } = trainer;
    let Some(block) = blocks.first_mut() else { return Ok(StepReport::default()) };
    let beside = (&*variant, &*state, &*table);
    let free = variant.estimator().derivative_free::<_, Z, Out<V, Z, X, E, D>, E, D>();
    let _reuse = (free.is_none() && !ops.draws).then(|| D::reuse(batch.rows()));
    let embedding = table.as_vec();
    let how = (&block.device, own_noise.then_some(&mut block.lanes), &embedding[..]);
    let drawn = draw_batch::<V, Z, X, E, D>(beside, how, batch, (span.seed(), step), terms)?;
    let report = |terms, output: &[E], norm| {
        block_report::<V::Head, Z, E>(1, terms, output, &batch.targets, norm)
    };
    let (report, terminal) = match free {
        Some(free) => with_problem(beside, *ops, &drawn, batch, step, |problem, terminal| {
            let (loss, norm) = free.step(problem, block, &stepping, span.seed())?;
            Error::diverged((1, step), "gradient", norm)?;
            let terms = [loss.denoising, loss.cross_entropy];
            Ok((report(terms, &loss.output, norm), terminal.get()))
        })?,
        None => {
            let (terms, output, mut terminal, mut gradients) =
                pieces::backward::<V, _, Z, X, E, D>(beside, *ops, block, drawn, batch, step)?;
            let mut report = report(terms, &output, 0.0);
            let trained = (&mut block.module, &mut gradients);
            batch.average(trained, &mut report, (&mut terminal, &mut []))?;
            if V::Head::LEARNED {
                batch.average_gradients(table, &mut gradients)?;
            }
            if let Some((gamma, _)) = state.learned_mut() {
                batch.average_gradients(gamma, &mut gradients)?;
            }
            report.gradient_norm = block.step(&stepping, &mut gradients)?;
            Error::diverged((1, step), "gradient", report.gradient_norm)?;
            let beside = stepping.without_decay();
            if V::Head::LEARNED {
                table_optimizer.update(&beside, table, &mut gradients).map_err(failed())?;
            }
            state.step(&beside, &mut gradients).map_err(failed())?;
            block.gradients = Some(gradients);
            (report, terminal)
        }
    };
    trainer.steps = step;
    Ok(StepReport { blocks: vec![report], terminal, ..StepReport::default() })
}

/// What goes back gives: the terms of the loss, the head's output, the terms without a network, and the gradients.
pub(super) type Went<E, D> = ([f64; 2], Vec<E>, [f64; 2], Gradients<E, D>);

/// Forward and back; `share` is that of these rows in the batch.
pub(super) fn backward<V, B, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    (variant, state, table): Beside<'_, V, Z, X, E, D>,
    train: Train<B, <Timed<Z, X> as Signal<E, D>>::Traced, Out<V, Z, X, E, D>, E, D>,
    block: &mut Block<B, E, D>,
    (draw, x): (Draw<'_, HeadOut<V, Z, X, E, D>, Z, E, D>, Rows<Const<X>, E, D>),
    step: u64,
    share: f64,
) -> Result<Went<E, D>, Error>
where
    V: Network<Z, X, E, D>,
    B: TensorCollection<E, D>,
{
    let failed = || Error::device("a training step");
    let mut gradients = match block.gradients.take() {
        Some(gradients) => gradients,
        None => block.module.try_alloc_grads().map_err(failed())?,
    };
    state.register(&mut gradients).map_err(failed())?;
    if V::Head::LEARNED {
        table.try_zero_grads(&mut gradients).map_err(failed())?;
    }
    let (module, times) = (&mut block.module, draw.times.clone());
    let loss = variant.loss(state, draw, gradients, |z| train(module, (z, x, times)));
    let (loss, terminal) = loss.map_err(failed())?.read();
    Error::diverged((1, step), "loss", value(&loss.total))?;
    let total = match share {
        1.0 => loss.total,
        _ => loss.total.try_mul(E::of(share)).map_err(failed())?,
    };
    let gradients = total.try_backward().map_err(failed())?;
    let terms = [loss.denoising, loss.cross_entropy];
    Ok((terms, loss.output.as_vec(), terminal, gradients))
}

/// What the network's loss is made of besides the network: settings, what is trained beside it, and the embedding.
pub(super) type Beside<'a, V, const Z: usize, const X: usize, E, D> = (
    &'a V,
    &'a <V as Variant<Z, X, E, D>>::State,
    &'a Tensor<(HeadOut<V, Z, X, E, D>, Const<Z>), E, D>,
);

/// The batch of a step with its noise and its times, on a device of its own for what layers draw; `terms` asks for those that the
/// network has no part in.
#[allow(clippy::type_complexity)]
fn draw_batch<'a, V, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    (variant, _, table): Beside<'a, V, Z, X, E, D>,
    (device, mut lanes, embedding): (&D, Option<&mut Option<Lanes<D>>>, &[E]),
    batch: &Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>,
    (seed, step): (u64, u64),
    terms: bool,
) -> Result<Draw<'a, HeadOut<V, Z, X, E, D>, Z, E, D>, Error>
where
    V: Network<Z, X, E, D>,
{
    let rows = batch.rows();
    let mut rng = [stream(seed, Purpose::Noise, 1, step)];
    let host_times = batch.own_part(1, |rows| variant.times().draw(rows, &mut rng[0]));
    let device = device.seeded(layer_seed(batch, seed, 1, step));
    let mut normal = || {
        let kept = lanes.as_deref_mut().map(|lanes| (seed, lanes));
        noise_of(batch, &device, &mut rng, kept)
    };
    let noise = normal()?;
    let end_noise = terms.then(normal).transpose()?;
    let times = host_times.iter().map(|&t| E::of(t)).collect();
    let times = on_device(&device, times, (rows,))?;
    let weights = batch.weights.as_deref();
    let target = on_device_target::<V::Head, Z, E, D>(
        &device,
        &batch.targets,
        rows,
        weights,
        embedding,
        table,
    )?;
    Ok(Draw { target, noise, end_noise, host_times, times })
}

/// The network on one batch as a problem for an estimator; beside it, the terms without a network as of the last loss.
fn with_problem<V, B, R, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    (variant, state, _): Beside<'_, V, Z, X, E, D>,
    ops: OpsOf<V, B, Z, X, E, D>,
    draw: &Draw<'_, HeadOut<V, Z, X, E, D>, Z, E, D>,
    batch: &Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>,
    step: u64,
    work: impl FnOnce(&Problem<'_, B, Z, Out<V, Z, X, E, D>, E, D>, &Cell<[f64; 2]>) -> Result<R, Error>,
) -> Result<R, Error>
where
    V: Network<Z, X, E, D>,
{
    let x = batch.inputs(draw.times.device(), 0..batch.rows());
    let (x, times) = (x.map_err(Error::device("moving a batch"))?, &draw.times);
    let terminal = Cell::new([0.0; 2]);
    let loss = |forward: Forward<'_, Z, Out<V, Z, X, E, D>, E, D>| {
        let loss = variant.loss(state, draw.clone(), Gradients::leaky(), |z| {
            let (z, tape) = z.split_tape();
            Ok(forward(z)?.put_tape(tape))
        });
        let (loss, terms) = loss.map_err(Error::device("a training step"))?.read();
        terminal.set(terms);
        Ok(measured(loss))
    };
    let problem = Problem {
        loss: &loss,
        infer: &|module, z| (ops.infer)(module, (z, x.clone(), times.clone())),
        noised: &|module, z, pass| (ops.noised)(module, (z, x.clone(), times.clone()), pass),
        place: (1, step),
    };
    work(&problem, &terminal)
}

/// z, x and t, with as many rows each.
pub type TimedRows<const Z: usize, const X: usize, E, D> =
    (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>, Tensor<(usize,), E, D>);

/// One step of the network on a loss of the user's own.
pub(super) fn custom_step<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    operation: &'static str,
    trainer: &mut NoProp<V, M, Z, X, E, D>,
    (z, x, t): TimedRows<Z, X, E, D>,
    loss: OwnLoss<'_, Out<V, Z, X, E, D>, E, D>,
    rng: &mut impl RngCore,
) -> Result<f64, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    check_rows(operation, &[z.shape().0, x.shape().0, t.shape().0])?;
    let NoProp { variant, blocks, ops, steps, .. } = trainer;
    let Some(block) = blocks.first_mut() else {
        return Err(Error::argument(operation, "a model with a network", "none"));
    };
    let failed = || Error::device(operation);
    // A device of its own for what the layers draw; the data stays where it is on a GPU.
    let seed = rng.next_u64();
    let device = block.device.seeded(seed);
    let z = device.own(&z).map_err(failed())?;
    let x = device.own(&x).map_err(failed())?;
    let t = device.own(&t).map_err(failed())?;
    let call = Call {
        z,
        train: &|module, z| (ops.train)(module, (z, x.clone(), t.clone())),
        infer: &|module, z| (ops.infer)(module, (z, x.clone(), t.clone())),
        noised: &|module, z, pass| (ops.noised)(module, (z, x.clone(), t.clone()), pass),
    };
    let how = (variant.optimizer(), variant.estimator());
    own_step(operation, block, how, ((1, *steps + 1), seed), call, loss)
}

/// The answer of each row.
pub(super) fn infer<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<V, M, Z, X, E, D>,
    x: &[[E; X]],
    ask: Ask,
) -> Result<Answers<E>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    Ok(Answers::collect(parts(trainer, x, ask)?))
}

/// The answers at each step of a solver with equal steps.
pub(super) fn along<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<V, M, Z, X, E, D>,
    x: &[[E; X]],
) -> Result<Vec<(f64, Answers<E>)>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let Inference::Ode(Solver { method, steps: Steps::Fixed(steps), .. }) =
        trainer.variant.inference()
    else {
        return Ok(Vec::new());
    };
    let tableau = method.tableau();
    let (stages, shared) = (tableau.b.len(), usize::from(tableau.fsal));
    // To be at step i takes its calls, and one more is what the network says there.
    let calls = |i: usize| if i == 0 { 1 } else { i * (stages - shared) + shared + 1 };
    let point = |i: usize| (V::END * i as f64 / steps as f64, calls(i));
    let points: Vec<_> = (0..=steps).map(point).collect();
    Ok(Answers::along(parts(trainer, x, Ask::Along)?, &points, x.len()))
}

/// Answers for some rows at a time, in parallel.
fn parts<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<V, M, Z, X, E, D>,
    x: &[[E; X]],
    ask: Ask,
) -> Result<Vec<Answers<E>>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let (ops, table) = (trainer.ops, trainer.table.as_vec());
    let (variant, curve) = (&trainer.variant, &trainer.variant.curve(&trainer.state));
    let jobs = x.len().div_ceil(TOGETHER);
    // On several ranks each takes every so many-th job.
    let (rank, ranks) = (trainer.layout.rank, trainer.layout.ranks);
    let own = (rank..jobs.max(rank)).step_by(ranks).len();
    let parts = (trainer.ops.map)(&trainer.blocks, own, &|blocks, job| {
        let first = (rank + job * ranks) * TOGETHER;
        let rows = &x[first..x.len().min(first + TOGETHER)];
        let device = blocks[0].device.clone();
        let x = on_device(&device, rows.as_flattened().to_vec(), (rows.len(), Const::<X>))?;
        let table = on_device(&device, table.clone(), Default::default())?;
        let module = &blocks[0].module;
        let field = Field::new((variant, curve), module, ops, &table, x)?;
        match (ask, variant.inference()) {
            (Ask::Answer, Inference::Sde { draws, seed, .. }) => Answers::mean(
                (0..draws)
                    .map(|draw| field.run(Some((seed, first, draw))).and_then(|end| end.answers())),
            ),
            (Ask::Answer, Inference::Ode(_)) => field.run(None)?.answers(),
            (Ask::Sample(seed), _) => {
                let End { z, calls, .. } = field.run(Some((seed, first, 0)))?;
                Ok(Answers { values: z.as_vec(), calls: calls * rows.len() })
            }
            (Ask::Along, Inference::Ode(solver)) => field.along(solver),
            (Ask::Along, _) => Ok(Answers::default()),
        }
    });
    let own = parts.into_iter().enumerate();
    let own = own.map(|(job, part)| Ok(([rank + job * ranks, 0, 0], part?)));
    let all = trainer.answers_of_all(own.collect::<Result<_, Error>>()?)?;
    Ok(all.into_iter().map(|(_, answers)| answers).collect())
}

/// dz/dt from `t0` to `t1`, with everything that the solver keeps.
pub(super) fn trajectory<V, M, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    trainer: &NoProp<V, M, Z, X, E, D>,
    solver: &Solver,
    (z, x): (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>),
    (t0, t1): (f64, f64),
) -> Result<Solution<Rows<Const<Z>, E, D>>, Error>
where
    V: Network<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
{
    let operation = "NoProp::integrate_trajectory";
    check_rows(operation, &[z.shape().0, x.shape().0])?;
    if !x.is_finite()? {
        return Err(Error::argument(operation, "an x that is finite", "NaN or infinity"));
    }
    let curve = trainer.variant.curve(&trainer.state);
    let Some(block) = trainer.blocks.first() else {
        return Err(Error::argument(operation, "a model with a network", "none"));
    };
    let field =
        Field::new((&trainer.variant, &curve), &block.module, trainer.ops, &trainer.table, x)?;
    solver.integrate(|t, z| field.drift(t, z), z, t0, t1)
}

/// The network as a vector field on z, for some rows of x.
struct Field<'a, V, B, const Z: usize, const X: usize, E: Real, D: Backend<E>>
where
    V: Network<Z, X, E, D>,
{
    variant: &'a V,
    curve: &'a V::Curve,
    module: &'a B,
    ops: OpsOf<V, B, Z, X, E, D>,
    table: &'a Tensor<(HeadOut<V, Z, X, E, D>, Const<Z>), E, D>,
    x: Rows<Const<X>, E, D>,
    /// What the network keeps from call to call.
    encoded: Encoded,
}

/// How often an inference calls the network, about.
fn calls(inference: &Inference) -> usize {
    match inference {
        Inference::Ode(Solver { method, steps: Steps::Fixed(steps), .. }) => {
            steps * method.tableau().b.len()
        }
        // A solver that chooses its steps takes some at least.
        Inference::Ode(Solver { method, .. }) => 4 * method.tableau().b.len(),
        Inference::Sde { steps, draws, .. } => steps * draws,
    }
}

/// Where a run ended.
struct End<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>> {
    z: Rows<Const<Z>, E, D>,
    output: Rows<HeadOut<V, Z, X, E, D>, E, D>,
    /// For each row.
    calls: usize,
}

impl<V: Variant<Z, X, E, D>, const Z: usize, const X: usize, E: Real, D: Backend<E>>
    End<V, Z, X, E, D>
{
    fn answers(self) -> Result<Answers<E>, Error> {
        let calls = self.calls * self.z.shape().0;
        let answer = V::Head::answer(self.output).map_err(Error::device("inference"))?;
        Ok(Answers { values: answer.as_vec(), calls })
    }
}

impl<'a, V, B, const Z: usize, const X: usize, E: Real, D: Backend<E>> Field<'a, V, B, Z, X, E, D>
where
    V: Network<Z, X, E, D>,
{
    fn new(
        (variant, curve): (&'a V, &'a V::Curve),
        module: &'a B,
        ops: OpsOf<V, B, Z, X, E, D>,
        table: &'a Tensor<(HeadOut<V, Z, X, E, D>, Const<Z>), E, D>,
        x: Rows<Const<X>, E, D>,
    ) -> Result<Self, Error> {
        let (device, rows) = (table.device(), x.shape().0);
        let z = on_device(device, vec![E::zero(); rows * Z], (rows, Const::<Z>))?;
        let times = on_device(device, vec![E::zero(); rows], (rows,))?;
        let input = (z, x, times);
        let encoded = (ops.encode)(module, &input).map_err(Error::device("inference"))?;
        let encoded = encoded.unwrap_or_default().for_calls(calls(&variant.inference()));
        Ok(Self { variant, curve, module, ops, table, x: input.1, encoded })
    }

    fn output(
        &self,
        t: f64,
        z: &Rows<Const<Z>, E, D>,
    ) -> Result<Rows<Out<V, Z, X, E, D>, E, D>, Error> {
        // With x encoded, one time stands for all rows.
        let rows = if self.encoded.has_input() { 1 } else { z.shape().0 };
        let times = on_device(z.device(), vec![E::of(t); rows], (rows,))?;
        let input = (z.clone(), self.x.clone(), times);
        self.encoded.at(t);
        let output = (self.ops.infer_encoded)(self.module, input, &self.encoded);
        output.map_err(Error::device("inference"))
    }

    fn drift(&self, t: f64, z: &Rows<Const<Z>, E, D>) -> Result<Rows<Const<Z>, E, D>, Error> {
        let output = self.output(t, z)?;
        let drift = self.variant.drift(self.curve, t, z, output, self.table);
        drift.map_err(Error::device("inference"))
    }

    fn sde_drift(&self, t: f64, z: &Rows<Const<Z>, E, D>) -> Result<Rows<Const<Z>, E, D>, Error> {
        let output = self.output(t, z)?;
        let drift = self.variant.sde_drift(self.curve, t, z, output, self.table);
        drift.map_err(Error::device("inference"))
    }

    /// The answer at every step from z_0 = 0 on.
    fn along(&self, solver: Solver) -> Result<Answers<E>, Error> {
        let (device, rows) = (self.table.device(), self.x.shape().0);
        let z = on_device(device, vec![E::zero(); rows * Z], (rows, Const::<Z>))?;
        let path = Solver { save: Save::Steps, ..solver }.integrate(
            |t, z| self.drift(t, z),
            z,
            0.0,
            V::END,
        )?;
        let mut answers = Answers { values: Vec::new(), calls: path.calls * rows };
        for (&t, z) in path.times.iter().zip(&path.states) {
            let output = self.output(t, z)?;
            let answer = self.variant.answer_at(t, z, output, self.table);
            let answer = answer.and_then(V::Head::answer).map_err(Error::device("inference"))?;
            answers.values.extend(answer.as_vec());
        }
        Ok(answers)
    }

    /// From noise to target: from z_0 = 0 where `noise` is `None`, and from a draw with a seed, the number of the first
    /// row, and that of the draw elsewhere.
    fn run(&self, noise: Option<(u64, usize, usize)>) -> Result<End<V, Z, X, E, D>, Error> {
        let (device, rows) = (self.table.device(), self.x.shape().0);
        let mut streams: Vec<ChaCha8Rng> = noise
            .into_iter()
            .flat_map(|(seed, first, draw)| {
                (0..rows).map(move |row| {
                    stream(seed, Purpose::Inference, (first + row) as u64, draw as u64)
                })
            })
            .collect();
        let mut draw = || {
            let values = streams.iter_mut().flat_map(|rng| normals(rng, Z)).collect();
            on_device(device, values, (rows, Const::<Z>))
        };
        let z = match noise {
            Some(_) => draw()?,
            None => on_device(device, vec![E::zero(); rows * Z], (rows, Const::<Z>))?,
        };
        let solution = match self.variant.inference() {
            Inference::Ode(solver) => Solver { save: Save::End, ..solver }.integrate(
                |t, z| self.drift(t, z),
                z,
                0.0,
                V::END,
            )?,
            Inference::Sde { steps, .. } => EulerMaruyama { steps, save: Save::End }.integrate(
                |t, z| self.sde_drift(t, z),
                |t| self.variant.diffusion(self.curve, t),
                |_| draw(),
                z,
                0.0,
                V::END,
            )?,
        };
        let (status, mut calls) = (solution.status, solution.calls);
        let z = match solution.into_last() {
            Some(z) if status.is_done() => z,
            _ => {
                return Err(Error::Integration {
                    operation: "inference",
                    expected: V::END,
                    found: status.to_string(),
                });
            }
        };
        let (z, output) = self.variant.finish(z, self.table, |z| {
            calls += 1;
            self.output(V::END, z)
        })?;
        Ok(End { z, output, calls })
    }
}
