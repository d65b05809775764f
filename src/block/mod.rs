//! A block: its weights, what its optimiser remembers, and its device; with its type, and without.

mod embedding;
#[cfg(feature = "inference")]
mod stored;

pub use crate::plan::{Borrowed, Inputs, Lowered};
pub use embedding::Embedding;
#[cfg(feature = "inference")]
pub(crate) use stored::StoredBlock;

use dfdx::{
    nn::TensorCollection,
    prelude::{Gradients, HasErr},
};

use crate::{
    device::{Backend, Execute, Lanes, Module, Real, Tensors},
    error::Error,
    optim::{OptimizerState, Stepping},
    plan::{Made, fuse},
};

/// All of a block but its weights.
pub struct BlockState<E: Real, D: Backend<E>> {
    /// Which of the model's blocks it is, counted from 1.
    pub(crate) t: usize,
    pub(crate) optimizer: OptimizerState<E, D>,
    pub(crate) device: D,
    /// Zeros where the next step collects its gradients, unless there are none yet.
    pub(crate) gradients: Option<Gradients<E, D>>,
    /// The same for pieces of a batch but the first.
    pub(crate) more_gradients: Vec<Gradients<E, D>>,
    /// What its device needs to make noise by itself, once it has made some.
    pub(crate) lanes: Option<Lanes<D>>,
}

impl<E: Real, D: Backend<E>> BlockState<E, D> {
    /// That of a block whose optimiser has done nothing yet.
    fn new(t: usize, device: D) -> Self {
        Self {
            t,
            optimizer: OptimizerState::default(),
            device,
            gradients: None,
            more_gradients: Vec::new(),
            lanes: None,
        }
    }
}

/// A block without its type.
pub trait AnyBlock<E: Real, D: Backend<E>>: 'static {
    /// All but its weights.
    fn state(&self) -> &BlockState<E, D>;

    /// All but its weights, and its weights.
    fn parts(&mut self) -> (&mut BlockState<E, D>, &mut dyn Tensors<E, D>);

    /// Its weights.
    fn tensors(&self) -> &dyn Tensors<E, D>;

    /// Its operations, for a pass that changes nothing.
    ///
    /// # Errors
    /// The device's own.
    fn plan(&self) -> Lowered<'_, E, D>;

    /// Its operations for an inference of about so many calls with so many rows each.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn prepared(&self, rows: usize, calls: usize) -> Lowered<'_, E, D> {
        fuse(self.plan()?, rows, calls, &mut Made::default())
    }

    /// Its operations, for a training pass.
    ///
    /// # Errors
    /// The device's own.
    fn plan_mut(&mut self) -> Lowered<'_, E, D>;

    /// A block with the same weights, whose optimiser has done nothing yet.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn copy(&self) -> Result<Box<D::Block>, D::Err>;

    /// Room for the gradients of its weights, all zero: what the last step has left, or new.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn take_gradients(&mut self) -> Result<Gradients<E, D>, D::Err> {
        let (state, tensors) = self.parts();
        match state.gradients.take() {
            Some(gradients) => Ok(gradients),
            None => new_gradients(tensors),
        }
    }

    /// Leaves gradients, which are zero, for the next step.
    fn keep_gradients(&mut self, gradients: Gradients<E, D>) {
        self.parts().0.gradients = Some(gradients);
    }

    /// One step of the optimiser. The norm of the gradient; where it is not finite the block is as
    /// it was.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn step(&mut self, stepping: &Stepping, gradients: &mut Gradients<E, D>) -> Result<f64, Error> {
        let (state, tensors) = self.parts();
        let norm = state.optimizer.update(stepping, tensors, gradients);
        norm.map_err(Error::device("a step of the optimiser"))
    }
}

/// Room for the gradients of some weights, all zero.
pub(crate) fn new_gradients<E: Real, D: Backend<E>>(
    tensors: &dyn Tensors<E, D>,
) -> Result<Gradients<E, D>, D::Err> {
    let mut gradients = Gradients::leaky();
    tensors.zero_gradients(&mut gradients)?;
    Ok(gradients)
}

/// A block, shared with others, on one piece of a batch.
pub struct Piece<'a, E: Real, D: Backend<E>> {
    pub(crate) block: &'a D::Block,
    pub(crate) gradients: Option<Gradients<E, D>>,
    pub(crate) device: D,
}

/// A device that the engine runs on: its threads can have blocks without their type.
pub trait Host<E: Real>:
    Backend<E, Block: AnyBlock<E, Self>>
    + for<'a> Execute<Piece<'a, E, Self>>
    + for<'a> Execute<&'a mut <Self as Backend<E>>::Block>
    + for<'a> Execute<&'a <Self as Backend<E>>::Block>
{
}

impl<E: Real, D> Host<E> for D where
    D: Backend<E, Block: AnyBlock<E, D>>
        + for<'a> Execute<Piece<'a, E, D>>
        + for<'a> Execute<&'a mut <D as Backend<E>>::Block>
        + for<'a> Execute<&'a <D as Backend<E>>::Block>
{
}

/// How a block of a type is built, lowered, and stripped of its type.
pub(crate) struct Kind<B, E: Real, D: Backend<E>> {
    pub(crate) build: fn(&D) -> Result<B, <D as HasErr>::Err>,
    pub(crate) lower: for<'a> fn(Borrowed<'a, B>) -> Lowered<'a, E, D>,
    pub(crate) erase: fn(Box<Block<B, E, D>>) -> Box<D::Block>,
}

impl<B, E: Real, D: Backend<E>> Clone for Kind<B, E, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, E: Real, D: Backend<E>> Copy for Kind<B, E, D> {}

/// One block: its weights, what its optimiser remembers, and its device. It needs nothing from the
/// others.
pub struct Block<B, E: Real, D: Backend<E>> {
    state: BlockState<E, D>,
    module: Module<B>,
    kind: Kind<B, E, D>,
}

impl<B, E: Real, D: Backend<E>> Block<B, E, D> {
    /// One that has not learned anything.
    pub(crate) fn new(t: usize, device: D, kind: Kind<B, E, D>) -> Result<Self, D::Err> {
        let module = Module((kind.build)(&device)?);
        Ok(Self { state: BlockState::new(t, device), module, kind })
    }

    /// Which of the model's blocks it is, from 1 (noise) to T (target).
    pub fn t(&self) -> usize {
        self.state.t
    }

    /// The built module: a plain dfdx module.
    pub fn module(&self) -> &B {
        &self.module.0
    }

    /// The built module, to set weights by hand.
    pub fn module_mut(&mut self) -> &mut B {
        &mut self.module.0
    }

    /// What the optimiser remembers.
    pub fn optimizer(&self) -> &OptimizerState<E, D> {
        &self.state.optimizer
    }

    pub(crate) fn optimizer_mut(&mut self) -> &mut OptimizerState<E, D> {
        &mut self.state.optimizer
    }

    pub(crate) fn device(&self) -> &D {
        &self.state.device
    }

    pub(crate) fn kind(&self) -> Kind<B, E, D> {
        self.kind
    }
}

impl<B: Clone, E: Real, D: Backend<E>> Clone for Block<B, E, D> {
    fn clone(&self) -> Self {
        let mut state = BlockState::new(self.state.t, self.state.device.clone());
        state.optimizer = self.state.optimizer.clone();
        Self { state, module: Module(self.module.0.clone()), kind: self.kind }
    }
}

impl<B: TensorCollection<E, D>, E: Real, D: Backend<E>> Block<B, E, D> {
    /// The built module as tensors, to step it by an optimiser of one's own.
    pub fn tensors_mut(&mut self) -> &mut dyn Tensors<E, D> {
        &mut self.module
    }
}

impl<B: std::fmt::Debug, E: Real, D: Backend<E>> std::fmt::Debug for Block<B, E, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("t", &self.state.t).field("module", &self.module.0).finish()
    }
}

impl<B: TensorCollection<E, D> + 'static, E: Real, D: Backend<E>> AnyBlock<E, D>
    for Block<B, E, D>
{
    fn state(&self) -> &BlockState<E, D> {
        &self.state
    }

    fn parts(&mut self) -> (&mut BlockState<E, D>, &mut dyn Tensors<E, D>) {
        (&mut self.state, &mut self.module)
    }

    fn tensors(&self) -> &dyn Tensors<E, D> {
        &self.module
    }

    fn plan(&self) -> Lowered<'_, E, D> {
        (self.kind.lower)(Borrowed::Shared(&self.module.0))
    }

    fn plan_mut(&mut self) -> Lowered<'_, E, D> {
        (self.kind.lower)(Borrowed::Mutable(&mut self.module.0))
    }

    fn copy(&self) -> Result<Box<D::Block>, D::Err> {
        let mut copy = Self::new(self.state.t, self.state.device.clone(), self.kind)?;
        copy.module.copy_from(&self.module)?;
        Ok((self.kind.erase)(Box::new(copy)))
    }
}
