//! The first row: a header, or a row like the others.

use csv::ByteRecord;

use super::{
    Classes, Csv, Header,
    field::{is_missing, parse},
    rows::Rows,
    scan::Wanted,
};
use crate::error::Error;

/// What the first row has turned out to be.
pub(super) enum Head {
    /// A row like the others.
    Row,
    /// The names of the columns.
    Names(ByteRecord),
    /// So many rows, and the names of the classes.
    Counts(u64, Vec<String>),
}

impl Head {
    pub(super) fn of(csv: &Csv, rows: &Rows<'_>, wanted: &Wanted) -> Result<Self, Error> {
        match csv.header {
            Header::None => Ok(Self::Row),
            Header::Names => Ok(Self::Names(rows.record.clone())),
            Header::ScikitLearn => counts(csv, rows, wanted),
            Header::Detect => detect(csv, rows, wanted),
        }
    }
}

fn detect(csv: &Csv, rows: &Rows<'_>, wanted: &Wanted) -> Result<Head, Error> {
    let record = &rows.record;
    let number = |field: &[u8]| parse::<f64>(field).is_some() && !is_missing(csv, field);
    let whole = |at| record.get(at).and_then(parse::<u64>);
    let columns = wanted.width(csv).saturating_sub(wanted.targets);
    let names = record.iter().skip(2).filter(|field| !number(field) && !is_missing(csv, field));
    if wanted.classes.is_some()
        && record.len() >= 4
        && whole(0).is_some()
        && whole(1) == Some(columns as u64)
        && names.count() == record.len() - 2
    {
        return counts(csv, rows, wanted);
    }
    if record.len() >= 3 && record.iter().enumerate().all(|(i, f)| f == i.to_string().as_bytes()) {
        return Err(unclear(rows, "a header or a row of numbers"));
    }
    if record.iter().any(number) {
        return Ok(Head::Row);
    }
    let mut missing = record.iter().enumerate().filter(|(_, field)| is_missing(csv, field));
    match missing.next() {
        None => Ok(Head::Names(record.clone())),
        Some((0, b"")) if record.len() > 1 && missing.next().is_none() => {
            Ok(Head::Names(record.clone()))
        }
        Some(_) => Err(unclear(rows, "a header or a row with missing values")),
    }
}

fn unclear(rows: &Rows<'_>, what: &str) -> Error {
    let found = super::layout::some_of(rows.record.iter());
    let advice = "set `Csv::header` to `Header::Names` or to `Header::None`";
    let expected = format!("to know whether line {} is {what}", rows.line);
    Error::file(rows.path, expected, format!("{found}; {advice}"))
}

/// `150,4,setosa,versicolor,virginica`
fn counts(csv: &Csv, rows: &Rows<'_>, wanted: &Wanted) -> Result<Head, Error> {
    let columns = wanted.width(csv).saturating_sub(wanted.targets);
    let Rows { record, line, path, .. } = rows;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let whole = |at| record.get(at).and_then(parse::<u64>);
    let names: Vec<String> = record.iter().skip(2).map(text).collect();
    let (Some(promised), Some(found)) = (whole(0), whole(1)) else {
        let expected = format!("the number of rows, that of inputs and names at line {line}");
        return Err(Error::file(path, expected, super::layout::some_of(record.iter())));
    };
    if found != columns as u64 {
        return Err(Error::file(
            path,
            format!("{columns} columns of inputs at line {line}"),
            found,
        ));
    }
    if wanted.classes.is_some() && csv.classes == Classes::Text {
        let expected =
            format!("numbers or names, since line {line} of {} says the names", path.display());
        return Err(Error::config("Csv::classes", expected, "Classes::Text"));
    }
    match wanted.classes {
        Some(classes) if classes != names.len() => {
            let expected = format!("the names of {classes} classes at line {line}");
            Err(Error::file(path, expected, names.len()))
        }
        _ => Ok(Head::Counts(promised, names)),
    }
}
