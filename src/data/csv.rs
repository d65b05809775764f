//! Rows of numbers, separated by commas.

use std::{io::Read, path::Path, str::FromStr};

use csv::{ByteRecord, ErrorKind, ReaderBuilder, Terminator, Trim};

use super::{Dataset, Labels, Values, gzip};
use crate::error::Error;

/// `X` inputs, then a label in `0..C`, in each row of a CSV file, plain or gzipped.
///
/// Numbers as Rust reads them (`3`, `-0.5`, `1e-3`); a label may be written `3` or `3.0`. Space
/// around a number, quotes and blank lines do not matter. The first row is a header, and left out,
/// if not one of its fields is a number.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read. [`Error::File`], with line and column counted from 1,
/// if a row has not `X + 1` columns, an input is not a finite number, a label is not a whole number
/// in `0..C`, or there are no rows.
pub fn csv_labels<const X: usize, const C: usize>(
    path: impl AsRef<Path>,
) -> Result<Dataset<X, Labels<C>>, Error> {
    let path = path.as_ref();
    read_labels(gzip::open(path)?, path)
}

/// `X` inputs, then `Z` targets, in each row of a CSV file, plain or gzipped: see [`csv_labels`].
///
/// # Errors
/// [`Error::Io`] if the file cannot be read. [`Error::File`], with line and column counted from 1,
/// if a row has not `X + Z` columns, a field is not a finite number, or there are no rows.
pub fn csv_values<const X: usize, const Z: usize>(
    path: impl AsRef<Path>,
) -> Result<Dataset<X, Values<Z>>, Error> {
    let path = path.as_ref();
    let (mut inputs, mut values) = (Vec::new(), Vec::new());
    for_each_row(gzip::open(path)?, path, X.saturating_add(Z), |field| {
        let side = if field.column <= X { &mut inputs } else { &mut values };
        side.push(field.number()?);
        Ok(())
    })?;
    Dataset::new(inputs, Values::new(values)?)
}

pub(super) fn read_labels<const X: usize, const C: usize>(
    reader: impl Read,
    path: &Path,
) -> Result<Dataset<X, Labels<C>>, Error> {
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for_each_row(reader, path, X.saturating_add(1), |field| {
        if field.column <= X {
            inputs.push(field.number()?);
        } else {
            labels.push(field.label::<C>()?);
        }
        Ok(())
    })?;
    Dataset::new(inputs, Labels::new(labels)?)
}

/// Gives each field to `take`, row by row, where there are `width` in each row.
fn for_each_row(
    reader: impl Read,
    path: &Path,
    width: usize,
    mut take: impl FnMut(Field) -> Result<(), Error>,
) -> Result<(), Error> {
    // Each row ends with a newline: then `csv` knows on which line it is, blank lines or not.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .terminator(Terminator::Any(b'\n'))
        .from_reader(reader.chain(&b"\n"[..]));
    let mut record = ByteRecord::new();
    let (mut first, mut empty) = (true, true);
    while reader.read_byte_record(&mut record).map_err(|err| csv_error(path, err))? {
        let line = reader.position().line().saturating_sub(1);
        if record.len() == 1 && record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        if record.len() != width {
            return Err(Error::file(path, format!("{width} columns at line {line}"), record.len()));
        }
        let header = first && record.iter().all(|field| parse::<f64>(field).is_none());
        first = false;
        if header {
            continue;
        }
        empty = false;
        for (field, column) in record.iter().zip(1..) {
            take(Field { text: field, path, line, column })?;
        }
    }
    if empty { Err(Error::file(path, "at least one row of numbers", "none")) } else { Ok(()) }
}

struct Field<'a> {
    text: &'a [u8],
    path: &'a Path,
    line: u64,
    column: usize,
}

impl Field<'_> {
    fn number(&self) -> Result<f32, Error> {
        // Read as `f32`, so that 1e39 is infinite here.
        parse(self.text)
            .filter(|value: &f32| value.is_finite())
            .ok_or_else(|| self.error("a finite number"))
    }

    fn label<const C: usize>(&self) -> Result<u32, Error> {
        parse(self.text)
            .filter(|value: &f64| value.fract() == 0. && (0. ..C as f64).contains(value))
            .map(|value| value as u32)
            .ok_or_else(|| self.error(format!("a label from 0 to {}", C.saturating_sub(1))))
    }

    fn error(&self, expected: impl std::fmt::Display) -> Error {
        let text: String = String::from_utf8_lossy(self.text).chars().take(40).collect();
        let Self { path, line, column, .. } = self;
        let expected = format!("{expected} at line {line}, column {column}");
        Error::file(path, expected, format!("{text:?}"))
    }
}

fn parse<F: FromStr>(field: &[u8]) -> Option<F> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn csv_error(path: &Path, err: csv::Error) -> Error {
    match err.into_kind() {
        ErrorKind::Io(err) => gzip::read_error(path, err),
        kind => Error::file(path, "comma-separated numbers", format!("{kind:?}")),
    }
}
