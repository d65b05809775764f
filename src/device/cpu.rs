//! The processor: fused layers, in-place optimisers, blocks on threads.

use std::sync::PoisonError;

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Backend, Lanes, Place, Real, Rows, Window, lanes, plain_combined, plain_dense, plain_is_finite,
};
use crate::{
    kernel,
    optim::{AdamWStep, SgdStep},
};

impl<E: Real> Backend<E> for Cpu
where
    Cpu: Device<E>,
{
    const THREADS: bool = true;

    fn seeded(&self, seed: u64) -> Self {
        Cpu::seed_from_u64(seed)
    }

    fn reuse(rows: usize) -> Option<kernel::Reuse> {
        Some(kernel::reuse(rows))
    }

    fn normals<S: Shape>(
        &self,
        (seed, kept): (u64, &mut Option<Lanes<Self>>),
        streams: &mut [ChaCha8Rng],
        shape: S,
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        lanes::normals(self, (seed, kept), streams, shape)
    }

    fn shared<S: Shape>(
        place: &Place,
        make: impl FnOnce() -> Result<Tensor<S, E, Self>, CpuError>,
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        // A poisoned place is one whose maker panicked: there is nothing in it.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = place.as_ref().and_then(|kept| kept.downcast_ref()) {
            return Ok(Tensor::clone(tensor));
        }
        let tensor = make()?;
        *place = Some(Box::new(tensor.clone()));
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

    fn dense<const I: usize, const O: usize, T: Tape<E, Self>>(
        x: Rows<Const<I>, E, Self, T>,
        weight: &Tensor<Rank2<O, I>, E, Self>,
        bias: &Tensor<Rank1<O>, E, Self>,
        input_gradient: bool,
    ) -> Result<Rows<Const<O>, E, Self, T>, CpuError> {
        if !kernel::contiguous(&x) {
            return plain_dense(x, weight, bias);
        }
        kernel::dense(x, weight, bias, input_gradient)
    }

    fn dense_onto<const I: usize, const O: usize, T: Tape<E, Self>>(
        x: Rows<Const<I>, E, Self, T>,
        (weight, bias): (&Tensor<Rank2<O, I>, E, Self>, &Tensor<Rank1<O>, E, Self>),
        sum: Rows<Const<O>, E, Self, T>,
        input_gradient: bool,
    ) -> Result<Rows<Const<O>, E, Self, T>, CpuError> {
        if kernel::contiguous(&x) && kernel::contiguous(&sum) {
            return kernel::dense_onto(x, weight, bias, sum, input_gradient);
        }
        <Self as Backend<E>>::sum(sum, Self::dense(x, weight, bias, input_gradient)?)
    }

    const TURNS: bool = true;

    fn turned<const I: usize, const O: usize>(
        weight: &Tensor<Rank2<O, I>, E, Self>,
    ) -> Result<Tensor<Rank2<I, O>, E, Self>, CpuError> {
        kernel::turned(&weight.clone().try_contiguous()?)
    }

    fn dense_turned<const I: usize, const O: usize>(
        x: Rows<Const<I>, E, Self>,
        turned: &Tensor<Rank2<I, O>, E, Self>,
        bias: &Tensor<Rank1<O>, E, Self>,
    ) -> Result<Rows<Const<O>, E, Self>, CpuError> {
        kernel::dense_turned(&x.try_contiguous()?, turned, bias)
    }

    fn time_embedding<const DIM: usize>(
        times: Tensor<(usize,), E, Self>,
    ) -> Result<Rows<Const<DIM>, E, Self>, CpuError> {
        kernel::time_embedding(&times)
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

    fn softmax<C: ConstDim, T: Tape<E, Self>>(
        rows: Rows<C, E, Self, T>,
    ) -> Result<Rows<C, E, Self, T>, CpuError> {
        if T::OWNS_TAPE || !kernel::contiguous(&rows) {
            return rows.try_softmax::<Axis<1>>();
        }
        let (rows, tape) = rows.split_tape();
        Ok(kernel::softmax(rows)?.put_tape(tape))
    }

    fn convolution<X: Shape, F: Shape, B: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        filter: (&Tensor<F, E, Self>, &Tensor<B, E, Self>),
        window: Window,
        shape: Y,
        input_gradient: bool,
    ) -> Result<Tensor<Y, E, Self, T>, CpuError> {
        kernel::convolution(x, filter, window, shape, input_gradient)
    }

    fn max_pool<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        window: Window,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, CpuError> {
        kernel::max_pool(x, window, shape)
    }

    fn average_pool<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        window: Window,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, CpuError> {
        kernel::average_pool(x, window, shape)
    }

    fn batch_norm<S: Shape, C: Shape, T: Tape<E, Self>>(
        x: Tensor<S, E, Self, T>,
        affine: (&Tensor<C, E, Self>, &Tensor<C, E, Self>),
        epsilon: f64,
    ) -> Result<(Tensor<S, E, Self, T>, [Tensor<C, E, Self>; 2]), CpuError> {
        kernel::batch_norm(x, affine, epsilon)
    }

    fn scale_and_shift<S: Shape, C: Shape>(
        x: Tensor<S, E, Self>,
        factor: &Tensor<C, E, Self>,
        shift: &Tensor<C, E, Self>,
    ) -> Result<Tensor<S, E, Self>, CpuError> {
        kernel::scale_and_shift(&x, factor, shift)
    }

    fn channels_last<X: Shape, Y: Shape, T: Tape<E, Self>>(
        x: Tensor<X, E, Self, T>,
        channels: usize,
        shape: Y,
    ) -> Result<Tensor<Y, E, Self, T>, CpuError> {
        kernel::channels_last(x, channels, shape)
    }

    fn add_row<const N: usize>(
        a: Rows<Const<N>, E, Self>,
        b: Rows<Const<N>, E, Self>,
    ) -> Result<Rows<Const<N>, E, Self>, CpuError> {
        kernel::add_row(a, b)
    }

    fn squared_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
    ) -> Result<f64, CpuError> {
        kernel::squared_gradient(parameter, gradients)
    }

    fn move_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        to: &mut Gradients<E, Self>,
        from: &mut Gradients<E, Self>,
    ) -> Result<(), CpuError> {
        kernel::move_gradient(parameter, to, from)
    }

    fn adamw<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), CpuError> {
        kernel::adamw(parameter, gradients, first, second, step)
    }

    fn sgd<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), CpuError> {
        kernel::sgd(parameter, gradients, velocity, step)
    }

    fn adamw_by<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        first: &mut Tensor<(usize,), E, Self>,
        second: &mut Tensor<(usize,), E, Self>,
        step: &AdamWStep,
    ) -> Result<(), CpuError> {
        kernel::adamw_by(parameter, fill, first, second, step)
    }

    fn sgd_by<S: Shape>(
        parameter: &mut Tensor<S, E, Self>,
        fill: &mut dyn FnMut(&mut [E]),
        velocity: &mut Tensor<(usize,), E, Self>,
        step: &SgdStep,
    ) -> Result<(), CpuError> {
        kernel::sgd_by(parameter, fill, velocity, step)
    }

    fn change<S: Shape>(
        tensor: &mut Tensor<S, E, Self>,
        change: &mut dyn FnMut(&mut [E]),
    ) -> Result<(), CpuError> {
        kernel::change(tensor, change)
    }

    fn add_gradient<S: Shape>(
        parameter: &Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        values: &[E],
    ) -> Result<(), CpuError> {
        kernel::add_gradient(parameter, gradients, values)
    }
}
