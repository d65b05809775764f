//! The layers of dfdx that work on rows of numbers.

use dfdx::{
    nn::{Module, ModuleMut},
    prelude::*,
};

use super::{Kind, Signal, Takes, Width};
use crate::device::{Backend, Real, Rows, TracedRows};

/// One line for each layer: the width that it takes, and the one that it gives.
macro_rules! takes {
    ($(<$(const $n:ident),*> $layer:ty: $in:tt => $out:tt;)*) => {$(
        impl<$(const $n: usize,)* K: Kind, E: Real, D: Backend<E>> Takes<Width<$in, K>, E, D>
            for $layer
        {
            type Out = Width<$out>;
            type Then<S: Signal<E, D>> = S;

            fn infer(
                built: &Self::Built,
                input: Rows<Const<$in>, E, D>,
            ) -> Result<Rows<Const<$out>, E, D>, D::Err> {
                built.try_forward(input)
            }

            fn train(
                built: &mut Self::Built,
                input: Rows<Const<$in>, E, D, K::Tape<E, D>>,
            ) -> Result<TracedRows<Const<$out>, E, D>, D::Err> {
                let (input, tape) = input.split_tape();
                built.try_forward_mut(input.put_tape(K::tape(tape)))
            }
        }
    )*};
}

takes! {
    <const I, const O> Linear<I, O>: I => O;
    <const N> LayerNorm1D<N>: N => N;
    <const N> BatchNorm1D<N>: N => N;
    <const N> ReLU: N => N;
    <const N> FastGeLU: N => N;
    <const N> AccurateGeLU: N => N;
    <const N> Sigmoid: N => N;
    <const N> Tanh: N => N;
    <const N> Sin: N => N;
    <const N> Cos: N => N;
    <const N> Abs: N => N;
    <const N> Square: N => N;
    <const N> Dropout: N => N;
    <const N, const ONE_IN> DropoutOneIn<ONE_IN>: N => N;
}
