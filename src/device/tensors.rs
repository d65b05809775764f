//! The tensors of whatever is trained, without its type.

use dfdx::{
    nn::{
        RecursiveWalker, ScalarOptions, TensorCollection, TensorOptions, TensorVisitor,
        ViewTensorMut, ViewTensorName, ViewTensorRef, ZeroGrads,
    },
    prelude::*,
};
use num_traits::NumCast;

use super::{Backend, Column, Real};

/// One tensor, or one number, with its path.
#[derive(Clone, Debug)]
pub struct NamedValues<E: Real, D: Backend<E>> {
    /// Its path, such as `0.z.weight`.
    pub path: String,
    /// Its sizes; none for a single number.
    pub shape: Vec<usize>,
    /// Whether the optimiser moves it.
    pub trained: bool,
    /// Its numbers, row-major, under the tensor's own id.
    pub values: Column<E, D>,
}

/// A tensor that is changed without knowing its shape.
pub trait TensorMut<E: Real, D: Backend<E>> {
    /// Whether it has two axes or more: what decays.
    fn is_matrix(&self) -> bool;

    /// The same tensor as one row, under the same id.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn flat(&self) -> Result<Column<E, D>, D::Err>;

    /// Puts another tensor in its place.
    ///
    /// # Errors
    /// The device's own.
    fn replace(&mut self, flat: Column<E, D>) -> Result<(), D::Err>;

    /// Writes numbers, row-major.
    fn write(&mut self, values: &[E]);

    /// Changes the numbers, row-major; in place where the device's memory is the host's.
    ///
    /// # Errors
    /// The device's own.
    fn change(&mut self, change: &mut dyn FnMut(&mut [E])) -> Result<(), D::Err>;
}

impl<S: Shape, E: Real, D: Backend<E>> TensorMut<E, D> for Tensor<S, E, D> {
    fn is_matrix(&self) -> bool {
        S::NUM_DIMS > 1
    }

    fn flat(&self) -> Result<Column<E, D>, D::Err> {
        self.clone().try_reshape_like(&(self.shape().num_elements(),))
    }

    fn replace(&mut self, flat: Column<E, D>) -> Result<(), D::Err> {
        *self = flat.try_reshape_like(self.shape())?;
        Ok(())
    }

    fn write(&mut self, values: &[E]) {
        self.copy_from(values);
    }

    fn change(&mut self, change: &mut dyn FnMut(&mut [E])) -> Result<(), D::Err> {
        D::change(self, change)
    }
}

/// One of the things in a module, to be changed.
pub enum Slot<'a, E: Real, D: Backend<E>> {
    /// A tensor that the optimiser moves.
    Trained(&'a mut dyn TensorMut<E, D>),
    /// A tensor that it does not move: running statistics.
    Running(&'a mut dyn TensorMut<E, D>),
    /// A number.
    Scalar(&'a mut dyn ScalarMut),
}

/// A number that is changed without knowing its type.
pub trait ScalarMut {
    /// Writes it.
    fn set(&mut self, value: f64);
}

impl<N: NumCast> ScalarMut for N {
    fn set(&mut self, value: f64) {
        if let Some(value) = N::from(value) {
            *self = value;
        }
    }
}

/// What is done with each slot.
pub type VisitMut<'f, E, D> = dyn FnMut(Slot<'_, E, D>) -> Result<(), <D as HasErr>::Err> + 'f;

/// Something that is trained: its tensors, in dfdx's order.
pub trait Tensors<E: Real, D: Backend<E>> {
    /// All of them, each with its path.
    ///
    /// # Errors
    /// The device's own.
    fn named(&self) -> Result<Vec<NamedValues<E, D>>, D::Err>;

    /// Visits each of them.
    ///
    /// # Errors
    /// Those of `visit`.
    fn visit_mut(&mut self, visit: &mut VisitMut<'_, E, D>) -> Result<(), D::Err>;

    /// Makes room for the gradients of those that are trained, all zero; gradients of anything else
    /// go after the way back.
    ///
    /// # Errors
    /// The device's own.
    fn zero_gradients(&self, gradients: &mut Gradients<E, D>) -> Result<(), D::Err>;

    /// Visits those that are trained.
    ///
    /// # Errors
    /// Those of `visit`.
    fn visit_trained(
        &mut self,
        visit: &mut dyn FnMut(&mut dyn TensorMut<E, D>) -> Result<(), D::Err>,
    ) -> Result<(), D::Err> {
        self.visit_mut(&mut |slot| match slot {
            Slot::Trained(tensor) => visit(tensor),
            Slot::Running(_) | Slot::Scalar(_) => Ok(()),
        })
    }

    /// How many numbers are trained.
    ///
    /// # Errors
    /// The device's own.
    fn parameters(&self) -> Result<usize, D::Err> {
        let named = self.named()?;
        let trained = named.iter().filter(|tensor| tensor.trained);
        Ok(trained.map(|tensor| tensor.values.shape().0).sum())
    }

    /// Takes the numbers of another of the same shape, trained or not.
    ///
    /// # Errors
    /// The device's own.
    fn copy_from(&mut self, other: &dyn Tensors<E, D>) -> Result<(), D::Err> {
        let values = other.named()?;
        let mut values = values.into_iter().map(|tensor| tensor.values.as_vec());
        self.fill(&mut values)
    }

    /// Takes these numbers, one list for each tensor or number.
    ///
    /// # Errors
    /// The device's own.
    fn fill(&mut self, values: &mut dyn Iterator<Item = Vec<E>>) -> Result<(), D::Err> {
        self.visit_mut(&mut |slot| {
            if let Some(values) = values.next() {
                match slot {
                    Slot::Trained(tensor) | Slot::Running(tensor) => tensor.write(&values),
                    Slot::Scalar(scalar) => {
                        values.first().into_iter().for_each(|value| scalar.set(value.as_f64()));
                    }
                }
            }
            Ok(())
        })
    }
}

/// A dfdx module as something that is trained.
#[derive(Clone, Copy, Debug, Default)]
pub struct Module<M>(pub M);

impl<M: TensorCollection<E, D>, E: Real, D: Backend<E>> Tensors<E, D> for Module<M> {
    fn named(&self) -> Result<Vec<NamedValues<E, D>>, D::Err> {
        let mut named = Named(Vec::new());
        M::iter_tensors(&mut RecursiveWalker { m: (&self.0, String::new()), f: &mut named })?;
        Ok(named.0)
    }

    fn visit_mut(&mut self, visit: &mut VisitMut<'_, E, D>) -> Result<(), D::Err> {
        M::iter_tensors(&mut RecursiveWalker { m: &mut self.0, f: &mut Visit(visit) })?;
        Ok(())
    }

    fn zero_gradients(&self, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        self.0.try_zero_grads(gradients)
    }
}

struct Named<E: Real, D: Backend<E>>(Vec<NamedValues<E, D>>);

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Named<E, D> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        (tensor, path): (&Tensor<S, E, D>, String),
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let (shape, trained) = (tensor.shape().concrete().into(), options.do_gradient_update);
        self.0.push(NamedValues { path, shape, trained, values: tensor.flat()? });
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _options: ScalarOptions<N>,
        (value, path): (&N, String),
    ) -> Result<Option<N>, D::Err> {
        // A number is on no device; the first tensor's will do.
        let Some(first) = self.0.first() else { return Ok(None) };
        let values = vec![E::of(value.to_f64().unwrap_or(f64::NAN))];
        let values = first.values.device().try_tensor_from_vec(values, (1,))?;
        self.0.push(NamedValues { path, shape: Vec::new(), trained: false, values });
        Ok(None)
    }
}

struct Visit<'v, 'f, E: Real, D: Backend<E>>(&'v mut VisitMut<'f, E, D>);

impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Visit<'_, '_, E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let trained = options.do_gradient_update;
        (self.0)(if trained { Slot::Trained(tensor) } else { Slot::Running(tensor) })?;
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _options: ScalarOptions<N>,
        scalar: &mut N,
    ) -> Result<Option<N>, D::Err> {
        (self.0)(Slot::Scalar(scalar))?;
        Ok(None)
    }
}
