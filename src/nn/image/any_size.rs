//! Layers that give an image of the size that they take.

use dfdx::{
    nn::{Module, ModuleMut, modules::GeneralizedResidual},
    prelude::*,
};

use super::{Image, Images};
use crate::{
    device::{Backend, Real, Rows},
    nn::{Joins, Kind, NoisedPass, Signal, Takes, Width},
};

/// One line for each of dfdx's layers that works number by number.
macro_rules! takes {
    ($(<$(const $n:ident),*> $layer:ty, draws $draws:literal;)*) => {$(
        impl<$(const $n: usize,)* const C: usize, const H: usize, const W: usize, K, E, D>
            Takes<Image<C, H, W, K>, E, D> for $layer
        where
            K: Kind,
            E: Real,
            D: Backend<E>,
        {
            type Out = Image<C, H, W>;
            type Then<S: Signal<E, D>> = S;
            const DRAWS: bool = $draws;

            fn rowwise(built: &Self::Built) -> Option<Self::Built> {
                (!$draws).then(|| built.clone())
            }

            fn infer(
                built: &Self::Built,
                input: Images<C, H, W, E, D>,
            ) -> Result<Images<C, H, W, E, D>, D::Err> {
                built.try_forward(input)
            }

            fn train(
                built: &mut Self::Built,
                input: Images<C, H, W, E, D, K::Tape<E, D>>,
            ) -> Result<Images<C, H, W, E, D, OwnedTape<E, D>>, D::Err> {
                let (input, tape) = input.split_tape();
                built.try_forward_mut(input.put_tape(K::tape(tape)))
            }
        }
    )*};
}

takes! {
    <> FastGeLU, draws false;
    <> AccurateGeLU, draws false;
    <> Sigmoid, draws false;
    <> Tanh, draws false;
    <> Abs, draws false;
    <> Square, draws false;
    <> Dropout, draws true;
    <const ONE_IN> DropoutOneIn<ONE_IN>, draws true;
}

/// By the device's own kernel.
impl<const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>>
    Takes<Image<C, H, W, K>, E, D> for ReLU
{
    type Out = Image<C, H, W>;
    type Then<S: Signal<E, D>> = S;
    const DRAWS: bool = false;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(*built)
    }

    fn infer(_: &ReLU, input: Images<C, H, W, E, D>) -> Result<Images<C, H, W, E, D>, D::Err> {
        D::relu(input)
    }

    fn train(
        _: &mut ReLU,
        input: Images<C, H, W, E, D, K::Tape<E, D>>,
    ) -> Result<Images<C, H, W, E, D, OwnedTape<E, D>>, D::Err> {
        let (input, tape) = input.split_tape();
        D::relu(input.put_tape(K::tape(tape)))
    }
}

/// h + F(h): the image that comes out of F is like the one that goes in.
impl<F, const C: usize, const H: usize, const W: usize, E: Real, D: Backend<E>>
    Takes<Image<C, H, W>, E, D> for Residual<F>
where
    F: Takes<Image<C, H, W>, E, D>,
    F::Out: Joins<Image<C, H, W>, Self, E, D>,
{
    type Out = Image<C, H, W>;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const DRAWS: bool = F::DRAWS;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(Residual(F::rowwise(&built.0)?))
    }

    fn infer(
        built: &Self::Built,
        input: Images<C, H, W, E, D>,
    ) -> Result<Images<C, H, W, E, D>, D::Err> {
        let branch = F::infer(&built.0, input.clone())?;
        <F::Out as Joins<Image<C, H, W>, Self, E, D>>::add_plain(input, branch)
    }

    fn train(
        built: &mut Self::Built,
        input: Images<C, H, W, E, D, OwnedTape<E, D>>,
    ) -> Result<Images<C, H, W, E, D, OwnedTape<E, D>>, D::Err> {
        let skip = input.with_empty_tape();
        let branch = F::train(&mut built.0, input)?;
        <F::Out as Joins<Image<C, H, W>, Self, E, D>>::add_traced(skip, branch)
    }

    fn noised(
        built: &mut Self::Built,
        input: Images<C, H, W, E, D>,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<Images<C, H, W, E, D>, D::Err> {
        let branch = F::noised(&mut built.0, input.clone(), pass)?;
        <F::Out as Joins<Image<C, H, W>, Self, E, D>>::add_plain(input, branch)
    }
}

/// F(h) + R(h): a residual block with a projection R, where F changes the size.
macro_rules! projected {
    ($signal:ty, $tensor:ty, $traced:ty $(, $n:ident)*) => {
        impl<F, R, $(const $n: usize,)* E: Real, D: Backend<E>> Takes<$signal, E, D>
            for GeneralizedResidual<F, R>
        where
            F: Takes<$signal, E, D>,
            R: Takes<F::Then<$signal>, E, D, Out: Joins<F::Out, Self, E, D>>,
        {
            type Out = F::Out;
            type Then<S: Signal<E, D>> = F::Then<R::Then<S>>;
            const DRAWS: bool = F::DRAWS || R::DRAWS;

            fn rowwise(built: &Self::Built) -> Option<Self::Built> {
                Some(GeneralizedResidual { f: F::rowwise(&built.f)?, r: R::rowwise(&built.r)? })
            }

            fn infer(
                built: &Self::Built,
                input: $tensor,
            ) -> Result<<F::Out as Signal<E, D>>::Plain, D::Err> {
                let branch = F::infer(&built.f, input.clone())?;
                <R::Out as Joins<F::Out, Self, E, D>>::add_plain(branch, R::infer(&built.r, input)?)
            }

            fn train(
                built: &mut Self::Built,
                input: $traced,
            ) -> Result<<F::Out as Signal<E, D>>::Traced, D::Err> {
                let skip = input.with_empty_tape();
                let branch = F::train(&mut built.f, input)?;
                <R::Out as Joins<F::Out, Self, E, D>>::add_traced(branch, R::train(&mut built.r, skip)?)
            }

            fn noised(
                built: &mut Self::Built,
                input: $tensor,
                pass: &mut NoisedPass<E, D>,
            ) -> Result<<F::Out as Signal<E, D>>::Plain, D::Err> {
                let branch = F::noised(&mut built.f, input.clone(), pass)?;
                let rest = R::noised(&mut built.r, input, pass)?;
                <R::Out as Joins<F::Out, Self, E, D>>::add_plain(branch, rest)
            }
        }
    };
}

projected!(Width<N>, Rows<Const<N>, E, D>, Rows<Const<N>, E, D, OwnedTape<E, D>>, N);
projected!(
    Image<C, H, W>,
    Images<C, H, W, E, D>,
    Images<C, H, W, E, D, OwnedTape<E, D>>,
    C,
    H,
    W
);
