//! The layers of dfdx that work on rows of numbers.

use dfdx::{
    nn::{Module, ModuleMut},
    prelude::*,
};

use super::{Kind, Signal, Takes, Width, typed::Typed};
use crate::{
    device::{Backend, Real},
    plan::{Activation, Borrowed, Dense, Lowered, Operation, handle},
};

// By hand and not by the macro below, so that the compiler's messages show it.
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

/// One line for each layer that gives the width that it takes.
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
    <const N, const ONE_IN> DropoutOneIn<ONE_IN>: N, |_built| Operation::Dropout(1.0 / ONE_IN as f64);
    <const N> LayerNorm1D<N>: N, |built| {
        let built = built.get();
        let (scale, shift) = (handle(&built.gamma, (N,))?, handle(&built.beta, (N,))?);
        Operation::LayerNorm { scale, shift, epsilon: built.epsilon }
    };
    <const N> BatchNorm1D<N>: N, |built| Operation::Module(Box::new(
        Typed::<Self::Built, Width<N>, Width<N>, E, D> {
            built,
            name: "BatchNorm1D",
            draws: false,
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
        },
    ));
}
