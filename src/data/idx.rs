//! The idx format of MNIST and Fashion-MNIST.
//!
//! Big-endian: the magic number `0x800 + d`, for bytes in `d` dimensions, then `d` sizes of 32
//! bits, then the bytes.

use std::{
    io::{Read, sink},
    path::Path,
};

use super::{
    Dataset, Labels, Split,
    gzip::{self, Source},
};
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
/// named, or with a dot before `idx` (`train-images.idx3-ubyte`), with or without `.gz` at its end;
/// the first that is there is taken. Pixels are in 0..=255.
///
/// # Errors
/// [`Error::File`] if one of the four is not there, and as [`idx_files`].
pub fn idx_folder<const X: usize, const C: usize>(
    dir: impl AsRef<Path>,
) -> Result<Split<X, Labels<C>>, Error> {
    let dir = dir.as_ref();
    let part = |set: &str| {
        let [images, labels] = [("images", 3), ("labels", 1)].map(|(kind, d)| -> Result<_, _> {
            let names = ["-", "."].map(|mark| format!("{set}-{kind}{mark}idx{d}-ubyte"));
            gzip::find(dir, &names.each_ref().map(String::as_str))
        });
        idx_files::<X, C>(images?, labels?)
    };
    Ok(Split { train: part("train")?, test: part("t10k")? })
}

/// Images of `X` pixels (height × width, row by row), with labels in `0..C`, from two idx files,
/// plain or gzipped. Pixels are in 0..=255.
///
/// Both headers are looked at first, then all labels, then the images: a file that is not what it
/// should be takes no memory.
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
    gzip::check_regular(images)?;
    gzip::check_regular(labels)?;
    let (rows, pixels) = check_images::<X>(images)?;
    check_labels(labels, rows, images)?;
    let targets = body::<u32, 1>(labels, rows.into(), |path, row, label| {
        if usize::from(label) < C {
            return Ok(label.into());
        }
        let expected = format!("labels from 0 to {}", C.saturating_sub(1));
        Err(Error::file(path, expected, format!("{label} at row {row}")))
    })?;
    let inputs = body::<f32, 3>(images, pixels, |_, _, pixel| Ok(pixel.into()))?;
    Dataset::new(inputs, Labels::new(targets)?)
}

/// How many images and how many pixels in all the header promises.
fn check_images<const X: usize>(path: &Path) -> Result<(u32, u64), Error> {
    let [rows, height, width] = header(&mut Source::file(path).open()?, path)?;
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
    let all = pixels.checked_mul(rows.into()).ok_or_else(|| {
        Error::file(path, "a size of less than 2^64 bytes", format!("{rows} × {height} × {width}"))
    })?;
    Ok((rows, all))
}

fn check_labels(path: &Path, rows: u32, images: &Path) -> Result<(), Error> {
    let [found] = header(&mut Source::file(path).open()?, path)?;
    if found == rows {
        return Ok(());
    }
    let expected = format!("{rows} labels, one for each image of {}", images.display());
    Err(Error::file(path, expected, found))
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

/// A number for each of the `len` bytes between the header and the end of the file.
///
/// The file is read twice: `len` is only a claim, so the bytes are counted before there is memory
/// for them.
fn body<T, const D: usize>(
    path: &Path,
    len: u64,
    number: impl Fn(&Path, usize, u8) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let failed = |err| gzip::read_error(path, err);
    let open = || -> Result<_, Error> {
        let mut file = Source::file(path).open()?;
        header::<D>(&mut file, path)?;
        // One byte more shows what should not be there.
        Ok(file.take(len.saturating_add(1)))
    };
    let found = std::io::copy(&mut open()?, &mut sink()).map_err(failed)?;
    if found != len {
        let found = if found > len { "more".to_string() } else { format!("{found} bytes") };
        return Err(Error::file(path, format!("{len} bytes after the header, as it says"), found));
    }
    let mut file = open()?;
    let mut numbers = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    let mut piece = vec![0; 1 << 16];
    loop {
        let bytes = match file.read(&mut piece) {
            Ok(0) => return Ok(numbers),
            Ok(bytes) => bytes,
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(failed(err)),
        };
        gzip::make_room(&mut numbers, bytes);
        for &byte in &piece[..bytes] {
            numbers.push(number(path, numbers.len(), byte)?);
        }
    }
}
