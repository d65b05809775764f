//! The dense (fully connected) layer.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleVisitor, NonMutableModule, TensorCollection, TensorOptions},
    prelude::*,
};
use rand_distr::Uniform;

use super::{Encoded, Input, Kind, NoisedPass, Signal, StackPass, Takes, Width};
use crate::device::{Backend, Real, Rows, TracedRows};

/// y = x Wᵀ + b: a dense layer from `I` to `O`, with weights W: `[O, I]` and bias b: `[O]`.
///
/// The same mathematics as dfdx's `Linear`, as one operation on the tape; on the input x it computes no gradient
/// with respect to its input. Weights and bias start uniform in ±1/√I.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dense<const I: usize, const O: usize>;

/// What [`Dense`] builds.
#[derive(Clone, Debug)]
pub struct BuiltDense<const I: usize, const O: usize, E: Dtype, D: Storage<E>> {
    /// W, `[O, I]`.
    pub weight: Tensor<Rank2<O, I>, E, D>,
    /// b, `[O]`.
    pub bias: Tensor<Rank1<O>, E, D>,
}

impl<const I: usize, const O: usize, E: Real, D: Device<E>> BuildOnDevice<D, E> for Dense<I, O> {
    type Built = BuiltDense<I, O, E, D>;
}

impl<const I: usize, const O: usize, E: Real, D: Device<E>> TensorCollection<E, D>
    for BuiltDense<I, O, E, D>
{
    type To<E2: Dtype, D2: Device<E2>> = BuiltDense<I, O, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor(
                    "weight",
                    |s| &s.weight,
                    |s| &mut s.weight,
                    TensorOptions::reset_with(|t| t.try_fill_with_distr(fan_in::<I, E>())),
                ),
                Self::tensor(
                    "bias",
                    |s| &s.bias,
                    |s| &mut s.bias,
                    TensorOptions::reset_with(|t| t.try_fill_with_distr(fan_in::<I, E>())),
                ),
            ),
            |(weight, bias)| BuiltDense { weight, bias },
        )
    }
}

/// Uniform in ±1/√I.
fn fan_in<const I: usize, E: Real>() -> Uniform<E> {
    let bound = E::of(1.0 / (I.max(1) as f64).sqrt());
    Uniform::new_inclusive(-bound, bound)
}

impl<const I: usize, const O: usize, E: Real, D: Device<E>> BuiltDense<I, O, E, D> {
    /// W V and W v, for another layer's V and v: both layers in one, but for this one's bias.
    fn after<const J: usize, const N: usize>(
        &self,
        before: &BuiltDense<J, N, E, D>,
    ) -> Result<BuiltDense<J, O, E, D>, D::Err> {
        let inner = before.weight.clone().try_reshape_like(&(Const::<I>, Const::<J>))?;
        let bias = before.bias.clone().try_reshape_like(&(Const::<I>, Const::<1>))?;
        let bias: Tensor<Rank2<O, 1>, E, D> = self.weight.clone().try_matmul(bias)?;
        Ok(BuiltDense {
            weight: self.weight.clone().try_matmul(inner)?,
            bias: bias.try_reshape_like(&(Const::<O>,))?,
        })
    }
}

impl<const I: usize, const O: usize, E: Dtype, D: Storage<E>> NonMutableModule
    for BuiltDense<I, O, E, D>
{
}

impl<const I: usize, const O: usize, E: Real, D: Backend<E>, T: Tape<E, D>>
    Module<Rows<Const<I>, E, D, T>> for BuiltDense<I, O, E, D>
{
    type Output = Rows<Const<O>, E, D, T>;
    type Error = D::Err;

    fn try_forward(&self, input: Rows<Const<I>, E, D, T>) -> Result<Self::Output, D::Err> {
        D::dense(input, &self.weight, &self.bias, true)
    }
}

impl<const I: usize, const O: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<I, K>, E, D>
    for Dense<I, O>
{
    type Out = Width<O>;
    type Then<S: Signal<E, D>> = S;

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
        D::dense(input.put_tape(K::tape(tape)), &built.weight, &built.bias, K::GRADIENT)
    }

    fn train_onto(
        built: &mut Self::Built,
        input: Rows<Const<I>, E, D, K::Tape<E, D>>,
        sum: TracedRows<Const<O>, E, D>,
    ) -> Result<TracedRows<Const<O>, E, D>, D::Err> {
        let (input, tape) = input.split_tape();
        let weights = (&built.weight, &built.bias);
        D::dense_onto(input.put_tape(K::tape(tape)), weights, sum, K::GRADIENT)
    }

    fn stacked(
        _: &mut Self::Built,
        input: Rows<Const<I>, E, D, K::Tape<E, D>>,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<TracedRows<Const<O>, E, D>>, D::Err> {
        let (input, tape) = input.split_tape();
        pass.dense(input.put_tape(K::tape(tape)))
    }

    fn infer_encoded(
        built: &Self::Built,
        input: Rows<Const<I>, E, D>,
        encoded: &Encoded,
    ) -> Result<Rows<Const<O>, E, D>, D::Err> {
        /// A product of fewer columns reads the weights as they are.
        const WIDE: usize = 32;
        if !(D::TURNS && encoded.lays_out() && O >= WIDE) {
            return built.try_forward(input);
        }
        let turned = encoded.made_of(&built.weight, || D::turned(&built.weight))?;
        D::dense_turned(input, &turned, &built.bias)
    }

    const DENSE: usize = O;
    const ENDS_DENSE: bool = true;

    fn infer_composed<L: Takes<Width<N>, E, D>, const N: usize>(
        built: &Self::Built,
        next: &L::Built,
        input: (Rows<Const<I>, E, D>, <L::Out as Signal<E, D>>::Plain),
        encoded: &Encoded,
    ) -> Result<Option<<L::Out as Signal<E, D>>::Plain>, D::Err> {
        L::infer_after(next, built, input, encoded)
    }

    fn infer_after<const J: usize, const N: usize>(
        built: &Self::Built,
        before: &BuiltDense<J, N, E, D>,
        (x, sum): (Rows<Const<J>, E, D>, Rows<Const<O>, E, D>),
        encoded: &Encoded,
    ) -> Result<Option<Rows<Const<O>, E, D>>, D::Err> {
        if N != I {
            return Ok(None);
        }
        let BuiltDense { weight, bias } = encoded.made_of(before, || built.after(before))?;
        D::sum(sum, D::dense(x, &weight, &bias, false)?).map(Some)
    }

    const LINEAR: bool = true;
    const DRAWS: bool = false;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(built.clone())
    }

    fn noised(
        built: &mut Self::Built,
        input: Rows<Const<I>, E, D>,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<Rows<Const<O>, E, D>, D::Err> {
        // As on an input: what comes before learns from noise of its own, and not through this layer.
        pass.layer::<Width<I, Input>, Width<O>, _>(
            built,
            input,
            <Self as Takes<Width<I, Input>, E, D>>::train,
            <Self as Takes<Width<I, Input>, E, D>>::infer,
        )
    }
}
