//! The dense layer as one operation on dfdx's tape: product and bias, and back.

use dfdx::prelude::*;

use super::{
    activation::to_write,
    buffer::{filled, spent},
    product::{Matrix, Start, product, transpose},
    vector::vectorised,
    view::{elements, elements_mut},
};
use crate::device::{Real, Rows};

/// For contiguous tensors: y = x Wᵀ + b; back: ∂W += ∂yᵀ x, ∂b += Σ ∂y, and ∂x += ∂y W where it is asked for.
pub(crate) fn dense<const I: usize, const O: usize, E: Real, T: Tape<E, Cpu>>(
    x: Rows<Const<I>, E, Cpu, T>,
    weight: &Tensor<Rank2<O, I>, E, Cpu>,
    bias: &Tensor<Rank1<O>, E, Cpu>,
    input_gradient: bool,
) -> Result<Rows<Const<O>, E, Cpu, T>, CpuError> {
    let rows = x.shape().0;
    let y = filled(x.device(), (rows, Const::<O>), |y| forward(y, Start::Row, &x, weight, bias))?;
    let (x, mut tape) = x.split_tape();
    // Nothing reads its gradient after us.
    record(&mut tape, &y, x, (weight, bias), input_gradient, spent);
    Ok(y.put_tape(tape))
}

/// [`dense`] added to `sum`, for contiguous tensors; the sum's gradient is y's.
pub(crate) fn dense_onto<const I: usize, const O: usize, E: Real, T: Tape<E, Cpu>>(
    x: Rows<Const<I>, E, Cpu, T>,
    weight: &Tensor<Rank2<O, I>, E, Cpu>,
    bias: &Tensor<Rank1<O>, E, Cpu>,
    sum: Rows<Const<O>, E, Cpu, T>,
    input_gradient: bool,
) -> Result<Rows<Const<O>, E, Cpu, T>, CpuError> {
    let (sum, tape) = sum.split_tape();
    let (x, own_tape) = x.split_tape();
    let mut tape = own_tape.merge(tape);
    let mut y = to_write(sum, &mut tape)?;
    let numbers = elements_mut(&mut y).ok_or(CpuError::WrongNumElements)?;
    forward(numbers, Start::Both, &x, weight, bias)?;
    // The rest of the sum needs its gradient too.
    record(&mut tape, &y, x, (weight, bias), input_gradient, std::convert::identity);
    Ok(y.put_tape(tape))
}

/// Records the way back from y; `leave` says what stays of ∂y.
fn record<const I: usize, const O: usize, E: Real, T: Tape<E, Cpu>>(
    tape: &mut T,
    y: &Rows<Const<O>, E, Cpu>,
    x: Rows<Const<I>, E, Cpu>,
    (weight, bias): (&Tensor<Rank2<O, I>, E, Cpu>, &Tensor<Rank1<O>, E, Cpu>),
    input_gradient: bool,
    leave: fn(Vec<E>) -> Vec<E>,
) {
    if !T::OWNS_TAPE {
        return;
    }
    let (weight, bias, y) = (weight.clone(), bias.clone(), y.ghost());
    tape.add_backward_op(move |gradients| {
        // Taken out so that the others can be borrowed, and put back after.
        let dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&y)?);
        backward(gradients, &dy, &x, (&weight, &bias), input_gradient)?;
        **gradients.get_or_alloc_mut(&y)? = leave(dy);
        Ok(())
    });
}

/// y ← start + x Wᵀ, where b is a row of the start.
fn forward<'a, const I: usize, const O: usize, E: Real, T: Tape<E, Cpu>>(
    y: &mut [E],
    start: fn(&'a [E]) -> Start<'a, E>,
    x: &Rows<Const<I>, E, Cpu, T>,
    weight: &Tensor<Rank2<O, I>, E, Cpu>,
    bias: &'a Tensor<Rank1<O>, E, Cpu>,
) -> Result<(), CpuError> {
    let (Some(x_data), Some(w_data), Some(b_data)) =
        (elements(x), elements(weight), elements(bias))
    else {
        return Err(CpuError::WrongNumElements);
    };
    let w_matrix = Matrix::new(w_data, O, I);
    product(y, start(b_data), Matrix::new(x_data, x.shape().0, I), w_matrix.transposed())
}

/// Adds the gradients that follow from ∂y.
fn backward<const I: usize, const O: usize, E: Real>(
    gradients: &mut Gradients<E, Cpu>,
    dy: &[E],
    x: &Rows<Const<I>, E, Cpu>,
    (weight, bias): (&Tensor<Rank2<O, I>, E, Cpu>, &Tensor<Rank1<O>, E, Cpu>),
    input_gradient: bool,
) -> Result<(), CpuError> {
    let rows = x.shape().0;
    let dy_matrix = Matrix::new(dy, rows, O);
    let (Some(x_data), Some(w_data)) = (elements(x), elements(weight)) else {
        return Err(CpuError::WrongNumElements);
    };
    let dw = gradients.get_or_alloc_mut(weight)?;
    product(dw, Start::There, dy_matrix.transposed(), Matrix::new(x_data, rows, I))?;
    let db = gradients.get_or_alloc_mut(bias)?;
    vectorised(|| {
        for row in dy.chunks_exact(O.max(1)) {
            db.iter_mut().zip(row).for_each(|(sum, dy)| *sum += *dy);
        }
    });
    if input_gradient {
        let dx = gradients.get_or_alloc_mut(x)?;
        product(dx, Start::There, dy_matrix, Matrix::new(w_data, O, I))?;
    }
    Ok(())
}

/// For contiguous tensors without a tape: y = x V + b.
pub(crate) fn dense_turned<const I: usize, const O: usize, E: Real>(
    x: &Rows<Const<I>, E, Cpu>,
    turned: &Tensor<Rank2<I, O>, E, Cpu>,
    bias: &Tensor<Rank1<O>, E, Cpu>,
) -> Result<Rows<Const<O>, E, Cpu>, CpuError> {
    let rows = x.shape().0;
    let (Some(x_data), Some(v_data), Some(b_data)) =
        (elements(x), elements(turned), elements(bias))
    else {
        return Err(CpuError::WrongNumElements);
    };
    filled(x.device(), (rows, Const::<O>), |y| {
        let (x, v) = (Matrix::new(x_data, rows, I), Matrix::new(v_data, I, O));
        product(y, Start::Row(b_data), x, v)
    })
}

/// Wᵀ of a contiguous W.
pub(crate) fn turned<const I: usize, const O: usize, E: Real>(
    weight: &Tensor<Rank2<O, I>, E, Cpu>,
) -> Result<Tensor<Rank2<I, O>, E, Cpu>, CpuError> {
    let w_data = elements(weight).ok_or(CpuError::WrongNumElements)?;
    filled(weight.device(), Default::default(), |to| {
        transpose(w_data, [O, I], to);
        Ok(())
    })
}
