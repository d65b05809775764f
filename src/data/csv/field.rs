//! One field: a number, or what is wrong with it.

use std::str::FromStr;

use super::{Column, Csv, scan::Row};
use crate::{device::Real, error::Error};

pub(super) fn parse<F: FromStr>(field: &[u8]) -> Option<F> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

pub(super) fn is_missing(csv: &Csv, field: &[u8]) -> bool {
    csv.missing.iter().any(|marker| marker.as_bytes() == field)
}

/// A number of the type asked for, rounded once: by way of `f64`, some would be rounded twice.
pub(in crate::data) fn number<E: Real>(field: &[u8]) -> Option<E> {
    let value = if size_of::<E>() == size_of::<f32>() {
        E::of(parse::<f32>(field)?.into())
    } else {
        E::of(parse::<f64>(field)?)
    };
    value.is_finite().then_some(value)
}

/// As much of a text as goes into a message.
pub(in crate::data) fn short(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).chars().take(40).collect()
}

/// That a field, by its column from 0, is no number.
pub(super) fn not_a_number(row: &Row<'_>, at: usize) -> Error {
    let text = row.record.get(at).unwrap_or_default();
    let decimal_comma = || {
        let point: Vec<u8> = text.iter().map(|b| if *b == b',' { b'.' } else { *b }).collect();
        text.contains(&b',') && parse::<f64>(&point).is_some()
    };
    let advice = if is_missing(row.csv, text) {
        "this marks a missing value: set `Csv::skip_missing` to leave out such rows"
    } else if row.first {
        "if this line is a header, set `Csv::header`"
    } else if parse::<f64>(text).is_some_and(f64::is_finite) {
        "it is past the largest f32: read the file as f64"
    } else if decimal_comma() {
        "numbers have a decimal point"
    } else {
        "set `Csv::leave_out` if this column is no input, or `Csv::label` if it is the label's"
    };
    wrong(row, at, "a finite number", advice)
}

/// That a field, by its column from 0, is no label.
pub(super) fn not_a_label(row: &Row<'_>, at: usize, expected: &str, from_one: bool) -> Error {
    let text = row.record.get(at).unwrap_or_default();
    let number: Option<f64> = parse(text);
    let advice = if is_missing(row.csv, text) {
        "this marks a missing value: set `Csv::skip_missing` to leave out such rows"
    } else if row.first && number.is_none() {
        "if this line is a header, set `Csv::header`; if labels are text, `Csv::classes`"
    } else if number.is_none() {
        "if labels are text, set `Csv::classes`"
    } else if from_one {
        "if labels start from 1, set `Csv::classes` to `Classes::Numbers { first: 1 }`"
    } else if row.csv.label == Column::Last {
        "if the label is in another column, set `Csv::label`"
    } else {
        "set `Csv::classes` if labels are written in another way"
    };
    wrong(row, at, expected, advice)
}

/// What was expected of a field, what it is, and what to do.
pub(super) fn wrong(row: &Row<'_>, at: usize, expected: &str, advice: &str) -> Error {
    let text = row.record.get(at).unwrap_or_default();
    let expected = format!("{expected} at line {}, column {}", row.line, at + 1);
    Error::file(row.path, expected, format!("{:?}; {advice}", short(text)))
}
