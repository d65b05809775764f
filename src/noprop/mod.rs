//! The trainer: the one type that users hold. It checks types, and hands over to the engine.

mod batch;
mod calibrate;
#[cfg(feature = "checkpoint")]
mod checkpoint;
mod continuous;
mod diffusion_blocks;
mod discrete;
mod distribution;
mod fits;
mod flow;
mod inputs;
#[cfg(feature = "onnx")]
mod onnx;
mod predict;
#[cfg(feature = "inference")]
mod predictor;
mod runs;
mod settings;
mod suits;
mod summary;
mod training;

pub use batch::Batch;
pub use runs::Runs;
pub use suits::Suits;
pub use training::Training;

use dfdx::prelude::*;
use rand::RngCore;

use crate::{
    block::{Block, Kind},
    device::{Backend, Real},
    distributed::Communicator,
    engine::Engine,
    error::Error,
    head::{HasClasses, Head, SuitsHead},
    model::{Counters, Model, Position, Ranks, Trainer},
    nn::{Denoises, Layer},
    random::{Purpose, stream},
    variant::Variant,
};
use runs::Erase;

/// A model that is trained block by block, without a signal through it.
///
/// - `V`, the variant: [`DiscreteTime`](crate::DiscreteTime),
///   [`ContinuousTime`](crate::ContinuousTime), [`FlowMatching`](crate::FlowMatching) or
///   [`DiffusionBlocks`](crate::DiffusionBlocks), with the head that says what the targets are;
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
/// type Model = NoProp<DiscreteTime, Block, 10, 64>;
/// let model = Model::new(&AutoDevice::default(), DiscreteTime::default());
/// ```
///
/// Everything is random by seeds: the same seeds give the same weights, bit for bit, on any number
/// of threads.
pub struct NoProp<V, M, const Z: usize, const X: usize, E = f32, D = AutoDevice>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    variant: V,
    model: Model<E, D>,
    blocks: Vec<Block<M::Built, E, D>>,
    ranks: Ranks,
    counters: Counters,
    /// Of a run that was stopped and may go on.
    position: Option<Position>,
    engine: &'static dyn Engine<E, D>,
    erase: Erase<M::Built, E, D>,
}

impl<V, M, const Z: usize, const X: usize, E, D> Clone for NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E, Built: Clone>,
    E: Real,
    D: Backend<E>,
{
    /// A model of its own: weights, what the optimisers remember, and where the run is. Numbers are
    /// copied when one of the two changes them.
    fn clone(&self) -> Self {
        Self {
            variant: self.variant.clone(),
            model: self.model.clone(),
            blocks: self.blocks.clone(),
            ranks: self.ranks.clone(),
            counters: self.counters,
            position: self.position.clone(),
            engine: self.engine,
            erase: self.erase,
        }
    }
}

impl<V, M, const Z: usize, const X: usize, E, D> std::fmt::Debug for NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The settings and how far it is, without its weights.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoProp")
            .field("variant", &self.variant)
            .field("z", &Z)
            .field("x", &X)
            .field("blocks", &self.blocks.len())
            .field("steps", &self.counters.steps)
            .field("epochs", &self.counters.epochs)
            .field("is_unfinished", &self.is_unfinished())
            .finish_non_exhaustive()
    }
}

/// The targets that a variant trains on.
type TargetsOf<V, const Z: usize, const X: usize, E, D> =
    <<V as Variant<Z, X, E, D>>::Head as Head<Z, E>>::Targets;

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// A trainer with fresh weights.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is out of range; [`Error::Device`] where memory does
    /// not suffice.
    pub fn new(device: &D, variant: V) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        Self::build(device, variant, None)
    }

    /// Ends the compilation unless all sizes of the model fit; [`fits!`](crate::fits) as a function.
    #[track_caller]
    pub const fn fits()
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        M::SIZES.check();
    }

    /// One rank's part of a trainer with fresh weights: its blocks, and no others. The weights are
    /// those that [`new`](Self::new) gives on one machine.
    ///
    /// From then on [`fit`](Self::fit), [`evaluate`](Self::evaluate), [`predict`](Self::predict),
    /// `save`, `load` and their like are collective: all ranks call them, in the same order, with
    /// the same arguments ([`Rows::Own`] apart), and get the same answers. An error on one rank is
    /// one on all, and they are of no use afterwards.
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
    /// // Two threads instead of two machines, which have `Communicator::mpi()`.
    /// let ranks = Communicator::threads(2, Settings::default())?;
    /// let start = |one| std::thread::spawn(|| rank(one));
    /// let threads: Vec<_> = ranks.into_iter().map(start).collect();
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

    /// The probability of each class for each row: the mean over the blocks, or over the calls of
    /// the network, of what each sees, or what the last one sees, as the variant's
    /// [`Probabilities`](crate::variant::Probabilities) say; at the temperature of
    /// [`calibrate`](Self::calibrate).
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    // Here and not with the other answers, so that the compiler's message on `HasClasses` names it
    // in short.
    pub fn predict_proba(&self, rows: &[[E; X]]) -> Result<Vec<<V::Head as Head<Z, E>>::Row>, Error>
    where
        V::Head: HasClasses,
    {
        let answers = self.infer("NoProp::predict_proba", rows)?;
        Ok(V::Head::rows(&answers))
    }

    fn build(device: &D, variant: V, communicator: Option<Communicator>) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        let mathematics = variant.mathematics()?;
        let embedding = variant.head().table(variant.seed())?;
        let (engine, erase) = (D::engine(), D::erase());
        let model = engine.model(device, mathematics, embedding)?;
        let ranks = Ranks::new(communicator, variant.blocks());
        let kind = Kind {
            build: M::try_build_on_device,
            lower: M::plan,
            tensors: |module| module,
            erase: erase.boxed,
        };
        let block = |t: usize| {
            let mut seeds = stream(variant.seed(), Purpose::Weights, t as u64, 0);
            Block::new(t, device.seeded(seeds.next_u64()), kind)
        };
        let blocks: Vec<Block<M::Built, E, D>> = ranks.layout.own().map(block).collect();
        // The others get their weights when they are needed: they may be more than memory holds.
        // A GPU has one random stream for all of them, and gives them in order.
        let now = if D::STACKS { blocks.len() } else { 1 };
        blocks.iter().take(now).try_for_each(|block| block.try_module().map(|_| ()))?;
        let (counters, position) = (Counters::default(), None);
        Ok(Self { variant, model, blocks, ranks, counters, position, engine, erase })
    }

    /// The blocks, from noise to target; where the trainer is distributed, those of this rank.
    pub fn blocks(&self) -> &[Block<M::Built, E, D>] {
        &self.blocks
    }

    /// The blocks, to set weights by hand.
    pub fn blocks_mut(&mut self) -> &mut [Block<M::Built, E, D>] {
        &mut self.blocks
    }

    /// The embedding W of the classes, row-major, `[C, Z]`; empty for a head without classes.
    pub fn embedding(&self) -> Vec<E> {
        if V::Head::CLASSES { self.model.embedding.numbers() } else { Vec::new() }
    }

    /// The ranks that train this model; `None` where it is all in this process.
    pub fn communicator(&self) -> Option<&Communicator> {
        self.ranks.communicator.as_ref()
    }

    /// How many trained numbers the blocks have, all together; where the trainer is distributed,
    /// those of this rank.
    pub fn parameters(&self) -> usize {
        let one = self.blocks.first().map(|block| self.engine.parameters(self.erase.shared(block)));
        one.unwrap_or_default() * self.blocks.len()
    }

    /// How many steps each block has taken in [`fit`](Self::fit).
    pub fn steps(&self) -> u64 {
        self.counters.steps
    }

    /// How many epochs were completed in [`fit`](Self::fit).
    pub fn epochs(&self) -> u64 {
        self.counters.epochs
    }

    /// Whether a run was stopped before its end, so that [`fit`](Self::fit) goes on with it.
    pub fn is_unfinished(&self) -> bool {
        self.position.is_some()
    }

    /// Makes the next [`fit`](Self::fit) a run of its own, even if the last was stopped.
    pub fn forget_run(&mut self) {
        self.position = None;
    }

    /// The same model with the moving averages instead of the weights, of the embedding and of the
    /// schedule, as [`Fit::average`](crate::Fit::average) kept them; a copy with the weights as
    /// they are where nothing was kept.
    ///
    /// # Errors
    /// [`Error::Device`] for a lack of memory.
    pub fn averaged(&self) -> Result<Self, Error> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let mut copy = Block::new(block.t(), block.device().clone(), block.kind());
            self.engine.average_block(self.erase.shared(block), self.erase.mutable(&mut copy))?;
            blocks.push(copy);
        }
        Ok(Self {
            variant: self.variant.clone(),
            model: self.engine.averaged(&self.model)?,
            blocks,
            ranks: self.ranks.clone(),
            counters: self.counters,
            position: None,
            engine: self.engine,
            erase: self.erase,
        })
    }

    /// The blocks without their type; some may lie in a file, or have no weights yet.
    fn erased_blocks(&self) -> Vec<&D::Block> {
        self.blocks.iter().map(|block| self.erase.shared(block)).collect()
    }

    /// The trainer as the engine sees it.
    fn trainer(&mut self) -> Trainer<'_, E, D> {
        let erase = self.erase;
        Trainer {
            model: &mut self.model,
            blocks: self.blocks.iter_mut().map(|block| erase.mutable(block)).collect(),
            ranks: &self.ranks,
            counters: &mut self.counters,
        }
    }
}
