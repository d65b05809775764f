//! The binary version of CIFAR-10 and CIFAR-100 (Krizhevsky 2009, *Learning multiple layers of
//! features from tiny images*).
//!
//! Records without a header: one byte for the class (CIFAR-10), or one for the coarse and one for
//! the fine class (CIFAR-100), then 3,072 pixels: 32 × 32 of red, of green, of blue, row by row.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Dataset, Labels, Split,
    gzip::{self, Source},
};
use crate::error::Error;

const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-10 from the folder of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, each
/// either so named or with `.gz` at its end: 50,000 rows to train and 10,000 to test, planes of 32
/// × 32 pixels in red, green and blue, brought to mean 0 and deviation 1 by the one mean and the
/// one deviation of all training pixels.
///
/// # Errors
/// [`Error::File`] if one of the files is not there, and as [`cifar_file`].
pub fn cifar10(dir: impl AsRef<Path>) -> Result<Split<PIXELS, Labels<10>>, Error> {
    let train: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    folder(dir.as_ref(), &train, "test_batch.bin", 0)
}

/// CIFAR-100 from the folder of `train.bin` and `test.bin`, each either so named or with `.gz` at
/// its end, by its 100 fine classes; else as [`cifar10`].
///
/// # Errors
/// [`Error::File`] if one of the files is not there, and as [`cifar_file`].
pub fn cifar100(dir: impl AsRef<Path>) -> Result<Split<PIXELS, Labels<100>>, Error> {
    folder(dir.as_ref(), &["train.bin".to_owned()], "test.bin", 1)
}

/// Images with labels in `0..C` from one file, plain or gzipped, whose records have `skip` bytes (0
/// for CIFAR-10, 1 for CIFAR-100) before that of the class. Pixels are in 0..=255.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is empty, not whole records, or
/// has a label out of range.
pub fn cifar_file<const C: usize>(
    path: impl AsRef<Path>,
    skip: usize,
) -> Result<Dataset<PIXELS, Labels<C>>, Error> {
    read(&[path.as_ref()], skip)
}

fn folder<const C: usize>(
    dir: &Path,
    train: &[String],
    test: &str,
    skip: usize,
) -> Result<Split<PIXELS, Labels<C>>, Error> {
    let train =
        train.iter().map(|name| gzip::find(dir, &[name])).collect::<Result<Vec<_>, Error>>()?;
    let train = read(&train.iter().map(PathBuf::as_path).collect::<Vec<_>>(), skip)?;
    let test = cifar_file(gzip::find(dir, &[test])?, skip)?;
    Split { train, test }.standardised_overall()
}

/// The records of all files. Each is read twice: what is not whole records with labels in range
/// takes no memory.
fn read<const C: usize>(paths: &[&Path], skip: usize) -> Result<Dataset<PIXELS, Labels<C>>, Error> {
    let mut rows = 0;
    for path in paths {
        gzip::check_regular(path)?;
        rows += for_each_record(path, skip, |path, row, record| {
            check_label::<C>(path, row, record[skip])
        })?;
    }
    let (mut inputs, mut labels) = (Vec::with_capacity(rows * PIXELS), Vec::with_capacity(rows));
    for path in paths {
        for_each_record(path, skip, |path, row, record| {
            check_label::<C>(path, row, record[skip])?;
            labels.push(record[skip].into());
            gzip::make_room(&mut inputs, PIXELS);
            inputs.extend(record[skip + 1..].iter().copied().map(f32::from));
            Ok(())
        })?;
    }
    Dataset::new(inputs, Labels::new(labels)?)
}

fn check_label<const C: usize>(path: &Path, row: usize, label: u8) -> Result<(), Error> {
    if usize::from(label) < C {
        return Ok(());
    }
    let expected = format!("labels from 0 to {}", C.saturating_sub(1));
    Err(Error::file(path, expected, format!("{label} at row {row}")))
}

/// Gives each record, with its number from 0, to `take`, and counts them.
fn for_each_record(
    path: &Path,
    skip: usize,
    mut take: impl FnMut(&Path, usize, &[u8]) -> Result<(), Error>,
) -> Result<usize, Error> {
    let failed = |err| gzip::read_error(path, err);
    let len = skip.saturating_add(1 + PIXELS);
    let mut file = Source::file(path).open()?;
    let (mut record, mut rows) = (Vec::new(), 0);
    loop {
        record.clear();
        // Grows with what is read: no file has records as long as `skip` may say.
        let found = file.by_ref().take(len as u64).read_to_end(&mut record).map_err(failed)?;
        if found == len {
            take(path, rows, &record)?;
            rows += 1;
        } else if found == 0 && rows > 0 {
            return Ok(rows);
        } else {
            let expected = format!("one or more records of {len} bytes");
            return Err(Error::file(path, expected, format!("{} bytes", rows * len + found)));
        }
    }
}
