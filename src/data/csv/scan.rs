//! The rows of a table, checked for their form.

use std::path::Path;

use csv::ByteRecord;

use super::{
    super::gzip::Source,
    Csv, Header,
    field::is_missing,
    head::Head,
    layout::{Names, Role, roles},
    rows::Rows,
};
use crate::error::Error;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// X.
    pub(super) inputs: usize,
    /// Z, or 1 for a label.
    pub(super) targets: usize,
    /// C, for labels.
    pub(super) classes: Option<usize>,
}

impl Wanted {
    /// How many columns the file should have.
    pub(super) fn width(&self, csv: &Csv) -> usize {
        self.inputs.saturating_add(self.targets).saturating_add(csv.leave_out.len())
    }
}

/// One row, as wide as it should be.
pub(super) struct Row<'a> {
    pub(super) path: &'a Path,
    pub(super) csv: &'a Csv,
    pub(super) record: &'a ByteRecord,
    pub(super) roles: &'a [Role],
    pub(super) line: u64,
    /// Whether it is the first one and has been taken for no header.
    pub(super) first: bool,
}

/// What is known at the end.
#[derive(Default)]
pub(super) struct Scanned {
    /// Rows that were given.
    pub(super) rows: usize,
    /// Whether there was a header of names.
    pub(super) named: bool,
    /// The names of the classes, if the first line says them.
    pub(super) classes: Option<Vec<String>>,
}

/// Gives each row that is not left out to `take`.
pub(super) fn scan(
    csv: &Csv,
    source: Source<'_>,
    wanted: &Wanted,
    take: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<Scanned, Error> {
    let width = wanted.width(csv);
    let mut rows = Rows::open(csv, source, width)?;
    let (mut scanned, mut skipped, mut promised) = (Scanned::default(), 0, None);
    let mut more = rows.advance()?;
    let mut first = more && csv.header == Header::Detect;
    let head = if more { Head::of(csv, &rows, wanted)? } else { Head::Row };
    let line = rows.line;
    let roles = match head {
        Head::Row => roles(csv, wanted, None)?,
        Head::Names(names) => {
            check_width(csv, &rows, width, first)?;
            scanned.named = true;
            roles(csv, wanted, Some(&Names { names: &names, line, path: source.path }))?
        }
        Head::Counts(count, classes) => {
            promised = Some(count);
            scanned.classes = wanted.classes.map(|_| classes);
            roles(csv, wanted, None)?
        }
    };
    if scanned.named || promised.is_some() {
        first = false;
        more = rows.advance()?;
    }
    while more {
        check_width(csv, &rows, width, first)?;
        let Rows { record, line, .. } = &rows;
        let gap = |(field, role)| role != &Role::LeftOut && is_missing(csv, field);
        if csv.skip_missing && record.iter().zip(&roles).any(gap) {
            skipped += 1;
        } else {
            take(&Row { path: source.path, csv, record, roles: &roles, line: *line, first })?;
            scanned.rows += 1;
        }
        first = false;
        more = rows.advance()?;
    }
    check_rows(source.path, (scanned.rows, skipped), promised.map(|count| (count, line)))?;
    Ok(scanned)
}

fn check_rows(
    path: &Path,
    (rows, skipped): (usize, usize),
    promised: Option<(u64, u64)>,
) -> Result<(), Error> {
    if let Some((count, line)) = promised
        && count != (rows + skipped) as u64
    {
        let expected = format!("{count} rows, as line {line} says");
        return Err(Error::file(path, expected, rows + skipped));
    }
    if rows > 0 {
        return Ok(());
    }
    let found = match skipped {
        0 => "none".to_owned(),
        _ => {
            format!("none but {skipped} with a missing value, which `Csv::skip_missing` leaves out")
        }
    };
    Err(Error::file(path, "at least one row of numbers", found))
}

fn check_width(csv: &Csv, rows: &Rows<'_>, width: usize, first: bool) -> Result<(), Error> {
    let found = rows.record.len();
    if found == width {
        return Ok(());
    }
    let expected = format!("{width} columns at line {}", rows.line);
    let count = |mark: char| {
        let bytes = rows.record.iter().flatten();
        bytes.filter(|byte| char::from(**byte) == mark).count() + 1
    };
    let blanks = || {
        let words =
            |field: &[u8]| field.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).count();
        rows.record.iter().map(words).sum::<usize>()
    };
    let narrow = found < width;
    let marks = [';', '\t', ',', '|'].into_iter().filter(|mark| narrow && *mark != csv.delimiter);
    let advice = match marks.clone().find(|mark| count(*mark) == width) {
        Some(mark) => format!("set `Csv::delimiter` to {mark:?}"),
        None if narrow && csv.delimiter != ' ' && blanks() == width => {
            "set `Csv::delimiter` to ' '".to_owned()
        }
        None if found > width && !first => {
            "set `Csv::leave_out` to those that are not inputs".to_owned()
        }
        None if found > width => "set `Csv::leave_out` to those that are not inputs, or \
             `Csv::skip_lines` to the number of lines above the table"
            .to_owned(),
        None if first => {
            "set `Csv::skip_lines` to the number of lines above the table, if there are any"
                .to_owned()
        }
        None => return Err(Error::file(rows.path, expected, found)),
    };
    Err(Error::file(rows.path, expected, format!("{found}; {advice}")))
}
