//! Single numbers to pairs of bfloat16: two terms of the sum that follow each other, the first in the
//! lower half.

use super::{LANES, width};
use crate::kernel::product::{Matrix, panel};

/// Rows as pairs of terms.
pub(super) struct Pairs<'a> {
    pub(super) data: &'a [u32],
    pub(super) rows: usize,
    /// How many pairs a row has.
    pub(super) pairs: usize,
    pub(super) row_stride: usize,
    pub(super) pair_stride: usize,
}

impl Pairs<'_> {
    /// Where a row begins.
    pub(super) fn row(&self, i: usize) -> *const u32 {
        self.data[i * self.row_stride..].as_ptr()
    }
}

/// The nearest bfloat16, ties to even; numbers below the least normal one are zero, as for the
/// processor's instruction.
#[inline(always)]
pub(super) fn rounded(number: f32) -> u32 {
    let bits = number.to_bits();
    let (sign, magnitude) = (bits & 0x8000_0000, bits & 0x7FFF_FFFF);
    if magnitude > 0x7F80_0000 {
        return (bits >> 16) | 0x40;
    }
    if magnitude < 0x0080_0000 {
        return sign >> 16;
    }
    (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
}

/// Neighbours in `from` as pairs; the last one may be alone.
fn along(to: &mut [u32], from: &[f32], native: bool) {
    #[cfg(target_arch = "x86_64")]
    if native {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::along(to, from) };
    }
    let _ = native;
    for (to, pair) in to.iter_mut().zip(from.chunks(2)) {
        *to = rounded(pair[0]) | pair.get(1).map_or(0, |second| rounded(*second) << 16);
    }
}

/// Each number of one row with that of the next in a pair; there may be no next one.
fn across(to: &mut [u32], first: &[f32], second: Option<&[f32]>, native: bool) {
    #[cfg(target_arch = "x86_64")]
    if native {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::across(to, first, second) };
    }
    let _ = native;
    let Some(second) = second else {
        return to.iter_mut().zip(first).for_each(|(to, first)| *to = rounded(*first));
    };
    for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
        *to = rounded(*first) | rounded(*second) << 16;
    }
}

/// Some rows of A as pairs, in whichever order they lie.
pub(super) fn rows<'a>(to: &'a mut [u32], a: Matrix<'_, f32>, native: bool) -> Pairs<'a> {
    let (rows, pairs) = (a.rows, a.columns.div_ceil(2));
    let by_terms = a.row_stride == 1 && a.column_stride != 1;
    match by_terms {
        true => {
            for (p, to) in to.chunks_exact_mut(rows).enumerate().take(pairs) {
                let row = |k: usize| &a.data[k * a.column_stride..][..rows];
                let second = (2 * p + 1 < a.columns).then(|| row(2 * p + 1));
                across(to, row(2 * p), second, native);
            }
        }
        false => {
            for (i, to) in to.chunks_exact_mut(pairs).enumerate().take(rows) {
                let from = &a.data[i * a.row_stride..];
                match a.column_stride {
                    1 => along(to, &from[..a.columns], native),
                    stride => {
                        for (p, to) in to.iter_mut().enumerate() {
                            let at = |k: usize| match k < a.columns {
                                true => rounded(from[k * stride]),
                                false => 0,
                            };
                            *to = at(2 * p) | at(2 * p + 1) << 16;
                        }
                    }
                }
            }
        }
    }
    let (row_stride, pair_stride) = if by_terms { (1, rows) } else { (pairs, 1) };
    Pairs { data: to, rows, pairs, row_stride, pair_stride }
}

/// All of B in panels: for each pair of terms a row of whole registers; what no column fills is
/// zero. `room` is for as many pairs.
pub(super) fn panels(to: &mut [u32], b: Matrix<'_, f32>, room: &mut [u32], native: bool) {
    let (n, pairs) = (b.columns, b.rows.div_ceil(2));
    let mut each = |work: &mut dyn FnMut(&mut [u32], usize, usize, usize)| {
        let mut j = 0;
        while j < n {
            let wide = width(n - j) * LANES;
            let columns = wide.min(n - j);
            work(&mut to[pairs * j..][..pairs * wide], j, columns, wide);
            j += columns;
        }
    };
    if b.column_stride == 1 {
        return each(&mut |to, j, columns, wide| {
            for (p, to) in to.chunks_exact_mut(wide).enumerate() {
                let row = |k: usize| &b.data[k * b.row_stride + j..][..columns];
                let second = (2 * p + 1 < b.rows).then(|| row(2 * p + 1));
                across(&mut to[..columns], row(2 * p), second, native);
                to[columns..].fill(0);
            }
        });
    }
    // Its columns as pairs, and these turned.
    let turned = rows(room, b.transposed(), native);
    let numbers = panel::as_numbers(turned.data);
    let turned = Matrix {
        data: numbers,
        rows: pairs,
        columns: n,
        row_stride: turned.pair_stride,
        column_stride: turned.row_stride,
    };
    each(&mut |to, j, columns, wide| {
        panel::fill(panel::as_numbers_mut(to), turned.some_columns(j, columns), columns, wide);
    });
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, mem::transmute};

    /// # Safety
    /// The processor has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn along(to: &mut [u32], from: &[f32]) {
        let (whole, rest) = from.as_chunks::<32>();
        let (places, places_of_rest) = to.split_at_mut(16 * whole.len());
        for (from, to) in whole.iter().zip(places.as_chunks_mut::<16>().0) {
            // SAFETY: 32 numbers are read and as many halves written.
            unsafe {
                let low = _mm512_loadu_ps(from.as_ptr());
                let high = _mm512_loadu_ps(from[16..].as_ptr());
                let pairs: __m512i = transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs);
            }
        }
        super::along(places_of_rest, rest, false);
    }

    /// # Safety
    /// The processor has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn across(to: &mut [u32], first: &[f32], second: Option<&[f32]>) {
        let count = to.len().min(first.len());
        let second = second.map(|second| &second[..count]);
        let mut i = 0;
        while i < count {
            let left = count - i;
            let mask = if left >= 16 { !0 } else { (1u16 << left) - 1 };
            // SAFETY: the mask leaves out what is past the end.
            unsafe {
                let half = |row: &[f32]| {
                    let numbers = _mm512_maskz_loadu_ps(mask, row.as_ptr().add(i));
                    let half: __m256i = transmute(_mm512_cvtneps_pbh(numbers));
                    _mm512_cvtepu16_epi32(half)
                };
                let mut pairs = half(first);
                if let Some(second) = second {
                    pairs = _mm512_or_si512(pairs, _mm512_slli_epi32::<16>(half(second)));
                }
                _mm512_mask_storeu_epi32(to.as_mut_ptr().add(i).cast(), mask, pairs);
            }
            i += 16;
        }
    }
}
