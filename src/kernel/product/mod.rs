//! The matrix product: this crate's own in single precision, and `gemm`'s elsewhere.

mod bfloat;
mod dots;
mod library;
mod panel;
#[cfg(test)]
mod tests;
mod tiles;

use dfdx::prelude::CpuError;
use rayon::prelude::*;

use super::{
    instructions::arch,
    single::{is_single, singles, singles_mut},
    vector::{precision, threads},
};
use crate::number::{Precision, Real};

pub(crate) use bfloat::is_native as has_bfloat;

/// A matrix that lies in a slice with some strides.
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
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        self.rows * self.columns == 0
            || last(self.rows, self.row_stride) + last(self.columns, self.column_stride)
                < self.data.len()
    }

    /// Some rows from `first` on.
    fn some_rows(self, first: usize, rows: usize) -> Self {
        Self { data: &self.data[first * self.row_stride..], rows, ..self }
    }

    /// Some columns from `first` on.
    fn some_columns(self, first: usize, columns: usize) -> Self {
        Self { data: &self.data[first * self.column_stride..], columns, ..self }
    }
}

// By hand: a derive would ask for numbers that are `Copy`.
impl<E> Clone for Matrix<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Matrix<'_, E> {}

/// What a product is added to.
#[derive(Debug)]
pub(super) enum Start<'a, E> {
    /// What is there.
    There,
    /// This row, in each row; what is there is written over.
    Row(&'a [E]),
    /// What is there and this row, in each row.
    Both(&'a [E]),
}

// By hand, as for `Matrix`.
impl<E> Clone for Start<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Start<'_, E> {}

impl<'a, E> Start<'a, E> {
    /// That of the columns from `first` on.
    fn some_columns(self, first: usize) -> Self {
        match self {
            Self::There => self,
            Self::Row(row) => Self::Row(&row[first..]),
            Self::Both(row) => Self::Both(&row[first..]),
        }
    }

    /// Whether what is there counts.
    fn is_there(self) -> bool {
        !matches!(self, Self::Row(_))
    }

    fn row(self) -> Option<&'a [E]> {
        match self {
            Self::There => None,
            Self::Row(row) | Self::Both(row) => Some(row),
        }
    }
}

/// out ← start + A B, row-major, on as many threads of the pool around us as are worth it.
///
/// Each element is summed in the same order however the work is shared.
///
/// # Errors
/// `WrongNumElements` if the sizes do not agree.
pub(super) fn product<E: Real>(
    out: &mut [E],
    start: Start<'_, E>,
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
) -> Result<(), CpuError> {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let row = start.row().is_some_and(|row| row.len() != n);
    if row || b.rows != k || !a.fits() || !b.fits() || out.len() != m * n {
        return Err(CpuError::WrongNumElements);
    }
    if m * n * k == 0 {
        fill(&Out { data: out.as_mut_ptr(), stride: n }, start, [m, n]);
        return Ok(());
    }
    let out = Out { data: out.as_mut_ptr(), stride: n };
    // Each thread reads all of A, or all of B: the smaller one.
    let (rows, columns) = (pieces(m, n, k), pieces(n, m, k));
    let by_columns = columns > 1 && (n > m || rows == 1);
    let (length, pieces) = if by_columns { (n, columns) } else { (m, rows) };
    let halves = precision() == Precision::Bf16 && bfloat::suits(m, n, k);
    let piece = |i: usize| {
        let first = i * length / pieces;
        let count = (i + 1) * length / pieces - first;
        // SAFETY: the sizes were checked; each piece has rows or columns of its own.
        if by_columns {
            let start = start.some_columns(first);
            let b = b.some_columns(first, count);
            unsafe { on_one_thread(out.at(0, first), start, a, b, halves) }
        } else {
            let a = a.some_rows(first, count);
            unsafe { on_one_thread(out.at(first, 0), start, a, b, halves) }
        }
    };
    match pieces {
        1 => piece(0),
        _ => (0..pieces).into_par_iter().with_max_len(1).for_each(piece),
    }
    Ok(())
}

/// Into how many pieces the `length` rows (or columns) of a product are cut.
fn pieces(length: usize, other: usize, k: usize) -> usize {
    /// Multiply-adds that take some times as long as handing them to another thread.
    const LEAST: usize = 1 << 19;
    /// Fewer rows or columns do not fill the registers.
    const LEAST_LENGTH: usize = 32;
    /// `gemm` has another order of summation for products of no more rows and no more columns than
    /// these.
    const SMALL: usize = 64;
    let least_length = if other <= SMALL { SMALL + 1 } else { LEAST_LENGTH };
    let most = (length * other * k / LEAST).min(length / least_length);
    // Without a look at the pool where it is not needed: that would start one.
    if most < 2 { 1 } else { most.min(threads()) }
}

/// Where a product goes, for several threads.
struct Out<E> {
    data: *mut E,
    stride: usize,
}

// SAFETY: a pointer is only followed by `on_one_thread`, whose callers have pieces of their own.
unsafe impl<E: Send> Sync for Out<E> {}

impl<E> Out<E> {
    /// The piece that begins at a row and a column.
    fn at(&self, row: usize, column: usize) -> Self {
        Self { data: self.data.wrapping_add(row * self.stride + column), stride: self.stride }
    }
}

/// Makes of what is there the start.
fn fill<E: Real>(out: &Out<E>, start: Start<'_, E>, [rows, columns]: [usize; 2]) {
    let Some(row) = start.row() else { return };
    for i in 0..rows {
        // SAFETY: `out` has room for the rows, as the callers have checked or promise.
        let to = unsafe { std::slice::from_raw_parts_mut(out.at(i, 0).data, columns) };
        match start.is_there() {
            false => to.copy_from_slice(&row[..columns]),
            true => to.iter_mut().zip(row).for_each(|(to, add)| *to += *add),
        }
    }
}

/// # Safety
/// A and B lie in their slices; `out` has room for `a.rows` rows of `b.columns` numbers,
/// `out.stride` apart, which nobody else touches; a starting row has as many numbers. `halves` says
/// that single operands are rounded to bfloat16.
unsafe fn on_one_thread<E: Real>(
    out: Out<E>,
    start: Start<'_, E>,
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
    halves: bool,
) {
    if is_single::<E>() {
        let start = match start {
            Start::There => Start::There,
            Start::Row(row) => Start::Row(singles(row)),
            Start::Both(row) => Start::Both(singles(row)),
        };
        let out = Out { data: out.data.cast(), stride: out.stride };
        // SAFETY: as the caller promises; the numbers are single.
        if unsafe { single(out, start, a.singles(), b.singles(), halves) } {
            return;
        }
    }
    fill(&out, start, [a.rows, b.columns]);
    // SAFETY: as the caller promises.
    unsafe { library::add_product(&out, a, b) };
}

/// The transposed of a row-major matrix `[rows, columns]`, row-major.
pub(super) fn transpose<E: Real>(from: &[E], [rows, columns]: [usize; 2], to: &mut [E]) {
    let turned = Matrix::new(from, rows, columns).transposed();
    if !turned.fits() || to.len() != rows * columns || to.is_empty() {
        return;
    }
    if is_single::<E>() {
        return panel::fill(singles_mut(to), turned.singles(), rows, rows);
    }
    for (j, to) in to.chunks_exact_mut(rows).enumerate() {
        to.iter_mut().enumerate().for_each(|(i, to)| *to = from[i * columns + j]);
    }
}

impl<'a, E: Real> Matrix<'a, E> {
    fn singles(self) -> Matrix<'a, f32> {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Matrix { data: singles(data), rows, columns, row_stride, column_stride }
    }
}

/// The product in single precision; `false`, with nothing done, where this processor or these
/// strides have no fast way.
///
/// # Safety
/// As for [`on_one_thread`].
unsafe fn single(
    out: Out<f32>,
    start: Start<'_, f32>,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    halves: bool,
) -> bool {
    if halves {
        // SAFETY: as the caller promises.
        unsafe { bfloat::add_product(&out, start, a, b, bfloat::is_native()) };
        return true;
    }
    let along = a.column_stride == 1 && b.row_stride == 1;
    if along && dots::suits(a.rows, b.columns) {
        arch().dispatch(dots::Dots { out, start, a, b })
    } else {
        arch().dispatch(tiles::Tiles { out, start, a, b })
    }
}
