//! NumPy's files: those of NumPy itself, those of `npyz`, and damaged ones.
#![cfg(feature = "npy")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use dfdx_noprop::{
    data::{npy_labels, npy_values, npz_labels, npz_values},
    device::Real,
    prelude::*,
};
use npyz::WriterBuilder;
use tempfile::{TempDir, tempdir};
use zip::write::SimpleFileOptions;

/// What `tests/data/files/make.py` has made.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/files").join(name)
}

fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn inputs<const X: usize, E: Real>(name: &str) -> Vec<E> {
    let data: Dataset<X, Labels<3>, E> = npy_labels(made(name), made("labels.npy")).unwrap();
    assert_eq!(data.targets().as_slice(), [2, 0, 1]);
    data.inputs().to_vec()
}

fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

const ROWS: [f64; 12] =
    [0.25, 1.25, 2.25, 3.25, 10.25, 11.25, 12.25, 13.25, 20.25, 21.25, 22.25, 23.25];

#[test]
fn numbers_of_all_types_and_orders() {
    let single = ROWS.map(|v| v as f32);
    for name in ["f8.npy", "f4.npy", "f4_big.npy", "f8_fortran.npy"] {
        assert_eq!(inputs::<4, f64>(name), ROWS, "{name}");
        assert_eq!(inputs::<4, f32>(name), single, "{name}");
    }
    assert_eq!(inputs::<4, f32>("u1.npy"), single.map(f32::trunc));
    assert_eq!(inputs::<4, f32>("i8.npy"), single.map(|v| -v.trunc()));
    assert_eq!(inputs::<4, f32>("bool.npy"), single.map(|v| if v > 10. { 1. } else { 0. }));
    assert_eq!(inputs::<4, f64>("huge.npy")[11], 1e300);
}

#[test]
fn labels_of_all_types() {
    for name in ["labels.npy", "labels_u1.npy", "labels_i2_big.npy"] {
        let data: Dataset<4, Labels<3>> = npy_labels(made("f8.npy"), made(name)).unwrap();
        assert_eq!(data.targets().as_slice(), [2, 0, 1], "{name}");
    }
    // Bools, one for each row of an array with one column.
    let folder = tempdir().unwrap();
    let bools = put(&folder, "bools.npy", npy("|b1", "(3, 1)", &[1, 0, 1]));
    let data: Dataset<4, Labels<2>> = npy_labels(made("f8.npy"), bools).unwrap();
    assert_eq!(data.targets().as_slice(), [1, 0, 1]);
}

#[test]
fn images_become_rows() {
    let all: Vec<f32> = (0..24).map(|v| v as f32).collect();
    let first: Vec<f32> = all.iter().copied().step_by(2).collect();
    let folder = tempdir().unwrap();
    let two = put(&folder, "two.npy", npy("|u1", "(2,)", &[1, 0]));
    for (name, expected) in [("images.npy", &all), ("images_fortran.npy", &all)] {
        let data: Dataset<12, Labels<2>> = npy_labels(made(name), &two).unwrap();
        assert_eq!(data.inputs(), &expected[..], "{name}");
    }
    let gray: Dataset<6, Labels<2>> = npy_labels(made("gray.npy"), &two).unwrap();
    assert_eq!(gray.inputs(), first);
}

#[test]
fn numbers_as_targets() {
    let data: Dataset<4, Values<1, f64>, f64> =
        npy_values(made("f8.npy"), made("labels_f8.npy")).unwrap();
    assert_eq!((data.inputs(), data.targets().as_slice()), (&ROWS[..], &[2., 0., 1.][..]));
    let data: Dataset<1, Values<4>> =
        npy_values(made("labels.npy"), made("f8_fortran.npy")).unwrap();
    assert_eq!(data.targets().as_slice(), ROWS.map(|v| v as f32));
}

#[test]
fn archives() {
    for name in ["plain.npz", "packed.npz"] {
        let data: Dataset<4, Labels<3>, f64> = npz_labels(made(name), "x", "y").unwrap();
        assert_eq!((data.inputs(), data.targets().as_slice()), (&ROWS[..], &[2, 0, 1][..]));
        let data: Dataset<1, Values<4>> = npz_values(made(name), "y", "x").unwrap();
        assert_eq!(data.targets().as_slice()[11], 23.25);
        let text = error(npz_labels::<4, 3, f32>(made(name), "z", "y"));
        assert!(text.contains(name) && text.ends_with("an array \"z\", found x, y"), "{text}");
    }
}

#[test]
fn files_of_npyz() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.npy");
    for order in [npyz::Order::C, npyz::Order::Fortran] {
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .order(order)
            .shape(&[3, 2])
            .writer(File::create(&path).unwrap())
            .begin_nd()
            .unwrap();
        writer.extend([1_i16, -2, 3, -4, 5, -6]).unwrap();
        writer.finish().unwrap();
        let data: Dataset<2, Labels<3>> = npy_labels(&path, made("labels.npy")).unwrap();
        let expected = match order {
            npyz::Order::C => [1., -2., 3., -4., 5., -6.],
            npyz::Order::Fortran => [1., -4., -2., 5., 3., -6.],
        };
        assert_eq!(data.inputs(), expected);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let labels = |inputs: &str, labels: &str| {
        let text = error(npy_labels::<4, 3, f32>(made(inputs), made(labels)));
        let file = if labels == "labels.npy" { inputs } else { labels };
        assert!(text.contains(&format!("{file}: expected")), "{text}");
        text
    };
    let cases = [
        ("f2.npy", "floats of 32 or 64 bits, integers or bools; `astype` converts others"),
        ("f2.npy", "found numbers of type '<f2'"),
        ("records.npy", "found numbers of type [("),
        ("words.npy", "found numbers of type '<U1'"),
        ("images.npy", "rows of 4 numbers, [rows, …], found one of shape [2, 2, 3, 2]"),
        ("empty.npy", "at least one row, found none"),
        ("nan.npy", "numbers that are finite as f32, found NaN in row 1, column 2"),
        ("huge.npy", "finite as f32, found 1"),
    ];
    for (name, expected) in cases {
        let text = labels(name, "labels.npy");
        assert!(text.contains(expected), "{text}");
    }
    let text = labels("f8.npy", "labels_negative.npy");
    assert!(text.ends_with("labels from 0 to 2, found -1 in row 1, column 0"), "{text}");
    let text = labels("f8.npy", "labels_f8.npy");
    assert!(text.contains("labels that are integers"), "{text}");
    let text = error(npy_labels::<4, 2, f32>(made("f8.npy"), made("labels.npy")));
    assert!(text.ends_with("labels from 0 to 1, found 2 in row 0, column 0"), "{text}");
    let text = error(npy_values::<12, 1, f32>(made("images.npy"), made("labels_f8.npy")));
    assert!(text.contains("2 rows, one for each of ") && text.ends_with("found 3"), "{text}");
    let text = error(npy_labels::<4, 3, f32>(made("none.npy"), made("labels.npy")));
    assert!(text.contains("none.npy: cannot read"), "{text}");
    let text = error(npz_labels::<4, 3, f32>(made("f8.npy"), "x", "y"));
    assert!(text.contains("f8.npy: expected a .npz file"), "{text}");
    let text = error(npy_labels::<4, 3, f32>(made("plain.npz"), made("labels.npy")));
    assert!(text.contains("plain.npz: expected a .npy file"), "{text}");
}

/// A `.npy` file in the first version of the format.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn headers_that_lie() {
    let folder = tempdir().unwrap();
    let most = u64::MAX / 2;
    let shapes = [
        "(1000000000000, 4)".to_owned(),
        format!("({most}, 4)"),
        format!("({most}, {most}, 0)"),
        format!("(0, {most}, {most}, 4)"),
        "(99999999999999999999999, 4)".to_owned(),
        "(0x7fffffffffffffff, 4)".to_owned(),
        "(7_000_000_000_000_000_000, 4)".to_owned(),
        "(-1, 4)".to_owned(),
        "(3.0, 4)".to_owned(),
        "()".to_owned(),
        "((((((1,),),),),),)".to_owned(),
        format!("{}1{}", "(".repeat(30_000), ")".repeat(30_000)),
        "'".repeat(3),
        "{}".to_owned(),
    ];
    for shape in shapes {
        let path = put(&folder, "x.npy", npy("<f4", &shape, &[0; 48]));
        let text = error(npy_labels::<4, 3, f32>(&path, made("labels.npy")));
        assert!(text.contains("x.npy: expected "), "{shape:.60}: {text}");
    }
    // A header that says that it has 4 GB.
    let long = [&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], &[b' '; 100]].concat();
    let text = error(npy_labels::<4, 3, f32>(put(&folder, "x.npy", long), made("labels.npy")));
    assert!(text.ends_with("a header of less than 65536 bytes, found 4294967295"), "{text}");
    let more = [fs::read(made("f8.npy")).unwrap(), vec![0]].concat();
    let text = error(npy_labels::<4, 3, f32>(put(&folder, "x.npy", more), made("labels.npy")));
    assert!(text.ends_with("bytes, as its header says, found more"), "{text}");
}

#[test]
fn every_cut_is_an_error_that_names_the_file() {
    let folder = tempdir().unwrap();
    for name in ["f8.npy", "images_fortran.npy", "plain.npz", "packed.npz"] {
        let whole = fs::read(made(name)).unwrap();
        for length in 0..whole.len() {
            let path = put(&folder, name, &whole[..length]);
            let text = match name {
                "f8.npy" => error(npy_labels::<4, 3, f32>(&path, made("labels.npy"))),
                "images_fortran.npy" => error(npy_values::<12, 12, f32>(&path, &path)),
                _ => error(npz_labels::<4, 3, f32>(&path, "x", "y")),
            };
            assert!(text.contains(&format!("{name}: expected ")), "{length}: {text}");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_another_number() {
    let folder = tempdir().unwrap();
    let right: Dataset<4, Labels<3>> = npz_labels(made("plain.npz"), "x", "y").unwrap();
    for name in ["f8.npy", "f8_fortran.npy", "plain.npz", "packed.npz"] {
        let whole = fs::read(made(name)).unwrap();
        for at in (0..whole.len() * 8).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let path = put(&folder, name, flipped);
            let read = match name.ends_with("npz") {
                true => npz_labels::<4, 3, f32>(&path, "x", "y"),
                false => npy_labels::<4, 3, f32>(&path, made("labels.npy")),
            };
            let Ok(data) = read else { continue };
            assert!(data.inputs().iter().all(|v| v.is_finite()));
            // Archives have checksums.
            assert!(!name.ends_with("npz") || data == right, "{name}: bit {at}");
        }
    }
}

/// 600 MB of zeros in an archive of 600 kB, of which the header says that they are four numbers.
#[test]
fn an_archive_that_unpacks_to_more_than_it_says() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    let packed = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    archive.start_file("x.npy", packed).unwrap();
    archive.write_all(&npy("<f4", "(1, 4)", &[0; 16])).unwrap();
    for _ in 0..600 {
        archive.write_all(&vec![0; 1 << 20]).unwrap();
    }
    archive.start_file("y.npy", packed).unwrap();
    archive.write_all(&npy("|u1", "(1,)", &[0])).unwrap();
    archive.finish().unwrap();
    let text = error(npz_labels::<4, 3, f32>(&path, "x", "y"));
    assert!(text.contains("x.npz/x: expected") && text.ends_with("found more"), "{text}");
}
