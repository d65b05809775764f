//! The idx format of MNIST and Fashion-MNIST.
//!
//! Big-endian: the magic number `0x800 + d`, for bytes in `d` dimensions, then `d` sizes of 32
//! bits, then the bytes.

use std::{io::Read, path::Path};

use super::{Dataset, Labels, Split, gzip};
use crate::error::Error;

/// MNIST, or Fashion-MNIST, from the folder of its four files (see [`idx_folder`]): 60,000 rows to
/// train and 10,000 to test, of 28 × 28 pixels, brought to mean 0 and deviation 1 by the one mean
/// and the one deviation of all training pixels.
///
/// # Errors
/// As [`idx_folder`].
pub fn mnist(dir: impl AsRef<Path>) -> Result<Split<784, Labels<10>>, Error> {
    idx_folder(dir)?.standardised_overall()
}

/// Images of `X` pixels, with labels in `0..C`, from a folder that holds `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each either so
/// named or with `.gz` at its end (the first is taken where both are there). Pixels are in 0..=255.
///
/// # Errors
/// [`Error::File`] if one of the four is not there, and as [`idx_files`].
pub fn idx_folder<const X: usize, const C: usize>(
    dir: impl AsRef<Path>,
) -> Result<Split<X, Labels<C>>, Error> {
    let dir = dir.as_ref();
    let part = |images, labels| idx_files(gzip::find(dir, images)?, gzip::find(dir, labels)?);
    Ok(Split {
        train: part("train-images-idx3-ubyte", "train-labels-idx1-ubyte")?,
        test: part("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?,
    })
}

/// Images of `X` pixels (height × width, row by row), with labels in `0..C`, from two idx files,
/// plain or gzipped. Pixels are in 0..=255.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read. [`Error::File`] if one is not an idx file of bytes in 3
/// (images) or 1 (labels) dimensions, is longer or shorter than its header says, has no rows, has
/// images of another size or labels out of range, or if the two differ in their number of rows.
pub fn idx_files<const X: usize, const C: usize>(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
) -> Result<Dataset<X, Labels<C>>, Error> {
    let (images, labels) = (images.as_ref(), labels.as_ref());
    let (rows, pixels) = read_images::<X>(images)?;
    let targets = read_labels::<C>(labels, rows, images)?;
    Dataset::new(pixels.into_iter().map(f32::from).collect(), Labels::new(targets)?)
}

fn read_images<const X: usize>(path: &Path) -> Result<(u32, Vec<u8>), Error> {
    let mut file = gzip::open(path)?;
    let [rows, height, width] = header(&mut file, path)?;
    let pixels = u64::from(height) * u64::from(width);
    if pixels != X as u64 {
        return Err(Error::file(
            path,
            format!("images of {X} pixels"),
            format!("images of {height} × {width} = {pixels} pixels"),
        ));
    }
    if rows == 0 {
        return Err(Error::file(path, "at least one image", "none"));
    }
    let len = pixels.checked_mul(rows.into()).ok_or_else(|| {
        Error::file(path, "a size of less than 2^64 bytes", format!("{rows} × {height} × {width}"))
    })?;
    Ok((rows, body(file, path, len)?))
}

fn read_labels<const C: usize>(path: &Path, rows: u32, images: &Path) -> Result<Vec<u32>, Error> {
    let mut file = gzip::open(path)?;
    let [found] = header(&mut file, path)?;
    if found != rows {
        let expected = format!("{rows} labels, one for each image of {}", images.display());
        return Err(Error::file(path, expected, found));
    }
    let labels = body(file, path, rows.into())?;
    match labels.iter().enumerate().find(|&(_, &label)| usize::from(label) >= C) {
        Some((row, label)) => Err(Error::file(
            path,
            format!("labels from 0 to {}", C.saturating_sub(1)),
            format!("{label} at row {row}"),
        )),
        None => Ok(labels.into_iter().map(u32::from).collect()),
    }
}

/// Checks the magic number and gives the `D` sizes.
fn header<const D: usize>(file: &mut impl Read, path: &Path) -> Result<[u32; D], Error> {
    let len = 4 + 4 * D;
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes).map_err(|err| gzip::read_error(path, err))?;
    let (words, _) = bytes.as_chunks();
    let mut words = words.iter().copied().map(u32::from_be_bytes);
    let magic = 0x800 + D as u32;
    match words.next() {
        Some(found) if found != magic => {
            let expected = format!("the magic number {magic:#010x} of idx bytes in {D} dimensions");
            return Err(Error::file(path, expected, format!("{found:#010x}")));
        }
        _ if bytes.len() < len => {
            let expected = format!("a header of {len} bytes");
            return Err(Error::file(path, expected, format!("{} bytes in all", bytes.len())));
        }
        _ => {}
    }
    let mut sizes = [0; D];
    sizes.iter_mut().zip(words).for_each(|(size, word)| *size = word);
    Ok(sizes)
}

/// The `len` bytes up to the end of the file.
fn body(file: impl Read, path: &Path, len: u64) -> Result<Vec<u8>, Error> {
    // Grows with what is read: `len` is only a claim. One byte more shows what should not be there.
    let mut bytes = Vec::new();
    file.take(len.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|err| gzip::read_error(path, err))?;
    let found = bytes.len() as u64;
    if found == len {
        return Ok(bytes);
    }
    let found = if found > len { "more".to_string() } else { format!("{found} bytes") };
    Err(Error::file(path, format!("{len} bytes after the header, as it says"), found))
}
