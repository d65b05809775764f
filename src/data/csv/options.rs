//! The kinds of headers, columns and labels.

/// What the first row of a CSV file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Header {
    /// Names of columns, if each field is one: no number and not missing (the first may be empty,
    /// as above an index). The first line of scikit-learn's tables, if it says as many columns and
    /// classes as are asked for. Otherwise a row. It is an error if it may be either: missing
    /// values only, or the numbers 0, 1, 2, … of three columns or more.
    #[default]
    Detect,
    /// There is no header: the first row is one like the others.
    None,
    /// The names of the columns.
    Names,
    /// As in the tables that scikit-learn ships: the number of rows, the number of inputs, then the
    /// names of the classes. `150,4,setosa,versicolor,virginica` for iris.
    ScikitLearn,
}

/// A column of a CSV file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Column {
    /// The last one; as that of the label, the last of those that are not left out.
    #[default]
    Last,
    /// By its number, counted from 1.
    Number(usize),
    /// By its name in the header.
    Name(String),
}

impl From<usize> for Column {
    fn from(number: usize) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// How the labels of a CSV file are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Classes {
    /// As whole numbers, of which this is that of class 0. From another one than 0 on they are kept
    /// as names.
    Numbers {
        /// The smallest: 0 by default, 1 for labels from 1 to C.
        first: u32,
    },
    /// By these names, that of class 0 first.
    Names(Vec<String>),
    /// By names that are not known before: as many as there are classes. Class 0 is the first in
    /// the order of the alphabet, or of size if all are numbers, whatever the order of the rows.
    Text,
}

impl Default for Classes {
    fn default() -> Self {
        Self::Numbers { first: 0 }
    }
}
