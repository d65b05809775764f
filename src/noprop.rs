//! The trainer: the one type that users hold.

use dfdx::{
    nn::{BuildOnDevice, NumParams, TensorCollection},
    prelude::*,
};
use rand::RngCore;

use crate::{
    data::Dataset,
    device::{Backend, Execute, Lanes, Real, Rows, TracedRows, Workers},
    distributed::{Communicator, Layout},
    error::Error,
    head::{HasClasses, Head, Reads, SuitsHead},
    nn::{Denoises, Encoded, NoisedPass, Signal, StackPass},
    optim::{OptimizerState, Stepping, copy_module},
    random::{Purpose, stream},
    train::{AlongPoint, Fit, Position, Resident, StepReport, Trained},
    variant::{Answers, Ask, State, Variant},
};

/// A model that is trained block by block, without a signal through it.
///
/// - `V`, the variant: [`DiscreteTime`](crate::DiscreteTime), [`ContinuousTime`](crate::ContinuousTime) or
///   [`FlowMatching`](crate::FlowMatching), with the head that says what the targets are;
/// - `M`, the declaration of a block, such as
///   [`ConditionalResNetDt<10, 64>`](crate::nn::ConditionalResNetDt);
/// - `Z`, the width of the latent z, and `X`, that of the input x;
/// - `E`, the numbers: `f32` or `f64`; `D`, the device.
///
/// Whether `M` suits `V`, `Z` and `X` is checked once, by [`new`](Self::new), at compile time:
///
/// ```compile_fail
/// use dfdx_noprop::prelude::*;
///
/// // The inputs are 64 wide, but the block takes 784.
/// type Block = ConditionalResNetDt<10, 784>;
/// let model = NoProp::<DiscreteTime, Block, 10, 64>::new(&AutoDevice::default(), DiscreteTime::default());
/// ```
///
/// Everything is random by seeds: the same seeds give the same weights, bit for bit, on any number of threads.
pub struct NoProp<V, M, const Z: usize, const X: usize, E = f32, D = AutoDevice>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    pub(crate) variant: V,
    pub(crate) state: V::State,
    pub(crate) blocks: Vec<Block<M::Built, E, D>>,
    pub(crate) table: Tensor<(HeadOut<V, Z, X, E, D>, Const<Z>), E, D>,
    pub(crate) table_optimizer: OptimizerState<E, D>,
    pub(crate) device: D,
    pub(crate) steps: u64,
    pub(crate) epochs: u64,
    /// Of a run that was stopped and may go on.
    pub(crate) position: Option<Position>,
    /// The other processes that train this model, if there are any.
    pub(crate) communicator: Option<Communicator>,
    pub(crate) layout: Layout,
    /// The inputs of the run on the device, once a stacked step has taken them there.
    pub(crate) resident: Option<Resident<X, E, D>>,
    /// Whether blocks are trained as one computation, where their layers can do that.
    pub(crate) stacked: bool,
    /// Whether the device makes the noise of training.
    pub(crate) own_noise: bool,
    /// Whether numbers of steps stay on the device until a span is done.
    pub(crate) late: bool,
    pub(crate) ops: OpsOf<V, M::Built, Z, X, E, D>,
    pub(crate) whole: Whole<V, M, Z, X, E, D>,
}

/// The width of a block's output, as a type.
pub(crate) type Out<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Reader as Reads<Z>>::Out;
/// The number of classes, as a type.
type HeadOut<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Reads<Z>>::Out;
/// The targets that a variant trains on.
pub(crate) type TargetsOf<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Head<Z, E>>::Targets;

/// One block: its weights, what its optimiser remembers, and its device. It needs nothing from the others.
#[derive(Debug)]
pub struct Block<B, E: Real, D: Backend<E>> {
    /// Which of the model's blocks it is, counted from 1.
    pub(crate) t: usize,
    pub(crate) module: B,
    pub(crate) optimizer: OptimizerState<E, D>,
    pub(crate) device: D,
    /// Zeros where the next step collects its gradients, unless there are none yet.
    pub(crate) gradients: Option<Gradients<E, D>>,
    /// The same for pieces of a batch but the first.
    pub(crate) more_gradients: Vec<Gradients<E, D>>,
    /// What its device needs to make noise by itself, once it has made some.
    pub(crate) lanes: Option<Lanes<D>>,
}

impl<B, E: Real, D: Backend<E>> Block<B, E, D> {
    /// One that has not learned anything.
    pub(crate) fn new(t: usize, module: B, device: D) -> Self {
        let (optimizer, more_gradients) = (OptimizerState::default(), Vec::new());
        Self { t, module, optimizer, device, gradients: None, more_gradients, lanes: None }
    }

    /// Which of the model's blocks it is, from 1 (noise) to T (target).
    pub fn t(&self) -> usize {
        self.t
    }

    /// The built module: a plain dfdx module.
    pub fn module(&self) -> &B {
        &self.module
    }

    /// The built module, to set weights by hand.
    pub fn module_mut(&mut self) -> &mut B {
        &mut self.module
    }

    /// What the optimiser remembers.
    pub fn optimizer(&self) -> &OptimizerState<E, D> {
        &self.optimizer
    }

    /// The norm of the gradient; where it is not finite the block is as it was.
    pub(crate) fn step(
        &mut self,
        stepping: &Stepping,
        gradients: &mut Gradients<E, D>,
    ) -> Result<f64, Error>
    where
        B: TensorCollection<E, D>,
    {
        self.optimizer
            .update(stepping, &mut self.module, gradients)
            .map_err(Error::device("a step of the optimiser"))
    }
}

/// A block's output in inference.
pub(crate) type Infer<B, Plain, O, E, D> =
    fn(&B, Plain) -> Result<Rows<O, E, D>, <D as HasErr>::Err>;
/// What a block makes of x alone, if it has such a part.
pub(crate) type Encode<B, Plain, D> = fn(&B, &Plain) -> Result<Option<Encoded>, <D as HasErr>::Err>;
/// A block's output in inference with that part done.
pub(crate) type InferEncoded<B, Plain, O, E, D> =
    fn(&B, Plain, &Encoded) -> Result<Rows<O, E, D>, <D as HasErr>::Err>;
/// A block's output in training.
pub(crate) type Train<B, Traced, O, E, D> =
    fn(&mut B, Traced) -> Result<TracedRows<O, E, D>, <D as HasErr>::Err>;
/// A block's output in a pass with noise on what its layers give.
pub(crate) type Noised<B, Plain, O, E, D> =
    fn(&mut B, Plain, &mut NoisedPass<E, D>) -> Result<Rows<O, E, D>, <D as HasErr>::Err>;
/// The output in training of several blocks at once, if their layers can do that.
pub(crate) type Stacked<B, Traced, O, E, D> =
    fn(
        &mut B,
        Traced,
        &mut StackPass<'_, E, D>,
    ) -> Result<Option<TracedRows<O, E, D>>, <D as HasErr>::Err>;
type Each<B, E, D> = fn(
    &mut [Block<B, E, D>],
    &Workers,
    &(dyn Fn(usize, &mut Block<B, E, D>) -> Result<Trained<E>, Error> + Sync),
) -> Vec<Result<Trained<E>, Error>>;
type Map<B, E, D> = fn(
    &[Block<B, E, D>],
    usize,
    &(dyn Fn(&[Block<B, E, D>], usize) -> Result<Answers<E>, Error> + Sync),
) -> Vec<Result<Answers<E>, Error>>;

/// What the compiler proved of the model in `new`, kept as functions: the other methods then need no bounds on the
/// model, and a model that does not fit is reported once.
pub(crate) struct Ops<B, Plain, Traced, O: ConstDim, E: Real, D: Backend<E>> {
    pub(crate) infer: Infer<B, Plain, O, E, D>,
    pub(crate) encode: Encode<B, Plain, D>,
    pub(crate) infer_encoded: InferEncoded<B, Plain, O, E, D>,
    pub(crate) train: Train<B, Traced, O, E, D>,
    pub(crate) noised: Noised<B, Plain, O, E, D>,
    pub(crate) stacked: Stacked<B, Traced, O, E, D>,
    /// Whether a layer may draw from its input's device in training.
    pub(crate) draws: bool,
    /// A copy of a block that shares its weights, if rows may be trained on beside each other.
    pub(crate) by_rows: fn(&B) -> Option<B>,
    pub(crate) each: Each<B, E, D>,
    pub(crate) map: Map<B, E, D>,
}

/// A device that runs the trainer `NoProp<V, M, Z, X, E, Self>`: its blocks side by side, or the whole of it on several
/// threads. For a function that is generic in the model, this is the bound.
pub trait Runs<V, M, const Z: usize, const X: usize, E = f32>:
    Backend<E> + Execute<Block<M::Built, E, Self>> + Execute<NoProp<V, M, Z, X, E, Self>>
where
    V: Variant<Z, X, E, Self>,
    M: BuildOnDevice<Self, E>,
    E: Real,
{
}

impl<V, M, const Z: usize, const X: usize, E, D> Runs<V, M, Z, X, E> for D
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E> + Execute<Block<M::Built, E, D>> + Execute<NoProp<V, M, Z, X, E, D>>,
{
}

/// Steps of a trainer, on the threads of a run.
pub(crate) type Whole<V, M, const Z: usize, const X: usize, E, D> =
    fn(
        &mut NoProp<V, M, Z, X, E, D>,
        &Workers,
        &Steps<'_, V, M, Z, X, E, D>,
    ) -> Result<Vec<StepReport>, Error>;
pub(crate) type Steps<'a, V, M, const Z: usize, const X: usize, E, D> =
    dyn Fn(&mut NoProp<V, M, Z, X, E, D>) -> Result<Vec<StepReport>, Error> + Sync + 'a;

impl<B, Plain, Traced, O: ConstDim, E: Real, D: Backend<E>> Clone
    for Ops<B, Plain, Traced, O, E, D>
{
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, Plain, Traced, O: ConstDim, E: Real, D: Backend<E>> Copy
    for Ops<B, Plain, Traced, O, E, D>
{
}

pub(crate) type OpsOf<V, B, const Z: usize, const X: usize, E, D> = Ops<
    B,
    <<V as Variant<Z, X, E, D>>::Input as Signal<E, D>>::Plain,
    <<V as Variant<Z, X, E, D>>::Input as Signal<E, D>>::Traced,
    Out<V, Z, X, E, D>,
    E,
    D,
>;

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// A trainer with fresh weights.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is out of range; [`Error::Device`] where memory does not suffice.
    pub fn new(device: &D, variant: V) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        Self::build(device, variant, None)
    }

    /// One rank's part of a trainer with fresh weights: its blocks, and no others. The weights are those that
    /// [`new`](Self::new) gives on one machine.
    ///
    /// From then on [`fit`](Self::fit), [`evaluate`](Self::evaluate), [`predict`](Self::predict), `save`, `load` and their
    /// like are collective: all ranks call them, in the same order, with the same arguments ([`Rows::Own`] apart), and get
    /// the same answers. An error on one rank is one on all, and they are of no use afterwards.
    ///
    /// ```
    /// use dfdx_noprop::{distributed::{Communicator, Settings}, prelude::*};
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    ///
    /// fn rank(communicator: Communicator) -> Result<f64, Error> {
    ///     let digits = data::digits()?;
    ///     let dev = AutoDevice::default();
    ///     let mut model = Model::distributed(&dev, DiscreteTime::default(), &communicator)?;
    ///     model.fit(&digits.train, &Fit { epochs: 4, ..Fit::default() })?;
    ///     Ok(model.evaluate(&digits.test)?.accuracy)
    /// }
    ///
    /// // Two threads in the place of two machines, which have `Communicator::mpi()`.
    /// let ranks = Communicator::threads(2, Settings::default())?;
    /// let threads: Vec<_> = ranks.into_iter().map(|one| std::thread::spawn(|| rank(one))).collect();
    /// for thread in threads {
    ///     assert!(thread.join().expect("a rank")? > 0.5);
    /// }
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    ///
    /// [`Rows::Own`]: crate::distributed::Rows::Own
    pub fn distributed(device: &D, variant: V, communicator: &Communicator) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        Self::build(device, variant, Some(communicator.clone()))
    }

    fn build(device: &D, variant: V, communicator: Option<Communicator>) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        variant.optimizer().validate()?;
        let state = variant.start(device)?;
        let failed = || Error::device("building the model");
        let table = variant.head().table(variant.seed())?;
        let table = device.try_tensor_from_vec(table, Default::default()).map_err(failed())?;
        let block = |t: usize| {
            let mut seeds = stream(variant.seed(), Purpose::Weights, t as u64, 0);
            let device = device.seeded(seeds.next_u64());
            let module = M::try_build_on_device(&device).map_err(failed())?;
            Ok(Block::new(t, module, device))
        };
        let layout = match &communicator {
            Some(communicator) => communicator.layout(variant.blocks()),
            None => Layout::alone(variant.blocks()),
        };
        Ok(Self {
            blocks: layout.own().map(block).collect::<Result<_, Error>>()?,
            communicator,
            layout,
            resident: None,
            stacked: D::STACKS,
            own_noise: D::STACKS,
            late: D::STACKS,
            variant,
            state,
            table,
            table_optimizer: OptimizerState::default(),
            device: device.clone(),
            steps: 0,
            epochs: 0,
            position: None,
            ops: Ops {
                infer: |block, input| Ok(M::Gives::plain(M::denoise(block, input)?)),
                encode: M::encode_input,
                infer_encoded: |block, input, encoded| {
                    Ok(M::Gives::plain(M::denoise_encoded(block, input, encoded)?))
                },
                train: |block, input| Ok(M::Gives::traced(M::denoise_traced(block, input)?)),
                noised: |block, input, pass| {
                    Ok(M::Gives::plain(M::denoise_noised(block, input, pass)?))
                },
                stacked: |block, input, pass| {
                    Ok(M::denoise_stacked(block, input, pass)?.map(M::Gives::traced))
                },
                draws: M::RANDOM,
                by_rows: M::by_rows,
                each: <D as Execute<Block<M::Built, E, D>>>::each,
                map: <D as Execute<Block<M::Built, E, D>>>::map,
            },
            whole: |trainer, workers, steps| {
                let one = std::slice::from_mut(trainer);
                let mut results =
                    <D as Execute<Self>>::each(one, workers, &|_, trainer| steps(trainer));
                results.pop().unwrap_or_else(|| Ok(Vec::new()))
            },
        })
    }

    /// The variant's settings.
    pub fn variant(&self) -> &V {
        &self.variant
    }

    /// The blocks, from noise to target; where the trainer is distributed, those of this rank.
    pub fn blocks(&self) -> &[Block<M::Built, E, D>] {
        &self.blocks
    }

    /// The blocks, to set weights by hand.
    pub fn blocks_mut(&mut self) -> &mut [Block<M::Built, E, D>] {
        &mut self.blocks
    }

    /// The embedding W of the classes, row-major, `[C, Z]`; zeros for a head without classes.
    pub fn embedding(&self) -> Vec<E> {
        self.table.as_vec()
    }

    /// The ranks that train this model; `None` where it is all in this process.
    pub fn communicator(&self) -> Option<&Communicator> {
        self.communicator.as_ref()
    }

    /// How many trained numbers the blocks have, all together; where the trainer is distributed, those of this rank.
    pub fn parameters(&self) -> usize {
        self.blocks.iter().map(|block| block.module.num_trainable_params()).sum()
    }

    /// How many steps each block has taken in [`fit`](Self::fit).
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many epochs were completed in [`fit`](Self::fit).
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Whether a run was stopped before its end, so that [`fit`](Self::fit) goes on with it.
    pub fn is_unfinished(&self) -> bool {
        self.position.is_some()
    }

    /// Makes the next [`fit`](Self::fit) a run of its own, even if the last was stopped.
    pub fn forget_run(&mut self) {
        self.position = None;
    }

    /// Whether the device makes the noise of training by itself, and not the host, which then sends it there. By default on a
    /// GPU; on the processor the host's way is the faster one.
    ///
    /// In both ways the noise depends on the seed, the block and the step alone, but the numbers are not the same: a run that goes
    /// on in the other way draws other noise. Blocks that several ranks share have the host's noise in any case, as have
    /// inference and the terms of the loss that no block has a part in.
    pub fn set_device_noise(&mut self, on_device: bool) {
        self.own_noise = on_device;
    }

    /// Whether the device makes the noise of training by itself.
    pub fn has_device_noise(&self) -> bool {
        self.own_noise
    }

    /// Whether losses and norms of gradients stay on the device until a span of up to 64 steps is done, so that no step waits for
    /// the host; clipping, and leaving a block as it was where its gradient is not finite, are then done there. By default on a
    /// GPU; on the processor there is nothing to wait for.
    ///
    /// The weights are the same within rounding. Blocks that are one computation ([`set_stacked`](Self::set_stacked)) are
    /// read late in any case. What is learned beside the blocks (an embedding, a schedule), gradients without derivatives, and
    /// blocks that several ranks share need their numbers at each step all the same.
    pub fn set_late_reports(&mut self, late: bool) {
        self.late = late;
    }

    /// Whether the numbers of steps are read once for a span of them.
    pub fn has_late_reports(&self) -> bool {
        self.late
    }

    /// The same model with the moving averages in the place of the weights, of the embedding and of the schedule, as
    /// [`Fit::average`] kept them; a copy with the weights as they are where nothing was kept.
    ///
    /// # Errors
    /// [`Error::Device`] for a lack of memory.
    pub fn averaged(&self) -> Result<Self, Error> {
        let failed = || Error::device("averaging the model");
        let blocks = self.blocks.iter().map(|block| {
            let device = block.device.clone();
            let mut module = M::try_build_on_device(&device)?;
            copy_module(&block.module, &mut module)?;
            block.optimizer.put_averages(&mut module)?;
            Ok(Block::new(block.t, module, device))
        });
        let mut model = Self {
            blocks: blocks.collect::<Result<_, D::Err>>().map_err(failed())?,
            variant: self.variant.clone(),
            state: self.state.clone(),
            table: self.table.clone(),
            table_optimizer: OptimizerState::default(),
            device: self.device.clone(),
            steps: self.steps,
            epochs: self.epochs,
            position: None,
            communicator: self.communicator.clone(),
            layout: self.layout,
            resident: None,
            stacked: self.stacked,
            own_noise: self.own_noise,
            late: self.late,
            ops: self.ops,
            whole: self.whole,
        };
        self.table_optimizer.put_averages(&mut model.table).map_err(failed())?;
        if let (Some((_, from)), Some((gamma, _))) =
            (self.state.learned(), model.state.learned_mut())
        {
            from.put_averages(gamma).map_err(failed())?;
        }
        Ok(model)
    }

    /// What `look` sees of the model: the averages where they are kept, the weights elsewhere.
    pub(crate) fn looked_at<T>(
        &self,
        fit: &Fit,
        look: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match fit.average {
            Some(_) => look(&self.averaged()?),
            None => look(self),
        }
    }

    /// One prediction for each row: its class, or its numbers.
    ///
    /// For classes this is the most probable one by [`predict_proba`](Self::predict_proba).
    ///
    /// # Errors
    /// [`Error::Argument`] for an input that is not finite, [`Error::Integration`] for a solver that does not get to
    /// its end, [`Error::Config`] for one that cannot work, [`Error::Device`] where memory does not suffice.
    pub fn predict(
        &self,
        rows: &[[E; X]],
    ) -> Result<Vec<<V::Head as Head<Z, E>>::Prediction>, Error> {
        let answers = self.infer("NoProp::predict", rows, Ask::Answer)?;
        Ok(V::Head::predictions(&answers.values))
    }

    /// The probability of each class for each row, as the last block (or call of the network) sees it: softmax of its
    /// logits.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn predict_proba(&self, rows: &[[E; X]]) -> Result<Vec<<V::Head as Head<Z, E>>::Row>, Error>
    where
        V::Head: HasClasses,
    {
        Ok(V::Head::rows(&self.infer("NoProp::predict_proba", rows, Ask::Answer)?.values))
    }

    /// A draw of the final latent z_T for each row, from noise that depends on `seed` and the row's place: a sample of
    /// the target's distribution given x.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn sample(&self, rows: &[[E; X]], seed: u64) -> Result<Vec<[E; Z]>, Error> {
        Ok(self.infer("NoProp::sample", rows, Ask::Sample(seed))?.values.as_chunks().0.to_vec())
    }

    /// Inference for rows that come from outside.
    fn infer(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        ask: Ask,
    ) -> Result<Answers<E>, Error> {
        self.together(operation, rows, || {
            check_finite(operation, rows)?;
            V::infer(self, rows, ask)
        })
    }

    /// Predictions against the truth, over all rows: accuracy for classes, mean squared error for numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, and those of [`predict`](Self::predict).
    pub fn evaluate(
        &self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<<V::Head as Head<Z, E>>::Evaluation, Error> {
        if data.rows() == 0 {
            return Err(Error::argument("NoProp::evaluate", "at least one row", 0));
        }
        let infer = || V::infer(self, data.samples(), Ask::Answer);
        let answers = self.together("NoProp::evaluate", data.samples(), infer)?;
        let calls = answers.calls as f64 / data.rows() as f64;
        Ok(V::Head::evaluate(&answers.values, data.targets(), calls))
    }

    /// The answers on the way from noise to target against the truth: after each block in discrete time, at each step of
    /// the solver elsewhere. Empty for a solver whose steps depend on the rows, and for the SDE.
    ///
    /// # Errors
    /// Those of [`evaluate`](Self::evaluate).
    pub fn evaluate_along(
        &self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<Vec<AlongPoint>, Error> {
        if data.rows() == 0 {
            return Err(Error::argument("NoProp::evaluate_along", "at least one row", 0));
        }
        let along = || V::along(self, data.samples());
        let along = self.together("NoProp::evaluate_along", data.samples(), along)?.into_iter();
        let point = |(t, answers): (f64, Answers<E>)| {
            let calls = answers.calls as f64 / data.rows() as f64;
            let evaluation = V::Head::evaluate(&answers.values, data.targets(), calls).into();
            AlongPoint { t, calls, evaluation }
        };
        Ok(along.map(point).collect())
    }
}

/// A ReLU makes 0 of a NaN, so that one would go unnoticed.
fn check_finite<E: Real, const X: usize>(
    operation: &'static str,
    rows: &[[E; X]],
) -> Result<(), Error> {
    crate::data::check_rows::<X, E>(operation, rows.as_flattened())
}
