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
    // the tensor, which keeps the `Vec` alive and unchanged. The pointer comes from a reference to
    // one element, since dfdx gives none to all: right by tree borrows, as `fuzz/README.md` shows.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 to 5, in rows of three.
    fn matrix() -> Tensor<(usize, usize), f32, Cpu> {
        Cpu::default().tensor_from_vec((0u8..6).map(f32::from).collect(), (2, 3))
    }

    #[test]
    fn elements_are_those_of_the_tensor_in_their_order() {
        let dev = Cpu::default();
        assert_eq!(elements(&matrix()), Some(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]));
        assert_eq!(elements(&dev.tensor(3.0f32)), Some(&[3.0][..]));
        let none: Tensor<(usize, usize), f32, _> = dev.zeros_like(&(0, 3));
        assert_eq!(elements(&none), Some(&[][..]));
        let row: Tensor<(usize, usize), f32, _> = dev.ones_like(&(1, 3));
        assert_eq!(elements(&row), Some(&[1.0; 3][..]));
    }

    #[test]
    fn what_lies_in_another_order_has_none() {
        let turned: Tensor<(usize, usize), f32, Cpu> = matrix().permute::<_, Axes2<1, 0>>();
        assert_eq!((elements(&turned), contiguous(&turned)), (None, false));
        let row: Tensor<(usize,), f32, _> = Cpu::default().ones_like(&(3,));
        let mut repeated = row.broadcast_like::<_, Axis<0>>(&(2, 3));
        assert_eq!(elements(&repeated), None);
        assert!(elements_mut(&mut repeated).is_none());
        assert!(change(&mut repeated, &mut |_| ()).is_err());
    }

    #[test]
    fn a_buffer_that_is_shared_is_copied_before_it_is_written() {
        let (before, mut after) = (matrix(), matrix());
        let shared = after.clone();
        change(&mut after, &mut |all| all.iter_mut().for_each(|v| *v += 1.0)).unwrap();
        assert_eq!(shared.as_vec(), before.as_vec());
        assert_eq!(elements(&after), Some(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    }
}
