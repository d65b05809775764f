//! The trainer: the one type that users hold.

use dfdx::{
    nn::{BuildOnDevice, NumParams, TensorCollection},
    prelude::*,
};
use rand::RngCore;

use crate::{
    data::Dataset,
    device::{Backend, Execute, Real, Rows, TracedRows, TracedScalar},
    error::Error,
    head::{HasClasses, Head, SuitsHead},
    nn::{Signal, Takes},
    optim::{Optimizer, OptimizerState},
    random::{Purpose, stream},
    schedule::NoiseLevels,
    train::Trained,
    variant::{Ask, DiscreteTime, Variant},
};

/// A model that is trained block by block, without a signal through it.
///
/// - `V`, the variant: [`DiscreteTime`], with the head that says what the targets are;
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
    pub(crate) levels: NoiseLevels,
    pub(crate) blocks: Vec<Block<M::Built, E, D>>,
    pub(crate) table: Tensor<(Out<V, Z, X, E, D>, Const<Z>), E, D>,
    pub(crate) table_optimizer: OptimizerState<E, D>,
    pub(crate) device: D,
    pub(crate) steps: u64,
    pub(crate) epochs: u64,
    pub(crate) ops: OpsOf<V, M::Built, Z, X, E, D>,
}

/// The width of a block's output, as a type.
pub(crate) type Out<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Head<Z, E>>::Out;
/// The targets that a variant trains on.
pub(crate) type TargetsOf<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Head<Z, E>>::Targets;

/// One block: its weights, what its optimiser remembers, and its device. It needs nothing from the others.
#[derive(Debug)]
pub struct Block<B, E: Real, D: Backend<E>> {
    pub(crate) module: B,
    pub(crate) optimizer: OptimizerState<E, D>,
    pub(crate) device: D,
}

impl<B, E: Real, D: Backend<E>> Block<B, E, D> {
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

    pub(crate) fn step(
        &mut self,
        optimizer: &Optimizer,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error>
    where
        B: TensorCollection<E, D>,
    {
        self.optimizer
            .update(optimizer, &mut self.module, gradients)
            .map_err(Error::device("a step of the optimiser"))
    }
}

/// A block's output in inference.
pub(crate) type Infer<B, Plain, O, E, D> =
    fn(&B, Plain) -> Result<Rows<O, E, D>, <D as HasErr>::Err>;
/// A block's output in training.
pub(crate) type Train<B, Traced, O, E, D> =
    fn(&mut B, Traced) -> Result<TracedRows<O, E, D>, <D as HasErr>::Err>;
type Each<B, E, D> = fn(
    &mut [Block<B, E, D>],
    usize,
    &(dyn Fn(usize, &mut Block<B, E, D>) -> Result<Trained<E>, Error> + Sync),
) -> Vec<Result<Trained<E>, Error>>;
type Map<B, E, D> = fn(
    &[Block<B, E, D>],
    usize,
    usize,
    &(dyn Fn(&[Block<B, E, D>], usize) -> Result<Vec<E>, Error> + Sync),
) -> Vec<Result<Vec<E>, Error>>;

/// What the compiler proved of the model in `new`, kept as functions: the other methods then need no bounds on the
/// model, and a model that does not fit is reported once.
pub(crate) struct Ops<B, Plain, Traced, O: ConstDim, E: Real, D: Backend<E>> {
    pub(crate) infer: Infer<B, Plain, O, E, D>,
    pub(crate) train: Train<B, Traced, O, E, D>,
    pub(crate) each: Each<B, E, D>,
    pub(crate) map: Map<B, E, D>,
}

type OpsOf<V, B, const Z: usize, const X: usize, E, D> = Ops<
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
        M: Takes<V::Input, E, D>,
        M::Then<M::Out>: SuitsHead<V::Head, Z, E, D>,
        D: Execute<Block<M::Built, E, D>>,
    {
        variant.optimizer().validate()?;
        let levels = variant.levels()?;
        let failed = || Error::device("building the model");
        let table = variant.head().table(variant.seed())?;
        let table = device.try_tensor_from_vec(table, Default::default()).map_err(failed())?;
        let block = |t: usize| {
            let mut seeds = stream(variant.seed(), Purpose::Weights, t as u64, 0);
            let device = device.seeded(seeds.next_u64());
            let module = M::try_build_on_device(&device).map_err(failed())?;
            Ok(Block { module, optimizer: OptimizerState::default(), device })
        };
        Ok(Self {
            blocks: (1..=levels.blocks()).map(block).collect::<Result<_, Error>>()?,
            variant,
            levels,
            table,
            table_optimizer: OptimizerState::default(),
            device: device.clone(),
            steps: 0,
            epochs: 0,
            ops: Ops {
                infer: |block, input| Ok(<M::Then<M::Out>>::plain(M::infer(block, input)?)),
                train: |block, input| Ok(<M::Then<M::Out>>::traced(M::train(block, input)?)),
                each: D::each,
                map: D::map,
            },
        })
    }

    /// The variant's settings.
    pub fn variant(&self) -> &V {
        &self.variant
    }

    /// The noise levels that the blocks work at.
    pub fn levels(&self) -> &NoiseLevels {
        &self.levels
    }

    /// The blocks, from noise to target.
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

    /// How many trained numbers the blocks have, all together.
    pub fn parameters(&self) -> usize {
        self.blocks.iter().map(|block| block.module.num_trainable_params()).sum()
    }

    /// How many steps each block has taken in [`fit`](Self::fit).
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One prediction for each row: its class, or its numbers.
    ///
    /// For classes this is the most probable one by [`predict_proba`](Self::predict_proba).
    ///
    /// # Errors
    /// [`Error::Device`] where memory does not suffice.
    pub fn predict(
        &self,
        rows: &[[E; X]],
    ) -> Result<Vec<<V::Head as Head<Z, E>>::Prediction>, Error> {
        Ok(V::Head::predictions(&V::infer(self, rows, Ask::Answer)?))
    }

    /// The probability of each class for each row, as the last block sees it: softmax of its logits.
    ///
    /// # Errors
    /// [`Error::Device`] where memory does not suffice.
    pub fn predict_proba(&self, rows: &[[E; X]]) -> Result<Vec<<V::Head as Head<Z, E>>::Row>, Error>
    where
        V::Head: HasClasses,
    {
        Ok(V::Head::rows(&V::infer(self, rows, Ask::Answer)?))
    }

    /// A draw of the final latent z_T for each row, from noise that depends on `seed` and the row's place.
    ///
    /// # Errors
    /// [`Error::Device`] where memory does not suffice.
    pub fn sample(&self, rows: &[[E; X]], seed: u64) -> Result<Vec<[E; Z]>, Error> {
        Ok(V::infer(self, rows, Ask::Sample(seed))?.as_chunks().0.to_vec())
    }

    /// Predictions against the truth, over all rows: accuracy for classes, mean squared error for numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows; [`Error::Device`] where memory does not suffice.
    pub fn evaluate(
        &self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<<V::Head as Head<Z, E>>::Evaluation, Error> {
        if data.rows() == 0 {
            return Err(Error::argument("NoProp::evaluate", "at least one row", 0));
        }
        Ok(V::Head::evaluate(&V::infer(self, data.samples(), Ask::Answer)?, data.targets()))
    }
}

impl<H, M, const Z: usize, const X: usize, E, D> NoProp<DiscreteTime<H>, M, Z, X, E, D>
where
    H: Head<Z, E>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
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
        (z, x): (Rows<Const<Z>, E, D>, Rows<Const<X>, E, D>),
        loss: impl FnOnce(TracedRows<H::Out, E, D>) -> Result<TracedScalar<E, D>, D::Err>,
        rng: &mut impl RngCore,
    ) -> Result<f64, Error> {
        use dfdx::nn::ZeroGrads;
        let (operation, rows) = ("NoProp::train_step", z.shape().0);
        if rows == 0 || rows != x.shape().0 {
            let found = format!("{rows} and {}", x.shape().0);
            return Err(Error::argument(operation, "as many rows of z as of x, at least 1", found));
        }
        let (train, step) = (self.ops.train, self.steps + 1);
        let count = self.blocks.len();
        let Some(block) = t.checked_sub(1).and_then(|i| self.blocks.get_mut(i)) else {
            return Err(Error::argument(operation, format!("a block from 1 to {count}"), t));
        };
        let failed = || Error::device(operation);
        // A device of its own for what the layers draw; the data stays where it is on a GPU.
        let device = block.device.seeded(rng.next_u64());
        let z = z.try_to_device(&device).map_err(failed())?;
        let x = x.try_to_device(&device).map_err(failed())?;
        let gradients = block.module.try_alloc_grads().map_err(failed())?;
        let output = train(&mut block.module, (z.traced(gradients), x)).map_err(failed())?;
        let total = loss(output).map_err(failed())?;
        let value = total.as_vec()[0].as_f64();
        if !value.is_finite() {
            return Err(Error::Diverged { block: t, step, loss: value });
        }
        let mut gradients = total.try_backward().map_err(failed())?;
        block.step(&self.variant.optimizer, &mut gradients)?;
        Ok(value)
    }
}
