//! Rows to train on, and rows to test with.

use super::*;

#[test]
fn loses_and_doubles_no_row() {
    let all = numbered::<3>((0..100).map(|i| i % 3).collect());
    for (fraction, rows) in [(0.01, 1), (0.25, 25), (0.5, 50), (0.996, 100), (0.99, 99)] {
        let split = all.split(fraction, 7);
        if rows == 100 {
            assert_argument(
                split,
                "Dataset::split: expected a fraction that leaves rows on both sides, \
                 found 0.996 of 100 rows: 100 to test",
            );
            continue;
        }
        let split = split.unwrap();
        assert_eq!(split.test.rows(), rows);
        assert_partition(&all, &split);
    }
}

#[test]
fn is_in_random_order() {
    let all = numbered::<1>(vec![0; 100]);
    let split = all.split(0.5, 0).unwrap();
    for side in [split.train, split.test] {
        assert!(!side.inputs().is_sorted());
    }
}

#[test]
fn the_seed_decides() {
    let all = numbered::<2>((0..50).map(|i| i % 2).collect());
    assert_eq!(all.split(0.2, 3).unwrap(), all.split(0.2, 3).unwrap());
    assert_ne!(all.split(0.2, 3).unwrap(), all.split(0.2, 4).unwrap());
    let stratified = |seed| all.split_stratified(0.2, seed).unwrap();
    assert_eq!(stratified(3), stratified(3));
    assert_ne!(stratified(3), stratified(4));
}

/// Fails if the generator or the shuffle changes, and with it every published split.
#[test]
fn seed_0_is_what_it_always_was() {
    let split = numbered::<1>(vec![0; 10]).split(0.3, 0).unwrap();
    assert_eq!(split.test.inputs(), TEST);
    assert_eq!(split.train.inputs(), TRAIN);
}
const TEST: [f32; 3] = [3., 8., 5.];
const TRAIN: [f32; 7] = [2., 7., 1., 0., 4., 9., 6.];

#[test]
fn stratified_keeps_the_proportions() {
    let sizes = [100, 40, 10, 5, 2, 1, 0];
    let labels = sizes.iter().zip(0..).flat_map(|(&n, c)| vec![c; n]).collect();
    let all = numbered::<7>(labels);
    for (fraction, test) in [
        (0.2, [20, 8, 2, 1, 1, 0, 0]),
        (0.5, [50, 20, 5, 3, 1, 0, 0]),
        (0.001, [1, 1, 1, 1, 1, 0, 0]),
        (0.999, [99, 39, 9, 4, 1, 0, 0]),
    ] {
        let split = all.split_stratified(fraction, 11).unwrap();
        assert_eq!(split.test.targets().counts(), test, "{fraction}");
        assert_partition(&all, &split);
        assert!(!split.train.targets().as_slice().is_sorted(), "the classes one by one");
    }
}

#[test]
fn stratified_totals_are_right_within_half_a_row_a_class() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for seed in 0..200 {
        let rows = rng.gen_range(200..400);
        let all = numbered::<5>((0..rows).map(|_| rng.gen_range(0..5)).collect());
        let fraction = rng.gen_range(0.1..0.9);
        let split = all.split_stratified(fraction, seed).unwrap();
        assert_partition(&all, &split);
        let exact = all.rows() as f64 * fraction;
        assert!((split.test.rows() as f64 - exact).abs() <= 2.5);
    }
}

#[test]
fn other_fractions_are_errors() {
    let all = numbered::<2>(vec![0, 0, 1, 1]);
    for fraction in [0., 1., -0.5, 1.5, f64::NAN, f64::INFINITY] {
        let text = format!("expected a test_fraction between 0 and 1, found {fraction}");
        assert_argument(all.split(fraction, 0), &format!("Dataset::split: {text}"));
        let stratified = all.split_stratified(fraction, 0);
        assert_argument(stratified, &format!("Dataset::split_stratified: {text}"));
    }
}

#[test]
fn a_side_without_rows_is_an_error() {
    let text = "a fraction that leaves rows on both sides";
    for (rows, found) in [(0, "0.5 of 0 rows: 0 to test"), (1, "0.5 of 1 rows: 1 to test")] {
        let split = numbered::<1>(vec![0; rows]).split(0.5, 0);
        assert_argument(split, &format!("Dataset::split: expected {text}, found {found}"));
    }
    assert_argument(
        numbered::<2>(vec![0, 1]).split_stratified(0.5, 0),
        &format!("Dataset::split_stratified: expected {text}, found 0.5 of 2 rows: 0 to test"),
    );
}

#[test]
fn shuffled_inputs_keep_targets_and_whole_rows() {
    let inputs = (0..200).map(|i| i as f64).collect();
    let labels = Labels::<2>::new((0..100).map(|i| i % 2).collect()).unwrap();
    let data = Dataset::<2, _, f64>::new(inputs, labels).unwrap();
    let shuffled = data.shuffled_inputs(5);
    assert_eq!(shuffled.targets(), data.targets());
    assert_eq!(shuffled, data.shuffled_inputs(5));
    assert_ne!(shuffled, data.shuffled_inputs(6));
    let rows = |data: &Dataset<2, Labels<2>, f64>| -> Vec<[u64; 2]> {
        data.inputs().chunks(2).map(|row| [row[0] as u64, row[1] as u64]).collect()
    };
    let mut sorted = rows(&shuffled);
    assert!(sorted.iter().zip(rows(&data)).filter(|(a, b)| **a == *b).count() < 10);
    sorted.sort();
    assert_eq!(sorted, rows(&data));
}
