//! A dfdx module on typed signals as one operation.

use std::marker::PhantomData;

use dfdx::{
    nn::{RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorRef},
    prelude::*,
};

use super::Signal;
#[cfg(feature = "inference")]
use crate::plan::RowNorm;
use crate::{
    device::{Backend, Matrix, Real},
    plan::{Borrowed, ModuleOperation, Value},
};

/// What reads a batch norm of rows off a module.
#[cfg(feature = "inference")]
pub(super) type AsRowNorm<B, E, D> = fn(&B) -> Result<RowNorm<E, D>, <D as HasErr>::Err>;

/// A module on typed signals: from `In` to `Out`.
pub(super) struct Typed<'a, B, In: Signal<E, D>, Out: Signal<E, D>, E: Real, D: Backend<E>> {
    pub(super) built: Borrowed<'a, B>,
    pub(super) name: &'static str,
    pub(super) draws: bool,
    /// Itself as a batch norm of rows, where it is one.
    #[cfg(feature = "inference")]
    pub(super) row_norm: Option<AsRowNorm<B, E, D>>,
    #[allow(clippy::type_complexity, reason = "the two passes of dfdx's `Module` and `ModuleMut`")]
    pub(super) infer: fn(&B, In::Plain) -> Result<Out::Plain, D::Err>,
    #[allow(clippy::type_complexity, reason = "as above")]
    pub(super) train: fn(&mut B, In::Traced) -> Result<Out::Traced, D::Err>,
    pub(super) signals: PhantomData<(In, Out)>,
}

impl<B, In, Out, E, D> ModuleOperation<E, D> for Typed<'_, B, In, Out, E, D>
where
    B: TensorCollection<E, D>,
    In: Signal<E, D>,
    Out: Signal<E, D>,
    E: Real,
    D: Backend<E>,
{
    fn name(&self) -> String {
        self.name.rsplit("::").next().unwrap_or(self.name).to_owned()
    }

    fn parameters(&self) -> usize {
        self.built.get().num_trainable_params()
    }

    fn has_tensors(&self) -> bool {
        has_tensors(self.built.get())
    }

    fn draws(&self) -> bool {
        self.draws
    }

    #[cfg(feature = "inference")]
    fn as_row_norm(&self) -> Result<Option<RowNorm<E, D>>, D::Err> {
        self.row_norm.map(|read| read(self.built.get())).transpose()
    }

    fn infer(&self, value: Value<E, D>) -> Result<Matrix<E, D>, D::Err> {
        Out::erase((self.infer)(self.built.get(), In::plain(value)?)?)
    }

    fn train(
        &mut self,
        value: Value<E, D, OwnedTape<E, D>>,
    ) -> Result<Matrix<E, D, OwnedTape<E, D>>, D::Err> {
        let input = In::traced(value)?;
        match &mut self.built {
            Borrowed::Mutable(built) => Out::erase_traced((self.train)(built, input)?),
            // A pass that must not change the module sees it as inference does.
            Borrowed::Shared(built) => {
                let output = Out::erase((self.infer)(built, In::untraced(input))?)?;
                Ok(output.put_tape(OwnedTape::default()))
            }
        }
    }
}

/// Whether a module has tensors, trained or not.
fn has_tensors<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(module: &M) -> bool {
    struct Any(bool);
    impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Any {
        type Viewer = ViewTensorRef;
        type Err = D::Err;
        type E2 = E;
        type D2 = D;

        fn visit<S: Shape>(
            &mut self,
            _: TensorOptions<S, E, D>,
            _: &Tensor<S, E, D>,
        ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
            self.0 = true;
            Ok(None)
        }
    }
    let mut any = Any(false);
    M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut any }).is_ok() && any.0
}
