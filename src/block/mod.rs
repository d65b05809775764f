//! A block: its weights, what its optimiser remembers, and its device; with its type, and without.

mod away;
mod embedding;
mod scratch;
#[cfg(feature = "inference")]
mod stored;

pub use crate::plan::{Borrowed, Inputs, Lowered};
pub(crate) use away::{Away, Held, averaged, held, put_away, scratch_of};
pub use embedding::Embedding;
pub(crate) use scratch::Scratch;
#[cfg(feature = "inference")]
pub(crate) use stored::StoredBlock;

use std::sync::{Mutex, OnceLock, PoisonError};

use dfdx::{
    nn::TensorCollection,
    prelude::{Gradients, HasErr},
};

use crate::{
    device::{Backend, Execute, Lanes, Module, Real, Tensors},
    error::Error,
    optim::{OptimizerState, Stepping},
    plan::{Prepared, fuse},
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
    /// Where its numbers lie while they are not in memory.
    pub(crate) away: Option<Away>,
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
            away: None,
        }
    }
}

/// A block without its type.
pub trait AnyBlock<E: Real, D: Backend<E>>: 'static {
    /// All but its weights.
    fn state(&self) -> &BlockState<E, D>;

    /// All but its weights, and its weights. Whoever works on it has brought it to memory.
    fn parts(&mut self) -> (&mut BlockState<E, D>, &mut dyn Tensors<E, D>);

    /// Its weights. Whoever works on it holds it in memory.
    fn tensors(&self) -> &dyn Tensors<E, D>;

    /// Makes its weights: those that it begins with, or those that lie in a file.
    ///
    /// # Errors
    /// Those of [`bring`](Self::bring).
    fn build(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Takes all of it to memory; nothing happens where it is there.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] for what is not what was written, [`Error::Device`]; the block
    /// is then where it was.
    fn bring(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives its weights' memory back.
    fn forget(&mut self) {}

    /// A copy of what lies in a file, in memory.
    ///
    /// # Errors
    /// Those of [`bring`](Self::bring).
    fn fetch(&self) -> Result<Box<D::Block>, Error> {
        self.copy()
    }

    /// Its operations, for a pass that changes nothing.
    ///
    /// # Errors
    /// The device's own.
    fn plan(&self) -> Lowered<'_, E, D>;

    /// Its operations for an inference of about so many calls with so many rows each.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn prepared(&self, rows: usize, calls: usize) -> Result<Prepared<'_, E, D>, D::Err> {
        fuse(self.plan()?, rows, calls).map(Prepared::Own)
    }

    /// Its operations, for a training pass.
    ///
    /// # Errors
    /// The device's own.
    fn plan_mut(&mut self) -> Lowered<'_, E, D>;

    /// A block with the same weights, whose optimiser has done nothing yet.
    ///
    /// # Errors
    /// [`Error::Device`], for lack of memory.
    fn copy(&self) -> Result<Box<D::Block>, Error>;

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
    pub(crate) tensors: for<'a> fn(&'a mut Module<B>) -> &'a mut dyn Tensors<E, D>,
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
    /// The weights, once somebody has asked for them, unless they lie in a file.
    module: OnceLock<Module<B>>,
    /// Held by whoever makes the weights.
    making: Mutex<()>,
    kind: Kind<B, E, D>,
}

impl<B, E: Real, D: Backend<E>> Block<B, E, D> {
    /// One that has not learned anything, nor has its weights yet.
    pub(crate) fn new(t: usize, device: D, kind: Kind<B, E, D>) -> Self {
        let (module, making) = (OnceLock::new(), Mutex::new(()));
        Self { state: BlockState::new(t, device), module, making, kind }
    }

    /// Which of the model's blocks it is, from 1 (noise) to T (target).
    pub fn t(&self) -> usize {
        self.state.t
    }

    /// The built module: a plain dfdx module.
    ///
    /// # Panics
    /// Where there is no memory for its weights, or they lie in a file
    /// ([`Fit::resident`](crate::Fit::resident)) that can't be read;
    /// [`try_module`](Self::try_module) is the same with an error.
    pub fn module(&self) -> &B {
        self.try_module().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The built module: a plain dfdx module. The weights of a block that lies in a file
    /// ([`Fit::resident`](crate::Fit::resident)) are read, and stay in memory until the next run.
    ///
    /// # Errors
    /// [`Error::Device`] for lack of memory; [`Error::Io`], [`Error::File`] for a file that can't be
    /// read.
    pub fn try_module(&self) -> Result<&B, Error> {
        Ok(&self.made()?.0)
    }

    /// The built module, to set weights by hand.
    ///
    /// # Panics
    /// As [`module`](Self::module).
    pub fn module_mut(&mut self) -> &mut B {
        &mut self.here().0
    }

    /// What the optimiser remembers; of a block that lies in a file
    /// ([`Fit::resident`](crate::Fit::resident)) the number of steps alone.
    pub fn optimizer(&self) -> &OptimizerState<E, D> {
        &self.state.optimizer
    }

    /// Forgets what another kind of optimiser has remembered; averages stay.
    pub(crate) fn forget_moments(&mut self) {
        self.state.optimizer.forget_moments();
        if let Some(away) = &mut self.state.away {
            away.forget_moments();
        }
    }

    pub(crate) fn device(&self) -> &D {
        &self.state.device
    }

    pub(crate) fn kind(&self) -> Kind<B, E, D> {
        self.kind
    }

    /// The weights, made once.
    fn made(&self) -> Result<&Module<B>, Error> {
        if let Some(module) = self.module.get() {
            return Ok(module);
        }
        // The weights of a new block come from its device's random stream.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = self.module.get() {
            return Ok(module);
        }
        let failed = || Error::device("building the model");
        let module = match &self.state.away {
            None => Module((self.kind.build)(&self.state.device).map_err(failed())?),
            Some(away) => {
                // What these draw is overwritten.
                let device = self.state.device.seeded(0);
                let mut module = Module((self.kind.build)(&device).map_err(failed())?);
                away.fill((self.kind.tensors)(&mut module))?;
                module
            }
        };
        Ok(self.module.get_or_init(|| module))
    }

    /// Takes all of it to memory.
    fn take_here(&mut self) -> Result<&mut Module<B>, Error> {
        self.made()?;
        if let Some(away) = self.state.away.clone() {
            away.remind(&mut self.state)?;
            self.state.away = None;
        }
        let failed = Error::device("building the model");
        self.module.get_mut().ok_or_else(|| failed("a block without weights"))
    }

    /// The same for whoever knows that it is there, or takes what comes.
    fn here(&mut self) -> &mut Module<B> {
        self.take_here().unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<B: Clone, E: Real, D: Backend<E>> Clone for Block<B, E, D> {
    fn clone(&self) -> Self {
        let mut state = BlockState::new(self.state.t, self.state.device.clone());
        state.optimizer = self.state.optimizer.clone();
        state.away = self.state.away.clone();
        let module = self.module.get().map_or_else(OnceLock::new, |m| Module(m.0.clone()).into());
        Self { state, module, making: Mutex::new(()), kind: self.kind }
    }
}

impl<B: TensorCollection<E, D>, E: Real, D: Backend<E>> Block<B, E, D> {
    /// The built module as tensors, to step it by an optimiser of one's own.
    ///
    /// # Panics
    /// As [`module`](Self::module).
    pub fn tensors_mut(&mut self) -> &mut dyn Tensors<E, D> {
        self.here()
    }
}

impl<B: std::fmt::Debug, E: Real, D: Backend<E>> std::fmt::Debug for Block<B, E, D> {
    /// Its number, and its weights where they are in memory.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let module = self.module.get().map(|module| &module.0);
        f.debug_struct("Block").field("t", &self.state.t).field("module", &module).finish()
    }
}

impl<B: TensorCollection<E, D> + 'static, E: Real, D: Backend<E>> AnyBlock<E, D>
    for Block<B, E, D>
{
    fn state(&self) -> &BlockState<E, D> {
        &self.state
    }

    fn parts(&mut self) -> (&mut BlockState<E, D>, &mut dyn Tensors<E, D>) {
        self.here();
        match self.module.get_mut() {
            Some(module) => (&mut self.state, module),
            None => unreachable!("a block that is here has its weights"),
        }
    }

    fn tensors(&self) -> &dyn Tensors<E, D> {
        self.made().unwrap_or_else(|error| panic!("{error}"))
    }

    fn build(&self) -> Result<(), Error> {
        self.made().map(|_| ())
    }

    fn bring(&mut self) -> Result<(), Error> {
        self.take_here().map(|_| ())
    }

    fn forget(&mut self) {
        self.module.take();
    }

    fn fetch(&self) -> Result<Box<D::Block>, Error> {
        let mut copy = Self::new(self.state.t, self.state.device.clone(), self.kind);
        copy.state.away = self.state.away.clone();
        copy.state.optimizer.steps = self.state.optimizer.steps;
        copy.take_here()?;
        Ok((self.kind.erase)(Box::new(copy)))
    }

    fn plan(&self) -> Lowered<'_, E, D> {
        (self.kind.lower)(Borrowed::Shared(self.module()))
    }

    fn plan_mut(&mut self) -> Lowered<'_, E, D> {
        let lower = self.kind.lower;
        lower(Borrowed::Mutable(self.module_mut()))
    }

    fn copy(&self) -> Result<Box<D::Block>, Error> {
        let mut copy = Self::new(self.state.t, self.state.device.clone(), self.kind);
        let copied = copy.take_here()?.copy_from(self.made()?);
        copied.map_err(Error::device("copying a block"))?;
        Ok((self.kind.erase)(Box::new(copy)))
    }
}
