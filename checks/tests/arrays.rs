//! Arrays of `ndarray` as data sets, and answers as arrays.
#![cfg(feature = "ndarray")]

mod common;

use common::blobs;
use dfdx_noprop::{AnyPredictor, data::Standardiser, prelude::*};
use ndarray::{Array1, Array2, ArrayView2, ShapeBuilder, array, s};

type Small = Dataset<2, Labels<3>>;
type Numbers = Dataset<2, Values<1, f64>, f64>;

fn expected() -> Small {
    let inputs = vec![1., 2., 3., 4., 5., 6.];
    Dataset::new(inputs, Labels::new(vec![2, 0, 1]).unwrap()).unwrap()
}

fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn any_order_and_strides() {
    let rows = array![[1_f32, 2.], [3., 4.], [5., 6.]];
    let labels = array![2_u32, 0, 1];
    let from = |rows: ArrayView2<'_, f32>| Small::from_arrays(rows, labels.view()).unwrap();
    assert_eq!(from(rows.view()), expected());

    let columns = array![[1., 3., 5.], [2., 4., 6.]];
    assert_eq!(from(columns.t()), expected());
    let mut fortran = Array2::zeros((3, 2).f());
    fortran.assign(&rows);
    assert_eq!(from(fortran.view()), expected());
    let upside_down = array![[5., 6.], [3., 4.], [1., 2.]];
    assert_eq!(from(upside_down.slice(s![..;-1, ..])), expected());
    let wide =
        array![[9., 1., 9., 2.], [0., 0., 0., 0.], [9., 3., 9., 4.], [0.; 4], [9., 5., 9., 6.]];
    assert_eq!(from(wide.slice(s![..;2, 1..;2])), expected());

    let spread = array![2_u32, 9, 0, 9, 1];
    let every_other = Small::from_arrays(rows.view(), spread.slice(s![..;2])).unwrap();
    assert_eq!(every_other, expected());
    let turned = array![1_u32, 0, 2];
    let turned = Small::from_arrays(rows.view(), turned.slice(s![..;-1])).unwrap();
    assert_eq!(turned, expected());
}

macro_rules! labels_as {
    ($($integer:ty)*) => {$(
        let labels: Array1<$integer> = array![2, 0, 1];
        let rows = expected();
        assert_eq!(Small::from_arrays(rows.inputs_array(), labels.view()).unwrap(), rows);
    )*};
}

#[test]
fn labels_of_any_type() {
    labels_as!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);
}

#[test]
fn a_label_out_of_range_names_its_row() {
    let data = expected();
    let rows = data.inputs_array();
    let text = error(Small::from_arrays(rows, array![0_i64, -1, 2].view()));
    assert!(text.ends_with("expected labels from 0 to 2, found -1 at row 1"), "{text}");
    let text = error(Small::from_arrays(rows, array![0_u8, 1, 3].view()));
    assert!(text.ends_with("found 3 at row 2"), "{text}");
    // As 32 bits this would be 1.
    let text = error(Small::from_arrays(rows, array![(1_u64 << 32) + 1, 0, 0].view()));
    assert!(text.ends_with("found 4294967297 at row 0"), "{text}");
}

#[test]
fn shapes_that_do_not_fit() {
    let labels = array![0_u32, 1];
    let text = error(Small::from_arrays(array![[1., 2., 3.], [4., 5., 6.]].view(), labels.view()));
    let widths = "expected inputs of 2 columns, found 3, in an array of 2 × 3";
    assert!(text.ends_with(widths), "{text}");
    let text = error(Small::from_arrays(array![[1., 2.]].view(), labels.view()));
    assert!(text.contains("expected 1 targets") && text.ends_with("found 2"), "{text}");
    let text = error(Small::from_arrays(array![[1., 2.], [3., f32::NAN]].view(), labels.view()));
    assert!(text.ends_with("NaN in row 1, column 1"), "{text}");

    let inputs = array![[1., 2.], [3., 4.]];
    let text = error(Numbers::from_arrays(inputs.view(), array![[1., 2.], [3., 4.]].view()));
    let widths = "expected values of 1 columns, found 2, in an array of 2 × 2";
    assert!(text.ends_with(widths), "{text}");
    let text = error(Numbers::from_arrays(inputs.view(), array![[1.]].view()));
    assert!(text.contains("expected 2 targets") && text.ends_with("found 1"), "{text}");
}

#[test]
fn numbers_as_targets() {
    let inputs = array![[1., 3.], [2., 4.]];
    let data = Numbers::from_arrays(inputs.t(), array![[0.5], [-7.]].view()).unwrap();
    assert_eq!(data.inputs(), [1., 2., 3., 4.]);
    assert_eq!(data.targets().as_slice(), [0.5, -7.]);
}

#[test]
fn inputs_as_an_array_are_not_copied() {
    let data = expected();
    let array = data.inputs_array();
    assert_eq!(array, array![[1., 2.], [3., 4.], [5., 6.]]);
    assert_eq!(array.as_ptr(), data.inputs().as_ptr());
}

/// The same numbers, which do not lie row by row.
fn fortran<E: Clone>(rows: ArrayView2<'_, E>) -> Array2<E> {
    let columns = rows.t().iter().cloned().collect();
    Array2::from_shape_vec(rows.raw_dim().f(), columns).unwrap()
}

#[test]
fn classes_as_arrays() {
    let data = blobs::<3, 4>(40, 1);
    type Dt = NoProp<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4>;
    let variant = DiscreteTime { blocks: 2, ..DiscreteTime::default() };
    let model = Dt::new(&AutoDevice::default(), variant).unwrap();
    let predictor = model.predictor().unwrap();
    let any = AnyPredictor::from(predictor.clone());
    let classes = model.predict(data.samples()).unwrap();
    let probabilities: Array2<f32> = model.predict_proba(data.samples()).unwrap().into();
    let turned = fortran(data.inputs_array());
    for rows in [data.inputs_array(), turned.view()] {
        assert_eq!(predictor.predict_array(rows).unwrap().to_vec(), classes);
        assert_eq!(any.predict_classes_array(rows).unwrap().to_vec(), classes);
        assert_eq!(predictor.predict_proba_array(rows).unwrap(), probabilities);
        assert_eq!(any.predict_proba_array(rows).unwrap(), probabilities);
    }
    let none = data.inputs_array().slice_move(s![..0, ..]);
    assert_eq!(predictor.predict_proba_array(none).unwrap().dim(), (0, 3));

    let narrow = data.inputs_array().slice_move(s![.., 1..]);
    let rows = narrow.nrows();
    for text in [
        error(predictor.predict_array(narrow)),
        error(predictor.predict_proba_array(narrow)),
        error(any.predict_classes_array(narrow)),
    ] {
        let widths = format!("expected rows of 4 columns, found 3, in an array of {rows} × 3");
        assert!(text.ends_with(&widths), "{text}");
    }
    let text = error(any.predict_values_array(data.inputs_array()));
    assert!(text.contains("AnyPredictor::predict_values_array: expected a model of num"), "{text}");
}

#[test]
fn numbers_as_arrays_in_their_own_units() {
    type Fm = NoProp<FlowMatching<Regression>, ConditionalResNetFm<2, 3, 8>, 2, 3, f64>;
    let model = Fm::new(&AutoDevice::default(), FlowMatching::default()).unwrap();
    let predictor = model.predictor().unwrap();
    let units = Standardiser::new(vec![200., 0.5], vec![100., 0.5]).unwrap();
    let predictor = predictor.with_targets(&units).unwrap();
    let any = AnyPredictor::from(predictor.clone());
    let rows = array![[1., 2., 3.], [0., -1., 0.5]];
    let answers = predictor.predict(&[[1., 2., 3.], [0., -1., 0.5]]).unwrap();
    let answers: Array2<f64> = answers.into();
    assert!(answers.iter().all(|v| v.is_finite()) && answers[[0, 0]] > 5.);
    let turned = fortran(rows.view());
    for rows in [rows.view(), turned.view()] {
        assert_eq!(predictor.predict_array(rows).unwrap(), answers);
        assert_eq!(any.predict_values_array(rows).unwrap(), answers);
    }
    let text = error(any.predict_proba_array(rows.view()));
    assert!(text.contains("expected a model of classes"), "{text}");
}
