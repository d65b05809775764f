//! Products as inner products: where one of the sides is a few rows, and both lie along the sum.

use std::ptr;

use pulp::{Simd, WithSimd};

use super::{Matrix, Out, Start};

/// Whether a product with so many rows and columns goes faster by inner products: arranging the
/// other side in panels would take as long as all the rest.
pub(super) fn suits(rows: usize, columns: usize) -> bool {
    rows <= 8 || columns <= 16
}

/// out ← start + A B for rows of A and columns of B that are contiguous. As for `on_one_thread`,
/// the matrices lie in their slices, and `out` has room.
pub(super) struct Dots<'a> {
    pub(super) out: Out<f32>,
    pub(super) start: Start<'a, f32>,
    pub(super) a: Matrix<'a, f32>,
    pub(super) b: Matrix<'a, f32>,
}

impl WithSimd for Dots<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        if S::F32_LANES < 8 {
            return false;
        }
        let (m, mut i) = (self.a.rows, 0);
        while i < m {
            // As many sums at a time as there are registers for.
            i += match m - i {
                1 => self.rows::<S, 1, 8>(simd, i),
                2 | 3 => self.rows::<S, 2, 6>(simd, i),
                _ if S::F32_LANES < 16 => self.rows::<S, 2, 5>(simd, i),
                _ => self.rows::<S, 4, 5>(simd, i),
            };
        }
        true
    }
}

impl Dots<'_> {
    /// `R` rows from `i` on, `Q` columns at a time; how many rows that are.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const Q: usize>(&self, simd: S, i: usize) -> usize {
        let (n, mut j) = (self.b.columns, 0);
        while j + Q <= n {
            self.sums::<S, R, Q>(simd, i, j);
            j += Q;
        }
        while j < n {
            self.sums::<S, R, 1>(simd, i, j);
            j += 1;
        }
        R
    }

    #[inline(always)]
    fn sums<S: Simd, const R: usize, const Q: usize>(&self, simd: S, i: usize, j: usize) {
        let (k, lanes) = (self.a.columns, S::F32_LANES);
        let a: [&[f32]; R] =
            std::array::from_fn(|r| &self.a.data[(i + r) * self.a.row_stride..][..k]);
        let b: [&[f32]; Q] =
            std::array::from_fn(|q| &self.b.data[(j + q) * self.b.column_stride..][..k]);
        let mut sums = [[simd.splat_f32s(0.0); Q]; R];
        let whole = k / lanes * lanes;
        for p in (0..whole).step_by(lanes) {
            let mut x = [simd.splat_f32s(0.0); R];
            for r in 0..R {
                // SAFETY: there are `lanes` numbers from p on, since p + lanes ≤ k.
                x[r] = unsafe { ptr::read_unaligned(a[r].as_ptr().add(p).cast()) };
            }
            for q in 0..Q {
                // SAFETY: as above.
                let y = unsafe { ptr::read_unaligned(b[q].as_ptr().add(p).cast()) };
                for r in 0..R {
                    sums[r][q] = simd.mul_add_f32s(x[r], y, sums[r][q]);
                }
            }
        }
        if whole < k {
            let mut x = [simd.splat_f32s(0.0); R];
            for r in 0..R {
                x[r] = simd.partial_load_f32s(&a[r][whole..]);
            }
            for q in 0..Q {
                let y = simd.partial_load_f32s(&b[q][whole..]);
                for r in 0..R {
                    sums[r][q] = simd.mul_add_f32s(x[r], y, sums[r][q]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (q, sum) in sums.iter().enumerate() {
                let sum = simd.reduce_sum_f32s(*sum);
                let to = self.out.at(i + r, j + q).data;
                // SAFETY: the row and the column are those of the product, which `out` has room
                // for.
                unsafe {
                    *to = sum
                        + match self.start {
                            Start::There => *to,
                            Start::Row(row) => row[j + q],
                            Start::Both(row) => *to + row[j + q],
                        };
                }
            }
        }
    }
}
