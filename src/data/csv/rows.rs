//! One row after the other.

use std::{
    io::{Chain, Read},
    path::Path,
};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Terminator, Trim};

use super::{
    super::gzip::{self, Source},
    Csv,
    clean::{Clean, Flaw},
};
use crate::error::Error;

pub(super) struct Rows<'a> {
    pub(super) path: &'a Path,
    reader: Reader<Chain<Clean, &'static [u8]>>,
    pub(super) record: ByteRecord,
    /// That of the record, counted from 1.
    pub(super) line: u64,
}

impl<'a> Rows<'a> {
    /// Of tables with `width` columns.
    pub(super) fn open(csv: &Csv, source: Source<'a>, width: usize) -> Result<Self, Error> {
        let delimiter = match u8::try_from(csv.delimiter) {
            Ok(byte) if byte.is_ascii_punctuation() && !b"\"+-._".contains(&byte) => byte,
            Ok(byte @ (b' ' | b'\t')) => byte,
            _ => {
                let expected = "a tab, a space, or an ASCII mark that is not part of a number";
                return Err(Error::config(
                    "Csv::delimiter",
                    expected,
                    format!("{:?}", csv.delimiter),
                ));
            }
        };
        // More than 32 bytes a number, and room for text in some columns.
        let limit = width.saturating_mul(32).saturating_add(1 << 18);
        let clean = Clean::new(source.open()?, delimiter, csv.skip_lines, limit)
            .map_err(|err| read_error(source.path, err))?;
        // Each row ends with a newline: then `csv` knows on which line it is, blank lines or not.
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(delimiter)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(clean.chain(&b"\n"[..]));
        Ok(Self { path: source.path, reader, record: ByteRecord::new(), line: 0 })
    }

    /// Whether there was another row that is not blank.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        while self
            .reader
            .read_byte_record(&mut self.record)
            .map_err(|err| csv_error(self.path, err))?
        {
            self.line = self.reader.position().line().saturating_sub(1);
            if self.record.len() > 1 || self.record.iter().any(|field| !field.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn csv_error(path: &Path, err: csv::Error) -> Error {
    match err.into_kind() {
        ErrorKind::Io(err) => read_error(path, err),
        kind => Error::file(path, "rows of numbers", format!("{kind:?}")),
    }
}

fn read_error(path: &Path, err: std::io::Error) -> Error {
    match err.downcast::<Flaw>() {
        Err(err) => gzip::read_error(path, err),
        Ok(Flaw::Long { line, limit }) => Error::file(
            path,
            format!("rows of up to {limit} bytes"),
            format!(
                "a longer one at line {line}; if it has a quote in it, look whether that is closed"
            ),
        ),
        Ok(Flaw::Quote { line }) => Error::file(
            path,
            format!("a second quote for each one in the row that starts at line {line}"),
            "the end of the file",
        ),
        Ok(Flaw::Wide) => {
            Error::file(path, "text in UTF-8", "UTF-16; save it as `CSV UTF-8` instead")
        }
    }
}
