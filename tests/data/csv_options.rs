//! CSV files as they come: with headers, labels anywhere, other delimiters, missing values.

use std::{fmt::Debug, fs, path::PathBuf};

use dfdx_noprop::{
    data::{ClassNames, Classes, Column, Csv, Header, Labels, Values, csv_labels, csv_values},
    prelude::*,
};
use tempfile::{TempDir, tempdir};

pub type Small = Dataset<2, Labels<3>>;

pub fn file(content: impl AsRef<[u8]>) -> (PathBuf, TempDir) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("data.csv");
    fs::write(&path, content).unwrap();
    (path, dir)
}

pub fn read(csv: &Csv, content: impl AsRef<[u8]>) -> Result<Small, Error> {
    let (path, _dir) = file(content);
    csv.labels(path)
}

/// The message after the path.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string();
    message.split_once("data.csv: ").unwrap().1.to_owned()
}

#[track_caller]
pub fn assert_refused(csv: &Csv, content: &str, text: &str) {
    assert_eq!(refused(read(csv, content)), text, "{content:?}");
}

pub fn expected() -> Small {
    let rows = [[0.5, -2.], [1000., 4.]];
    Dataset::from_rows(rows, Labels::new(vec![2, 0]).unwrap()).unwrap()
}

pub fn default() -> Csv {
    Csv::default()
}

#[test]
fn delimiters() {
    for (delimiter, content) in [
        (';', "0.5;-2;2\n1e3;4;0\n"),
        ('\t', "0.5\t-2\t2\n1e3\t4\t0\n"),
        ('\t', "0.5\t -2 \t2\n1e3\t4\t0"),
        ('|', "a|b|c\n0.5|-2|2\n1e3|4|0\n"),
        (' ', "0.5 -2 2\n1e3 4 0\n"),
        (' ', "  0.5   -2\t2  \n\n 1e3\t\t 4 0 \r\n"),
        (' ', "a b c\n0.5 -2 \"2\"\n1e3 4 0"),
        (',', "\u{feff}\"0.5\", \"-2\", \"2\"\n1e3,\t\"4\" , \"0\" \n"),
        (',', "a, \"b, with a comma\", c\n0.5,-2,2\n1e3,4,0\n"),
        (',', "0.5,-2,2\r1e3,4,0\r"),
    ] {
        let csv = Csv { delimiter, ..default() };
        assert_eq!(read(&csv, content).unwrap(), expected(), "{content:?}");
    }
    for (content, found) in [
        ("0.5;-2;2\n1e3;4;0\n", "1; set `Csv::delimiter` to ';'"),
        ("0,5;-2;2\n1e3;4;0\n", "2; set `Csv::delimiter` to ';'"),
        ("0.5\t-2\t2\n", "1; set `Csv::delimiter` to '\\t'"),
        ("0.5|-2|2\n", "1; set `Csv::delimiter` to '|'"),
        ("0.5  -2 2\n", "1; set `Csv::delimiter` to ' '"),
    ] {
        assert_refused(
            &default(),
            content,
            &format!("expected 3 columns at line 1, found {found}"),
        );
    }
    assert_refused(
        &Csv { delimiter: ';', ..default() },
        "0;1;2\n0,5;1;2\n".replace("0;1;2\n", "3;1;2\n").as_str(),
        "expected a finite number at line 2, column 1, found \"0,5\"; numbers have a decimal point",
    );
    for delimiter in ['"', '\n', '5', 'x', '-', '.', 'é'] {
        let error = read(&Csv { delimiter, ..default() }, "0.5,-2,2\n").unwrap_err();
        assert!(matches!(error, Error::Config { setting: "Csv::delimiter", .. }), "{error}");
    }
}

#[test]
fn lines_above_the_table() {
    let content = "A table\n\"with, an open quote\n0.5,-2,2\n1e3,4,x\n";
    assert_refused(
        &Csv { skip_lines: 2, ..default() },
        content,
        "expected a label from 0 to 2 at line 4, column 3, found \"x\"; if labels are text, set \
         `Csv::classes`",
    );
    let content = content.replace('x', "0");
    assert_eq!(read(&Csv { skip_lines: 2, ..default() }, &content).unwrap(), expected());
    assert_eq!(
        refused(read(&default(), "A table\n0.5,-2,2\n")),
        "expected 3 columns at line 1, found 1; set `Csv::skip_lines` to the number of lines above \
         the table, if there are any"
    );
    assert_refused(
        &Csv { skip_lines: 9, ..default() },
        "1,2,0\n",
        "expected at least one row of numbers, found none",
    );
}

#[test]
fn no_first_row_is_guessed_away() {
    for (content, found) in [
        ("?,?,?\n0.5,-2,2\n", r#""?", "?", "?""#),
        (",,\n0.5,-2,2\n", r#""", "", """#),
        ("?,?,a\n0.5,-2,2\n", r#""?", "?", "a""#),
        ("NaN,NaN,NaN\n0.5,-2,2\n", r#""NaN", "NaN", "NaN""#),
    ] {
        assert_refused(
            &default(),
            content,
            &format!(
                "expected to know whether line 1 is a header or a row with missing values, found \
                 {found}; set `Csv::header` to `Header::Names` or to `Header::None`"
            ),
        );
    }
    assert_refused(
        &default(),
        "0,1,2\n0.5,-2,2\n1e3,4,0\n",
        "expected to know whether line 1 is a header or a row of numbers, found \"0\", \"1\", \"2\"; \
         set `Csv::header` to `Header::Names` or to `Header::None`",
    );
    let names = Csv { header: Header::Names, ..default() };
    assert_eq!(read(&names, "0,1,2\n0.5,-2,2\n1e3,4,0\n").unwrap(), expected());
    assert_eq!(read(&names, "?,?,?\n0.5,-2,2\n1e3,4,0\n").unwrap(), expected());
    let none = Csv { header: Header::None, ..default() };
    assert_eq!(read(&none, "0,1,2\n0.5,-2,2\n").unwrap().rows(), 2);
    assert_refused(
        &none,
        "?,?,?\n0.5,-2,2\n",
        "expected a finite number at line 1, column 1, found \"?\"; this marks a missing value: set \
         `Csv::skip_missing` to leave out such rows",
    );
    assert_refused(
        &default(),
        "x,1,class\n0.5,-2,2\n",
        "expected a finite number at line 1, column 1, found \"x\"; if this line is a header, set \
         `Csv::header`",
    );
    // An index, as pandas writes it.
    let index = Csv { leave_out: vec![1.into()], ..default() };
    assert_eq!(read(&index, ",a,b,class\n0,0.5,-2,2\n1,1e3,4,0\n").unwrap(), expected());
}

#[test]
fn the_label_in_any_column() {
    for (label, leave_out, content) in [
        (1.into(), vec![], "2,0.5,-2\n0,1e3,4\n"),
        ("b".into(), vec![], "a,b,c\n0.5,2,-2\n1e3,0,4\n"),
        (Column::Last, vec![2.into()], "0.5,text,-2,2\n1e3,?,4,0\n"),
        (Column::Last, vec![Column::Last], "0.5,-2,2,x\n1e3,4,0,y\n"),
        ("l".into(), vec!["id".into(), Column::Last], "id,l,a,b,note\nx,2,0.5,-2,\ny,0,1e3,4,\n"),
    ] {
        let csv = Csv { label, leave_out, ..default() };
        assert_eq!(read(&csv, content).unwrap(), expected(), "{content:?}");
    }
    // All classes in the first column, and one number in the last, as in MNIST's table.
    let content = "1,0.5,0\n0,1e3,0\n2,7,0\n";
    assert_refused(
        &default(),
        content,
        "expected labels of more than one class in column 3, the last, found \"0\" in each row, and \
         all 3 classes in column 1; set `Csv::label` to 1 or to 3",
    );
    let last = read(&Csv { label: 3.into(), ..default() }, content).unwrap();
    assert_eq!(last.targets().as_slice(), [0, 0, 0]);
    let first = read(&Csv { label: 1.into(), ..default() }, content).unwrap();
    assert_eq!(first.targets().as_slice(), [1, 0, 2]);
    assert_refused(
        &default(),
        "label,1x1,1x2\n2,0,0\n1,4,0\n",
        "expected the label in column 3, as none is set, found \"label\" at line 1, column 1; set \
         `Csv::label` to one of the two",
    );
    assert_refused(
        &default(),
        "1,2,57\n",
        "expected a label from 0 to 2 at line 1, column 3, found \"57\"; if the label is in another \
         column, set `Csv::label`",
    );
    assert_refused(
        &Csv { label: "x".into(), ..default() },
        "a,b,c\n1,2,0\n",
        "expected one column \"x\" at line 1, for `Csv::label`, found \"a\", \"b\", \"c\"",
    );
    for (label, leave_out) in
        [(0, vec![]), (4, vec![]), (1, vec![1.into()]), (1, vec![9.into()]), (2, vec!["a".into()])]
    {
        let csv = Csv { label: label.into(), leave_out, ..default() };
        let error = read(&csv, "1,2,0\n").unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
}

#[test]
fn missing_values() {
    let content = "a,b,note,class\n0.5,-2,?,2\n?,1,x,1\n3,,x,1\n4,NA,x,0\n5,6,x,?\n1e3,4,,0\n";
    let csv = Csv { leave_out: vec!["note".into()], ..default() };
    assert_refused(
        &csv,
        content,
        "expected a finite number at line 3, column 1, found \"?\"; this marks a missing value: set \
         `Csv::skip_missing` to leave out such rows",
    );
    let skip = Csv { skip_missing: true, ..csv };
    assert_eq!(read(&skip, content).unwrap(), expected());
    let marked = Csv { missing: vec!["-999".into()], skip_missing: true, ..default() };
    assert_eq!(read(&marked, "0.5,-2,2\n-999,0,1\n1e3,4,0\n").unwrap(), expected());
    assert_refused(
        &marked,
        "a,b,c\n-999,1,1\n1,-999,1\n",
        "expected at least one row of numbers, found none but 2 with a missing value, which \
         `Csv::skip_missing` leaves out",
    );
}

#[test]
fn numbers_are_of_the_type_asked_for() {
    let (path, _dir) = file("time,a,b\n1700000000.25,0.1,0\n1700000060.5,0.2,1\n");
    let data: Dataset<2, Labels<2>, f64> = default().labels(&path).unwrap();
    assert_eq!(data.inputs(), [1_700_000_000.25, 0.1, 1_700_000_060.5, 0.2]);
    let mut standardised = data.clone();
    let standardiser = data::Standardiser::per_column(&data).unwrap();
    standardiser.apply(&mut standardised).unwrap();
    assert!((standardised.inputs()[0] + 1.).abs() < 1e-9);
    let data: Dataset<1, Values<2, f64>, f64> = default().values(&path).unwrap();
    assert_eq!(data.targets().as_slice(), [0.1, 0., 0.2, 1.]);
    // In f32 they are one number, which no standardisation takes apart again.
    let text = "expected numbers that f32 can tell apart in column 1, found 1700000000.25 and \
                1700000060.5, and all the others, which are one number there; read the file as f64 \
                by `Csv::labels` or `Csv::values`, then standardise";
    assert_eq!(refused(csv_labels::<2, 2>(&path)), text);
    assert_eq!(refused(csv_values::<1, 2>(&path)), text);
    let (path, _dir) = file("7,1e39,0\n7,0.1,1\n7,0.1,1\n");
    assert_eq!(default().labels::<2, 2, f64>(&path).unwrap().inputs()[1], 1e39);
    let text = "expected a finite number at line 1, column 2, found \"1e39\"; if this line is a \
                header, set `Csv::header`";
    assert_eq!(refused(csv_labels::<2, 2>(&path)), text);
    let (path, _dir) = file("7,0.1,0\n7,1e39,1\n");
    let text = "expected a finite number at line 2, column 2, found \"1e39\"; it is past the largest \
                f32: read the file as f64";
    assert_eq!(refused(csv_labels::<2, 2>(&path)), text);
}

#[test]
fn what_is_no_table() {
    let wide: Vec<u8> = "1,2,0\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        refused(read(&default(), [&[0xff, 0xfe], &wide[..]].concat())),
        "expected text in UTF-8, found UTF-16; save it as `CSV UTF-8` instead"
    );
    assert_refused(
        &default(),
        "1,2,0\n1,\"2,0\n1,2,0\n",
        "expected a second quote for each one in the row that starts at line 2, found the end of the \
         file",
    );
    let long = format!("1,2,0\n1,\"2,0\n{}", "1,2,0\n".repeat(100_000));
    assert_eq!(
        refused(read(&default(), long)),
        "expected rows of up to 262240 bytes, found a longer one at line 2; if it has a quote in it, \
         look whether that is closed"
    );
    assert_refused(
        &default(),
        "1,2,0\n1,2,0,\n",
        "expected 3 columns at line 2, found 4; set `Csv::leave_out` to those that are not inputs",
    );
}

#[test]
fn options_are_data() {
    let csv = Csv {
        header: Header::ScikitLearn,
        label: "species".into(),
        leave_out: vec![1.into(), Column::Last],
        delimiter: '\t',
        classes: Classes::Names(vec!["a".into()]),
        ..default()
    };
    let text = serde_json::to_string(&csv).unwrap();
    assert_eq!(serde_json::from_str::<Csv>(&text).unwrap(), csv);
    let text = r#"{ "label": { "name": "species" }, "classes": "text", "header": "names" }"#;
    let csv: Csv = serde_json::from_str(text).unwrap();
    let label = Column::Name("species".into());
    let expected = Csv { label, classes: Classes::Text, header: Header::Names, ..default() };
    assert_eq!(csv, expected);
    assert!(serde_json::from_str::<Csv>(r#"{ "sep": ";" }"#).is_err());
    let names: ClassNames<2> = serde_json::from_str(r#"["a", "b"]"#).unwrap();
    assert_eq!(serde_json::to_string(&names).unwrap(), r#"["a","b"]"#);
    for wrong in [r#"["a"]"#, r#"["a", "a"]"#] {
        assert!(serde_json::from_str::<ClassNames<2>>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn gzipped_and_through_a_pipe() {
    let mut packed = super::gz("0.5,-2,2\n1e3,4,0\n");
    packed.extend([0; 1000]);
    assert_eq!(read(&default(), &packed).unwrap(), expected());
    // A pipe gives its content once.
    let dir = tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || fs::write(path, "0.5,-2,2\n1e3,4,0\n"))
        };
        assert_eq!(csv_labels::<2, 3>(&path).unwrap(), expected());
        writer.join().unwrap().unwrap();
        let images = data::idx_files::<2, 3>(&path, &path);
        assert!(images.unwrap_err().to_string().contains("a pipe or a device"));
    }
}
