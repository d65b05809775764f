//! Batch normalisation.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut, ModuleVisitor, TensorCollection, TensorOptions},
    prelude::*,
};

use super::{Image, Images, rows};
use crate::{
    device::{Backend, Column, Real, Rows},
    nn::{Kind, Signal, Takes, Width},
    plan::{
        self, Borrowed, Lowered, MovingStatistics, Operation, Running, Value, handle, infer, train,
    },
};

/// Batch normalisation of `C` channels (Ioffe, Szegedy 2015, *Batch normalization*, algorithms 1
/// and 2): y = γ (x − μ) / √(σ² + ε) + β, with ε = 1e-5.
///
/// μ and σ² are those of the batch in training, over all rows and pixels, and running ones in
/// inference, which follow by a tenth of the way at each step; σ² for these is the unbiased
/// estimate. A batch with a single number for each channel says nothing of σ², so that only μ
/// follows; and it comes out as β.
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
        let shape = *x.shape();
        let operation = lowered(Borrowed::Shared(self))?;
        let (y, _) = infer(&operation, Value::Rows(rows(x)?), None)?.into_rows()?;
        y.try_reshape_like(&shape)
    }

    fn train<S: Shape>(
        &mut self,
        x: Tensor<S, E, D, OwnedTape<E, D>>,
    ) -> Result<Tensor<S, E, D, OwnedTape<E, D>>, D::Err> {
        let shape = *x.shape();
        let mut operation = lowered(Borrowed::Mutable(self))?;
        let (y, _) = train(&mut operation, Value::Rows(rows(x)?))?.into_rows()?;
        y.try_reshape_like(&shape)
    }
}

/// The layer as an operation.
fn lowered<const C: usize, E: Real, D: Backend<E>>(
    built: Borrowed<'_, BuiltBatchNorm<C, E, D>>,
) -> Lowered<'_, E, D> {
    let parts = built.get();
    let (scale, shift) = (handle(&parts.scale, (C,))?, handle(&parts.shift, (C,))?);
    let running = match built {
        Borrowed::Shared(built) => Running::Fixed(built.now()?),
        Borrowed::Mutable(built) => Running::Moving(built),
    };
    let (epsilon, momentum) = (EPSILON, MOMENTUM);
    let norm = plan::BatchNorm { scale, shift, epsilon, momentum, running };
    Ok(Operation::BatchNorm(Box::new(norm)))
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
    /// `S` itself, but known only where the layer takes this signal.
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;
}

impl<In, const C: usize, E: Real, D: Backend<E>> Takes<In, E, D> for BatchNorm<C>
where
    In: Channels<C, E, D>,
{
    type Out = In::Activation;
    type Then<S: Signal<E, D>> = In::Then<S>;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        lowered(built)
    }
}

impl<const C: usize, E: Real, D: Backend<E>> MovingStatistics<E, D> for BuiltBatchNorm<C, E, D> {
    fn now(&self) -> Result<[Column<E, D>; 2], D::Err> {
        Ok([handle(&self.running_mean, (C,))?, handle(&self.running_variance, (C,))?])
    }

    fn follow(&mut self, [mean, variance]: [Column<E, D>; 2], count: usize) -> Result<(), D::Err> {
        let (mean, variance) = (handle(&mean, (Const,))?, handle(&variance, (Const,))?);
        self.running_mean.try_axpy(1.0 - MOMENTUM, &mean, MOMENTUM)?;
        if count > 1 {
            let unbiased = count as f64 / (count - 1) as f64;
            self.running_variance.try_axpy(1.0 - MOMENTUM, &variance, MOMENTUM * unbiased)?;
        }
        Ok(())
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
    type Then<S: Signal<E, D>> = S;
}

impl<const C: usize, const H: usize, const W: usize, K: Kind, E: Real, D: Backend<E>>
    Channels<C, E, D> for Image<C, H, W, K>
{
    type Activation = Image<C, H, W>;
    type Then<S: Signal<E, D>> = S;
}
