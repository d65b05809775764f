//! Where the latent and the input meet.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut, ModuleVisitor, TensorCollection},
    prelude::*,
};

use super::{Input, Joins, Misfit, Pair, Signal, Takes, Width};
use crate::{
    device::{Backend, Real},
    plan::{Borrowed, Lowered, Operation, fields},
};

/// h = F_z(z) + F_x(x): the first layer of a block.
///
/// With two dense layers this is a dense layer on the concatenation of z and x, without the
/// concatenation. F_z takes `Width<Z>`, F_x takes `Width<X, Input>`, and both give the same width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition<FZ, FX> {
    /// F_z, on the latent.
    pub z: FZ,
    /// F_x, on the input.
    pub x: FX,
}

impl<FZ, FX, E: Dtype, D: Device<E>> BuildOnDevice<D, E> for Condition<FZ, FX>
where
    FZ: BuildOnDevice<D, E>,
    FX: BuildOnDevice<D, E>,
{
    type Built = Condition<FZ::Built, FX::Built>;
}

impl<FZ, FX, E: Dtype, D: Device<E>> TensorCollection<E, D> for Condition<FZ, FX>
where
    FZ: TensorCollection<E, D>,
    FX: TensorCollection<E, D>,
{
    type To<E2: Dtype, D2: Device<E2>> = Condition<FZ::To<E2, D2>, FX::To<E2, D2>>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (Self::module("z", |s| &s.z, |s| &mut s.z), Self::module("x", |s| &s.x, |s| &mut s.x)),
            |(z, x)| Condition { z, x },
        )
    }
}

/// Outside of a trainer too: on `(z, x)`, both with a tape of the same kind.
impl<FZ, FX, InZ, InX, Out> Module<(InZ, InX)> for Condition<FZ, FX>
where
    FZ: Module<InZ, Output = Out>,
    FX: Module<InX, Output = Out, Error = FZ::Error>,
    Out: TryAdd<Out> + HasErr<Err = FZ::Error>,
{
    type Output = Out;
    type Error = FZ::Error;

    fn try_forward(&self, (z, x): (InZ, InX)) -> Result<Out, FZ::Error> {
        self.z.try_forward(z)?.try_add(self.x.try_forward(x)?)
    }
}

/// The same in training.
impl<FZ, FX, InZ, InX, Out> ModuleMut<(InZ, InX)> for Condition<FZ, FX>
where
    FZ: ModuleMut<InZ, Output = Out>,
    FX: ModuleMut<InX, Output = Out, Error = FZ::Error>,
    Out: TryAdd<Out> + HasErr<Err = FZ::Error>,
{
    type Output = Out;
    type Error = FZ::Error;

    fn try_forward_mut(&mut self, (z, x): (InZ, InX)) -> Result<Out, FZ::Error> {
        self.z.try_forward_mut(z)?.try_add(self.x.try_forward_mut(x)?)
    }
}

impl<FZ, FX, const Z: usize, const X: usize, E: Real, D: Backend<E>> Takes<Pair<Z, X>, E, D>
    for Condition<FZ, FX>
where
    FZ: Takes<Width<Z>, E, D>,
    FX: Takes<FZ::Then<Width<X, Input>>, E, D, Out: Joins<FZ::Out, Self, E, D>>,
{
    type Out = FZ::Out;
    type Then<S: Signal<E, D>> = FZ::Then<FX::Then<S>>;
    const MISFIT: Misfit = FZ::MISFIT.or(FX::MISFIT);

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let (z, x) = fields!(built; z, x);
        let (z, x) = (Box::new(FZ::lower(z)?), Box::new(FX::lower(x)?));
        Ok(Operation::Condition { z, x, t: None })
    }
}
