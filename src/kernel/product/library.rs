//! The product by the `gemm` crates: double precision, and processors without AVX2.
//!
//! With the feature `double` a newer one than dfdx has, called crate by crate: its facade also builds
//! complex and half numbers.

use std::any::TypeId;

#[cfg(not(feature = "double"))]
use gemm::{Parallelism, gemm};
#[cfg(feature = "double")]
use gemm_common::Parallelism;

use super::{Matrix, Out, is_single};
use crate::number::Real;

/// out ← out + A B.
///
/// # Safety
/// A and B lie in their slices; `out` has room for `a.rows` rows of `b.columns` numbers,
/// `out.stride` apart, which nobody else touches.
pub(super) unsafe fn add_product<E: Real>(out: &Out<E>, a: Matrix<'_, E>, b: Matrix<'_, E>) {
    // The kernels want columns without gaps: outᵀ ← outᵀ + Bᵀ Aᵀ.
    let (a, b, column_stride, row_stride) = match out.stride {
        1 => (a, b, 1, 1),
        stride => (b.transposed(), a.transposed(), stride, 1),
    };
    /// One call of a crate's product, whose numbers have the same type as ours.
    macro_rules! call {
        ($product:expr) => {
            // SAFETY: as the caller promises; the type is the same.
            unsafe {
                $product(
                    a.rows,
                    b.columns,
                    a.columns,
                    out.data.cast(),
                    column_stride as isize,
                    row_stride,
                    true,
                    a.data.as_ptr().cast(),
                    a.column_stride as isize,
                    a.row_stride as isize,
                    b.data.as_ptr().cast(),
                    b.column_stride as isize,
                    b.row_stride as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                )
            }
        };
    }
    #[cfg(not(feature = "double"))]
    let (single, double) = (gemm::<f32>, gemm::<f64>);
    #[cfg(feature = "double")]
    let (single, double) = (gemm_f32::gemm::f32::get_gemm_fn(), gemm_f64::gemm::f64::get_gemm_fn());
    if is_single::<E>() {
        call!(single)
    } else {
        assert_eq!(TypeId::of::<E>(), TypeId::of::<f64>());
        call!(double)
    }
}
