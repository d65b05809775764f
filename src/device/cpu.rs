//! The processor: fused layers, in-place optimisers, blocks on threads.

use std::sync::PoisonError;

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Backend, Column, Filters, Lanes, Matrix, Normalised, Real, Rows, SharedSlot, TensorMut, Window,
    lanes, plain_combined, plain_cross_entropy, plain_dense, plain_is_finite,
};
use crate::{
    kernel::{self, AdamWStep, SgdStep},
    number::Precision,
};

impl<E: Real> Backend<E> for Cpu
where
    Cpu: Device<E>,
{
    type Block = dyn crate::block::AnyBlock<E, Self> + Send + Sync;
    const THREADS: bool = true;

    fn seeded(&self, seed: u64) -> Self {
        Cpu::seed_from_u64(seed)
    }

    fn reuse(rows: usize) -> Option<kernel::Reuse> {
        Some(kernel::reuse(rows))
    }

    fn products_in(precision: Precision) -> Option<kernel::Products> {
        kernel::is_single::<E>().then(|| kernel::products_in(precision))
    }

    fn normals(
        &self,
        seed: u64,
        kept: &mut Option<Lanes<Self>>,
        streams: &mut [ChaCha8Rng],
        shape: (usize, usize),
    ) -> Result<Matrix<E, Self>, CpuError> {
        lanes::normals(self, seed, kept, streams, shape)
    }

    fn shared<S: Shape>(
        slot: &SharedSlot,
        make: impl FnOnce() -> Result<Tensor<S, E, Self>, CpuError>,
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        // A poisoned slot is one whose maker panicked: there is nothing in it.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = slot.as_ref().and_then(|kept| kept.downcast_ref()) {
            return Ok(Tensor::clone(tensor));
        }
        let tensor = make()?;
        *slot = Some(Box::new(tensor.clone()));
        Ok(tensor)
    }

    fn filled<S: Shape>(
        &self,
        shape: S,
        fill: &mut dyn FnMut(&mut [E]),
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        kernel::filled(self, shape, |numbers| {
            fill(numbers);
            Ok(())
        })
    }

    fn dense<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        weight: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        if !kernel::contiguous(&x) {
            return plain_dense(x, weight, bias);
        }
        kernel::dense(x, weight, bias, input_gradient)
    }

    fn dense_onto<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        weight: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        sum: Matrix<E, Self, T>,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        if kernel::contiguous(&x) && kernel::contiguous(&sum) {
            return kernel::dense_onto(x, weight, bias, sum, input_gradient);
        }
        <Self as Backend<E>>::sum(sum, Self::dense(x, weight, bias, input_gradient)?)
    }

    const TRANSPOSES: bool = true;

    fn transposed(weight: &Matrix<E, Self>) -> Result<Matrix<E, Self>, CpuError> {
        kernel::transposed(&weight.clone().try_contiguous()?)
    }

    fn dense_transposed(
        x: Matrix<E, Self>,
        transposed: &Matrix<E, Self>,
        bias: &Column<E, Self>,
        sum: Option<Matrix<E, Self>>,
    ) -> Result<Matrix<E, Self>, CpuError> {
        let sum = sum.map(Tensor::try_contiguous).transpose()?;
        kernel::dense_transposed(&x.try_contiguous()?, transposed, bias, sum)
    }

    fn time_embedding(times: Column<E, Self>, width: usize) -> Result<Matrix<E, Self>, CpuError> {
        kernel::time_embedding(&times, width)
    }

    fn relu<S: Shape, T: Tape<E, Self>>(
        x: Tensor<S, E, Self, T>,
    ) -> Result<Tensor<S, E, Self, T>, CpuError> {
        if kernel::contiguous(&x) { kernel::relu(x) } else { x.try_relu() }
    }

    fn sum<S: Shape, T: Tape<E, Self>>(
        a: Tensor<S, E, Self, T>,
        b: Tensor<S, E, Self, T>,
    ) -> Result<Tensor<S, E, Self, T>, CpuError> {
        if kernel::contiguous(&a) && kernel::contiguous(&b) {
            kernel::add(a, b)
        } else {
            a.try_add(b)
        }
    }

    fn combined<S: Shape>(
        weight: f64,
        z: &Tensor<S, E, Self>,
        terms: &[(f64, &Tensor<S, E, Self>)],
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        if kernel::contiguous(z) && terms.iter().all(|(_, term)| kernel::contiguous(term)) {
            kernel::combined(weight, z, terms)
        } else {
            plain_combined(weight, z, terms)
        }
    }

    fn is_finite<S: Shape>(z: &Tensor<S, E, Self>) -> Result<bool, CpuError> {
        if kernel::contiguous(z) { kernel::is_finite(z) } else { plain_is_finite(z) }
    }

    fn softmax<C: Dim, T: Tape<E, Self>>(
        rows: Rows<C, E, Self, T>,
    ) -> Result<Rows<C, E, Self, T>, CpuError> {
        if kernel::contiguous(&rows) {
            kernel::softmax(rows)
        } else {
            rows.try_softmax::<Axis<1>>()
        }
    }

    fn cross_entropy<T: Tape<E, Self>>(
        logits: Matrix<E, Self, T>,
        targets: Matrix<E, Self>,
    ) -> Result<Column<E, Self, T>, CpuError> {
        if kernel::contiguous(&logits) && kernel::contiguous(&targets) {
            kernel::cross_entropy(logits, targets)
        } else {
            plain_cross_entropy(logits, targets)
        }
    }

    fn convolution<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        filter: &Filters<E, Self>,
        bias: &Column<E, Self>,
        window: Window,
        input_gradient: bool,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        kernel::convolution(x, filter, bias, window, input_gradient)
    }

    fn max_pool<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        window: Window,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        kernel::max_pool(x, window)
    }

    fn average_pool<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        window: Window,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        kernel::average_pool(x, window)
    }

    fn batch_norm<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        scale: &Column<E, Self>,
        shift: &Column<E, Self>,
        epsilon: f64,
    ) -> Result<Normalised<E, Self, T>, CpuError> {
        kernel::batch_norm(x, scale, shift, epsilon)
    }

    fn scale_and_shift(
        x: Matrix<E, Self>,
        factor: &Column<E, Self>,
        shift: &Column<E, Self>,
    ) -> Result<Matrix<E, Self>, CpuError> {
        kernel::scale_and_shift(&x, factor, shift)
    }

    fn channels_last<T: Tape<E, Self>>(
        x: Matrix<E, Self, T>,
        channels: usize,
    ) -> Result<Matrix<E, Self, T>, CpuError> {
        kernel::channels_last(x, channels)
    }

    fn add_row(a: Matrix<E, Self>, b: Matrix<E, Self>) -> Result<Matrix<E, Self>, CpuError> {
        kernel::add_row(a, b)
    }

    fn squared_gradient(
        parameter: &Column<E, Self>,
        gradients: &mut Gradients<E, Self>,
    ) -> Result<f64, CpuError> {
        Ok(kernel::sum_of_squares(kernel::gradient(gradients, parameter)?))
    }

    fn move_gradient(
        parameter: &Column<E, Self>,
        to: &mut Gradients<E, Self>,
        from: &mut Gradients<E, Self>,
    ) -> Result<(), CpuError> {
        let (to, from) = (kernel::gradient(to, parameter)?, kernel::gradient(from, parameter)?);
        kernel::move_gradient(to, from);
        Ok(())
    }

    fn adamw(
        parameter: &mut dyn TensorMut<E, Self>,
        gradients: &mut Gradients<E, Self>,
        first: &mut Column<E, Self>,
        second: &mut Column<E, Self>,
        step: &AdamWStep,
    ) -> Result<(), CpuError> {
        let gradient = kernel::gradient(gradients, &parameter.flat()?)?;
        let (m, v) = (numbers(first)?, numbers(second)?);
        parameter.change(&mut |p| kernel::adamw(p, gradient, m, v, step))
    }

    fn sgd(
        parameter: &mut dyn TensorMut<E, Self>,
        gradients: &mut Gradients<E, Self>,
        velocity: &mut Column<E, Self>,
        step: &SgdStep,
    ) -> Result<(), CpuError> {
        let gradient = kernel::gradient(gradients, &parameter.flat()?)?;
        let u = numbers(velocity)?;
        parameter.change(&mut |p| kernel::sgd(p, gradient, u, step))
    }

    fn adamw_by(
        parameter: &mut dyn TensorMut<E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        first: &mut Column<E, Self>,
        second: &mut Column<E, Self>,
        step: &AdamWStep,
    ) -> Result<(), CpuError> {
        let (m, v) = (numbers(first)?, numbers(second)?);
        parameter.change(&mut |p| kernel::adamw_by(p, fill, m, v, step))
    }

    fn sgd_by(
        parameter: &mut dyn TensorMut<E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        velocity: &mut Column<E, Self>,
        step: &SgdStep,
    ) -> Result<(), CpuError> {
        let u = numbers(velocity)?;
        parameter.change(&mut |p| kernel::sgd_by(p, fill, u, step))
    }

    fn change<S: Shape>(
        tensor: &mut Tensor<S, E, Self>,
        change: &mut dyn FnMut(&mut [E]),
    ) -> Result<(), CpuError> {
        kernel::change(tensor, change)
    }

    fn add_gradient(
        parameter: &Column<E, Self>,
        gradients: &mut Gradients<E, Self>,
        values: &[E],
    ) -> Result<(), CpuError> {
        let gradient = kernel::gradient(gradients, parameter)?;
        gradient.iter_mut().zip(values).for_each(|(gradient, value)| *gradient += *value);
        Ok(())
    }
}

/// The numbers of a tensor that the optimiser keeps.
fn numbers<E: Real>(kept: &mut Column<E, Cpu>) -> Result<&mut [E], CpuError> {
    kernel::elements_mut(kept).ok_or(CpuError::WrongNumElements)
}
