//! The dense (fully connected) layer.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleVisitor, NonMutableModule, TensorCollection, TensorOptions},
    prelude::*,
};
use rand_distr::Uniform;

use super::{
    Kind, Signal, Takes, Width,
    signal::{matrix, rows},
};
use crate::{
    device::{Backend, Real, Rows},
    plan::{self, Borrowed, Lowered, Operation, handle},
};

/// y = x Wᵀ + b: a dense layer from `I` to `O`, with weights W: `[O, I]` and bias b: `[O]`.
///
/// The same mathematics as dfdx's `Linear`, as one operation on the tape; on the input x it
/// computes no gradient with respect to its input. Weights and bias start uniform in ±1/√I.
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

impl<const I: usize, const O: usize, E: Real, D: Backend<E>> BuiltDense<I, O, E, D> {
    /// The parameters, for a plan.
    fn handles(&self) -> Result<plan::Dense<E, D>, D::Err> {
        Ok(plan::Dense::new(handle(&self.weight, (O, I))?, handle(&self.bias, (O,))?))
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
        let plan::Dense { weight, bias, .. } = self.handles()?;
        let batch = input.shape().0;
        rows(D::dense(matrix(input, batch)?, &weight, &bias, true)?)
    }
}

impl<const I: usize, const O: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<I, K>, E, D>
    for Dense<I, O>
{
    type Out = Width<O>;
    type Then<S: Signal<E, D>> = S;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        built.get().handles().map(Operation::Dense)
    }
}
