//! The matrix product.

use dfdx::prelude::CpuError;

/// A matrix that lies in a slice with some strides.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, E> {
    data: &'a [E],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, E> Matrix<'a, E> {
    /// Row-major, `[rows, columns]`.
    pub(super) fn new(data: &'a [E], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Whether every element lies in the slice.
    fn fits(&self) -> bool {
        self.rows * self.columns <= self.data.len()
    }
}

/// out ← out + A B, row-major. On one thread: blocks are what runs in parallel.
///
/// # Errors
/// `WrongNumElements` if the sizes do not agree.
pub(super) fn add_product<E: 'static + num_traits::One>(
    out: &mut [E],
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
) -> Result<(), CpuError> {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if b.rows != k || !a.fits() || !b.fits() || out.len() != m * n {
        return Err(CpuError::WrongNumElements);
    }
    if m * n * k == 0 {
        return Ok(());
    }
    // SAFETY: the matrices were just checked to lie in their slices; `Matrix` has no strides but those of a dense
    // array and of its transpose, so the last element of each is its slice's (rows × columns − 1)-th at most.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            E::one(),
            E::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    Ok(())
}
