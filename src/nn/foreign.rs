//! The layers of dfdx that work on rows of numbers.

use dfdx::{
    nn::{Module, ModuleMut},
    prelude::*,
};

use super::{Kind, Signal, StackPass, Takes, Width};
use crate::device::{Backend, Real, Rows, TracedRows};

// By hand and not by the macro below, so that the compiler's messages show it.
impl<const I: usize, const O: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<I, K>, E, D>
    for Linear<I, O>
{
    type Out = Width<O>;
    type Then<S: Signal<E, D>> = S;
    const DRAWS: bool = false;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(built.clone())
    }

    fn infer(
        built: &Self::Built,
        input: Rows<Const<I>, E, D>,
    ) -> Result<Rows<Const<O>, E, D>, D::Err> {
        built.try_forward(input)
    }

    fn train(
        built: &mut Self::Built,
        input: Rows<Const<I>, E, D, K::Tape<E, D>>,
    ) -> Result<TracedRows<Const<O>, E, D>, D::Err> {
        let (input, tape) = input.split_tape();
        built.try_forward_mut(input.put_tape(K::tape(tape)))
    }

    fn stacked(
        _: &mut Self::Built,
        input: Rows<Const<I>, E, D, K::Tape<E, D>>,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<TracedRows<Const<O>, E, D>>, D::Err> {
        let (input, tape) = input.split_tape();
        pass.dense(input.put_tape(K::tape(tape)))
    }
}

/// By the device's own kernel.
impl<const N: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<N, K>, E, D> for ReLU {
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = S;
    const DRAWS: bool = false;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(*built)
    }

    fn infer(_: &ReLU, input: Rows<Const<N>, E, D>) -> Result<Rows<Const<N>, E, D>, D::Err> {
        D::relu(input)
    }

    fn train(
        _: &mut ReLU,
        input: Rows<Const<N>, E, D, K::Tape<E, D>>,
    ) -> Result<TracedRows<Const<N>, E, D>, D::Err> {
        let (input, tape) = input.split_tape();
        D::relu(input.put_tape(K::tape(tape)))
    }
}

/// One line for each layer that gives the width that it takes.
macro_rules! takes {
    ($(<$(const $n:ident),*> $layer:ty: $width:tt, draws $draws:literal, rowwise $rowwise:literal;)*) => {$(
        impl<$(const $n: usize,)* K: Kind, E: Real, D: Backend<E>> Takes<Width<$width, K>, E, D>
            for $layer
        {
            type Out = Width<$width>;
            type Then<S: Signal<E, D>> = S;
            const DRAWS: bool = $draws;

            fn rowwise(built: &Self::Built) -> Option<Self::Built> {
                $rowwise.then(|| built.clone())
            }

            fn infer(
                built: &Self::Built,
                input: Rows<Const<$width>, E, D>,
            ) -> Result<Rows<Const<$width>, E, D>, D::Err> {
                built.try_forward(input)
            }

            fn train(
                built: &mut Self::Built,
                input: Rows<Const<$width>, E, D, K::Tape<E, D>>,
            ) -> Result<TracedRows<Const<$width>, E, D>, D::Err> {
                let (input, tape) = input.split_tape();
                built.try_forward_mut(input.put_tape(K::tape(tape)))
            }
        }
    )*};
}

takes! {
    <const N> LayerNorm1D<N>: N, draws false, rowwise true;
    <const N> BatchNorm1D<N>: N, draws false, rowwise false;
    <const N> FastGeLU: N, draws false, rowwise true;
    <const N> AccurateGeLU: N, draws false, rowwise true;
    <const N> Sigmoid: N, draws false, rowwise true;
    <const N> Tanh: N, draws false, rowwise true;
    <const N> Sin: N, draws false, rowwise true;
    <const N> Cos: N, draws false, rowwise true;
    <const N> Abs: N, draws false, rowwise true;
    <const N> Square: N, draws false, rowwise true;
    <const N> Dropout: N, draws true, rowwise false;
    <const N, const ONE_IN> DropoutOneIn<ONE_IN>: N, draws true, rowwise false;
}
