//! The values of a column in a row group, in pieces.

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
};

use super::{cell::Cell, layout::Field};
use crate::error::Error;

/// How many rows are decoded at a time.
const PIECE: usize = 4096;

/// Why a column could not be read to its end.
pub(super) enum Stopped {
    Damaged(ParquetError),
    /// There is no value in this row of the group.
    Null(usize),
    /// By who takes the values.
    Taken(Error),
}

impl From<ParquetError> for Stopped {
    fn from(err: ParquetError) -> Self {
        Self::Damaged(err)
    }
}

/// Gives each value with its row in the group to `take`; answers how many rows there were.
pub(super) fn read(
    reader: ColumnReader,
    field: &Field,
    take: &mut dyn FnMut(usize, Cell<'_>) -> Result<(), Error>,
) -> Result<usize, Stopped> {
    let kind = field.kind;
    match reader {
        ColumnReader::BoolColumnReader(r) => pieces(r, field, take, |v| Some(Cell::Bool(*v))),
        ColumnReader::FloatColumnReader(r) => pieces(r, field, take, |v| Some(Cell::Float(*v))),
        ColumnReader::DoubleColumnReader(r) => pieces(r, field, take, |v| Some(Cell::Double(*v))),
        ColumnReader::Int32ColumnReader(r) => pieces(r, field, take, |v| {
            Some(Cell::whole(kind, (*v).into(), v.cast_unsigned().into()))
        }),
        ColumnReader::Int64ColumnReader(r) => {
            pieces(r, field, take, |v| Some(Cell::whole(kind, *v, v.cast_unsigned())))
        }
        ColumnReader::ByteArrayColumnReader(r) => {
            pieces(r, field, take, |v| Cell::bytes(kind, v.data()))
        }
        ColumnReader::FixedLenByteArrayColumnReader(r) => {
            pieces(r, field, take, |v| Cell::bytes(kind, v.data()))
        }
        ColumnReader::Int96ColumnReader(_) => {
            Err(ParquetError::General("an INT96 column".into()).into())
        }
    }
}

fn pieces<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    field: &Field,
    take: &mut dyn FnMut(usize, Cell<'_>) -> Result<(), Error>,
    cell: impl Fn(&T::T) -> Option<Cell<'_>>,
) -> Result<usize, Stopped> {
    let (mut row, mut values, mut levels) = (0, Vec::new(), Vec::new());
    loop {
        values.clear();
        levels.clear();
        let (rows, found, _) = reader.read_records(PIECE, Some(&mut levels), None, &mut values)?;
        if rows == 0 {
            return Ok(row);
        }
        if found < rows || values.len() < rows {
            let gap = levels.iter().position(|level| *level < field.level);
            return Err(Stopped::Null(row + gap.unwrap_or(found)));
        }
        for value in &values[..rows] {
            let value = cell(value).ok_or_else(|| {
                ParquetError::General(format!("a number of another size in row {row} of the group"))
            })?;
            take(row, value).map_err(Stopped::Taken)?;
            row += 1;
        }
    }
}
