//! What an array is: the type of its numbers, its shape, its order.

use std::io::Read;

use npyz::{DType, NpyHeader, Order, TypeChar};

use super::place::Place;
use crate::error::Error;

/// How long a header may be: that of an array of 32 axes has less than 1,000 bytes.
const LONGEST: usize = 1 << 16;

/// An array of rows of numbers.
pub(super) struct Shape {
    pub(super) header: NpyHeader,
    /// How many bytes the header has.
    pub(super) before: u64,
    /// Type and bytes of a number.
    pub(super) kind: (TypeChar, u64),
    pub(super) rows: usize,
    /// The column of each number of a row, in the order of the file.
    pub(super) columns: Vec<usize>,
}

impl Shape {
    /// Rows of `width` numbers.
    pub(super) fn numbers(place: &Place<'_>, width: usize) -> Result<Self, Error> {
        let expected = "floats of 32 or 64 bits, integers or bools; `astype` converts others";
        let kinds = [TypeChar::Float, TypeChar::Int, TypeChar::Uint, TypeChar::Bool];
        Self::read(place, width, &kinds, expected)
    }

    /// A whole number for each row.
    pub(super) fn labels(place: &Place<'_>) -> Result<Self, Error> {
        let expected = "labels that are integers or bools; `astype` converts others";
        Self::read(place, 1, &[TypeChar::Int, TypeChar::Uint, TypeChar::Bool], expected)
    }

    fn read(
        place: &Place<'_>,
        width: usize,
        kinds: &[TypeChar],
        expected: &str,
    ) -> Result<Self, Error> {
        let (header, before) = place.open(|bytes| header(place, bytes))?;
        let dtype = header.dtype();
        let kind = match &dtype {
            DType::Plain(kind) => (kind.type_char(), kind.size_field()),
            _ => return Err(place.error(expected, format!("numbers of type {}", dtype.descr()))),
        };
        let half_or_longer = kind.0 == TypeChar::Float && !matches!(kind.1, 4 | 8);
        if !kinds.contains(&kind.0) || half_or_longer {
            return Err(place.error(expected, format!("numbers of type {}", dtype.descr())));
        }
        let shape = header.shape();
        let (rows, axes) = shape.split_first().unwrap_or((&0, &[]));
        if axes.len() > 3 || shape.is_empty() || axes.iter().product::<u64>() != width as u64 {
            let expected = format!("an array of rows of {width} numbers, [rows, …]");
            return Err(place.error(expected, format!("one of shape {shape:?}")));
        }
        if *rows == 0 {
            return Err(place.error("at least one row", "none"));
        }
        let bytes = before + header.len() * kind.1;
        let found = place.length(bytes + 1)?;
        if found != bytes {
            let found = if found > bytes { "more".to_owned() } else { found.to_string() };
            return Err(place.error(format!("{bytes} bytes, as its header says"), found));
        }
        let rows = usize::try_from(*rows).map_err(|_| place.error("rows that fit", rows))?;
        let columns = columns(axes, header.order());
        Ok(Self { kind, rows, columns, header, before })
    }
}

/// The header, and how many bytes it has.
fn header(place: &Place<'_>, bytes: &mut dyn Read) -> Result<(NpyHeader, u64), Error> {
    let mut text = vec![0; 8];
    let failed = |err: std::io::Error| match err.kind() {
        std::io::ErrorKind::UnexpectedEof => place.error("a header of .npy", "fewer bytes"),
        _ => place.read_error(err),
    };
    bytes.read_exact(&mut text).map_err(failed)?;
    if !text.starts_with(b"\x93NUMPY") {
        return Err(place.error("a .npy file", "one that does not start like one"));
    }
    let mut length = [0; 4];
    let digits = if text[6] == 1 { 2 } else { 4 };
    bytes.read_exact(&mut length[..digits]).map_err(failed)?;
    text.extend_from_slice(&length[..digits]);
    let (start, length) = (text.len(), u32::from_le_bytes(length) as usize);
    if length >= LONGEST {
        return Err(place.error(format!("a header of less than {LONGEST} bytes"), length));
    }
    text.resize(start + length, 0);
    bytes.read_exact(&mut text[start..]).map_err(failed)?;
    check_numbers(place, &text[start..])?;
    let header = NpyHeader::from_reader(&text[..]);
    let header = header.map_err(|err| place.error("a header of .npy", err))?;
    Ok((header, text.len() as u64))
}

/// That what `npyz` multiplies without a check has less than 64 bits, and that it need not go deep.
fn check_numbers(place: &Place<'_>, text: &[u8]) -> Result<(), Error> {
    let opened = text.iter().filter(|byte| b"([{".contains(byte)).count();
    if opened > 64 {
        return Err(place.error("a header of .npy", format!("{opened} opening brackets in it")));
    }
    let mut product = 1_u64;
    let mut rest = text;
    while let Some(start) = rest.iter().position(u8::is_ascii_digit) {
        rest = &rest[start..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let number: Option<u64> = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
        let plain = !after.first().is_some_and(|c| c.is_ascii_alphabetic() || b"_.".contains(c));
        let larger = number.filter(|_| plain).and_then(|n| product.checked_mul(n.max(1)));
        product = match larger {
            Some(larger) => larger,
            None => {
                let found = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
                let expected = "a size of less than 2^64 bytes";
                return Err(place.error(expected, format!("the header {found:?}")));
            }
        };
        rest = after;
    }
    Ok(())
}

/// The column of each number of a row, in the order of the file: in Fortran's the first of these
/// axes is the fastest.
fn columns(axes: &[u64], order: Order) -> Vec<usize> {
    let width = axes.iter().product::<u64>() as usize;
    if order == Order::C {
        return (0..width).collect();
    }
    let column = |mut at: usize| {
        axes.iter().fold(0, |column, &axis| {
            let index = at % axis as usize;
            at /= axis as usize;
            column * axis as usize + index
        })
    };
    (0..width).map(column).collect()
}
