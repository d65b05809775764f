//! Mean 0 and deviation 1.

use super::*;

fn small() -> Split<2, Values<1>> {
    let part = |inputs, values| Dataset::new(inputs, Values::new(values).unwrap()).unwrap();
    Split {
        train: part(vec![1., 7., 2., 7., 6., 7.], vec![10., 20., 60.]),
        test: part(vec![3., 9.], vec![30.]),
    }
}

#[test]
fn per_column_is_what_one_computes_by_hand() {
    // 1, 2, 6: mean 3, squares 4 + 1 + 9, deviation √(14/3). The second column is constant.
    let deviation = (14f64 / 3.).sqrt();
    let standardiser = Standardiser::per_column(&small().train).unwrap();
    assert_eq!(standardiser.mean(), [3., 7.]);
    assert_eq!(standardiser.deviation()[1], 0.);
    assert!((standardiser.deviation()[0] - deviation).abs() < 1e-15);
    let split = small().standardised_per_column().unwrap();
    assert_eq!(split.test.inputs(), [0., 2.]);
    assert_eq!(split.train.input(2), [(3. / deviation) as f32, 0.]);
    assert_eq!(split.train.targets(), small().train.targets());
}

#[test]
fn overall_has_one_mean_and_one_deviation() {
    // 1, 7, 2, 7, 6, 7: mean 5, squares 16 + 4 + 9 + 4 + 1 + 4 = 38.
    let deviation = (38f64 / 6.).sqrt();
    let standardiser = Standardiser::overall(&small().train).unwrap();
    for column in 0..2 {
        assert!((standardiser.mean()[column] - 5.).abs() < 1e-14);
        assert!((standardiser.deviation()[column] - deviation).abs() < 1e-14);
    }
    let split = small().standardised_overall().unwrap();
    assert_eq!(split.test.inputs(), [(-2. / deviation) as f32, (4. / deviation) as f32]);
}

#[test]
fn test_rows_have_no_say() {
    let mut changed = small();
    changed.test = Dataset::new(vec![-1e6, 1e6], Values::new(vec![1e9]).unwrap()).unwrap();
    let (a, b) = (small(), changed);
    let same = |f: fn(Split<2, Values<1>>) -> Result<Split<2, Values<1>>, Error>| {
        assert_eq!(f(a.clone()).unwrap().train, f(b.clone()).unwrap().train);
        assert_ne!(f(a.clone()).unwrap().test, f(b.clone()).unwrap().test);
    };
    same(Split::standardised_per_column);
    same(Split::standardised_overall);
    same(|split| Ok(split.standardised_targets()?.0));
    let (a, b) = (a.standardised_targets().unwrap(), b.standardised_targets().unwrap());
    assert_eq!(a.1, b.1);
}

#[test]
fn targets_come_back() {
    let (split, standardiser) = small().standardised_targets().unwrap();
    assert_eq!(standardiser.mean(), [30.]);
    assert_eq!(split.test.targets().as_slice(), [0.]);
    assert_eq!(split.train.inputs(), small().train.inputs());
    let mut predictions = split.train.targets().as_slice().to_vec();
    assert!(predictions.iter().all(|v| v.abs() < 2.));
    standardiser.invert(&mut predictions).unwrap();
    for (prediction, target) in predictions.iter().zip([10., 20., 60.]) {
        assert!((prediction - target).abs() < 1e-5);
    }
}

#[test]
fn rows_come_back_constant_columns_too() {
    let standardiser = Standardiser::per_column(&small().train).unwrap();
    let mut rows = [5., 9., -1., 7.];
    standardiser.apply_rows(&mut rows).unwrap();
    assert_eq!((rows[1], rows[3]), (2., 0.));
    standardiser.invert(&mut rows).unwrap();
    for (row, expected) in rows.iter().zip([5., 9., -1., 7.]) {
        assert!((row - expected).abs() < 1e-6);
    }
}

/// A difference of sums, or `f32`, has no digit right here.
#[test]
fn large_offsets_and_constants_do_not_hurt() {
    let values = (0..1000).flat_map(|i| [1e9 + f64::from(i % 2), 0.1]).collect();
    let labels = Labels::<1>::new(vec![0; 1000]).unwrap();
    let data = Dataset::<2, _, f64>::new(values, labels).unwrap();
    let standardiser = Standardiser::per_column(&data).unwrap();
    assert!((standardiser.mean()[0] - 1e9 - 0.5).abs() < 1e-6);
    assert!((standardiser.deviation()[0] - 0.5).abs() < 1e-6);
    assert_eq!((standardiser.mean()[1], standardiser.deviation()[1]), (0.1, 0.));
}

#[test]
fn travels_as_data() {
    let standardiser = Standardiser::per_column(&small().train).unwrap();
    let text = serde_json::to_string(&standardiser).unwrap();
    let again: Standardiser<2> = serde_json::from_str(&text).unwrap();
    assert_eq!(again, standardiser);
    let text = r#"{"mean":[3.0,7.0],"deviation":[2.0,0.0]}"#;
    let known: Standardiser<2, f64> = serde_json::from_str(text).unwrap();
    assert_eq!((known.mean(), known.deviation()), (&[3., 7.][..], &[2., 0.][..]));
    assert_eq!(serde_json::to_string(&known).unwrap(), text);
    for wrong in [
        r#"{"mean":[3.0],"deviation":[2.0]}"#,
        r#"{"mean":[3.0,7.0],"deviation":[2.0,-1.0]}"#,
        r#"{"mean":[3.0,7.0],"deviation":[2.0,0.0],"n":3}"#,
        r#"{"mean":[3.0,7.0]}"#,
    ] {
        assert!(serde_json::from_str::<Standardiser<2>>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_comes_back_is_finite() {
    let standardiser = Standardiser::<1>::new(vec![0.], vec![1e30]).unwrap();
    let mut values = [1., 1e20];
    assert_argument(
        standardiser.invert(&mut values),
        "Standardiser::invert: expected finite values, found 100000000000000000000 → inf in row \
         1, column 0",
    );
    assert_eq!(values, [1., 1e20], "half done");
}

#[test]
fn what_cannot_be_is_an_error() {
    let none = Dataset::<2, Labels<2>>::new(vec![], Labels::new(vec![]).unwrap()).unwrap();
    assert_argument(
        Standardiser::per_column(&none),
        "Standardiser::per_column: expected at least one row, found 0",
    );
    assert_argument(
        Standardiser::overall(&none),
        "Standardiser::overall: expected at least one row, found 0",
    );
    let huge = Values::<1, f64>::new(vec![1e300, -1e300]).unwrap();
    let huge = Dataset::<1, _, f64>::new(vec![0., 0.], huge).unwrap();
    assert_argument(
        Standardiser::of_targets(&huge),
        "Standardiser::of_targets: expected finite means, and finite deviations of at least \
         0, found mean 0e0 and deviation inf in column 0",
    );
    assert_argument(
        Standardiser::<2>::new(vec![0.], vec![1., 1.]),
        "Standardiser::new: expected 2 means and 2 deviations, found 1 and 2",
    );
    for bad in [-1., f64::NAN, f64::INFINITY] {
        assert!(Standardiser::<1>::new(vec![0.], vec![bad]).is_err(), "{bad}");
    }
    let mut rows = [0., 1., 2.];
    let standardiser = Standardiser::<2>::new(vec![0., 0.], vec![1., 1e-30]).unwrap();
    let text = "expected rows of 2 values, found 3 values in all";
    let result = standardiser.apply_rows(&mut rows);
    assert_argument(result, &format!("Standardiser::apply_rows: {text}"));
    assert_argument(standardiser.invert(&mut rows), &format!("Standardiser::invert: {text}"));
    let mut rows = [1., 1e-30, 3., 1e20];
    assert_argument(
        standardiser.apply_rows(&mut rows),
        "Standardiser::apply_rows: expected finite values after standardisation, \
         found 100000000000000000000 → inf in row 1, column 1",
    );
    assert_eq!(rows, [1., 1e-30, 3., 1e20], "half done");
}
