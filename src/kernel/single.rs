//! Numbers of either type that turn out to be single.

use std::any::TypeId;

use crate::number::Real;

/// Whether these numbers are `f32`.
pub(crate) fn is_single<E: Real>() -> bool {
    TypeId::of::<E>() == TypeId::of::<f32>()
}

/// Numbers that are known to be single.
pub(super) fn singles<E: Real>(numbers: &[E]) -> &[f32] {
    assert!(is_single::<E>());
    // SAFETY: the type is the same.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

/// The same, to be written.
pub(super) fn singles_mut<E: Real>(numbers: &mut [E]) -> &mut [f32] {
    assert!(is_single::<E>());
    // SAFETY: the type is the same.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}
