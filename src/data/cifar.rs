//! The binary version of CIFAR-10 and CIFAR-100 (Krizhevsky 2009, *Learning multiple layers of features from tiny images*).
//!
//! Records without a header: one byte for the class (CIFAR-10), or one for the coarse and one for the fine class (CIFAR-100),
//! then 3,072 pixels: 32 × 32 of red, of green, of blue, row by row.

use std::{io::Read, path::Path};

use super::{Dataset, Labels, Split, gzip};
use crate::error::Error;

const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-10 from the folder of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, each either so named or with
/// `.gz` at its end: 50,000 rows to train and 10,000 to test, planes of 32 × 32 pixels in red, green and blue, brought to mean 0
/// and deviation 1 by the one mean and the one deviation of all training pixels.
///
/// # Errors
/// [`Error::File`] if one of the files is not there, and as [`cifar_file`].
pub fn cifar10(dir: impl AsRef<Path>) -> Result<Split<PIXELS, Labels<10>>, Error> {
    let train: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    folder(dir.as_ref(), &train, "test_batch.bin", 0)
}

/// CIFAR-100 from the folder of `train.bin` and `test.bin`, each either so named or with `.gz` at its end, by its 100 fine
/// classes; else as [`cifar10`].
///
/// # Errors
/// [`Error::File`] if one of the files is not there, and as [`cifar_file`].
pub fn cifar100(dir: impl AsRef<Path>) -> Result<Split<PIXELS, Labels<100>>, Error> {
    folder(dir.as_ref(), &["train.bin".to_owned()], "test.bin", 1)
}

/// Images with labels in `0..C` from one file, plain or gzipped, whose records have `skip` bytes (0 for CIFAR-10, 1 for
/// CIFAR-100) before that of the class. Pixels are in 0..=255.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is empty, not whole records, or has a label out of range.
pub fn cifar_file<const C: usize>(
    path: impl AsRef<Path>,
    skip: usize,
) -> Result<Dataset<PIXELS, Labels<C>>, Error> {
    let (inputs, labels) = read::<C>(path.as_ref(), skip)?;
    Dataset::new(inputs, Labels::new(labels)?)
}

fn folder<const C: usize>(
    dir: &Path,
    train: &[String],
    test: &str,
    skip: usize,
) -> Result<Split<PIXELS, Labels<C>>, Error> {
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for name in train {
        let (more_inputs, more_labels) = read::<C>(&gzip::find(dir, name)?, skip)?;
        inputs.extend(more_inputs);
        labels.extend(more_labels);
    }
    let train = Dataset::new(inputs, Labels::new(labels)?)?;
    let test = cifar_file(gzip::find(dir, test)?, skip)?;
    Split { train, test }.standardised_overall()
}

fn read<const C: usize>(path: &Path, skip: usize) -> Result<(Vec<f32>, Vec<u32>), Error> {
    let mut bytes = Vec::new();
    gzip::open(path)?.read_to_end(&mut bytes).map_err(|err| gzip::read_error(path, err))?;
    let record = skip.saturating_add(1 + PIXELS);
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let expected = format!("one or more records of {record} bytes");
        return Err(Error::file(path, expected, format!("{} bytes", bytes.len())));
    }
    let (mut inputs, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
    for (row, record) in bytes.chunks_exact(record).enumerate() {
        let label = record[skip];
        if usize::from(label) >= C {
            let expected = format!("labels from 0 to {}", C.saturating_sub(1));
            return Err(Error::file(path, expected, format!("{label} at row {row}")));
        }
        labels.push(label.into());
        inputs.extend(record[skip + 1..].iter().copied().map(f32::from));
    }
    Ok((inputs, labels))
}
