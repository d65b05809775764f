//! Files that say what no model is: each is refused, or right.

use serde_json::{Value, json};

use super::{AnyPredictor, file};
use crate::{file::Contents, prelude::*};

type Images = (
    Condition<
        Dense<3, 12>,
        (
            Planes<2, 6, 5>,
            Conv2d<2, 3, 3, 3, 3, 2>,
            BatchNorm<3>,
            MaxPool2d<2, 2, 2, 1>,
            Flatten<12>,
        ),
    >,
    ReLU,
    Dense<12, 3>,
);

/// The files of some models.
fn files() -> Vec<Vec<u8>> {
    let dev = AutoDevice::default();
    let discrete = DiscreteTime::<OneHot> { blocks: 2, ..DiscreteTime::default() };
    let images = NoProp::<_, Images, 3, 60>::new(&dev, discrete.clone()).unwrap();
    let rows = NoProp::<_, ConditionalResNetDt<3, 4, 8>, 3, 4>::new(&dev, discrete).unwrap();
    let variant = ContinuousTime::<Learned<2>>::default();
    let timed = NoProp::<_, ConditionalResNetCt<3, 4, 8, 2>, 3, 4>::new(&dev, variant).unwrap();
    let variant = FlowMatching::<Regression>::default();
    let flow = NoProp::<_, ConditionalResNetFm<3, 4, 8>, 3, 4>::new(&dev, variant).unwrap();
    let variant = DiffusionBlocks::<OneHot> { blocks: 2, ..DiffusionBlocks::default() };
    let blocks = NoProp::<_, ConditionalResNetCt<3, 4, 8>, 3, 4>::new(&dev, variant).unwrap();
    [
        images.predictor().unwrap().to_bytes(),
        rows.predictor().unwrap().to_bytes(),
        timed.predictor().unwrap().to_bytes(),
        flow.predictor().unwrap().to_bytes(),
        blocks.predictor().unwrap().to_bytes(),
    ]
    .into_iter()
    .collect::<Result<_, _>>()
    .unwrap()
}

/// The file with another text, and a checksum that is right.
fn with_text(bytes: &[u8], name: &str, text: String) -> Vec<u8> {
    let mut contents = Contents::unchecked(bytes, "a test".as_ref()).unwrap();
    contents.metadata.remove(file::CHECKSUM);
    contents.metadata.insert(name.to_owned(), text);
    contents.with_text(file::CHECKSUM, file::checksum(&contents)).unwrap()
}

/// The places of all values in some JSON.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(i, value)| places(value, &format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

/// Whether a file is refused; what it answers else is finite.
fn is_refused(bytes: &[u8]) -> bool {
    let Ok(predictor) = AnyPredictor::<f32>::from_bytes(bytes) else { return true };
    let rows = vec![0.5; 2 * predictor.inputs()];
    let answers = match predictor.has_classes() {
        true => predictor.predict_proba(&rows),
        false => predictor.predict_values(&rows),
    };
    let Ok(answers) = answers else { return true };
    assert_eq!(answers.len(), 2 * predictor.outputs());
    assert!(answers.iter().all(|v| v.is_finite()));
    false
}

#[test]
fn a_file_with_any_value_changed_is_refused_or_right() {
    let others = [
        json!(0),
        json!(1),
        json!(7),
        json!(-1),
        json!(1u64 << 40),
        json!(u64::MAX),
        json!(1e308),
        json!(null),
        json!("flatten"),
        json!([]),
    ];
    let (mut refused, mut right) = (0, 0);
    for bytes in files() {
        assert!(!is_refused(&bytes));
        let contents = Contents::unchecked(&bytes, "a test".as_ref()).unwrap();
        let value: Value = serde_json::from_str(&contents.metadata["model"]).unwrap();
        let mut all = Vec::new();
        places(&value, "", &mut all);
        for place in &all {
            for other in &others {
                let mut changed = value.clone();
                *changed.pointer_mut(place).unwrap() = other.clone();
                let bytes = with_text(&bytes, "model", changed.to_string());
                *(if is_refused(&bytes) { &mut refused } else { &mut right }) += 1;
            }
        }
    }
    println!("{refused} files refused, {right} right");
    // Most of what a file says can only be one thing.
    assert!(refused > 10 * right && right > 10, "{refused} refused, {right} right");
}

#[test]
fn a_layer_that_does_not_fit_is_named_with_what_it_takes_and_what_arrives() {
    let bytes = &files()[1];
    let contents = Contents::unchecked(bytes, "a test".as_ref()).unwrap();
    let mut value: Value = serde_json::from_str(&contents.metadata["model"]).unwrap();
    let place = "/operations/0/sequence/3/dense/inputs";
    *value.pointer_mut(place).unwrap() = json!(9);
    let error = AnyPredictor::<f32>::from_bytes(&with_text(bytes, "model", value.to_string()));
    let error = error.unwrap_err().to_string();
    let expected = "the bytes of a predictor: expected block 1: 9 numbers a row (3), found 8";
    assert_eq!(error, expected);
}

#[test]
fn operations_within_operations_without_end_are_refused() {
    let bytes = &files()[1];
    let deep = format!("{}\"relu\"{}", "{\"residual\":".repeat(100_000), "}".repeat(100_000));
    let contents = Contents::unchecked(bytes, "a test".as_ref()).unwrap();
    let text = contents.metadata["model"].clone();
    let begin = text.find("\"operations\":[").unwrap() + "\"operations\":[".len();
    let text = format!("{}{deep}]}}", &text[..begin]);
    assert!(is_refused(&with_text(bytes, "model", text)));
}
