//! Which devices run which models.

#[cfg(feature = "cuda")]
use dfdx::prelude::Cuda;
use dfdx::{
    nn::BuildOnDevice,
    prelude::{Cpu, Device},
};

use crate::{
    block::Block,
    device::{Backend, Real},
    engine::{Engine, Number},
    variant::Variant,
};

/// A device that runs the trainer `NoProp<V, M, Z, X, E, Self>`: its blocks side by side, or the
/// whole of it on several threads. A function that is generic in the model has
/// [`Suits`](super::Suits) as its bound instead.
pub trait Runs<V, M, const Z: usize, const X: usize, E = f32>: Backend<E>
where
    V: Variant<Z, X, E, Self>,
    M: BuildOnDevice<Self, E>,
    E: Real,
{
    /// The engine, which is compiled in this crate.
    #[doc(hidden)]
    fn engine() -> &'static dyn Engine<E, Self>;

    /// How blocks lose their type.
    #[doc(hidden)]
    fn erase() -> Erase<M::Built, E, Self>;
}

/// Weights that several threads may have.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the weights `{Self}` are not known to be fit for several threads",
    label = "needed to run blocks side by side",
    note = "a function that is generic in the block has one bound for all, `M: Suits<V, Z, X>`, and makes its model by `M::model(&device, variant)`",
    note = "a module of your own is fit where all that it holds is `Send` and `Sync`"
)]
pub trait Shared: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<B: Send + Sync + 'static> Shared for B {}

/// How a block loses its type, for this device's threads.
pub struct Erase<B, E: Real, D: Backend<E>> {
    shared: fn(&Block<B, E, D>) -> &D::Block,
    mutable: fn(&mut Block<B, E, D>) -> &mut D::Block,
    pub(super) boxed: fn(Box<Block<B, E, D>>) -> Box<D::Block>,
}

impl<B, E: Real, D: Backend<E>> Clone for Erase<B, E, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, E: Real, D: Backend<E>> Copy for Erase<B, E, D> {}

impl<B, E: Real, D: Backend<E>> Erase<B, E, D> {
    pub(super) fn shared<'b>(&self, block: &'b Block<B, E, D>) -> &'b D::Block {
        (self.shared)(block)
    }

    pub(super) fn mutable<'b>(&self, block: &'b mut Block<B, E, D>) -> &'b mut D::Block {
        (self.mutable)(block)
    }
}

impl<V, M, const Z: usize, const X: usize, E> Runs<V, M, Z, X, E> for Cpu
where
    V: Variant<Z, X, E, Cpu>,
    M: BuildOnDevice<Cpu, E>,
    M::Built: Shared,
    E: Number,
    Cpu: Device<E>,
{
    fn engine() -> &'static dyn Engine<E, Cpu> {
        E::on_cpu()
    }

    fn erase() -> Erase<M::Built, E, Cpu> {
        Erase { shared: |block| block, mutable: |block| block, boxed: |block| block }
    }
}

#[cfg(feature = "cuda")]
impl<V, M, const Z: usize, const X: usize, E> Runs<V, M, Z, X, E> for Cuda
where
    V: Variant<Z, X, E, Cuda>,
    M: BuildOnDevice<Cuda, E>,
    M::Built: 'static,
    E: Number,
    Cuda: Device<E>,
{
    fn engine() -> &'static dyn Engine<E, Cuda> {
        E::on_cuda()
    }

    fn erase() -> Erase<M::Built, E, Cuda> {
        Erase { shared: |block| block, mutable: |block| block, boxed: |block| block }
    }
}
