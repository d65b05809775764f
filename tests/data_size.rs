//! Data sets that are large, and files that only say so: what readers hold in memory, and what is
//! not on the stack.

#[path = "common/held.rs"]
mod held;

use std::{fs, io::Write, path::PathBuf, sync::PoisonError};

use dfdx_noprop::{
    Error,
    data::{
        Augment, Csv, Dataset, Labels, Pixels, Targets, Values, cifar_file, csv_labels, csv_values,
        idx_files,
    },
    head::Prototypes,
};
use flate2::{Compression, write::GzEncoder};
use held::{TURN, most};
use rand::{SeedableRng, rngs::StdRng};
use tempfile::{TempDir, tempdir};

const MEGABYTE: usize = 1 << 20;

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A gzip stream of `megabytes` of this piece, after `start`: a megabyte in each member.
fn bomb(dir: &TempDir, name: &str, start: &[u8], piece: &[u8], megabytes: usize) -> PathBuf {
    let member = gz(&piece.repeat(MEGABYTE / piece.len()));
    let path = dir.path().join(name);
    fs::write(&path, [gz(start), member.repeat(megabytes)].concat()).unwrap();
    path
}

fn idx(dir: &TempDir, name: &str, sizes: &[u32], body: &[u8]) -> PathBuf {
    let header: Vec<u8> = [0, 0, 8, sizes.len() as u8]
        .into_iter()
        .chain(sizes.iter().flat_map(|size| size.to_be_bytes()))
        .collect();
    let path = dir.path().join(name);
    fs::write(&path, [&header, body].concat()).unwrap();
    path
}

#[track_caller]
fn assert_small<T>(work: impl FnOnce() -> Result<T, Error>, text: &str) {
    let (result, held) = most(work);
    let message = result.err().expect("an error").to_string();
    assert!(message.contains(text), "{message}");
    assert!(held < 16 * MEGABYTE, "{} MB: {message}", held / MEGABYTE);
}

/// Up to 1.1 times what the result has, and 16 MB.
#[track_caller]
fn assert_about<T: Targets>(work: impl FnOnce() -> Result<Dataset<784, T>, Error>, rows: usize) {
    let (result, held) = most(work);
    let data = result.unwrap();
    assert_eq!(data.rows(), rows);
    let size = data.inputs().len() * 4 + rows * 4;
    assert!(size > 60 * MEGABYTE);
    assert!(held * 10 < size * 11 + 160 * MEGABYTE, "{} of {}", held / MEGABYTE, size / MEGABYTE);
}

#[test]
fn what_is_no_table_takes_no_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempdir().unwrap();
    let long = "rows of up to";
    let zeros = bomb(&dir, "zeros", b"", &[0], 2048);
    let line = bomb(&dir, "line", b"1,2,0\n", b"1,", 1024);
    let field = bomb(&dir, "field", b"1,2,0\n1,", b"7", 1024);
    let quoted = bomb(&dir, "quoted", b"1,2,0\n\"", b"1,2,0\n..", 1024);
    let header = bomb(&dir, "header", b"a,b", b",c", 1024);
    for path in [&zeros, &line, &field, &quoted, &header] {
        assert_small(|| csv_labels::<2, 3>(path), long);
        assert_small(|| csv_values::<2, 1>(path), long);
    }
    assert_small(|| cifar_file::<10>(&zeros, 0), "one or more records of 3073 bytes");
    assert_small(|| idx_files::<4, 3>(&zeros, &zeros), "the magic number");
    let blank = bomb(&dir, "blank", b"", b" \n", 256);
    assert_small(|| csv_labels::<2, 3>(&blank), "at least one row");
}

#[test]
fn idx_headers_are_looked_at_first() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempdir().unwrap();
    // Four thousand million images of 4 pixels, they say.
    let images = idx(&dir, "images", &[u32::MAX, 2, 2], &[1; 100]);
    let labels = idx(&dir, "labels", &[u32::MAX], &[1; 100]);
    assert_small(|| idx_files::<4, 3>(&images, &labels), "4294967295 bytes after the header");
    // 100 MB of images, and a label out of range.
    let rows = 100 * MEGABYTE / 784;
    let images = idx(&dir, "images", &[rows as u32, 28, 28], &vec![0; rows * 784]);
    let mut body = vec![0; rows];
    body[rows - 1] = 10;
    let labels = idx(&dir, "labels", &[rows as u32], &body);
    assert_small(|| idx_files::<784, 10>(&images, &labels), "found 10 at row");
}

#[test]
fn readers_hold_what_they_give() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempdir().unwrap();
    let rows = 21_000;
    let row = format!("{}1\n", "7,".repeat(784));
    let csv = dir.path().join("table");
    fs::write(&csv, gz(row.repeat(rows).as_bytes())).unwrap();
    let fixed = Csv { label: 785.into(), ..Csv::default() };
    assert_about(|| fixed.labels::<784, 2, f32>(&csv), rows);
    let missing = Csv { skip_missing: true, ..fixed };
    let gaps = format!("{row}?{}", &row[1..]).repeat(rows);
    fs::write(&csv, gz(gaps.as_bytes())).unwrap();
    drop(gaps);
    assert_about(|| missing.labels::<784, 2, f32>(&csv), rows);
    let images = idx(&dir, "images", &[rows as u32, 28, 28], &vec![3; rows * 784]);
    let labels = idx(&dir, "labels", &[rows as u32], &vec![1; rows]);
    assert_about(|| idx_files::<784, 10>(&images, &labels), rows);

    let rows = 6_000;
    let path = dir.path().join("cifar");
    fs::write(&path, gz(&vec![3; rows * 3073])).unwrap();
    let (data, held) = most(|| cifar_file::<10>(&path, 0).unwrap());
    let size = data.inputs().len() * 4;
    assert!(held * 10 < size * 11 + 160 * MEGABYTE, "{} of {}", held / MEGABYTE, size / MEGABYTE);
}

/// Runs on a stack of 128 KiB.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap();
    thread.join().unwrap();
}

/// Rows whose first number is their own.
fn rows<const X: usize, const C: usize>(rows: usize) -> Dataset<X, Labels<C>> {
    let mut inputs = vec![0.; rows * X];
    inputs.iter_mut().step_by(X).zip(0u16..).for_each(|(v, row)| *v = row.into());
    let labels = (0..rows).map(|row| (row % C) as u32).collect();
    Dataset::new(inputs, Labels::new(labels).unwrap()).unwrap()
}

#[test]
fn prototypes_of_many_wide_rows() {
    on_a_small_stack(|| {
        let data = rows::<3072, 1000>(1001);
        let prototypes = Prototypes::<1000, 3072>::medoids(&data, 1).unwrap();
        assert_eq!(prototypes.rows()[3072 * 999], 999.);
        let text = serde_json::to_string(&prototypes).unwrap();
        assert_eq!(serde_json::from_str::<Prototypes<1000, 3072>>(&text).unwrap(), prototypes);
        let wide = Prototypes::from_rows(prototypes.rows().as_chunks::<3072>().0).unwrap();
        assert_eq!(wide, prototypes);
    });
}

#[test]
fn images_as_large_as_those_of_imagenet() {
    on_a_small_stack(|| {
        const SIDE: usize = 224;
        let mut images = rows::<{ 3 * SIDE * SIDE }, 2>(2).samples().to_vec();
        let augment = Augment { shift: 4, flip: true, background: 1. };
        let mut rng = StdRng::seed_from_u64(0);
        augment.apply(Pixels::<3, SIDE, SIDE>, &mut images, &mut rng);
        assert!(images.iter().flatten().any(|v| *v == 1.));
    });
}

#[test]
fn twenty_thousand_classes() {
    on_a_small_stack(|| {
        let data = rows::<1, 20_000>(60_000);
        assert_eq!(data.targets().counts(), vec![3; 20_000]);
        let split = data.split_stratified(0.33, 0).unwrap();
        assert_eq!(split.test.targets().counts(), vec![1; 20_000]);
        for split in data.folds(3, 0).unwrap() {
            assert_eq!(split.test.targets().counts(), vec![1; 20_000]);
        }
        let values = Values::<1>::new(vec![0.; 4]).unwrap();
        assert_eq!(Targets::classes(&values), [0; 0]);
    });
}
