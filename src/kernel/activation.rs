//! ReLU and sums of activations: in place where nobody else holds the numbers.

use dfdx::prelude::*;

use super::{
    buffer::{filled, spent},
    vector::{in_pieces, vectorised},
    view::{elements, elements_mut},
};
use crate::{number::Real, rows::Matrix};

/// For a contiguous tensor: max(x, 0), and NaN where x is; back: ∂x where x > 0.
pub(crate) fn relu<S: Shape, E: Real, T: Tape<E, Cpu>>(
    x: Tensor<S, E, Cpu, T>,
) -> Result<Tensor<S, E, Cpu, T>, CpuError> {
    let (mut x, mut tape) = x.split_tape();
    if own(&mut x) || !T::OWNS_TAPE {
        // Nobody else knows these numbers, so the tensor keeps its name: its gradient is masked
        // where it lies. Without gradients names mean nothing.
        clamp(&mut x)?;
        if T::OWNS_TAPE {
            let y = x.clone();
            tape.add_backward_op(move |gradients| {
                let dy = gradients.get_or_alloc_mut(&y)?;
                mask(dy, elements(&y).ok_or(CpuError::WrongNumElements)?);
                Ok(())
            });
        }
        return Ok(x.put_tape(tape));
    }
    let mut y = copy(&x)?;
    clamp(&mut y)?;
    let (x, kept) = (x.ghost(), y.clone());
    tape.add_backward_op(move |gradients| {
        let mut dy = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&kept)?);
        mask(&mut dy, elements(&kept).ok_or(CpuError::WrongNumElements)?);
        add_to(gradients.get_or_alloc_mut(&x)?, &dy);
        **gradients.get_or_alloc_mut(&kept)? = spent(dy);
        Ok(())
    });
    Ok(y.put_tape(tape))
}

/// For contiguous tensors: a + b; back: ∂ to both.
pub(crate) fn add<S: Shape, E: Real, T: Tape<E, Cpu>>(
    a: Tensor<S, E, Cpu, T>,
    b: Tensor<S, E, Cpu, T>,
) -> Result<Tensor<S, E, Cpu, T>, CpuError> {
    let (mut a, tape_a) = a.split_tape();
    let (mut b, tape_b) = b.split_tape();
    let mut tape = tape_a.merge(tape_b);
    // The end of a residual branch is nobody else's; its start is.
    let owned = own(&mut b)
        || own(&mut a) && {
            std::mem::swap(&mut a, &mut b);
            true
        };
    let (mut sum, other) = if owned {
        // The sum keeps the name of the one: its gradient is the sum's.
        (b, a)
    } else {
        (to_write(a, &mut tape)?, b)
    };
    let (Some(to), Some(from)) = (elements_mut(&mut sum), elements(&other)) else {
        return Err(CpuError::WrongNumElements);
    };
    add_to(to, from);
    if T::OWNS_TAPE {
        pass_on(&mut tape, &sum, &other);
    }
    Ok(sum.put_tape(tape))
}

/// For contiguous tensors: the one row of b added to each of a.
pub(crate) fn add_row<E: Real>(
    mut a: Matrix<E, Cpu>,
    b: Matrix<E, Cpu>,
) -> Result<Matrix<E, Cpu>, CpuError> {
    let width = a.shape().1;
    match (elements_mut(&mut a), elements(&b)) {
        (Some(to), Some(row)) if row.len() == width => vectorised(|| {
            for to in to.chunks_exact_mut(width.max(1)) {
                to.iter_mut().zip(row).for_each(|(to, from)| *to += *from);
            }
        }),
        _ => return Err(CpuError::WrongNumElements),
    }
    Ok(a)
}

/// The same numbers, for something to be added to them: under their own name where nobody else
/// holds them, or where there are no gradients, and else under another, whose gradient goes to
/// theirs.
pub(super) fn to_write<S: Shape, E: Real, T: Tape<E, Cpu>>(
    mut x: Tensor<S, E, Cpu>,
    tape: &mut T,
) -> Result<Tensor<S, E, Cpu>, CpuError> {
    if own(&mut x) || !T::OWNS_TAPE {
        return Ok(x);
    }
    let y = copy(&x)?;
    pass_on(tape, &y, &x);
    Ok(y)
}

/// Back: the gradient of `sum` goes to `part` too.
fn pass_on<S: Shape, E: Real, T: Tape<E, Cpu>>(
    tape: &mut T,
    sum: &Tensor<S, E, Cpu>,
    part: &Tensor<S, E, Cpu>,
) {
    let (sum, part) = (sum.ghost(), part.ghost());
    tape.add_backward_op(move |gradients| {
        let ds = std::mem::take::<Vec<E>>(gradients.get_or_alloc_mut(&sum)?);
        add_to(gradients.get_or_alloc_mut(&part)?, &ds);
        **gradients.get_or_alloc_mut(&sum)? = ds;
        Ok(())
    });
}

/// Whether the numbers are this tensor's alone. If not, it has a copy of its own afterwards, but
/// shares its name, and with it its gradient: whoever needs another value has to give it another
/// name.
///
/// Tensors of one name share their numbers for as long as both exist, and what used them before has
/// its turn after us on the way back.
fn own<S: Shape, E: Real>(x: &mut Tensor<S, E, Cpu>) -> bool {
    let before = elements(x).map(<[E]>::as_ptr);
    let after = elements_mut(x).map(|elements| elements.as_ptr());
    before.is_some() && before == after
}

/// The same numbers under another name.
pub(super) fn copy<S: Shape, E: Real>(
    x: &Tensor<S, E, Cpu>,
) -> Result<Tensor<S, E, Cpu>, CpuError> {
    let from = elements(x).ok_or(CpuError::WrongNumElements)?;
    filled(x.device(), *x.shape(), |to| {
        to.copy_from_slice(from);
        Ok(())
    })
}

fn clamp<S: Shape, E: Real>(x: &mut Tensor<S, E, Cpu>) -> Result<(), CpuError> {
    let x = elements_mut(x).ok_or(CpuError::WrongNumElements)?;
    vectorised(|| {
        for value in x {
            // A NaN stays, so that whoever asks for the answer finds it.
            *value = if *value <= E::zero() { E::zero() } else { *value };
        }
    });
    Ok(())
}

fn mask<E: Real>(dy: &mut [E], y: &[E]) {
    in_pieces(dy, y, 1, |dy, y| {
        vectorised(|| {
            for (d, y) in dy.iter_mut().zip(y) {
                *d = if *y > E::zero() { *d } else { E::zero() };
            }
        });
    });
}

/// to ← to + from.
pub(super) fn add_to<E: Real>(to: &mut [E], from: &[E]) {
    in_pieces(to, from, 1, |to, from| {
        vectorised(|| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from));
    });
}
