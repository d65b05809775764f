//! Products whose operands are bfloat16, and whose sums are single: a number keeps its exponent and
//! 8 of its 24 bits.
//!
//! By `vdpbf16ps` where the processor has it, which adds two products at a time, and elsewhere by
//! multiply-adds that give the same bits: the product of two such numbers has 16 bits, so that only
//! sums are rounded.

mod pack;
#[cfg(test)]
mod tests;
mod tile;

use super::{Matrix, Out, Start, panel};
#[cfg(target_arch = "x86_64")]
use crate::kernel::instructions::arch;
use pack::Pairs;
use tile::Strip;

/// Whether the processor has an instruction for it.
pub(crate) fn is_native() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        matches!(arch(), pulp::Arch::V4(_)) && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Whether operands are worth their rounding: products of a few rows, columns or terms are a small
/// part of the work, and the last layer's the most delicate.
pub(super) fn suits(m: usize, n: usize, k: usize) -> bool {
    const LEAST: usize = 32;
    m >= LEAST && n >= LEAST && k >= LEAST
}

/// Terms of the sum, rows and columns of the result that are worked on at a time.
const TERMS: usize = 512;
const ROWS: usize = 96;
const COLUMNS: usize = 1024;
/// Single numbers in a register.
const LANES: usize = 16;

/// out ← start + A B.
///
/// # Safety
/// A and B lie in their slices; `out` has room for `a.rows` rows of `b.columns` numbers,
/// `out.stride` apart, which nobody else touches; a starting row has as many numbers. `native` is
/// what [`is_native`] says, or false.
pub(super) unsafe fn add_product(
    out: &Out<f32>,
    start: Start<'_, f32>,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    native: bool,
) {
    let (mut of_a, mut of_b) = (panel::Room::of_a(), panel::Room::take());
    let mut turned = panel::Room::turned();
    // The same for any number of rows and columns: the order of the sum is fixed.
    let terms = a.columns.div_ceil(a.columns.div_ceil(TERMS)).next_multiple_of(2);
    for first in (0..b.columns).step_by(COLUMNS) {
        let columns = COLUMNS.min(b.columns - first);
        let b = b.some_columns(first, columns);
        let (out, start) = (out.at(0, first), start.some_columns(first));
        for k in (0..a.columns).step_by(terms) {
            let terms = terms.min(a.columns - k);
            let pairs = terms.div_ceil(2);
            let (a, b) = (a.some_columns(k, terms), b.some_rows(k, terms));
            let start = if k == 0 { start } else { Start::There };
            let panels = of_b.pairs(pairs * columns.next_multiple_of(LANES));
            pack::panels(panels, b, turned.pairs(pairs * columns), native);
            for row in (0..a.rows).step_by(ROWS) {
                let rows = ROWS.min(a.rows - row);
                let a = pack::rows(of_a.pairs(rows * pairs), a.some_rows(row, rows), native);
                // SAFETY: as the caller promises; there are as many rows and columns in the pairs.
                unsafe { block(&out.at(row, 0), start, &a, panels, columns, native) };
            }
        }
    }
}

/// How many registers wide the next panel is, with so many columns left.
fn width(left: usize) -> usize {
    match left.div_ceil(LANES) {
        // As three and two: a panel of one does not keep the processor busy.
        5 => 3,
        vectors => vectors.min(4),
    }
}

/// Some rows by all panels.
///
/// # Safety
/// `out` has room for `columns` numbers in each row of A, and a starting row has as many; the panels
/// have as many columns and pairs of terms as A has.
unsafe fn block(
    out: &Out<f32>,
    start: Start<'_, f32>,
    a: &Pairs<'_>,
    panels: &[u32],
    columns: usize,
    native: bool,
) {
    let mut j = 0;
    while j < columns {
        let vectors = width(columns - j);
        let count = (vectors * LANES).min(columns - j);
        let strip = Strip {
            out: out.at(0, j),
            start: start.some_columns(j),
            a,
            panel: &panels[a.pairs * j..],
            columns: count,
            native,
        };
        // SAFETY: as the caller promises.
        unsafe {
            match vectors {
                4 => strip.tiles::<6, 4>(),
                3 => strip.tiles::<8, 3>(),
                2 => strip.tiles::<12, 2>(),
                _ => strip.tiles::<12, 1>(),
            }
        }
        j += count;
    }
}
