//! Row groups as numbers.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use parquet::{
    column::reader::get_column_reader,
    errors::ParquetError,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
};

use super::{
    super::{
        csv::{Classes, Codes, NoLabel, Why},
        gzip::check_regular,
    },
    Parquet,
    cell::{Cell, Kind},
    column::{self, Stopped},
    layout::{Field, Role, Wanted, fields},
    pages::CheckedPages,
};
use crate::{device::Real, error::Error};

/// The numbers of a table.
pub(super) struct Table<E> {
    /// Row-major, `[rows, X]`.
    pub(super) inputs: Vec<E>,
    /// Row-major, `[rows, Z]`; empty for labels.
    pub(super) values: Vec<E>,
    /// Empty for values.
    pub(super) labels: Vec<u32>,
    /// The names of the classes, if they are known.
    pub(super) names: Option<Vec<String>>,
}

impl<E: Real> Table<E> {
    /// The crate `parquet` panics on some damaged files, which is an error here.
    pub(super) fn read(options: &Parquet, path: &Path, wanted: &Wanted) -> Result<Self, Error> {
        let read = AssertUnwindSafe(|| Self::read_intact(options, path, wanted));
        catch_unwind(read).unwrap_or_else(|_| {
            let found = "one that the crate `parquet` does not get through";
            Err(Error::file(path, "an intact Parquet file", found))
        })
    }

    fn read_intact(options: &Parquet, path: &Path, wanted: &Wanted) -> Result<Self, Error> {
        check_regular(path)?;
        let file = File::open(path).map_err(|err| Error::io(path, "read", err))?;
        let length = file.metadata().map_err(|err| Error::io(path, "read", err))?.len();
        let file = SerializedFileReader::new(file).map_err(|err| damaged(path, err))?;
        let fields = fields(options, wanted, file.metadata().file_metadata().schema_descr(), path)?;
        check_chunks(&file, &fields, length, path)?;
        let rows = count(&file, &fields, path)?;
        let of_labels = fields.iter().find(|field| field.role == Role::Label);
        let text = of_labels.is_some_and(|field| field.kind == Kind::Text);
        let classes = options.classes.clone();
        let classes = classes.unwrap_or(if text { Classes::Text } else { Classes::default() });
        let mut codes = Codes::new(SETTING, &classes, wanted.classes.unwrap_or(0))?;
        let mut table = Self::zeros(rows.iter().sum(), wanted);
        let mut first = 0;
        for (group, rows) in rows.into_iter().enumerate() {
            let reader = file.get_row_group(group).map_err(|err| damaged(path, err))?;
            for field in &fields {
                let place = Place { path, field, first };
                let found = each(&*reader, &place, &mut |row, cell| {
                    table.put(&place, wanted, &mut codes, row, cell)
                })?;
                if found != rows {
                    let expected = format!("{rows} rows in column {:?}", field.name);
                    return Err(Error::file(path, format!("{expected}, group {group}"), found));
                }
            }
            first += rows;
        }
        if wanted.classes.is_some() {
            table.names = codes.finish(SETTING, path, &mut table.labels)?;
        }
        Ok(table)
    }

    fn zeros(rows: usize, wanted: &Wanted) -> Self {
        let labels = wanted.classes.is_some();
        Self {
            inputs: vec![E::zero(); rows * wanted.inputs],
            values: vec![E::zero(); if labels { 0 } else { rows * wanted.targets }],
            labels: vec![0; if labels { rows } else { 0 }],
            names: None,
        }
    }

    /// Takes the value of a row of the group. There is room for as many rows as were counted.
    fn put(
        &mut self,
        place: &Place<'_>,
        wanted: &Wanted,
        codes: &mut Codes,
        row: usize,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        let all = place.first + row;
        let slot = match place.field.role {
            Role::Label => {
                let label = codes.of(&cell.text(), &|_| false);
                let label = label.map_err(|err| place.no_label(row, cell, err))?;
                *self.labels.get_mut(all).ok_or_else(|| place.too_many(row))? = label;
                return Ok(());
            }
            Role::Input(input) => self.inputs.get_mut(all * wanted.inputs + input),
            Role::Target(target) => self.values.get_mut(all * wanted.targets + target),
        };
        *slot.ok_or_else(|| place.too_many(row))? = cell.number().ok_or_else(|| {
            let expected = format!("numbers that are finite as {}", std::any::type_name::<E>());
            place.error(row, &expected, cell)
        })?;
        Ok(())
    }
}

const SETTING: &str = "Parquet::classes";

/// A column of a row group.
struct Place<'a> {
    path: &'a Path,
    field: &'a Field,
    /// How many rows there are before.
    first: usize,
}

impl Place<'_> {
    fn error(&self, row: usize, expected: &str, found: impl ToString) -> Error {
        let (name, row) = (&self.field.name, self.first + row);
        let expected = format!("{expected} in column {name:?}, row {row}");
        Error::file(self.path, expected, found)
    }

    fn too_many(&self, row: usize) -> Error {
        self.error(row, "no further row", "one")
    }

    fn no_label(&self, row: usize, cell: Cell<'_>, NoLabel { expected, why }: NoLabel) -> Error {
        let advice = match why {
            Why::Further => "a further one: is it the label's column, and as many classes?",
            Why::FromOne => {
                "if labels start from 1, set `Parquet::classes` to `Classes::Numbers { first: 1 }`"
            }
            Why::Other => "set `Parquet::classes` if labels are written in another way",
        };
        self.error(row, &expected, format!("{cell}; {advice}"))
    }
}

/// Gives each value of a column to `take`; answers how many rows there were.
fn each(
    group: &dyn RowGroupReader,
    place: &Place<'_>,
    take: &mut dyn FnMut(usize, Cell<'_>) -> Result<(), Error>,
) -> Result<usize, Error> {
    let pages = group.get_column_page_reader(place.field.at);
    let pages = CheckedPages::new(pages.map_err(|err| damaged(place.path, err))?);
    let column = group.metadata().schema_descr().column(place.field.at);
    column::read(get_column_reader(column, Box::new(pages)), place.field, take).map_err(|stopped| {
        match stopped {
            Stopped::Damaged(err) => damaged(place.path, err),
            Stopped::Null(row) => {
                let advice = "null; drop such rows, or fill them, before the file is written";
                place.error(row, "a value", advice)
            }
            Stopped::Taken(err) => err,
        }
    })
}

/// How many rows each group has. The file only claims it, so they are counted in one column before
/// there is memory for them.
fn count(
    file: &SerializedFileReader<File>,
    fields: &[Field],
    path: &Path,
) -> Result<Vec<usize>, Error> {
    let Some(field) = fields.first() else { return Ok(Vec::new()) };
    let mut first = 0;
    let mut groups = Vec::with_capacity(file.num_row_groups());
    for group in 0..file.num_row_groups() {
        let reader = file.get_row_group(group).map_err(|err| damaged(path, err))?;
        let rows = each(&*reader, &Place { path, field, first }, &mut |_, _| Ok(()))?;
        let claimed = reader.metadata().num_rows();
        if i64::try_from(rows) != Ok(claimed) {
            let expected = format!("{claimed} rows in group {group}, as the file says");
            return Err(Error::file(path, expected, rows));
        }
        first += rows;
        groups.push(rows);
    }
    if first == 0 {
        return Err(Error::file(path, "at least one row", "none"));
    }
    Ok(groups)
}

/// That the columns lie within the file: the reader takes it for granted.
fn check_chunks(
    file: &SerializedFileReader<File>,
    fields: &[Field],
    length: u64,
    path: &Path,
) -> Result<(), Error> {
    for (group, metadata) in file.metadata().row_groups().iter().enumerate() {
        for field in fields {
            let within = metadata.columns().get(field.at).is_some_and(|chunk| {
                let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let range =
                    u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
                range
                    .and_then(|(start, len)| start.checked_add(len))
                    .is_some_and(|end| end <= length)
            });
            if !within {
                let expected = format!("column {:?} of group {group} in the file", field.name);
                return Err(Error::file(path, expected, "a place outside of it"));
            }
        }
    }
    Ok(())
}

fn damaged(path: &Path, err: ParquetError) -> Error {
    match err {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(err) if err.raw_os_error().is_some() => Error::io(path, "read", *err),
            Ok(err) => Error::file(path, "an intact Parquet file", err),
            Err(err) => Error::file(path, "an intact Parquet file", err),
        },
        err => Error::file(path, "an intact Parquet file", err),
    }
}
