//! The data sets, against numbers computed elsewhere, and files that are not what they should be.

mod csv;
mod csv_classes;
mod csv_options;
mod dataset;
#[cfg(feature = "digits")]
mod digits;
mod folds;
mod idx;
mod split;
mod standardiser;

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use dfdx_noprop::{
    Error,
    data::{
        Dataset, Labels, Split, Standardiser, Targets, Values, csv_labels, csv_values, idx_files,
        idx_folder, mnist,
    },
};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::{TempDir, tempdir};

fn file(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn gz(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Changes one byte in place: to write the file anew, thousands of times, takes many seconds.
fn poke(path: &Path, at: usize, byte: u8) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// An `Error::File` or `Error::Io` whose message is the path and then the text given.
#[track_caller]
fn assert_message<T: Debug>(result: Result<T, Error>, path: &Path, text: &str) {
    let err = result.unwrap_err();
    assert!(matches!(err, Error::File { .. } | Error::Io { .. }), "{err:?}");
    assert_eq!(err.to_string(), format!("{}: {text}", path.display()));
}

#[track_caller]
fn assert_argument<T: Debug>(result: Result<T, Error>, text: &str) {
    let err = result.unwrap_err();
    assert!(matches!(err, Error::Argument { .. }), "{err:?}");
    assert_eq!(err.to_string(), text);
}

/// Rows whose one input is their number.
fn numbered<const C: usize>(labels: Vec<u32>) -> Dataset<1, Labels<C>> {
    let inputs = (0..labels.len()).map(|i| i as f32).collect();
    Dataset::new(inputs, Labels::new(labels).unwrap()).unwrap()
}

/// The two sides together hold each numbered row once, with its own label.
fn assert_partition<const C: usize>(all: &Dataset<1, Labels<C>>, split: &Split<1, Labels<C>>) {
    let mut seen = BTreeSet::new();
    for side in [&split.train, &split.test] {
        for (&row, label) in side.inputs().iter().zip(side.targets().as_slice()) {
            assert!(seen.insert(row as usize), "row {row} twice");
            assert_eq!(*label, all.targets().as_slice()[row as usize]);
        }
    }
    assert_eq!(seen, (0..all.rows()).collect());
}
