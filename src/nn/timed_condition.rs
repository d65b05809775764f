//! Where the latent, the input and the time meet.

use dfdx::{
    nn::{BuildOnDevice, ModuleVisitor, TensorCollection},
    prelude::*,
};

use super::{Input, Joins, Misfit, Signal, Takes, Time, Timed, Width};
use crate::{
    device::{Backend, Real},
    plan::{Borrowed, Lowered, Operation, fields},
};

/// h = F_z(z) + F_x(x) + F_t(t): the first layer of a network on (z, x, t).
///
/// F_z takes `Width<Z>`, F_x takes `Width<X, Input>`, F_t takes [`Time`] (a
/// [`TimeEmbedding`](super::TimeEmbedding) and a dense layer), and all give the same width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimedCondition<FZ, FX, FT> {
    /// F_z, on the latent.
    pub z: FZ,
    /// F_x, on the input.
    pub x: FX,
    /// F_t, on the time.
    pub t: FT,
}

impl<FZ, FX, FT, E: Dtype, D: Device<E>> BuildOnDevice<D, E> for TimedCondition<FZ, FX, FT>
where
    FZ: BuildOnDevice<D, E>,
    FX: BuildOnDevice<D, E>,
    FT: BuildOnDevice<D, E>,
{
    type Built = TimedCondition<FZ::Built, FX::Built, FT::Built>;
}

impl<FZ, FX, FT, E: Dtype, D: Device<E>> TensorCollection<E, D> for TimedCondition<FZ, FX, FT>
where
    FZ: TensorCollection<E, D>,
    FX: TensorCollection<E, D>,
    FT: TensorCollection<E, D>,
{
    type To<E2: Dtype, D2: Device<E2>> =
        TimedCondition<FZ::To<E2, D2>, FX::To<E2, D2>, FT::To<E2, D2>>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::module("z", |s| &s.z, |s| &mut s.z),
                Self::module("x", |s| &s.x, |s| &mut s.x),
                Self::module("t", |s| &s.t, |s| &mut s.t),
            ),
            |(z, x, t)| TimedCondition { z, x, t },
        )
    }
}

impl<FZ, FX, FT, const Z: usize, const X: usize, E: Real, D: Backend<E>> Takes<Timed<Z, X>, E, D>
    for TimedCondition<FZ, FX, FT>
where
    FZ: Takes<Width<Z>, E, D>,
    FX: Takes<FZ::Then<Width<X, Input>>, E, D, Out: Joins<FZ::Out, Self, E, D>>,
    FT: Takes<FZ::Then<FX::Then<Time>>, E, D, Out: Joins<FZ::Out, Self, E, D>>,
{
    type Out = FZ::Out;
    type Then<S: Signal<E, D>> = FZ::Then<FX::Then<FT::Then<S>>>;
    const MISFIT: Misfit = FZ::MISFIT.or(FX::MISFIT).or(FT::MISFIT);

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let (z, x, t) = fields!(built; z, x, t);
        let (z, x) = (Box::new(FZ::lower(z)?), Box::new(FX::lower(x)?));
        Ok(Operation::Condition { z, x, t: Some(Box::new(FT::lower(t)?)) })
    }
}
