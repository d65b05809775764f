//! Rows of numbers, separated by commas or otherwise.

mod clean;
mod codes;
mod field;
mod fill;
mod head;
mod layout;
mod options;
mod rows;
mod scan;
mod watch;

use std::path::Path;

#[cfg(feature = "parquet")]
pub(super) use codes::{Codes, NoLabel, Why};
#[cfg(feature = "parquet")]
pub(super) use field::{number, short};
pub use options::{Classes, Column, Header};

use self::{fill::Table, scan::Wanted};
use super::{ClassNames, Dataset, Labels, Values, gzip::Source};
use crate::{device::Real, error::Error};

/// How to read a CSV file: the options, each with the default that suits most files.
///
/// Files may be gzipped, and start with a byte-order mark. Space around a field, quotes around it,
/// blank lines, and how lines end do not matter. Numbers are as Rust reads them (`3`, `-0.5`,
/// `1e-3`), each rounded once to the type asked for. What is unclear is an error that names the
/// line, the column and the option to set.
///
/// ```
/// use dfdx_noprop::{data::{Classes, Column, Csv}, prelude::*};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("flowers.csv");
/// # std::fs::write(&path, "species;petal;sepal\nsetosa;1.4;5.1\nversicolor;4.7;7\n").unwrap();
/// // species;petal;sepal
/// // setosa;1.4;5.1
/// // versicolor;4.7;7.0
/// let (label, classes) = ("species".into(), Classes::Text);
/// let csv = Csv { delimiter: ';', label, classes, ..Csv::default() };
/// let flowers: Dataset<2, Labels<2>> = csv.labels(path)?;
/// let names = flowers.targets().names().unwrap();
/// assert_eq!(names.as_slice(), ["setosa", "versicolor"]);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Csv {
    /// Whether the first row is a header, and of which kind. By default it is detected.
    pub header: Header,
    /// The column of the label, for [`labels`](Self::labels). By default the last.
    pub label: Column,
    /// The columns of the targets, in order, for [`values`](Self::values). By default the last
    /// ones.
    pub targets: Vec<Column>,
    /// Columns that are neither inputs nor targets, such as an index. By default none.
    pub leave_out: Vec<Column>,
    /// What separates two fields: one ASCII character, `,` by default. With `' '` any number of
    /// spaces and tabs does.
    pub delimiter: char,
    /// How many lines there are above the table. By default none.
    pub skip_lines: usize,
    /// How a missing value is marked: by default nothing, `?`, `NA`, `N/A`, `NaN`, `nan`, `null` or
    /// `NULL`.
    pub missing: Vec<String>,
    /// Whether rows with a missing value are left out. By default they are an error.
    pub skip_missing: bool,
    /// How labels are written: by default as whole numbers from 0.
    pub classes: Classes,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            header: Header::default(),
            label: Column::default(),
            targets: Vec::new(),
            leave_out: Vec::new(),
            delimiter: ',',
            skip_lines: 0,
            missing: ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL"].map(String::from).into(),
            skip_missing: false,
            classes: Classes::default(),
        }
    }
}

impl Csv {
    /// `X` inputs and a label of `C` classes from each row, with the inputs in the order of the
    /// file.
    ///
    /// The [names](Labels::names) of the classes come with the labels where the file or the options
    /// say them.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read. [`Error::Config`] if options are out of range or
    /// exclude each other. [`Error::File`], with line and column counted from 1, if a row has not
    /// `X + 1` columns and those that are left out, an input is missing or not a finite number, a
    /// label is not one of the classes, there are no rows, or it is unclear whether the first row
    /// is a header, or which column has the label.
    pub fn labels<const X: usize, const C: usize, E: Real>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Dataset<X, Labels<C>, E>, Error> {
        self.read_labels(Source::file(path.as_ref()))
    }

    /// `X` inputs and `Z` targets from each row, both in the type asked for.
    ///
    /// ```
    /// use dfdx_noprop::{data::{Csv, Values}, prelude::*};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("times.csv");
    /// # std::fs::write(&path, "1700000000,1\n1700000060,2\n").unwrap();
    /// // Seconds since 1970, which f32 cannot tell apart.
    /// let data: Dataset<1, Values<1, f64>, f64> = Csv::default().values(path)?;
    /// assert_eq!(data.inputs(), [1_700_000_000.0, 1_700_000_060.0]);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`labels`](Self::labels).
    pub fn values<const X: usize, const Z: usize, E: Real>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Dataset<X, Values<Z, E>, E>, Error> {
        let wanted = Wanted { inputs: X, targets: Z, classes: None };
        let table = Table::read(self, Source::file(path.as_ref()), wanted)?;
        Dataset::new(table.inputs, Values::new(table.values)?)
    }

    pub(super) fn read_labels<const X: usize, const C: usize, E: Real>(
        &self,
        source: Source<'_>,
    ) -> Result<Dataset<X, Labels<C>, E>, Error> {
        let wanted = Wanted { inputs: X, targets: 1, classes: Some(C) };
        let table = Table::read(self, source, wanted)?;
        let labels = Labels::new(table.labels)?;
        let labels = match table.names {
            Some(names) => labels.with_names(ClassNames::new(names)?),
            None => labels,
        };
        Dataset::new(table.inputs, labels)
    }
}

/// `X` inputs, then a label in `0..C`, in each row of a CSV file, plain or gzipped, with or without
/// a header, or of the kind that scikit-learn ships: [`Csv::labels`] with the options' defaults, in
/// `f32`.
///
/// A label may be written `3` or `3.0`.
///
/// # Errors
/// As [`Csv::labels`].
pub fn csv_labels<const X: usize, const C: usize>(
    path: impl AsRef<Path>,
) -> Result<Dataset<X, Labels<C>>, Error> {
    Csv::default().labels(path)
}

/// `X` inputs, then `Z` targets, in each row of a CSV file, plain or gzipped, with or without a
/// header: [`Csv::values`] with the options' defaults, in `f32`.
///
/// # Errors
/// As [`Csv::labels`].
pub fn csv_values<const X: usize, const Z: usize>(
    path: impl AsRef<Path>,
) -> Result<Dataset<X, Values<Z>>, Error> {
    Csv::default().values(path)
}
