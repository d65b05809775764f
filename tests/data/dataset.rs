//! Rows in memory.

use super::*;

#[test]
fn rows_far_past_the_end_are_empty() {
    let data = Dataset::<2, Labels<2>>::new(vec![1., 2.], Labels::new(vec![1]).unwrap()).unwrap();
    for row in [1, 2, usize::MAX / 2, usize::MAX] {
        assert!(data.input(row).is_empty());
        assert_eq!(data.select(&[row]).rows(), 0);
    }
    assert_eq!(data.select(&[usize::MAX, 0]), data);
}

#[test]
fn rows_are_taken_in_any_form() {
    let rows = [[1f32, 2.], [3., 4.]];
    let labels = || Labels::<2>::new(vec![0, 1]).unwrap();
    let data = Dataset::from_rows(&rows[..], labels()).unwrap();
    assert_eq!(data, Dataset::new(vec![1., 2., 3., 4.], labels()).unwrap());
    assert_eq!(data, Dataset::from_rows(rows, labels()).unwrap());
    assert_eq!(data, Dataset::from_rows(&rows[..], labels()).unwrap());
    assert_eq!(data, Dataset::from_rows(rows.to_vec(), labels()).unwrap());
    assert_argument(
        Dataset::from_rows(&rows[1..], labels()),
        "Dataset::new: expected 1 targets, one for each row, found 2",
    );
    assert!(Dataset::from_rows([[f32::NAN, 0.]], Labels::<2>::new(vec![0]).unwrap()).is_err());
}

#[test]
fn another_precision_is_as_exact_as_it_can_be_or_an_error() {
    let values = Values::<1, f64>::new(vec![0.1, 1e-300]).unwrap();
    let data = Dataset::<1, _, f64>::new(vec![1.0 / 3.0, -3e38], values).unwrap();
    let small: Dataset<1, Values<1>> = data.try_to_dtype().unwrap();
    assert_eq!(small.inputs(), [1f32 / 3., -3e38]);
    assert_eq!(small.targets().as_slice(), [0.1f32, 0.]);
    assert_eq!(data.try_to_dtype::<f64>().unwrap(), data);
    let wide = small.to_dtype::<f64>();
    assert_eq!(wide.inputs(), [f64::from(1f32 / 3.), f64::from(-3e38f32)]);
    assert_eq!(wide.targets().as_slice(), [f64::from(0.1f32), 0.]);
    assert_eq!(wide.try_to_dtype::<f32>().unwrap(), small);

    let labels = Labels::<2>::new(vec![0, 1]).unwrap();
    let huge = Dataset::<2, _, f64>::new(vec![1., 2., 3., 1e300], labels).unwrap();
    assert_argument(
        huge.try_to_dtype::<f32>(),
        "Dataset::try_to_dtype: expected numbers that are finite as f32, found 1e300 in row 1, \
         column 1; standardise or scale them first",
    );
    let values = Values::<1, f64>::new(vec![0., -1e39]).unwrap();
    let huge = Dataset::<1, _, f64>::new(vec![0., 0.], values).unwrap();
    assert_argument(
        huge.try_to_dtype::<f32>(),
        "Values::try_to_dtype: expected numbers that are finite as f32, found -1e39 in row 1, \
         column 0; standardise or scale them first",
    );
}
