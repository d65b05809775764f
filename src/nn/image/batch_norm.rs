//! Batch normalisation.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut, ModuleVisitor, TensorCollection, TensorOptions},
    prelude::*,
};

use super::{Image, Images};
use crate::{
    device::{Backend, Real, Rows, TracedRows},
    nn::{Kind, Signal, StackPass, Takes, Width},
};

/// Batch normalisation of `C` channels (Ioffe, Szegedy 2015, *Batch normalization*, algorithms 1 and 2):
/// y = γ (x − μ) / √(σ² + ε) + β, with ε = 1e-5.
///
/// μ and σ² are those of the batch in training, over all rows and pixels, and running ones in inference, which follow by
/// a tenth of the way at each step; σ² for these is the unbiased estimate. A batch with a single number for each channel says
/// nothing of σ², so that only μ follows; and it comes out as β.
///
/// On an [`Image<C, H, W>`](Image) or a [`Width<C>`](Width). γ starts at 1, β at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchNorm<const C: usize>;

/// What [`BatchNorm`] builds.
#[derive(Clone, Debug)]
pub struct BuiltBatchNorm<const C: usize, E: Dtype, D: Storage<E>> {
    /// γ.
    pub scale: Tensor<Rank1<C>, E, D>,
    /// β.
    pub shift: Tensor<Rank1<C>, E, D>,
    /// The running μ.
    pub running_mean: Tensor<Rank1<C>, E, D>,
    /// The running σ².
    pub running_variance: Tensor<Rank1<C>, E, D>,
}

const EPSILON: f64 = 1e-5;
/// How far the running statistics go towards those of a batch.
const MOMENTUM: f64 = 0.1;

impl<const C: usize, E: Real, D: Device<E>> BuildOnDevice<D, E> for BatchNorm<C> {
    type Built = BuiltBatchNorm<C, E, D>;
}

impl<const C: usize, E: Real, D: Device<E>> TensorCollection<E, D> for BuiltBatchNorm<C, E, D> {
    type To<E2: Dtype, D2: Device<E2>> = BuiltBatchNorm<C, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor(
                    "scale",
                    |s| &s.scale,
                    |s| &mut s.scale,
                    TensorOptions::reset_to_ones(),
                ),
                Self::tensor(
                    "shift",
                    |s| &s.shift,
                    |s| &mut s.shift,
                    TensorOptions::reset_to_zeros(),
                ),
                Self::tensor(
                    "running_mean",
                    |s| &s.running_mean,
                    |s| &mut s.running_mean,
                    TensorOptions::detached(|t| t.try_fill_with_zeros()),
                ),
                Self::tensor(
                    "running_variance",
                    |s| &s.running_variance,
                    |s| &mut s.running_variance,
                    TensorOptions::detached(|t| t.try_fill_with_ones()),
                ),
            ),
            |(scale, shift, running_mean, running_variance)| BuiltBatchNorm {
                scale,
                shift,
                running_mean,
                running_variance,
            },
        )
    }
}

impl<const C: usize, E: Real, D: Backend<E>> BuiltBatchNorm<C, E, D> {
    fn infer<S: Shape>(&self, x: Tensor<S, E, D>) -> Result<Tensor<S, E, D>, D::Err> {
        let deviation = self.running_variance.clone().try_add(E::of(EPSILON))?.try_sqrt()?;
        let factor = self.scale.clone().try_div(deviation)?;
        let shift = self.running_mean.clone().try_mul(factor.clone())?.try_negate()?;
        D::scale_and_shift(x, &factor, &shift.try_add(self.shift.clone())?)
    }

    fn train<S: Shape, T: Tape<E, D>>(
        &mut self,
        x: Tensor<S, E, D, T>,
    ) -> Result<Tensor<S, E, D, T>, D::Err> {
        let count = x.shape().num_elements() / C.max(1);
        let (y, [mean, variance]) = D::batch_norm(x, (&self.scale, &self.shift), EPSILON)?;
        self.running_mean.try_axpy(1.0 - MOMENTUM, &mean, MOMENTUM)?;
        if count > 1 {
            let unbiased = count as f64 / (count - 1) as f64;
            self.running_variance.try_axpy(1.0 - MOMENTUM, &variance, MOMENTUM * unbiased)?;
        }
        Ok(y)
    }
}

/// A signal of `C` channels.
#[diagnostic::on_unimplemented(
    message = "the layer `BatchNorm<{C}>` does not take a `{Self}`",
    label = "a `{Self}` arrives at `BatchNorm<{C}>`",
    note = "`BatchNorm<C>` takes an `Image<C, _, _>` or a `Width<C>`"
)]
pub trait Channels<const C: usize, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
    /// The same as an activation.
    type Activation: Signal<E, D>;

    #[doc(hidden)]
    fn infer(
        built: &BuiltBatchNorm<C, E, D>,
        input: Self::Plain,
    ) -> Result<<Self::Activation as Signal<E, D>>::Plain, D::Err>;

    #[doc(hidden)]
    fn train(
        built: &mut BuiltBatchNorm<C, E, D>,
        input: Self::Traced,
    ) -> Result<<Self::Activation as Signal<E, D>>::Traced, D::Err>;

    #[doc(hidden)]
    #[allow(clippy::type_complexity)]
    fn stacked(
        pass: &mut StackPass<'_, E, D>,
        input: Self::Traced,
    ) -> Result<Option<<Self::Activation as Signal<E, D>>::Traced>, D::Err>;
}

impl<In, const C: usize, E: Real, D: Backend<E>> Takes<In, E, D> for BatchNorm<C>
where
    In: Channels<C, E, D>,
{
    type Out = In::Activation;
    type Then<S: Signal<E, D>> = S;
    const DRAWS: bool = false;

    fn infer(
        built: &Self::Built,
        input: In::Plain,
    ) -> Result<<In::Activation as Signal<E, D>>::Plain, D::Err> {
        In::infer(built, input)
    }

    fn train(
        built: &mut Self::Built,
        input: In::Traced,
    ) -> Result<<In::Activation as Signal<E, D>>::Traced, D::Err> {
        In::train(built, input)
    }

    fn stacked(
        _: &mut Self::Built,
        input: In::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<<In::Activation as Signal<E, D>>::Traced>, D::Err> {
        In::stacked(pass, input)
    }
}

/// On rows and on images, as a module.
macro_rules! normalises {
    ($tensor:ty, $traced:ty $(, $n:ident)*) => {
        /// In inference: with the running statistics.
        impl<$(const $n: usize,)* const C: usize, E: Real, D: Backend<E>> Module<$tensor>
            for BuiltBatchNorm<C, E, D>
        {
            type Output = $tensor;
            type Error = D::Err;

            fn try_forward(&self, x: $tensor) -> Result<$tensor, D::Err> {
                self.infer(x)
            }
        }

        /// In training: with the statistics of the batch, which the running ones follow.
        impl<$(const $n: usize,)* const C: usize, E: Real, D: Backend<E>> ModuleMut<$traced>
            for BuiltBatchNorm<C, E, D>
        {
            type Output = $traced;
            type Error = D::Err;

            fn try_forward_mut(&mut self, x: $traced) -> Result<$traced, D::Err> {
                self.train(x)
            }
        }
    };
}

normalises!(Rows<Const<C>, E, D>, Rows<Const<C>, E, D, OwnedTape<E, D>>);
normalises!(Images<C, H, W, E, D>, Images<C, H, W, E, D, OwnedTape<E, D>>, H, W);

impl<const C: usize, K: Kind, E: Real, D: Backend<E>> Channels<C, E, D> for Width<C, K> {
    type Activation = Width<C>;

    fn infer(
        built: &BuiltBatchNorm<C, E, D>,
        input: Self::Plain,
    ) -> Result<Rows<Const<C>, E, D>, D::Err> {
        built.infer(input)
    }

    fn train(
        built: &mut BuiltBatchNorm<C, E, D>,
        input: Self::Traced,
    ) -> Result<TracedRows<Const<C>, E, D>, D::Err> {
        let (input, tape) = input.split_tape();
        built.train(input.put_tape(K::tape(tape)))
    }

    fn stacked(
        pass: &mut StackPass<'_, E, D>,
        input: Self::Traced,
    ) -> Result<Option<TracedRows<Const<C>, E, D>>, D::Err> {
        let (input, tape) = input.split_tape();
        let how = (C, EPSILON, MOMENTUM);
        pass.batch_norm(input.put_tape(K::tape(tape)), how, |rows| (rows, Const))
    }
}

impl<const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>>
    Channels<C, E, D> for Image<C, H, W, K>
{
    type Activation = Image<C, H, W>;

    fn infer(
        built: &BuiltBatchNorm<C, E, D>,
        input: Self::Plain,
    ) -> Result<Images<C, H, W, E, D>, D::Err> {
        built.infer(input)
    }

    fn train(
        built: &mut BuiltBatchNorm<C, E, D>,
        input: Self::Traced,
    ) -> Result<Images<C, H, W, E, D, OwnedTape<E, D>>, D::Err> {
        let (input, tape) = input.split_tape();
        built.train(input.put_tape(K::tape(tape)))
    }

    fn stacked(
        pass: &mut StackPass<'_, E, D>,
        input: Self::Traced,
    ) -> Result<Option<Images<C, H, W, E, D, OwnedTape<E, D>>>, D::Err> {
        let (input, tape) = input.split_tape();
        let how = (C, EPSILON, MOMENTUM);
        pass.batch_norm(input.put_tape(K::tape(tape)), how, |rows| (rows, Const, Const, Const))
    }
}
