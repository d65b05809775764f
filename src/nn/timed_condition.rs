//! Where the latent, the input and the time meet.

use dfdx::{
    nn::{BuildOnDevice, ModuleVisitor, TensorCollection},
    prelude::*,
};

use super::{Encoded, Input, Joins, NoisedPass, Signal, Takes, Time, Timed, Width};
use crate::device::{Backend, Real};

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
    const DRAWS: bool = FZ::DRAWS || FX::DRAWS || FT::DRAWS;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        let (z, x) = (FZ::rowwise(&built.z)?, FX::rowwise(&built.x)?);
        Some(TimedCondition { z, x, t: FT::rowwise(&built.t)? })
    }

    fn infer(
        built: &Self::Built,
        input: <Timed<Z, X> as Signal<E, D>>::Plain,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        Self::infer_encoded(built, input, &Encoded::default())
    }

    fn encode(
        built: &Self::Built,
        (_, x, _): &<Timed<Z, X> as Signal<E, D>>::Plain,
    ) -> Result<Option<Encoded>, D::Err> {
        Ok(Some(Encoded::new(FX::infer(&built.x, x.clone())?)))
    }

    fn infer_encoded(
        built: &Self::Built,
        (z, x, t): <Timed<Z, X> as Signal<E, D>>::Plain,
        encoded: &Encoded,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        let x = encoded.get().map_or_else(|| FX::infer(&built.x, x), Ok)?;
        let z = FZ::infer_encoded(&built.z, z, encoded)?;
        let t = encoded.of_time(|| FT::infer_encoded(&built.t, t, encoded))?;
        let h = <FX::Out as Joins<FZ::Out, Self, E, D>>::add_plain(z, x)?;
        <FT::Out as Joins<FZ::Out, Self, E, D>>::add_shared(h, t)
    }

    fn train(
        built: &mut Self::Built,
        (z, x, t): <Timed<Z, X> as Signal<E, D>>::Traced,
    ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err> {
        let z = FZ::train(&mut built.z, z)?;
        let h = <FX::Out as Joins<FZ::Out, Self, E, D>>::add_output::<FX, _>(z, (&mut built.x, x))?;
        <FT::Out as Joins<FZ::Out, Self, E, D>>::add_output::<FT, _>(h, (&mut built.t, t))
    }

    fn noised(
        built: &mut Self::Built,
        (z, x, t): <Timed<Z, X> as Signal<E, D>>::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        if FZ::LINEAR && FX::LINEAR && FT::LINEAR {
            // One noise on the sum serves all three.
            return pass.layer::<Timed<Z, X>, Self::Out, _>(
                built,
                (z, x, t),
                Self::train,
                Self::infer,
            );
        }
        let z = FZ::noised(&mut built.z, z, pass)?;
        let x = FX::noised(&mut built.x, x, pass)?;
        let t = FT::noised(&mut built.t, t, pass)?;
        let h = <FX::Out as Joins<FZ::Out, Self, E, D>>::add_plain(z, x)?;
        <FT::Out as Joins<FZ::Out, Self, E, D>>::add_plain(h, t)
    }
}
