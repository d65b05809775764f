//! Cross-validation.

use super::*;

#[test]
fn each_row_is_tested_once_and_classes_are_even() {
    let sizes = [50, 31, 7, 1, 0];
    let labels = sizes.iter().zip(0..).flat_map(|(&n, c)| vec![c; n]).collect();
    let all = numbered::<5>(labels);
    for k in [2, 5, 10, 89] {
        let folds = all.folds(k, 3).unwrap();
        assert_eq!(folds.len(), k);
        let mut tested = BTreeSet::new();
        for split in folds {
            assert_partition(&all, &split);
            assert!([89 / k, 89usize.div_ceil(k)].contains(&split.test.rows()));
            for (class, count) in split.test.targets().counts().into_iter().enumerate() {
                assert!([sizes[class] / k, sizes[class].div_ceil(k)].contains(&count));
            }
            for &row in split.test.inputs() {
                assert!(tested.insert(row as usize), "row {row} twice");
            }
            assert!(!split.train.targets().as_slice().is_sorted(), "the classes one by one");
        }
        assert_eq!(tested.len(), 89);
    }
}

#[test]
fn the_seed_decides() {
    let all = numbered::<2>((0..50).map(|i| i % 2).collect());
    let folds = |seed| all.folds(5, seed).unwrap().collect::<Vec<_>>();
    assert_eq!(folds(3), folds(3));
    assert_ne!(folds(3), folds(4));
}

#[test]
fn numbers_are_cut_at_random() {
    let values = Values::<1>::new((0..10).map(|i| i as f32).collect()).unwrap();
    let data = Dataset::<1, _>::new((0..10).map(|i| i as f32).collect(), values).unwrap();
    let folds: Vec<_> = data.folds(3, 0).unwrap().collect();
    assert_eq!(folds.iter().map(|fold| fold.test.rows()).collect::<Vec<_>>(), [4, 3, 3]);
    for fold in &folds {
        assert_eq!(fold.test.inputs(), fold.test.targets().as_slice());
        assert_eq!(fold.train.rows() + fold.test.rows(), 10);
    }
    assert!(folds.iter().any(|fold| !fold.test.inputs().is_sorted()));
}

#[test]
fn other_numbers_of_folds_are_errors() {
    let all = numbered::<2>(vec![0, 1, 0]);
    for k in [0, 1, 4, usize::MAX] {
        let text = format!("Dataset::folds: expected k from 2 to 3, the number of rows, found {k}");
        assert_argument(all.folds(k, 0).map(|_| ()), &text);
    }
}
