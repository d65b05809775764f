//! Tiles of the result that stay in registers while the sum over pairs runs.

use std::ptr;

use super::{LANES, pack::Pairs};
use crate::kernel::product::{Out, Start};

/// Some rows of A, and a panel of B.
pub(super) struct Strip<'a> {
    pub(super) out: Out<f32>,
    pub(super) start: Start<'a, f32>,
    pub(super) a: &'a Pairs<'a>,
    pub(super) panel: &'a [u32],
    pub(super) columns: usize,
    pub(super) native: bool,
}

impl Strip<'_> {
    /// Tiles of `R` rows, and smaller ones for those that are left.
    ///
    /// # Safety
    /// `out` has room for the columns in each row of A, and a starting row has as many; the panel has
    /// `V` registers for each pair of A's.
    pub(super) unsafe fn tiles<const R: usize, const V: usize>(&self) {
        let (m, mut i) = (self.a.rows, 0);
        // SAFETY: as the caller promises; rows up to m.
        unsafe {
            while i + R <= m {
                self.tile::<R, V>(i);
                i += R;
            }
            while i + 4 <= m {
                self.tile::<4, V>(i);
                i += 4;
            }
            while i < m {
                self.tile::<1, V>(i);
                i += 1;
            }
        }
    }

    /// `R` rows from `i` on by `V` registers of columns.
    unsafe fn tile<const R: usize, const V: usize>(&self, i: usize) {
        let Self { out, start, a, panel, columns, native } = self;
        let (place, row) = (out.at(i, 0), start.row());
        let tile = Tile {
            pairs: a.pairs,
            a: a.row(i),
            row_stride: a.row_stride,
            pair_stride: a.pair_stride,
            panel: panel.as_ptr(),
        };
        if *columns == V * LANES {
            let row = row.map_or(ptr::null(), <[f32]>::as_ptr);
            // SAFETY: as the caller promises; the columns fill the registers.
            return unsafe {
                tile.sums::<R, V>(place.data, place.stride, row, start.is_there(), *native)
            };
        }
        // By places that have whole registers.
        let (mut whole, mut start_row) = ([[[0f32; LANES]; V]; R], [[0f32; LANES]; V]);
        if let Some(row) = row {
            start_row.as_flattened_mut()[..*columns].copy_from_slice(&row[..*columns]);
        }
        let (whole, row) = (whole.as_flattened_mut().as_flattened_mut(), start_row.as_flattened());
        let stride = V * LANES;
        // SAFETY: there is room for the registers.
        unsafe { tile.sums::<R, V>(whole.as_mut_ptr(), stride, row.as_ptr(), false, *native) };
        for (r, sums) in whole.chunks_exact(stride).enumerate() {
            let to = place.at(r, 0).data;
            // SAFETY: the row and its columns are those of the product, which `out` has room for.
            let to = unsafe { std::slice::from_raw_parts_mut(to, *columns) };
            match start.is_there() {
                true => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += *sum),
                false => to.copy_from_slice(&sums[..*columns]),
            }
        }
    }
}

/// What a tile reads.
#[derive(Clone, Copy)]
struct Tile {
    pairs: usize,
    a: *const u32,
    row_stride: usize,
    pair_stride: usize,
    panel: *const u32,
}

impl Tile {
    /// The sums of a tile; `row` is the start of each of its rows, or null, and with `there` it is
    /// added to what is there.
    ///
    /// # Safety
    /// `to` has room for `R` rows of `V` registers, a stride apart, and `row`, if there is one, for
    /// one; A has `R` rows, and the panel `V` registers for each pair.
    #[inline(always)]
    unsafe fn sums<const R: usize, const V: usize>(
        self,
        to: *mut f32,
        stride: usize,
        row: *const f32,
        there: bool,
        native: bool,
    ) {
        // SAFETY: as the caller promises; the processor has the instructions where they are used.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if native {
                return match there {
                    true => x86::sums::<R, V, true>(self, to, stride, row),
                    false => x86::sums::<R, V, false>(self, to, stride, row),
                };
            }
            let _ = native;
            // Compiled for what the processor has: elsewhere a multiply-add is a call.
            crate::kernel::vector::vectorised(
                #[inline(always)]
                || self.by_multiply_adds::<R, V>(to, stride, row, there),
            );
        }
    }

    /// The same bits by multiply-adds: of a pair the second product first, each sum rounded, and
    /// zero below the least normal number.
    ///
    /// # Safety
    /// As for [`sums`](Self::sums).
    #[inline(always)]
    unsafe fn by_multiply_adds<const R: usize, const V: usize>(
        self,
        to: *mut f32,
        stride: usize,
        row: *const f32,
        there: bool,
    ) {
        for r in 0..R {
            for v in 0..V {
                let mut sums = [0f32; LANES];
                // SAFETY: as the caller promises.
                unsafe {
                    if !row.is_null() {
                        sums = ptr::read(row.add(v * LANES).cast());
                    }
                    for p in 0..self.pairs {
                        let a = *self.a.add(r * self.row_stride + p * self.pair_stride);
                        let b: [u32; LANES] = ptr::read(self.panel.add((p * V + v) * LANES).cast());
                        for (sum, b) in sums.iter_mut().zip(b) {
                            *sum = flushed(second(a).mul_add(second(b), *sum));
                            *sum = flushed(first(a).mul_add(first(b), *sum));
                        }
                    }
                    let to: *mut [f32; LANES] = to.add(r * stride + v * LANES).cast();
                    if there {
                        let there = ptr::read(to);
                        sums.iter_mut().zip(there).for_each(|(sum, there)| *sum += there);
                    }
                    ptr::write(to, sums);
                }
            }
        }
    }
}

#[inline(always)]
fn first(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

#[inline(always)]
fn second(pair: u32) -> f32 {
    f32::from_bits(pair & 0xFFFF_0000)
}

/// 0 instead of a number below the least normal one.
#[inline(always)]
fn flushed(sum: f32) -> f32 {
    if sum.abs() < f32::MIN_POSITIVE { 0f32.copysign(sum) } else { sum }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, mem::transmute};

    use super::{LANES, Tile};

    /// # Safety
    /// As for [`Tile::sums`]; the processor has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[allow(clippy::needless_range_loop, reason = "the compiler keeps these in registers")]
    pub(super) unsafe fn sums<const R: usize, const V: usize, const THERE: bool>(
        tile: Tile,
        to: *mut f32,
        stride: usize,
        row: *const f32,
    ) {
        let mut start = [_mm512_setzero_ps(); V];
        if !row.is_null() {
            for v in 0..V {
                // SAFETY: as the caller promises.
                start[v] = unsafe { _mm512_loadu_ps(row.add(v * LANES)) };
            }
        }
        let mut sums = [start; R];
        let (mut of_a, mut of_b) = (tile.a, tile.panel);
        for _ in 0..tile.pairs {
            // SAFETY: as the caller promises; pairs are two halves side by side.
            unsafe {
                let zeros = transmute::<__m512i, __m512bh>(_mm512_setzero_si512());
                let mut b = [zeros; V];
                for v in 0..V {
                    let pairs = _mm512_loadu_si512(of_b.add(v * LANES).cast());
                    b[v] = transmute::<__m512i, __m512bh>(pairs);
                }
                for r in 0..R {
                    let a = _mm512_set1_epi32(*of_a.add(r * tile.row_stride) as i32);
                    let a: __m512bh = transmute(a);
                    for v in 0..V {
                        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, b[v]);
                    }
                }
            }
            // After the last pair they may point past the end, and are not followed.
            of_a = of_a.wrapping_add(tile.pair_stride);
            of_b = of_b.wrapping_add(V * LANES);
        }
        for r in 0..R {
            for v in 0..V {
                // SAFETY: as the caller promises.
                unsafe {
                    let to = to.add(r * stride + v * LANES);
                    let mut sum = sums[r][v];
                    if THERE {
                        sum = _mm512_add_ps(_mm512_loadu_ps(to), sum);
                    }
                    _mm512_storeu_ps(to, sum);
                }
            }
        }
    }
}
