//! Layers that give an image of the size that they take.

use dfdx::{nn::modules::GeneralizedResidual, prelude::*};

use super::Image;
use crate::{
    device::{Backend, Real},
    nn::{Joins, Kind, Misfit, Signal, Takes, Width},
    plan::{Activation, Borrowed, Lowered, Operation, fields},
};

/// One line for each of dfdx's layers that works number by number.
macro_rules! takes {
    ($(<$(const $n:ident),*> $layer:ty, |$built:ident| $operation:expr;)*) => {$(
        impl<$(const $n: usize,)* const C: usize, const H: usize, const W: usize, K, E, D>
            Takes<Image<C, H, W, K>, E, D> for $layer
        where
            K: Kind,
            E: Real,
            D: Backend<E>,
        {
            type Out = Image<C, H, W>;
            type Then<S: Signal<E, D>> = S;

            fn lower($built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
                Ok($operation)
            }
        }
    )*};
}

takes! {
    <> ReLU, |_built| Operation::Activation(Activation::Relu);
    <> FastGeLU, |_built| Operation::Activation(Activation::FastGelu);
    <> AccurateGeLU, |_built| Operation::Activation(Activation::Gelu);
    <> Sigmoid, |_built| Operation::Activation(Activation::Sigmoid);
    <> Tanh, |_built| Operation::Activation(Activation::Tanh);
    <> Abs, |_built| Operation::Activation(Activation::Abs);
    <> Square, |_built| Operation::Activation(Activation::Square);
    <> Dropout, |built| Operation::Dropout(built.get().p.into());
}

impl<const C: usize, const H: usize, const W: usize, K, E, D, const ONE_IN: usize>
    Takes<Image<C, H, W, K>, E, D> for DropoutOneIn<ONE_IN>
where
    K: Kind,
    E: Real,
    D: Backend<E>,
{
    type Out = Image<C, H, W>;
    type Then<S: Signal<E, D>> = S;
    const MISFIT: Misfit = Misfit::of_dropout(ONE_IN);

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        const { Misfit::of_dropout(ONE_IN).check() };
        Ok(Operation::Dropout(1.0 / ONE_IN as f64))
    }
}

/// h + F(h): the image that comes out of F is like the one that goes in.
impl<F, const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>>
    Takes<Image<C, H, W, K>, E, D> for Residual<F>
where
    F: Takes<Image<C, H, W>, E, D>,
    F::Then<F::Out>: Joins<Image<C, H, W>, Self, E, D>,
{
    type Out = Image<C, H, W>;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const MISFIT: Misfit = F::MISFIT;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let (branch,) = fields!(built; 0);
        Ok(Operation::Residual(Box::new(F::lower(branch)?)))
    }
}

/// F(h) + R(h): a residual block with a projection R, where F changes the size.
macro_rules! projected {
    ($signal:ident $(, $n:ident)*) => {
        impl<F, R, $(const $n: usize,)* K: Kind, E: Real, D: Backend<E>>
            Takes<$signal<$($n,)* K>, E, D> for GeneralizedResidual<F, R>
        where
            F: Takes<$signal<$($n),*>, E, D>,
            R: Takes<F::Then<$signal<$($n),*>>, E, D>,
            R::Then<R::Out>: Joins<F::Out, Self, E, D>,
        {
            type Out = F::Out;
            type Then<S: Signal<E, D>> = F::Then<R::Then<S>>;
            const MISFIT: Misfit = F::MISFIT.or(R::MISFIT);

            fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
                let (branch, projection) = fields!(built; f, r);
                Ok(Operation::Projected {
                    branch: Box::new(F::lower(branch)?),
                    projection: Box::new(R::lower(projection)?),
                })
            }
        }
    };
}

projected!(Width, N);
projected!(Image, C, H, W);
