//! Columns of a matrix side by side, as many as the registers take, so that a product reads them
//! one after the other.

use std::cell::Cell;

use super::Matrix;

/// As wide as the widest register, and where a line of the cache begins.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static KEPT: [Cell<Vec<Line>>; 3] = const { [const { Cell::new(Vec::new()) }; 3] };
}

/// Room for panels, which the thread keeps for the next product.
pub(super) struct Room {
    lines: Vec<Line>,
    place: usize,
}

impl Room {
    /// For panels of B.
    pub(super) fn take() -> Self {
        Self::at(0)
    }

    /// For rows of A.
    pub(super) fn of_a() -> Self {
        Self::at(1)
    }

    /// For what is turned into panels.
    pub(super) fn turned() -> Self {
        Self::at(2)
    }

    fn at(place: usize) -> Self {
        Self { lines: KEPT.with(|kept| kept[place].take()), place }
    }

    /// Room for so many pairs of halves, whatever they are.
    pub(super) fn pairs(&mut self, pairs: usize) -> &mut [u32] {
        let numbers = &mut self.of(pairs)[..pairs];
        // SAFETY: numbers of the same size and alignment; all bits are allowed.
        unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), pairs) }
    }

    /// Room for so many numbers, whatever they are.
    pub(super) fn of(&mut self, numbers: usize) -> &mut [f32] {
        let count = numbers.div_ceil(16);
        if self.lines.len() < count {
            self.lines.resize(count, Line::default());
        }
        // SAFETY: a line is 16 numbers and nothing else.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 16 * count) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        KEPT.with(|kept| kept[self.place].set(std::mem::take(&mut self.lines)));
    }
}

/// Pairs of halves as numbers that are only moved.
pub(super) fn as_numbers(pairs: &[u32]) -> &[f32] {
    // SAFETY: numbers of the same size and alignment; all bits are allowed.
    unsafe { std::slice::from_raw_parts(pairs.as_ptr().cast(), pairs.len()) }
}

/// The same, to be written.
pub(super) fn as_numbers_mut(pairs: &mut [u32]) -> &mut [f32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(pairs.as_mut_ptr().cast(), pairs.len()) }
}

/// Copies `width` columns of some rows of B into a panel, `room` numbers for each row; what no
/// column fills is zero.
pub(super) fn fill(panel: &mut [f32], b: Matrix<'_, f32>, width: usize, room: usize) {
    if b.column_stride != 1 {
        return turn(panel, b, width, room);
    }
    for (p, to) in panel.chunks_exact_mut(room).enumerate().take(b.rows) {
        to[..width].copy_from_slice(&b.data[p * b.row_stride..][..width]);
        to[width..].fill(0.0);
    }
}

/// The same for a matrix whose columns are contiguous, or that has any strides.
fn turn(panel: &mut [f32], b: Matrix<'_, f32>, width: usize, room: usize) {
    if width < room {
        panel.chunks_exact_mut(room).take(b.rows).for_each(|to| to[width..].fill(0.0));
    }
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "nothing is done there"))]
    let mut done = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if b.row_stride == 1 && pulp::x86::V3::try_new().is_some() {
        done = (b.rows / 8 * 8, width / 8 * 8);
        // SAFETY: the processor has AVX2; the rows and columns are some of B's, and of the panel's.
        unsafe { by_eights(panel, room, b, done.0, done.1) };
    }
    for p in 0..b.rows {
        let first = if p < done.0 { done.1 } else { 0 };
        for (j, to) in panel[p * room..][..width].iter_mut().enumerate().skip(first) {
            *to = b.data[p * b.row_stride + j * b.column_stride];
        }
    }
}

/// Squares of 8 by 8 numbers, in registers.
///
/// # Safety
/// The processor has AVX2; `rows` and `columns` are multiples of 8; B, with rows 1 apart, and the
/// panel have as many.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn by_eights(
    panel: &mut [f32],
    room: usize,
    b: Matrix<'_, f32>,
    rows: usize,
    columns: usize,
) {
    use std::arch::x86_64::*;
    let stride = b.column_stride;
    for p in (0..rows).step_by(8) {
        for j in (0..columns).step_by(8) {
            for half in [0, 4] {
                let from = &b.data[j * stride + p + half..];
                let to = &mut panel[(p + half) * room + j..];
                debug_assert!(from.len() >= 7 * stride + 4 && to.len() >= 3 * room + 8);
                // SAFETY: four numbers of each of eight columns, and eight of each of four rows of
                // the panel.
                unsafe {
                    // Columns i and i + 4 in the halves of a register.
                    let pair = |i: usize| {
                        let low = _mm_loadu_ps(from.as_ptr().add(i * stride));
                        let high = _mm_loadu_ps(from.as_ptr().add((i + 4) * stride));
                        _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1)
                    };
                    let [a, b, c, d] = [pair(0), pair(1), pair(2), pair(3)];
                    let [ab, ab2] = [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)];
                    let [cd, cd2] = [_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)];
                    let rows = [
                        _mm256_shuffle_ps(ab, cd, 0x44),
                        _mm256_shuffle_ps(ab, cd, 0xEE),
                        _mm256_shuffle_ps(ab2, cd2, 0x44),
                        _mm256_shuffle_ps(ab2, cd2, 0xEE),
                    ];
                    for (i, row) in rows.into_iter().enumerate() {
                        _mm256_storeu_ps(to.as_mut_ptr().add(i * room), row);
                    }
                }
            }
        }
    }
}
