//! Parquet files: columns by name.

mod cell;
mod column;
mod layout;
mod pages;
mod table;

use std::path::Path;

use self::{layout::Wanted, table::Table};
use super::{ClassNames, Classes, Dataset, Labels, Values};
use crate::{device::Real, error::Error};

/// How to read a Parquet file, such as pandas, Polars, Spark and DuckDB write: which columns are
/// what, by their names. What is not said is as in a [`Csv`](super::Csv).
///
/// Inputs and targets are columns of numbers of any type, decimals and booleans among them; each is
/// rounded once to the type asked for. Columns may be packed by Snappy, Zstandard, gzip or LZ4. The
/// file is read in pieces, one column of a row group after the other.
///
/// ```no_run
/// use dfdx_noprop::{data::Parquet, prelude::*};
///
/// # fn main() -> Result<(), Error> {
/// let flowers: Dataset<4, Labels<3>> =
///     Parquet::new().label("species").leave_out(["id"]).labels("iris.parquet")?;
/// println!("{:?}", flowers.targets().names());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Parquet {
    label: Option<String>,
    targets: Vec<String>,
    leave_out: Vec<String>,
    classes: Option<Classes>,
}

impl Parquet {
    /// All columns are inputs but for the last ones, which are the target.
    pub fn new() -> Self {
        Self::default()
    }

    /// The column of the label, for [`labels`](Self::labels). By default the last of those that are
    /// not left out.
    #[must_use]
    pub fn label(self, column: impl Into<String>) -> Self {
        Self { label: Some(column.into()), ..self }
    }

    /// The columns of the targets, in order, for [`values`](Self::values). By default the last of
    /// those that are not left out.
    #[must_use]
    pub fn targets<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        Self { targets: columns.into_iter().map(Into::into).collect(), ..self }
    }

    /// Columns that are neither inputs nor targets, such as an index. By default none.
    #[must_use]
    pub fn leave_out<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        Self { leave_out: columns.into_iter().map(Into::into).collect(), ..self }
    }

    /// How labels are written: by default [`Classes::Text`] in a column of strings, plain or as a
    /// dictionary, and as whole numbers from 0 in one of numbers.
    #[must_use]
    pub fn classes(self, classes: Classes) -> Self {
        Self { classes: Some(classes), ..self }
    }

    /// `X` inputs and a label of `C` classes from each row, with the inputs in the order of the
    /// file's columns.
    ///
    /// The [names](Labels::names) of the classes come with the labels where these are strings, or
    /// where the options say them; their order is that of [`Csv`](super::Csv).
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read. [`Error::Config`] if options exclude each other.
    /// [`Error::File`] if it is no Parquet file or a damaged one, a column is not there, there are
    /// not `X` inputs, or an input column has no numbers; and with the name of the column and the
    /// row, counted from 0, if a value is null, not a finite number, or no label of the classes.
    pub fn labels<const X: usize, const C: usize, E: Real>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Dataset<X, Labels<C>, E>, Error> {
        let wanted = Wanted { inputs: X, targets: 1, classes: Some(C) };
        let table = Table::read(self, path.as_ref(), &wanted)?;
        let labels = Labels::new(table.labels)?;
        let labels = match table.names {
            Some(names) => labels.with_names(ClassNames::new(names)?),
            None => labels,
        };
        Dataset::new(table.inputs, labels)
    }

    /// `X` inputs and `Z` targets from each row, both in the type asked for.
    ///
    /// # Errors
    /// As [`labels`](Self::labels).
    pub fn values<const X: usize, const Z: usize, E: Real>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Dataset<X, Values<Z, E>, E>, Error> {
        let wanted = Wanted { inputs: X, targets: Z, classes: None };
        let table = Table::read(self, path.as_ref(), &wanted)?;
        Dataset::new(table.inputs, Values::new(table.values)?)
    }
}
