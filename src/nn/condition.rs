//! Where the latent and the input meet.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut, ModuleVisitor, TensorCollection},
    prelude::*,
};

use super::{Input, Joins, NoisedPass, Pair, Signal, StackPass, Takes, Width};
use crate::device::{Backend, Real};

/// h = F_z(z) + F_x(x): the first layer of a block.
///
/// With two dense layers this is a dense layer on the concatenation of z and x, without the concatenation. F_z takes
/// `Width<Z>`, F_x takes `Width<X, Input>`, and both give the same width.
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
    const DRAWS: bool = FZ::DRAWS || FX::DRAWS;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(Condition { z: FZ::rowwise(&built.z)?, x: FX::rowwise(&built.x)? })
    }

    fn infer(
        built: &Self::Built,
        (z, x): <Pair<Z, X> as Signal<E, D>>::Plain,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        let (z, x) = (FZ::infer(&built.z, z)?, FX::infer(&built.x, x)?);
        <FX::Out as Joins<FZ::Out, Self, E, D>>::add_plain(z, x)
    }

    fn train(
        built: &mut Self::Built,
        (z, x): <Pair<Z, X> as Signal<E, D>>::Traced,
    ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err> {
        let z = FZ::train(&mut built.z, z)?;
        <FX::Out as Joins<FZ::Out, Self, E, D>>::add_output::<FX, _>(z, (&mut built.x, x))
    }

    fn noised(
        built: &mut Self::Built,
        (z, x): <Pair<Z, X> as Signal<E, D>>::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        if FZ::LINEAR && FX::LINEAR {
            // One noise on the sum serves both.
            return pass.layer::<Pair<Z, X>, Self::Out, _>(built, (z, x), Self::train, Self::infer);
        }
        let z = FZ::noised(&mut built.z, z, pass)?;
        let x = FX::noised(&mut built.x, x, pass)?;
        <FX::Out as Joins<FZ::Out, Self, E, D>>::add_plain(z, x)
    }

    fn stacked(
        built: &mut Self::Built,
        (z, x): <Pair<Z, X> as Signal<E, D>>::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<<Self::Out as Signal<E, D>>::Traced>, D::Err> {
        let Some(z) = FZ::stacked(&mut built.z, z, pass)? else { return Ok(None) };
        let Some(x) = FX::stacked(&mut built.x, x, pass)? else { return Ok(None) };
        let [rows, _] = FX::Out::numbers(&FX::Out::untrace(&x));
        if pass.is_shared(rows) {
            // Nothing on the way of x has weights: it is there once for all blocks.
            return Ok(None);
        }
        <FX::Out as Joins<FZ::Out, Self, E, D>>::add_traced(z, x).map(Some)
    }
}
