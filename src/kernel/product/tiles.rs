//! Products by tiles of the result that stay in registers while the sum runs.

use std::ptr;

use pulp::{Simd, WithSimd};

use super::{Matrix, Out, Start, panel};

/// out ← start + A B. As for `on_one_thread`, the matrices lie in their slices, and `out` has room.
pub(super) struct Tiles<'a> {
    pub(super) out: Out<f32>,
    pub(super) start: Start<'a, f32>,
    pub(super) a: Matrix<'a, f32>,
    pub(super) b: Matrix<'a, f32>,
}

/// Terms of the sum, and rows and columns of the result, that are worked on at a time: what of A
/// and B belongs to them stays in the second cache.
const TERMS: usize = 256;
const ROWS: usize = 96;
const COLUMNS: usize = 1024;

impl WithSimd for Tiles<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        if S::F32_LANES < 8 {
            return false;
        }
        let Tiles { out, start, a, b } = self;
        let mut room = panel::Room::take();
        // As even as possible, and the same for any number of rows and columns: the order of the
        // sum is fixed.
        let terms = a.columns.div_ceil(a.columns.div_ceil(TERMS));
        for first in (0..b.columns).step_by(COLUMNS) {
            let columns = COLUMNS.min(b.columns - first);
            let b = b.some_columns(first, columns);
            let (out, start) = (out.at(0, first), start.some_columns(first));
            for k in (0..a.columns).step_by(terms) {
                let terms = terms.min(a.columns - k);
                let (a, b) = (a.some_columns(k, terms), b.some_rows(k, terms));
                let start = if k == 0 { start } else { Start::There };
                // Not by a closure: the compiler would leave it, and all that is in it, to any
                // processor.
                let panels = room.of(terms * columns.next_multiple_of(S::F32_LANES));
                some_terms(simd, &out, start, a, b, panels);
            }
        }
        true
    }
}

/// How many registers wide the next panel is, with so many columns left.
fn width<S: Simd>(rows: usize, left: usize) -> usize {
    let vectors = left.div_ceil(S::F32_LANES);
    match S::F32_LANES {
        // One row reads B as fast as it comes: along its rows.
        16 if rows == 1 && left >= 256 => 16,
        // Five as three and two: a panel of one does not keep the processor busy.
        16 if vectors == 5 => 3,
        16 => vectors.min(4),
        _ => vectors.min(2),
    }
}

/// Whether a panel is read where it lies: B has its columns side by side, and they fill the
/// registers. A panel of short ones is a line of the cache from each of many pages: for more than a
/// few rows it is put together.
fn direct<S: Simd>(rows: usize, b: Matrix<'_, f32>, columns: usize, room: usize) -> bool {
    const FEW: usize = 24;
    b.column_stride == 1 && columns == room && (S::F32_LANES == 16 || rows <= FEW)
}

#[inline(always)]
fn some_terms<S: Simd>(
    simd: S,
    out: &Out<f32>,
    start: Start<'_, f32>,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    panels: &mut [f32],
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let mut j = 0;
    while j < n {
        let room = width::<S>(m, n - j) * S::F32_LANES;
        let columns = room.min(n - j);
        if !direct::<S>(m, b, columns, room) {
            panel::fill(&mut panels[k * j..], b.some_columns(j, columns), columns, room);
        }
        j += columns;
    }
    for first in (0..a.rows).step_by(ROWS) {
        let a = a.some_rows(first, ROWS.min(a.rows - first));
        let mut j = 0;
        while j < n {
            let vectors = width::<S>(m, n - j);
            let room = vectors * S::F32_LANES;
            let columns = room.min(n - j);
            let panel = match direct::<S>(m, b, columns, room) {
                true => Panel { data: &b.data[j..], stride: b.row_stride, columns },
                false => Panel { data: &panels[k * j..], stride: room, columns },
            };
            let (out, start) = (out.at(first, j), start.some_columns(j));
            let strip = Strip { out, start, a, panel };
            match vectors {
                16 => strip.tile::<S, 1, 16>(simd, 0),
                4 => strip.tiles::<S, 6, 4>(simd),
                3 => strip.tiles::<S, 8, 3>(simd),
                2 => strip.tiles::<S, 6, 2>(simd),
                _ => strip.tiles::<S, 12, 1>(simd),
            }
            j += columns;
        }
    }
}

/// Some columns of B: for each term of the sum a row of whole registers.
struct Panel<'a> {
    data: &'a [f32],
    stride: usize,
    columns: usize,
}

/// Some rows of A, and a panel.
struct Strip<'a> {
    out: Out<f32>,
    start: Start<'a, f32>,
    a: Matrix<'a, f32>,
    panel: Panel<'a>,
}

impl Strip<'_> {
    /// Tiles of `R` rows, and smaller ones for those that are left.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const V: usize>(&self, simd: S) {
        let (m, mut i) = (self.a.rows, 0);
        while i + R <= m {
            self.tile::<S, R, V>(simd, i);
            i += R;
        }
        if R > 8 && i + 8 <= m {
            self.tile::<S, 8, V>(simd, i);
            i += 8;
        }
        if i + 4 <= m {
            self.tile::<S, 4, V>(simd, i);
            i += 4;
        }
        if i + 2 <= m {
            self.tile::<S, 2, V>(simd, i);
            i += 2;
        }
        if i < m {
            self.tile::<S, 1, V>(simd, i);
        }
    }

    /// `R` rows from `i` on by `V` registers of columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&self, simd: S, i: usize) {
        let Self { out, start, a, panel } = self;
        let (columns, a) = (panel.columns, a.some_rows(i, R));
        let (place, row) = (out.at(i, 0), start.row());
        if columns == V * S::F32_LANES {
            let (to, stride) = (place.data, place.stride);
            let row = row.map_or(ptr::null(), <[f32]>::as_ptr);
            // SAFETY: `out` has room for the rows, which fill the registers, and so does a starting
            // row.
            return unsafe {
                match start.is_there() {
                    true => sums::<S, R, V, true>(simd, to, stride, row, a, panel),
                    false => sums::<S, R, V, false>(simd, to, stride, row, a, panel),
                }
            };
        }
        // By places that have whole registers, so that each element is summed in the same order in
        // any panel.
        let stride = V * S::F32_LANES;
        let (mut whole, mut start_row) = ([[[0f32; 16]; V]; R], [[0f32; 16]; V]);
        if let Some(row) = row {
            start_row.as_flattened_mut()[..columns].copy_from_slice(&row[..columns]);
        }
        let (whole, row) = (whole.as_flattened_mut().as_flattened_mut(), start_row.as_flattened());
        let to = whole.as_mut_ptr();
        // SAFETY: there is room for registers of up to 16 numbers.
        unsafe { sums::<S, R, V, false>(simd, to, stride, row.as_ptr(), a, panel) };
        for (r, sums) in whole.chunks_exact(stride).take(R).enumerate() {
            let to = place.at(r, 0).data;
            // SAFETY: the row and its columns are those of the product, which `out` has room for.
            let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
            match start.is_there() {
                true => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += *sum),
                false => to.copy_from_slice(&sums[..columns]),
            }
        }
    }
}

/// A tile of the product; `row` is the start of each of its rows, or null, and with `THERE` it is
/// added to what is there.
///
/// Loops by index with nothing else in them: the compiler then keeps all sums in registers.
///
/// # Safety
/// `to` has room for `R` rows of `V` registers, a stride apart, and `row`, if there is one, for
/// one; A has `R` rows, and the panel `V` registers for each of A's columns.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the compiler keeps these in registers")]
unsafe fn sums<S: Simd, const R: usize, const V: usize, const THERE: bool>(
    simd: S,
    to: *mut f32,
    stride: usize,
    row: *const f32,
    a: Matrix<'_, f32>,
    panel: &Panel<'_>,
) {
    let lanes = S::F32_LANES;
    let mut start = [simd.splat_f32s(0.0); V];
    if !row.is_null() {
        for v in 0..V {
            // SAFETY: as the caller promises; a register may lie anywhere.
            start[v] = unsafe { ptr::read_unaligned(row.add(v * lanes).cast()) };
        }
    }
    let mut sums = [start; R];
    let (mut of_a, mut of_b) = (a.data.as_ptr(), panel.data.as_ptr());
    for _ in 0..a.columns {
        // SAFETY: as the caller promises.
        unsafe {
            let mut b = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                b[v] = ptr::read_unaligned(of_b.add(v * lanes).cast());
            }
            for r in 0..R {
                let a = simd.splat_f32s(*of_a.add(r * a.row_stride));
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(a, b[v], sums[r][v]);
                }
            }
        }
        // After the last term they may point past the end, and are not followed.
        of_a = of_a.wrapping_add(a.column_stride);
        of_b = of_b.wrapping_add(panel.stride);
    }
    for r in 0..R {
        for v in 0..V {
            // SAFETY: as the caller promises.
            unsafe {
                let to: *mut S::f32s = to.add(r * stride + v * lanes).cast();
                let mut sum = sums[r][v];
                if THERE {
                    sum = simd.add_f32s(ptr::read_unaligned(to), sum);
                }
                ptr::write_unaligned(to, sum);
            }
        }
    }
}
