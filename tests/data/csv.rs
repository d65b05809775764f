//! CSV files as they should be, and damaged ones.

use super::*;

fn labels(content: impl AsRef<[u8]>) -> (Result<Dataset<2, Labels<3>>, Error>, TempDir) {
    let dir = tempdir().unwrap();
    let path = file(&dir, "data.csv", content);
    (csv_labels(path), dir)
}

fn expected() -> Dataset<2, Labels<3>> {
    let inputs = vec![0.5, -2., 1000., 4.];
    Dataset::new(inputs, Labels::new(vec![2, 0]).unwrap()).unwrap()
}

#[test]
fn the_many_ways_to_write_the_same_rows() {
    for content in [
        "0.5,-2,2\n1e3,4,0\n",
        "0.5,-2,2\n1e3,4,0",
        "0.5,-2,2\r\n1e3,4,0\r\n",
        "a,b,class\n0.5,-2,2\n1e3,4,0\n",
        "\u{feff}0.5,-2,2\n1e3,4,0\n",
        "\n0.5, -2 ,2\n \n\n 1e3,4,0\n\n",
        "\r\n\"0.5\",-2,\"2\"\r\n\r\n\r\n1e3,4,0\r\n\r\n",
        "\"0.5\",\"-2\",\"2\"\n\"1000\",4,0\n",
        "+.5,-2.0,2.0\n1000,4e0,0.000e+00\n",
    ] {
        assert_eq!(labels(content).0.unwrap(), expected(), "{content:?}");
        assert_eq!(labels(gz(content)).0.unwrap(), expected(), "{content:?}, gzipped");
    }
}

#[test]
fn values() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "data.csv", "x,y,z\n1,2,3\n4,5,6\n");
    let data = csv_values::<1, 2>(&path).unwrap();
    assert_eq!(data.inputs(), [1., 4.]);
    assert_eq!(data.targets().as_slice(), [2., 3., 5., 6.]);
    let data = csv_values::<2, 1>(&path).unwrap();
    assert_eq!(data.inputs(), [1., 2., 4., 5.]);
    assert_eq!(data.targets().as_slice(), [3., 6.]);
    assert_eq!(data.targets().len(), 2);
    let text = "expected 4 columns at line 1, found 3; set `Csv::skip_lines` to the number of lines \
                above the table, if there are any";
    assert_message(csv_values::<2, 2>(&path), &path, text);
    let path = file(&dir, "bad.csv", "1,2,3\n4,5,1e39\n");
    let text = "expected a finite number at line 2, column 3, found \"1e39\"; it is past the \
                largest f32: read the file as f64";
    assert_message(csv_values::<2, 1>(&path), &path, text);
}

#[test]
fn decimals_are_rounded_once() {
    // Just above the middle of 1 and the next f32: f64 makes it the middle, and that becomes 1.
    let dir = tempdir().unwrap();
    let path = file(&dir, "data.csv", "1.00000005960464477540,0\n");
    assert_eq!(csv_values::<1, 1>(&path).unwrap().inputs(), [1. + f32::EPSILON]);
}

#[test]
fn bad_rows() {
    let long = format!("1,2,0\n1,{},0", "x".repeat(1000));
    let header = "if this line is a header, set `Csv::header`";
    let text = "if labels are text, `Csv::classes`";
    let missing = "this marks a missing value: set `Csv::skip_missing` to leave out such rows";
    let other = "set `Csv::leave_out` if this column is no input, or `Csv::label` if it is the \
                 label's";
    let last = "if the label is in another column, set `Csv::label`";
    let above = "set `Csv::skip_lines` to the number of lines above the table, if there are any";
    let from_one = "if labels start from 1, set `Csv::classes` to `Classes::Numbers { first: 1 }`";
    let number = |line, column, found: &str, advice: &str| {
        format!("a finite number at line {line}, column {column}, found {found}; {advice}")
    };
    let label = |found: &str, advice: &str| {
        format!("a label from 0 to 2 at line 1, column 3, found {found}; {advice}")
    };
    for (content, text) in [
        ("", "at least one row of numbers, found none".into()),
        ("\n\n", "at least one row of numbers, found none".into()),
        ("a,b,class\n", "at least one row of numbers, found none".into()),
        ("a,b\n1,2,0\n", format!("3 columns at line 1, found 2; {above}")),
        ("a,b,class\n1,2\n", "3 columns at line 2, found 2".into()),
        ("1,2\n1,2,0\n", format!("3 columns at line 1, found 2; {above}")),
        ("1,2,0\n\n\n1,2\n", "3 columns at line 4, found 2".into()),
        ("1,2,0\r\n\r\n1,2,0\r\n1,2\r\n", "3 columns at line 4, found 2".into()),
        ("1,2,0\n1,b,0", number(2, 2, "\"b\"", other)),
        ("1,2,0\n1,,0\n", number(2, 2, "\"\"", missing)),
        ("a,2,0\n1,2,0\n", number(1, 1, "\"a\"", header)),
        ("a,b,c\na,b,c\n", number(2, 1, "\"a\"", other)),
        ("0,1,label\n1,2,0\n", label("\"label\"", &format!("{header}; {text}"))),
        ("1,2,0\nNaN,2,0\n", number(2, 1, "\"NaN\"", missing)),
        ("1,2,0\n1,-inf,0\n", number(2, 2, "\"-inf\"", other)),
        ("1,2,3\n", label("\"3\"", from_one)),
        ("1,2,-1\n", label("\"-1\"", last)),
        ("1,2,0.5\n", label("\"0.5\"", last)),
        ("1,2,nan\n", label("\"nan\"", missing)),
        ("1,2,1e99\n", label("\"1e99\"", last)),
        (&long, number(2, 2, &format!("{:?}", "x".repeat(40)), other)),
    ] {
        let (result, dir) = labels(content);
        assert_message(result, &dir.path().join("data.csv"), &format!("expected {text}"));
    }
    let (result, dir) = labels(b"1,\xff\n,0\n");
    let text = format!("expected 3 columns at line 1, found 2; {above}");
    assert_message(result, &dir.path().join("data.csv"), &text);
    let (result, dir) = labels(b"1,2,0\n1,\xff,0\n");
    let text = format!("expected {}", number(2, 2, "\"\u{fffd}\"", other));
    assert_message(result, &dir.path().join("data.csv"), &text);
}

#[test]
fn damaged_gzip() {
    let packed = gz("0.5,-2,2\n1e3,4,0\n");
    for len in 2..packed.len() {
        let (result, dir) = labels(&packed[..len]);
        let text = "expected a whole gzip stream, found one whose end is missing";
        assert_message(result, &dir.path().join("data.csv"), text);
    }
}

#[test]
fn unreadable_files() {
    let missing = tempdir().unwrap().path().join("missing.csv");
    let result = csv_labels::<2, 3>(&missing);
    assert!(matches!(result, Err(Error::Io { .. })));
    let not_found = std::io::Error::from_raw_os_error(2);
    assert_message(result, &missing, &format!("cannot read: {not_found}"));
}

/// What a plain reader makes of rows without quotes or a header.
fn read_plainly(content: &[u8]) -> Option<(Vec<f32>, Vec<u32>)> {
    let (mut inputs, mut labels) = (vec![], vec![]);
    let text = std::str::from_utf8(content).ok()?;
    for line in text.split(['\n', '\r']).filter(|line| !line.trim_ascii().is_empty()) {
        let fields: Vec<_> =
            line.split(',').map(|field| field.trim_ascii().parse::<f32>()).collect();
        let [Ok(a), Ok(b), Ok(label)] = fields[..] else { return None };
        let label = (0..3).find(|&class| class as f32 == label)?;
        if !a.is_finite() || !b.is_finite() {
            return None;
        }
        inputs.extend([a, b]);
        labels.push(label);
    }
    (!labels.is_empty()).then_some((inputs, labels))
}

#[track_caller]
fn assert_as_plain(path: &Path, content: &[u8]) {
    let result = csv_labels::<2, 3>(path).ok();
    let result = result.map(|d| (d.inputs().to_vec(), d.targets().as_slice().to_vec()));
    assert_eq!(result, read_plainly(content), "{:?}", String::from_utf8_lossy(content));
}

const SMALL: &[u8] = b"0.5,-2,2\n1e3,4,0\n7,-8.25,1\n";

#[test]
fn cut_at_any_byte_loads_what_is_there_or_is_an_error() {
    let dir = tempdir().unwrap();
    for len in 0..=SMALL.len() {
        assert_as_plain(&file(&dir, "data.csv", &SMALL[..len]), &SMALL[..len]);
    }
}

#[test]
fn any_changed_byte_is_an_error_or_loads_as_it_is() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let dir = tempdir().unwrap();
    let original = gz(SMALL);
    let plain = file(&dir, "plain", SMALL);
    let packed = file(&dir, "packed", &original);
    for _ in 0..2_000 {
        let at = rng.gen_range(0..SMALL.len());
        let mut content = SMALL.to_vec();
        content[at] = rng.r#gen();
        if content[at] != b'"' {
            poke(&plain, at, content[at]);
            assert_as_plain(&plain, &content);
            poke(&plain, at, SMALL[at]);
        }
        let at = rng.gen_range(0..original.len());
        poke(&packed, at, original[at] ^ rng.gen_range(1..=255u8));
        // The checksum decides; what it does not cover (a time, a system) does not matter.
        if let Ok(data) = csv_labels::<2, 3>(&packed) {
            assert_eq!(data.inputs(), [0.5, -2., 1000., 4., 7., -8.25], "byte {at}");
        }
        poke(&packed, at, original[at]);
    }
    assert_eq!(csv_labels::<2, 3>(plain).unwrap(), csv_labels(packed).unwrap());
}

#[test]
fn a_quote_anywhere_does_no_harm() {
    for at in 0..=SMALL.len() {
        let content = [&SMALL[..at], b"\"", &SMALL[at..]].concat();
        if let Ok(data) = labels(content).0 {
            assert_eq!(data.inputs().len(), 2 * data.rows());
        }
    }
}
