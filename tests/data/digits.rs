//! The digits inside the crate.

use dfdx_noprop::data::{digits, digits_rows, digits_with_seed};

/// Mean and deviation by the textbook's two passes.
fn moments(values: &[f32]) -> (f64, f64) {
    let values = || values.iter().map(|&v| f64::from(v));
    let n = values().count() as f64;
    let mean = values().sum::<f64>() / n;
    (mean, (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn are_those_that_scikit_learn_has_too() {
    let data = digits_rows().unwrap();
    assert_eq!(data.targets().counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!(data.input(0)[..8], [0., 0., 5., 13., 9., 1., 0., 0.]);
    assert!(data.inputs().iter().all(|v| v.fract() == 0. && (0. ..=16.).contains(v)));
    let mean = data.inputs().iter().map(|&v| f64::from(v)).sum::<f64>() / (1797. * 64.);
    assert!((mean - 4.884164579855314).abs() < 1e-12, "{mean}");
}

#[test]
fn are_split_by_class_and_standardised_by_the_training_rows() {
    let split = digits().unwrap();
    assert_eq!(split.test.targets().counts(), [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]);
    assert_eq!(split.train.rows() + split.test.rows(), 1797);
    let (mean, deviation) = moments(split.train.inputs());
    assert!(mean.abs() < 1e-6 && (deviation - 1.).abs() < 1e-6, "{mean} {deviation}");
    // With the test rows among those for the statistics, all together would be at 0 and 1.
    let (mean, deviation) = moments(split.test.inputs());
    assert!(mean.abs() > 1e-4 && (deviation - 1.).abs() > 1e-4, "{mean} {deviation}");
}

#[test]
fn the_seed_decides_the_split() {
    assert_eq!(digits().unwrap(), digits_with_seed(0).unwrap());
    assert_ne!(digits().unwrap().test, digits_with_seed(1).unwrap().test);
}
