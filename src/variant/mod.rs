//! The mathematics of NoProp, one file for each variant.

mod discrete;
mod objective;

pub use discrete::{DiscreteTime, Sampler};
pub use objective::{BlockLoss, Loss, Target};

use dfdx::nn::BuildOnDevice;

use crate::{
    device::{Backend, Real},
    error::Error,
    head::Head,
    nn::Signal,
    noprop::NoProp,
    optim::Optimizer,
    schedule::NoiseLevels,
    train::{Batch, StepReport},
};

/// A way to train by denoising: what a block takes, what it learns, and how an answer is read off.
///
/// Sealed: its methods reach into the trainer.
pub trait Variant<const Z: usize, const X: usize, E: Real, D: Backend<E>>:
    sealed::Sealed + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// What the targets are.
    type Head: Head<Z, E>;
    /// What a block takes.
    type Input: Signal<E, D>;

    /// The head's settings.
    fn head(&self) -> &Self::Head;

    /// How blocks step.
    fn optimizer(&self) -> &Optimizer;

    /// The seed of the initial weights.
    fn seed(&self) -> u64;

    /// The noise levels, and so the number of blocks.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is out of range.
    fn levels(&self) -> Result<NoiseLevels, Error>;

    #[doc(hidden)]
    fn train<M: BuildOnDevice<D, E>>(
        trainer: &mut NoProp<Self, M, Z, X, E, D>,
        batches: &[Batch<Self, Z, X, E, D>],
        seed: u64,
        threads: usize,
    ) -> Result<Vec<StepReport>, Error>;

    #[doc(hidden)]
    fn infer<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
        ask: Ask,
    ) -> Result<Vec<E>, Error>;
}

/// What inference is asked for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// The answer, `[rows, Out]`.
    Answer,
    /// A draw of z_T, `[rows, Z]`, with this seed.
    Sample(u64),
}

mod sealed {
    pub trait Sealed {}
    impl<H> Sealed for super::DiscreteTime<H> {}
}
