//! A tensor's elements as a slice, without a copy.

use dfdx::prelude::*;

/// Whether a tensor's elements lie in memory one after the other, in row-major order.
pub(crate) fn contiguous<S: Shape, E: Unit, T>(tensor: &Tensor<S, E, Cpu, T>) -> bool {
    elements(tensor).is_some()
}

/// The elements of a contiguous tensor; `None` for one that is permuted or broadcast.
pub(super) fn elements<S: Shape, E: Unit, T>(tensor: &Tensor<S, E, Cpu, T>) -> Option<&[E]> {
    let len = tensor.shape().num_elements();
    if len == 0 {
        return Some(&[]);
    }
    let origin = S::Concrete::default();
    let start = std::ptr::from_ref(&tensor[origin]);
    let sizes = tensor.shape().concrete();
    let strides = tensor.shape().strides();
    let contiguous = (0..S::NUM_DIMS).filter(|&axis| sizes[axis] > 1).all(|axis| {
        let mut next = origin;
        next[axis] = 1;
        std::ptr::from_ref(&tensor[next]) == start.wrapping_add(strides[axis])
    });
    // SAFETY: dfdx keeps the elements of a tensor in one `Vec<E>`. The element at index i lies at
    // offset Σ iₖ sₖ; the strides were just found to be those of a dense row-major array, so the
    // `len` elements from the origin are exactly the tensor's, all initialised. The slice borrows
    // the tensor, which keeps the `Vec` alive and unchanged.
    contiguous.then(|| unsafe { std::slice::from_raw_parts(start, len) })
}

/// The same, to be written; a buffer shared with another tensor is copied first, as dfdx does.
pub(crate) fn elements_mut<S: Shape, E: Unit, T>(
    tensor: &mut Tensor<S, E, Cpu, T>,
) -> Option<&mut [E]> {
    let len = elements(tensor)?.len();
    if len == 0 {
        return Some(&mut []);
    }
    let start = std::ptr::from_mut(&mut tensor[S::Concrete::default()]);
    // SAFETY: as above; `IndexMut` has made the buffer this tensor's own, and the slice borrows the
    // tensor mutably.
    Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
}

/// Changes the elements in place.
pub(crate) fn change<S: Shape, E: Unit>(
    tensor: &mut Tensor<S, E, Cpu>,
    change: &mut dyn FnMut(&mut [E]),
) -> Result<(), CpuError> {
    change(elements_mut(tensor).ok_or(CpuError::WrongNumElements)?);
    Ok(())
}
