//! The dense layer as one operation on dfdx's tape: product and bias, and back.

use dfdx::prelude::*;

use super::{
    activation::to_write,
    buffer::{filled, spent},
    product::{Matrix, Start, product, transpose},
    vector::vectorised,
    view::{elements, elements_mut},
};
use crate::{
    number::Real,
    rows::{self, Column},
};

/// A batch of rows.
type Rows<E, T = NoneTape> = rows::Matrix<E, Cpu, T>;
/// W, `[O, I]`.
type Weight<E> = rows::Matrix<E, Cpu>;
/// b, `[O]`.
type Bias<E> = Column<E, Cpu>;

/// For contiguous tensors: y = x Wᵀ + b; back: ∂W += ∂yᵀ x, ∂b += Σ ∂y, and ∂x += ∂y W where it is
/// asked for.
pub(crate) fn dense<E: Real, T: Tape<E, Cpu>>(
    x: Rows<E, T>,
    weight: &Weight<E>,
    bias: &Bias<E>,
    input_gradient: bool,
) -> Result<Rows<E, T>, CpuError> {
    let shape = (x.shape().0, weight.shape().0);
    let v = matrix(weight)?.transposed();
    let y = filled(x.device(), shape, |y| forward(y, Start::Row, &x, v, bias))?;
    let (x, mut tape) = x.split_tape();
    // Nothing reads its gradient after us.
    record(&mut tape, &y, x, weight, bias, input_gradient, spent);
    Ok(y.put_tape(tape))
}

/// [`dense`] added to `sum`, for contiguous tensors; the sum's gradient is y's.
pub(crate) fn dense_onto<E: Real, T: Tape<E, Cpu>>(
    x: Rows<E, T>,
    weight: &Weight<E>,
    bias: &Bias<E>,
    sum: Rows<E, T>,
    input_gradient: bool,
) -> Result<Rows<E, T>, CpuError> {
    let (sum, tape) = sum.split_tape();
    let (x, own_tape) = x.split_tape();
    let mut tape = own_tape.merge(tape);
    let mut y = to_write(sum, &mut tape)?;
    let numbers = elements_mut(&mut y).ok_or(CpuError::WrongNumElements)?;
    forward(numbers, Start::Both, &x, matrix(weight)?.transposed(), bias)?;
    // The rest of the sum needs its gradient too.
    record(&mut tape, &y, x, weight, bias, input_gradient, std::convert::identity);
    Ok(y.put_tape(tape))
}

/// Records the way back from y; `leave` says what stays of ∂y.
fn record<E: Real, T: Tape<E, Cpu>>(
    tape: &mut T,
    y: &Rows<E>,
    x: Rows<E>,
    weight: &Weight<E>,
    bias: &Bias<E>,
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
        backward(gradients, &dy, &x, &weight, &bias, input_gradient)?;
        **gradients.get_or_alloc_mut(&y)? = leave(dy);
        Ok(())
    });
}

/// y ← start + x V, where b is a row of the start.
fn forward<'a, E: Real, T: Tape<E, Cpu>>(
    y: &mut [E],
    start: fn(&'a [E]) -> Start<'a, E>,
    x: &Rows<E, T>,
    v: Matrix<'_, E>,
    bias: &'a Bias<E>,
) -> Result<(), CpuError> {
    let (Some(x_data), Some(b_data)) = (elements(x), elements(bias)) else {
        return Err(CpuError::WrongNumElements);
    };
    let (rows, i) = *x.shape();
    product(y, start(b_data), Matrix::new(x_data, rows, i), v)
}

/// A contiguous weight as a matrix.
fn matrix<E: Real>(weight: &Weight<E>) -> Result<Matrix<'_, E>, CpuError> {
    let (rows, columns) = *weight.shape();
    let data = elements(weight).ok_or(CpuError::WrongNumElements)?;
    Ok(Matrix::new(data, rows, columns))
}

/// Adds the gradients that follow from ∂y.
fn backward<E: Real>(
    gradients: &mut Gradients<E, Cpu>,
    dy: &[E],
    x: &Rows<E>,
    weight: &Weight<E>,
    bias: &Bias<E>,
    input_gradient: bool,
) -> Result<(), CpuError> {
    let (rows, (o, i)) = (x.shape().0, *weight.shape());
    let dy_matrix = Matrix::new(dy, rows, o);
    let (x_data, w_matrix) = (elements(x).ok_or(CpuError::WrongNumElements)?, matrix(weight)?);
    let dw = gradients.get_or_alloc_mut(weight)?;
    product(dw, Start::There, dy_matrix.transposed(), Matrix::new(x_data, rows, i))?;
    let db = gradients.get_or_alloc_mut(bias)?;
    vectorised(|| {
        for row in dy.chunks_exact(o.max(1)) {
            db.iter_mut().zip(row).for_each(|(sum, dy)| *sum += *dy);
        }
    });
    if input_gradient {
        let dx = gradients.get_or_alloc_mut(x)?;
        product(dx, Start::There, dy_matrix, w_matrix)?;
    }
    Ok(())
}

/// For contiguous tensors without a tape: y = x V + b, added to `sum` if there is one.
pub(crate) fn dense_transposed<E: Real>(
    x: &Rows<E>,
    transposed: &Weight<E>,
    bias: &Bias<E>,
    sum: Option<Rows<E>>,
) -> Result<Rows<E>, CpuError> {
    let v = matrix(transposed)?;
    let Some(sum) = sum else {
        let shape = (x.shape().0, transposed.shape().1);
        return filled(x.device(), shape, |y| forward(y, Start::Row, x, v, bias));
    };
    let mut y = to_write(sum, &mut NoneTape)?;
    let numbers = elements_mut(&mut y).ok_or(CpuError::WrongNumElements)?;
    forward(numbers, Start::Both, x, v, bias)?;
    Ok(y)
}

/// Wᵀ of a contiguous W.
pub(crate) fn transposed<E: Real>(weight: &Weight<E>) -> Result<Weight<E>, CpuError> {
    let (o, i) = *weight.shape();
    let w_data = elements(weight).ok_or(CpuError::WrongNumElements)?;
    filled(weight.device(), (i, o), |to| {
        transpose(w_data, [o, i], to);
        Ok(())
    })
}
