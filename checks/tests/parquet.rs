//! Parquet files: those of PyArrow, those of the crate `parquet`, and damaged ones.
#![cfg(feature = "parquet")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use dfdx_noprop::{
    data::{ClassNames, Classes, Csv, Parquet},
    prelude::*,
};
use parquet::{
    column::writer::ColumnWriter,
    data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tempfile::{TempDir, tempdir};

type Flowers<E = f32> = Dataset<2, Labels<3>, E>;

/// What `tests/data/files/make.py` has made.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/files").join(name)
}

fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

/// The names of the columns are those of PyArrow's files.
fn flowers() -> Parquet {
    Parquet::new().label("species").leave_out(["id"])
}

fn expected() -> Flowers {
    let names = ClassNames::new(["setosa", "versicolor", "virginica"]).unwrap();
    let labels = Labels::new(vec![2, 1, 0, 2]).unwrap().with_names(names);
    Dataset::new(vec![6., 2.5, 4.7, 1.4, 1.4, 0.2, 5.1, 1.9], labels).unwrap()
}

#[test]
fn labels_by_name_from_any_packing() {
    for kind in ["none", "snappy", "zstd", "gzip", "lz4", "groups"] {
        let path = made(&format!("flowers_{kind}.parquet"));
        assert_eq!(flowers().labels::<2, 3, f32>(&path).unwrap(), expected(), "{kind}");
        let double: Flowers<f64> = flowers().labels(&path).unwrap();
        assert_eq!(double.inputs()[2..6], [4.7, f64::from(1.4_f32), 1.4, f64::from(0.2_f32)]);
    }
    let text = error(flowers().labels::<2, 3, f32>(made("flowers_brotli.parquet")));
    assert!(text.contains("flowers_brotli.parquet: expected") && text.contains("brotli"), "{text}");
}

#[test]
fn classes_are_those_of_a_csv_file() {
    let folder = tempdir().unwrap();
    let text = "petal,species,sepal\n6,virginica,2.5\n4.7,versicolor,1.4\n1.4,setosa,0.2\n\
                5.1,virginica,1.9\n";
    let csv = put(&folder, "flowers.csv", text);
    let path = made("flowers_snappy.parquet");
    let order = ["virginica", "setosa", "versicolor"].map(String::from).to_vec();
    for classes in [Classes::Text, Classes::Names(order)] {
        let of_csv = Csv { label: "species".into(), classes: classes.clone(), ..Csv::default() };
        let of_csv: Flowers = of_csv.labels(&csv).unwrap();
        assert_eq!(flowers().classes(classes).labels::<2, 3, f32>(&path).unwrap(), of_csv);
    }
    // Texts that are numbers are in the order of size.
    let odd = Parquet::new().leave_out(["a", "day", "list", "group"]).label("size");
    let sizes: Dataset<1, Labels<2>> = odd.labels(made("odd.parquet")).unwrap();
    assert_eq!(sizes.targets().names().unwrap().as_slice(), ["9", "10"]);
    assert_eq!(sizes.targets().as_slice(), [1, 0]);
}

#[test]
fn labels_as_numbers() {
    let text = error(Parquet::new().label("codes").labels::<15, 7, f32>(made("kinds.parquet")));
    let advice = "labels start from 1, set `Parquet::classes` to `Classes::Numbers { first: 1 }`";
    assert!(text.contains("a label from 0 to 6 in column \"codes\", row 0, found 7"), "{text}");
    assert!(text.contains(advice), "{text}");
    // Floats that are whole, as pandas has them after a gap; the last column by default.
    let folder = tempdir().unwrap();
    let path = write(&folder, "message m { required double x; required double y; }", None);
    let data: Dataset<1, Labels<6>> = Parquet::new().labels(&path).unwrap();
    assert_eq!(data.targets().as_slice(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(data.targets().names(), None);
    let from_one = Parquet::new().classes(Classes::Numbers { first: 1 });
    let text = error(from_one.labels::<1, 6, f32>(&path));
    assert!(text.contains("a label from 1 to 6 in column \"y\", row 0, found 0"), "{text}");
}

#[test]
fn numbers_of_all_types() {
    let expected = [
        1.,
        -1.,
        -300.,
        -70_000.,
        -9_007_199_254_740_992.,
        255.,
        65_535.,
        4_294_967_295.,
        18_446_744_073_709_549_568.,
        -0.5,
        -0.25,
        0.1,
        -1.25,
        -1.25,
        -1.25,
    ];
    let path = made("kinds.parquet");
    let data: Dataset<15, Values<1, f64>, f64> = Parquet::new().values(&path).unwrap();
    assert_eq!(data.inputs()[..15], expected);
    assert_eq!(data.inputs()[15..], [[0.].as_slice(), &[2.; 14]].concat());
    assert_eq!(data.targets().as_slice(), [7., 2.]);
    let data: Dataset<14, Values<2>> = Parquet::new().targets(["f64", "i16"]).values(path).unwrap();
    assert_eq!(data.targets().as_slice(), [0.1, -300., 2., 2.]);
    assert_eq!(data.input(0)[2], -70_000.);
    let path = made("decimals.parquet");
    let data: Dataset<2, Values<1, f64>, f64> = Parquet::new().values(path).unwrap();
    assert_eq!(data.inputs(), [-1.25, -1.25, 2., 2.]);
    assert_eq!(data.targets().as_slice(), [-1.25, 2.]);
}

#[test]
fn what_does_not_fit_is_named() {
    let nulls = made("nulls.parquet");
    let text = error(Parquet::new().leave_out(["a"]).labels::<1, 2, f32>(&nulls));
    assert!(text.contains("a value in column \"b\", row 1, found null; drop such rows"), "{text}");
    let text = error(Parquet::new().leave_out(["a", "b"]).label("y").labels::<0, 2, f32>(&nulls));
    assert!(text.contains("a value in column \"y\", row 2, found null"), "{text}");

    let path = made("flowers_snappy.parquet");
    let text = error(Parquet::new().label("kind").labels::<2, 3, f32>(&path));
    let expected = "expected one column \"kind\", for `Parquet::label`, \
                    found \"id\", \"petal\", \"species\", \"sepal\"";
    assert!(text.ends_with(expected), "{text}");
    let text = error(Parquet::new().label("species").labels::<2, 3, f32>(&path));
    assert!(text.contains("2 columns of inputs, beside the target, found 3: \"id\", "), "{text}");
    let text = error(Parquet::new().label("species").labels::<3, 3, f32>(&path));
    assert!(text.contains("numbers in column \"id\", found String; set"), "{text}");
    let text = error(flowers().label("id").labels::<2, 3, f32>(&path));
    assert!(text.contains("each column for one thing only, found \"id\" again"), "{text}");
    let text = error(flowers().labels::<2, 4, f32>(&path));
    assert!(text.contains("labels of 4 classes, found 3: \"setosa\""), "{text}");
    let text = error(flowers().labels::<2, 2, f32>(&path));
    assert!(text.contains("one of 2 classes in column \"species\", row 2, found \"set"), "{text}");
    let text = error(Parquet::new().targets(["petal"]).values::<2, 2, f32>(&path));
    assert!(text.contains("Parquet::targets: expected 2 columns"), "{text}");

    let odd = |column: &str| {
        let all = ["a", "day", "list", "group", "size"].into_iter().filter(|c| *c != column);
        error(Parquet::new().leave_out(all).labels::<1, 3, f32>(made("odd.parquet")))
    };
    assert!(odd("a").contains("finite as f32 in column \"a\", row 1, found NaN"), "{}", odd("a"));
    assert!(odd("day").contains("numbers in column \"day\", found Date"), "{}", odd("day"));
    assert!(odd("list").contains("\"list\", found a list or a group"), "{}", odd("list"));
    assert!(odd("group").contains("\"group\", found a list or a group"), "{}", odd("group"));
    let text = error(Parquet::new().labels::<1, 3, f32>(made("f8.npy")));
    assert!(text.contains("f8.npy: expected an intact Parquet file"), "{text}");
    let text = error(Parquet::new().labels::<1, 3, f32>(made("none.parquet")));
    assert!(text.contains("none.parquet: cannot read"), "{text}");
}

/// Two groups of three rows by the crate: each number is that of its row, each text whether this is odd.
fn write(folder: &TempDir, schema: &str, properties: Option<WriterProperties>) -> PathBuf {
    let path = folder.path().join("written.parquet");
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(properties.unwrap_or_default());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    for first in [0, 3] {
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            let values = first..first + 3;
            match column.untyped() {
                ColumnWriter::Int32ColumnWriter(_) => {
                    let values: Vec<i32> = values.collect();
                    column.typed::<Int32Type>().write_batch(&values, None, None).unwrap();
                }
                ColumnWriter::DoubleColumnWriter(_) => {
                    let values: Vec<f64> = values.map(f64::from).collect();
                    column.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
                }
                _ => {
                    let text = |v: i32| ByteArray::from(format!("t{}", v % 2).as_str());
                    let values: Vec<_> = values.map(text).collect();
                    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
                }
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    path
}

#[test]
fn files_of_the_crate() {
    let folder = tempdir().unwrap();
    let schema = "message m {
        required int32 a; required double b; required binary c (UTF8);
    }";
    let path = write(&folder, schema, None);
    let data: Dataset<2, Labels<2>> = Parquet::new().labels(path).unwrap();
    assert_eq!(data.inputs(), [0., 0., 1., 1., 2., 2., 3., 3., 4., 4., 5., 5.]);
    assert_eq!(data.targets().as_slice(), [0, 1, 0, 1, 0, 1]);
    assert_eq!(data.targets().names().unwrap().as_slice(), ["t0", "t1"]);
}

#[test]
fn every_cut_is_an_error_that_names_the_file() {
    let folder = tempdir().unwrap();
    for kind in ["none", "snappy", "groups"] {
        let name = format!("flowers_{kind}.parquet");
        let whole = fs::read(made(&name)).unwrap();
        for length in 0..whole.len() {
            let path = put(&folder, &name, &whole[..length]);
            let text = error(flowers().labels::<2, 3, f32>(path));
            assert!(text.contains(&format!("{name}: expected ")), "{length}: {text}");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_another_number() {
    let folder = tempdir().unwrap();
    let mut others = 0;
    for kind in ["none", "snappy", "zstd", "gzip", "lz4", "groups"] {
        let name = format!("flowers_{kind}.parquet");
        let whole = fs::read(made(&name)).unwrap();
        for at in (0..whole.len() * 8).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let path = put(&folder, &name, flipped);
            if let Ok(data) = flowers().labels::<2, 3, f32>(path) {
                assert!(data.inputs().iter().all(|v| v.is_finite()));
                assert_eq!(data.rows(), 4);
                others += usize::from(data != expected());
            }
        }
    }
    assert!(others > 0, "no flip was read: are these the files?");
}

#[test]
fn options_are_data() {
    let options = flowers().classes(Classes::Text).targets(["a"]);
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<Parquet>(&text).unwrap(), options);
    let one: Parquet = serde_json::from_str(r#"{"label": "species"}"#).unwrap();
    assert_eq!(one, Parquet::new().label("species"));
}
