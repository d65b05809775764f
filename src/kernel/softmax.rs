//! Softmax and the cross-entropy of logits, each one operation on dfdx's tape.

use dfdx::prelude::*;
use num_traits::Float;

use super::{
    activation::copy,
    buffer::spent,
    exponential::exponentials,
    view::{elements, elements_mut},
};
use crate::{
    number::Real,
    rows::{Column, Matrix, Rows},
};

/// For contiguous rows: p = e^(o − max o) over their sum; back: ∂o += p (∂p − Σ ∂p p).
pub(crate) fn softmax<C: Dim, E: Real, T: Tape<E, Cpu>>(
    rows: Rows<C, E, Cpu, T>,
) -> Result<Rows<C, E, Cpu, T>, CpuError> {
    let width = rows.shape().1.size().max(1);
    let (rows, mut tape) = rows.split_tape();
    let (o, mut p) = match T::OWNS_TAPE {
        true => (Some(rows.ghost()), copy(&rows)?),
        false => (None, rows),
    };
    let numbers = elements_mut(&mut p).ok_or(CpuError::WrongNumElements)?;
    shift(numbers, width);
    exponentials(numbers);
    for row in numbers.chunks_exact_mut(width) {
        normalise(row);
    }
    if let Some(o) = o {
        let kept = p.clone();
        tape.add_backward_op(move |gradients| {
            let p = elements(&kept).ok_or(CpuError::WrongNumElements)?;
            let dp = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&kept)?);
            let d_o: &mut Vec<E> = gradients.get_or_alloc_mut(&o)?;
            let rows = d_o.chunks_exact_mut(width).zip(dp.chunks_exact(width));
            for ((d_o, dp), p) in rows.zip(p.chunks_exact(width)) {
                let mean = dp.iter().zip(p).fold(E::zero(), |sum, (dp, p)| sum + *dp * *p);
                for ((d_o, dp), p) in d_o.iter_mut().zip(dp).zip(p) {
                    *d_o += *p * (*dp - mean);
                }
            }
            **gradients.get_or_alloc_mut(&kept)? = spent(dp);
            Ok(())
        });
    }
    Ok(p.put_tape(tape))
}

/// For contiguous logits o and targets y of one shape: CE = −Σ_c y_c log softmax(o)_c of each
/// row; back: ∂o += ∂CE (softmax(o) Σ_c y_c − y).
pub(crate) fn cross_entropy<E: Real, T: Tape<E, Cpu>>(
    logits: Matrix<E, Cpu, T>,
    targets: Matrix<E, Cpu>,
) -> Result<Column<E, Cpu, T>, CpuError> {
    let (shape, wide) = (*logits.shape(), logits.shape().1.max(1));
    if *targets.shape() != shape {
        return Err(CpuError::WrongNumElements);
    }
    let (logits, mut tape) = logits.split_tape();
    let (o, mut p) = (logits.ghost(), copy(&logits)?);
    let y = elements(&targets).ok_or(CpuError::WrongNumElements)?;
    let numbers = elements_mut(&mut p).ok_or(CpuError::WrongNumElements)?;
    let mut losses = vec![E::zero(); shape.0];
    shift(numbers, wide);
    let rows = numbers.chunks_exact(wide).zip(y.chunks_exact(wide));
    for ((o, y), loss) in rows.zip(&mut losses) {
        *loss = o.iter().zip(y).fold(E::zero(), |sum, (o, y)| sum - *o * *y);
    }
    exponentials(numbers);
    let rows = numbers.chunks_exact_mut(wide).zip(y.chunks_exact(wide));
    for ((row, y), loss) in rows.zip(&mut losses) {
        *loss += total(y) * Float::ln(normalise(row));
    }
    let losses: Column<E, Cpu> = logits.device().try_tensor_from_vec(losses, (shape.0,))?;
    if T::OWNS_TAPE {
        let loss = losses.ghost();
        tape.add_backward_op(move |gradients| {
            let (p, y) = (elements(&p), elements(&targets));
            let (Some(p), Some(y)) = (p, y) else { return Err(CpuError::WrongNumElements) };
            let d_loss = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&loss)?);
            let d_o: &mut Vec<E> = gradients.get_or_alloc_mut(&o)?;
            let rows = d_o.chunks_exact_mut(wide).zip(p.chunks_exact(wide));
            for (((d_o, p), y), d_loss) in rows.zip(y.chunks_exact(wide)).zip(&d_loss) {
                let all = total(y);
                for ((d_o, p), y) in d_o.iter_mut().zip(p).zip(y) {
                    *d_o += *d_loss * (*p * all - *y);
                }
            }
            **gradients.get_or_alloc_mut(&loss)? = spent(d_loss);
            Ok(())
        });
    }
    Ok(losses.put_tape(tape))
}

/// o − max o of each row.
fn shift<E: Real>(numbers: &mut [E], width: usize) {
    for row in numbers.chunks_exact_mut(width) {
        let most = row.iter().fold(E::neg_infinity(), |most, o| most.max(*o));
        row.iter_mut().for_each(|o| *o -= most);
    }
}

/// Divides by the sum, which is the answer.
fn normalise<E: Real>(row: &mut [E]) -> E {
    let sum = total(row);
    row.iter_mut().for_each(|e| *e /= sum);
    sum
}

fn total<E: Real>(row: &[E]) -> E {
    row.iter().fold(E::zero(), |sum, e| sum + *e)
}
