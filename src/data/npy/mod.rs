//! NumPy's files: `.npy`, one array, and `.npz`, a zip archive of them.

mod contents;
mod header;
mod place;

use std::path::Path;

use self::{
    contents::{Conversion, read},
    header::Shape,
    place::Place,
};
use super::{Dataset, Labels, Values};
use crate::{device::Real, error::Error};

/// `X` inputs and a label in `0..C` for each row, from two `.npy` files, with the inputs in the type
/// asked for.
///
/// Inputs are floats of 32 or 64 bits, integers or bools, as `[rows, X]`, or as images
/// `[rows, height, width]` or `[rows, height, width, channels]`, which become rows of `X` numbers,
/// the last axis fastest. Labels are integers or bools, as `[rows]` or `[rows, 1]`. Both may be in C
/// or Fortran order, and in either order of bytes.
///
/// The header and the length of both files are looked at before there is memory for the numbers.
///
/// ```no_run
/// use dfdx_noprop::prelude::*;
///
/// # fn main() -> Result<(), Error> {
/// let digits: Dataset<784, Labels<10>> = data::npy_labels("images.npy", "labels.npy")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Io`] if a file cannot be read. [`Error::File`] if it is no `.npy` file of such numbers in
/// such a shape, is longer or shorter than its header says, has no rows, if a number is not finite or
/// a label out of range, or if the two differ in their number of rows.
pub fn npy_labels<const X: usize, const C: usize, E: Real>(
    inputs: impl AsRef<Path>,
    labels: impl AsRef<Path>,
) -> Result<Dataset<X, Labels<C>, E>, Error> {
    labels_of(Place::file(inputs.as_ref()), Place::file(labels.as_ref()))
}

/// `X` inputs and `Z` numbers for each row, from two `.npy` files, both in the type asked for.
/// Targets are as inputs are: `[rows, Z]`, or `[rows]` for one number.
///
/// # Errors
/// As [`npy_labels`].
pub fn npy_values<const X: usize, const Z: usize, E: Real>(
    inputs: impl AsRef<Path>,
    values: impl AsRef<Path>,
) -> Result<Dataset<X, Values<Z, E>, E>, Error> {
    values_of(Place::file(inputs.as_ref()), Place::file(values.as_ref()))
}

/// The same as [`npy_labels`] of two arrays in a `.npz` file, by their names: those of
/// `numpy.savez("digits.npz", images=…, labels=…)` are `images` and `labels`. The file may be
/// compressed; an array in it is read twice.
///
/// # Errors
/// As [`npy_labels`]; [`Error::File`] if it is no `.npz` file, an array is damaged, or there is none
/// of a name.
pub fn npz_labels<const X: usize, const C: usize, E: Real>(
    path: impl AsRef<Path>,
    inputs: &str,
    labels: &str,
) -> Result<Dataset<X, Labels<C>, E>, Error> {
    let path = path.as_ref();
    labels_of(Place::entry(path, inputs), Place::entry(path, labels))
}

/// The same as [`npy_values`] of two arrays in a `.npz` file, by their names.
///
/// # Errors
/// As [`npz_labels`].
pub fn npz_values<const X: usize, const Z: usize, E: Real>(
    path: impl AsRef<Path>,
    inputs: &str,
    values: &str,
) -> Result<Dataset<X, Values<Z, E>, E>, Error> {
    let path = path.as_ref();
    values_of(Place::entry(path, inputs), Place::entry(path, values))
}

fn labels_of<const X: usize, const C: usize, E: Real>(
    inputs: Place<'_>,
    labels: Place<'_>,
) -> Result<Dataset<X, Labels<C>, E>, Error> {
    let (of_inputs, of_labels) = (Shape::numbers(&inputs, X)?, Shape::labels(&labels)?);
    check_rows((&inputs, &of_inputs), (&labels, &of_labels))?;
    let class = |label: i128| u32::try_from(label).ok().filter(|label| (*label as usize) < C);
    let expected = format!("labels from 0 to {}", C.saturating_sub(1));
    let classes = Conversion { expected: &expected, convert: &class };
    let labels = Labels::new(read(&labels, &of_labels, &classes)?)?;
    Dataset::new(numbers(&inputs, &of_inputs)?, labels)
}

fn values_of<const X: usize, const Z: usize, E: Real>(
    inputs: Place<'_>,
    values: Place<'_>,
) -> Result<Dataset<X, Values<Z, E>, E>, Error> {
    let (of_inputs, of_values) = (Shape::numbers(&inputs, X)?, Shape::numbers(&values, Z)?);
    check_rows((&inputs, &of_inputs), (&values, &of_values))?;
    let values = Values::new(numbers(&values, &of_values)?)?;
    Dataset::new(numbers(&inputs, &of_inputs)?, values)
}

fn numbers<E: Real>(place: &Place<'_>, shape: &Shape) -> Result<Vec<E>, Error> {
    let finite = |number: E| number.is_finite().then_some(number);
    let expected = format!("numbers that are finite as {}", std::any::type_name::<E>());
    read(place, shape, &Conversion { expected: &expected, convert: &finite })
}

fn check_rows(inputs: (&Place<'_>, &Shape), targets: (&Place<'_>, &Shape)) -> Result<(), Error> {
    let (rows, found) = (inputs.1.rows, targets.1.rows);
    if rows == found {
        return Ok(());
    }
    let of = inputs.0.name();
    let expected = format!("{rows} rows, one for each of {}", of.display());
    Err(targets.0.error(expected, found))
}
