//! The layers of dfdx that work on rows of numbers.

use dfdx::{
    nn::{Module, ModuleMut},
    prelude::*,
};

use super::{Kind, Misfit, Signal, Takes, Width, typed::Typed};
#[cfg(feature = "inference")]
use crate::plan::RowNorm;
use crate::{
    device::{Backend, Real},
    plan::{Activation, Borrowed, Dense, Lowered, Operation, handle},
};

// What has a width of its own is written by hand, so that the compiler's messages show it.
impl<const I: usize, const O: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<I, K>, E, D>
    for Linear<I, O>
{
    type Out = Width<O>;
    type Then<S: Signal<E, D>> = S;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let built = built.get();
        let (weight, bias) = (handle(&built.weight, (O, I))?, handle(&built.bias, (O,))?);
        Ok(Operation::Dense(Dense::plain(weight, bias)))
    }
}

/// One line for each layer that takes any width and gives it.
macro_rules! takes {
    ($(<$(const $n:ident),*> $layer:ty: $width:tt, |$built:ident| $operation:expr;)*) => {$(
        impl<$(const $n: usize,)* K: Kind, E: Real, D: Backend<E>> Takes<Width<$width, K>, E, D>
            for $layer
        {
            type Out = Width<$width>;
            type Then<S: Signal<E, D>> = S;

            fn lower($built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
                Ok($operation)
            }
        }
    )*};
}

takes! {
    <const N> ReLU: N, |_built| Operation::Activation(Activation::Relu);
    <const N> FastGeLU: N, |_built| Operation::Activation(Activation::FastGelu);
    <const N> AccurateGeLU: N, |_built| Operation::Activation(Activation::Gelu);
    <const N> Sigmoid: N, |_built| Operation::Activation(Activation::Sigmoid);
    <const N> Tanh: N, |_built| Operation::Activation(Activation::Tanh);
    <const N> Sin: N, |_built| Operation::Activation(Activation::Sin);
    <const N> Cos: N, |_built| Operation::Activation(Activation::Cos);
    <const N> Abs: N, |_built| Operation::Activation(Activation::Abs);
    <const N> Square: N, |_built| Operation::Activation(Activation::Square);
    <const N> Dropout: N, |built| Operation::Dropout(built.get().p.into());
}

impl<const N: usize, const ONE_IN: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<N, K>, E, D>
    for DropoutOneIn<ONE_IN>
{
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = S;
    const MISFIT: Misfit = Misfit::of_dropout(ONE_IN);

    fn lower(_: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        const { Misfit::of_dropout(ONE_IN).check() };
        Ok(Operation::Dropout(1.0 / ONE_IN as f64))
    }
}

impl<const N: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<N, K>, E, D> for LayerNorm1D<N> {
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = S;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let built = built.get();
        let (scale, shift) = (handle(&built.gamma, (N,))?, handle(&built.beta, (N,))?);
        Ok(Operation::LayerNorm { scale, shift, epsilon: built.epsilon })
    }
}

impl<const N: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<N, K>, E, D> for BatchNorm1D<N> {
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = S;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        Ok(Operation::Module(Box::new(Typed::<Self::Built, Width<N>, Width<N>, E, D> {
            built,
            name: "BatchNorm1D",
            draws: false,
            #[cfg(feature = "inference")]
            row_norm: Some(|built| {
                let row = |tensor| handle(tensor, (N,));
                let (scale, shift) = (row(&built.scale)?, row(&built.bias)?);
                let (mean, variance) = (row(&built.running_mean)?, row(&built.running_var)?);
                let tensors = [scale, shift, mean, variance];
                Ok(RowNorm { width: N, epsilon: built.epsilon, tensors })
            }),
            infer: |built, input| built.try_forward(input),
            train: |built, input| {
                // Of one row there is no variance: dfdx would make NaN of the running one.
                let kept = (input.shape().0 == 1)
                    .then(|| (built.running_mean.clone(), built.running_var.clone()));
                let output = built.try_forward_mut(input)?;
                if let Some((mean, variance)) = kept {
                    (built.running_mean, built.running_var) = (mean, variance);
                }
                Ok(output)
            },
            signals: std::marker::PhantomData,
        })))
    }
}
