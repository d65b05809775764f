use super::{super::tests::each_case, *};
use crate::kernel::product::bfloat::pack::rounded;

/// A B in double precision of operands that are rounded, and Σ |a b|.
fn expected(a: Matrix<'_, f32>, b: Matrix<'_, f32>, i: usize, j: usize) -> [f64; 2] {
    let at = |m: &Matrix<'_, f32>, i: usize, j: usize| {
        let number = m.data[i * m.row_stride + j * m.column_stride];
        f64::from(f32::from_bits(rounded(number) << 16))
    };
    let terms = (0..a.columns).map(|k| at(&a, i, k) * at(&b, k, j));
    terms.fold([0.0; 2], |[sum, size], term| [sum + term, size + term.abs()])
}

/// The product of a case.
fn found(
    [m, n, _]: [usize; 3],
    start: Start<'_, f32>,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    native: bool,
) -> Vec<f32> {
    let mut out: Vec<f32> = (0..m * n).map(|i| i as f32 / 7.0).collect();
    let to = Out { data: out.as_mut_ptr(), stride: n };
    // SAFETY: the sizes are those of the case.
    unsafe { add_product(&to, start, a, b, native) };
    out
}

#[test]
fn products_are_those_of_rounded_operands() {
    each_case(|size, start, a, b| {
        for (place, found) in found(size, start, a, b, false).into_iter().enumerate() {
            let (i, j) = (place / size[1], place % size[1]);
            let [sum, terms] = expected(a, b, i, j);
            let there = if start.is_there() { place as f32 / 7.0 } else { 0.0 };
            let begin = f64::from(there) + f64::from(start.row().map_or(0.0, |row| row[j]));
            let bound = 2.0 * f64::from(f32::EPSILON) * (terms + begin.abs() + 1.0) * 4.0;
            let error = (f64::from(found) - sum - begin).abs();
            assert!(error <= bound, "{size:?}: {found} and not {}", sum + begin);
        }
    });
}

/// Numbers of all sizes, with no pattern.
fn wild(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state ^ (state >> 13))
    };
    let finite = |number: f32| if number.is_finite() { number } else { 0.5 };
    (0..count).map(|_| finite(next())).collect()
}

#[test]
fn the_processors_instruction_gives_the_same_bits() {
    if !is_native() {
        return;
    }
    each_case(|size, start, a, b| {
        let bits = |native| found(size, start, a, b, native).iter().map(|x| x.to_bits()).collect();
        let [by_instruction, by_others]: [Vec<u32>; 2] = [bits(true), bits(false)];
        assert_eq!(by_instruction, by_others, "{size:?}");
    });
    // Of any exponent: sums that leave the range, and numbers below the least normal one.
    for (m, n, k) in [(7, 33, 19), (40, 70, 64)] {
        let (a, b) = (wild(m * k, 1), wild(k * n, 2));
        for scale in [1.0, 1e-20, 1e-30] {
            let scaled = |of: &[f32]| -> Vec<f32> {
                of.iter().map(|x| (x.signum() * x.abs().clamp(1e-38, 1e18)) * scale).collect()
            };
            let (a, b) = (scaled(&a), scaled(&b));
            let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            let bits = |native| {
                let mut out = vec![0f32; m * n];
                let to = Out { data: out.as_mut_ptr(), stride: n };
                // SAFETY: the sizes agree.
                unsafe { add_product(&to, Start::There, a, b, native) };
                out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(bits(true), bits(false), "{m} {n} {k}, {scale}");
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_and_ties_go_to_even() {
    for (number, expected) in [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 1.0 / 255.0, 1.0 + 1.0 / 128.0),
        (1.0 + 3.0 / 256.0, 1.0 + 1.0 / 64.0),
        (-1.0 - 3.0 / 256.0, -1.0 - 1.0 / 64.0),
        (f32::MAX, f32::INFINITY),
        (1e-40, 0.0),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ] {
        assert_eq!(f32::from_bits(rounded(number) << 16), expected, "{number}");
    }
    assert!(f32::from_bits(rounded(f32::NAN) << 16).is_nan());
}
