use super::*;

/// Numbers that have no pattern, exact in half precision so that sums of them are nearly so in
/// single.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7919 + seed * 104_729 + i * i % 31) % 257) as f32 / 64.0 - 2.0)
        .collect()
}

/// A matrix `[rows, columns]` row-major, or the transposed of one `[columns, rows]`.
fn matrix(data: &[f32], rows: usize, columns: usize, turned: bool) -> Matrix<'_, f32> {
    match turned {
        false => Matrix::new(data, rows, columns),
        true => Matrix::new(data, columns, rows).transposed(),
    }
}

/// start + A B in double precision.
fn expected(start: &[f32], a: Matrix<'_, f32>, b: Matrix<'_, f32>) -> Vec<f64> {
    let at = |m: &Matrix<'_, f32>, i: usize, j: usize| {
        f64::from(m.data[i * m.row_stride + j * m.column_stride])
    };
    let mut out: Vec<f64> = start.iter().copied().map(f64::from).collect();
    for (i, row) in out.chunks_exact_mut(b.columns).enumerate() {
        for (j, out) in row.iter_mut().enumerate() {
            *out += (0..a.columns).map(|k| at(&a, i, k) * at(&b, k, j)).sum::<f64>();
        }
    }
    out
}

/// Whole tiles and none, one row, one column, sums longer than a block, panels of every width.
const SIZES: [[usize; 3]; 14] = [
    [1, 1, 1],
    [1, 256, 300],
    [6, 64, 8],
    [7, 10, 17],
    [9, 17, 16],
    [13, 33, 9],
    [12, 16, 513],
    [96, 65, 3],
    [97, 80, 40],
    [100, 81, 260],
    [30, 49, 257],
    [33, 144, 10],
    [10, 1100, 20],
    [200, 96, 700],
];

/// Every size, both ways to lie for A and for B, all starts.
pub(super) fn each_case(
    check: impl Fn([usize; 3], Start<'_, f32>, Matrix<'_, f32>, Matrix<'_, f32>),
) {
    for [m, n, k] in SIZES {
        let (a, b, row) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        for turned in [[false, false], [false, true], [true, false], [true, true]] {
            let (a, b) = (matrix(&a, m, k, turned[0]), matrix(&b, k, n, turned[1]));
            check([m, n, k], Start::There, a, b);
            check([m, n, k], Start::Row(&row), a, b);
            check([m, n, k], Start::Both(&row), a, b);
        }
    }
}

/// What a product starts from, and what it has to give.
fn case(
    [m, n, _]: [usize; 3],
    start: Start<'_, f32>,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
) -> (Vec<f32>, Vec<f64>) {
    let there = numbers(m * n, 4);
    let begins = match start {
        Start::There => there.clone(),
        Start::Row(row) => row.repeat(m),
        Start::Both(row) => there.iter().zip(row.repeat(m)).map(|(a, b)| a + b).collect(),
    };
    (there, expected(&begins, a, b))
}

/// The rounding of a sum of k products of numbers up to 2, in any order.
fn check_close(found: &[f32], expected: &[f64], k: usize, size: [usize; 3]) {
    let bound = 8.0 * (k as f64).sqrt() * f64::from(f32::EPSILON) * 4.0;
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= bound * (1.0 + expected.abs()), "{size:?}: {found} and not {expected}");
    }
}

#[test]
fn products_are_those_of_their_definition() {
    each_case(|size, start, a, b| {
        let (mut out, expected) = case(size, start, a, b);
        product(&mut out, start, a, b).unwrap();
        check_close(&out, &expected, size[2], size);
    });
}

#[test]
fn products_are_right_on_processors_with_shorter_registers() {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        use pulp::Simd;
        each_case(|size, start, a, b| {
            let stride = size[1];
            let (mut out, expected) = case(size, start, a, b);
            let to = |out: &mut Vec<f32>| Out { data: out.as_mut_ptr(), stride };
            assert!(Simd::vectorize(simd, tiles::Tiles { out: to(&mut out), start, a, b }));
            check_close(&out, &expected, size[2], size);
            if a.column_stride == 1 && b.row_stride == 1 {
                let (mut out, _) = case(size, start, a, b);
                assert!(Simd::vectorize(simd, dots::Dots { out: to(&mut out), start, a, b }));
                check_close(&out, &expected, size[2], size);
            }
        });
    }
}

#[test]
fn a_product_of_nothing_is_what_it_starts_from() {
    let mut out = vec![1.0f32; 6];
    let (a, b) = (Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 3));
    product(&mut out, Start::There, a, b).unwrap();
    assert_eq!(out, [1.0; 6]);
    product(&mut out, Start::Row(&[1.0, 2.0, 3.0]), a, b).unwrap();
    assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    product(&mut out, Start::Both(&[1.0, 0.0, 1.0]), a, b).unwrap();
    assert_eq!(out, [2.0, 2.0, 4.0, 2.0, 2.0, 4.0]);
}

#[test]
fn sizes_that_do_not_agree_are_an_error() {
    let data = [0.0f32; 12];
    let of = |rows, columns| Matrix::new(&data, rows, columns);
    for (out, row, a, b) in [
        (5, 3, of(2, 2), of(2, 3)),
        (6, 2, of(2, 2), of(2, 3)),
        (6, 3, of(2, 2), of(3, 3)),
        (6, 3, of(2, 7), of(7, 3)),
    ] {
        let (mut out, row) = (vec![0.0; out], vec![0.0; row]);
        assert!(product(&mut out, Start::Row(&row), a, b).is_err());
    }
}

/// What is not a number in A or B shows in each element that it has a part in, and nowhere else.
#[test]
fn what_is_not_a_number_stays_in_its_row() {
    for [m, n, k] in [[7, 10, 17], [30, 49, 20], [3, 40, 9]] {
        let mut a = numbers(m * k, 1);
        a[2 * k + 3] = f32::NAN;
        let b = numbers(k * n, 2);
        for turned in [false, true] {
            let mut out = vec![0.0; m * n];
            let (a, b) = (Matrix::new(&a, m, k), matrix(&b, k, n, turned));
            product(&mut out, Start::There, a, b).unwrap();
            for (i, row) in out.chunks_exact(n).enumerate() {
                assert!(row.iter().all(|x| x.is_nan() == (i == 2)), "{m} {n} {k}, row {i}");
            }
        }
    }
}
