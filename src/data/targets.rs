//! What a row is to be mapped to: a class, or numbers.

use std::sync::Arc;

use super::{ClassNames, dataset};
use crate::{device::Real, error::Error};

/// The targets of a data set, one for each row.
pub trait Targets: Clone + Send + Sync + 'static {
    /// The same targets in another precision: labels are the same in each.
    type In<E: Real>: Targets;

    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets of some rows, in the order given. Rows past the end are left out.
    fn select(&self, rows: &[usize]) -> Self;

    /// The class of each row; empty for numbers.
    fn classes(&self) -> &[u32] {
        &[]
    }

    /// The targets in another precision.
    ///
    /// # Errors
    /// [`Error::Argument`] if a number is not finite in it.
    fn try_to_dtype<E: Real>(&self) -> Result<Self::In<E>, Error>;
}

/// One of `C` classes for each row, and what the classes are called, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels<const C: usize> {
    labels: Vec<u32>,
    names: Option<Arc<ClassNames<C>>>,
}

impl<const C: usize> Labels<C> {
    /// Labels in `0..C`.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first row whose label is out of range.
    pub fn new(labels: Vec<u32>) -> Result<Self, Error> {
        match labels.iter().position(|&label| label as usize >= C) {
            Some(row) => Err(Error::argument(
                "Labels::new",
                format!("labels from 0 to {}", C.saturating_sub(1)),
                format!("{} at row {row}", labels[row]),
            )),
            None => Ok(Self { labels, names: None }),
        }
    }

    /// The same labels, with names for the classes.
    pub fn with_names(self, names: ClassNames<C>) -> Self {
        Self { names: Some(Arc::new(names)), ..self }
    }

    /// What the classes are called, if that is known: from [`with_names`](Self::with_names), or
    /// from a [CSV file](super::Csv) that says so.
    pub fn names(&self) -> Option<&ClassNames<C>> {
        self.names.as_deref()
    }

    /// The labels, one for each row.
    pub fn as_slice(&self) -> &[u32] {
        &self.labels
    }

    /// How many rows each of the `C` classes has.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; C];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }
}

impl<const C: usize> Targets for Labels<C> {
    type In<E: Real> = Self;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn select(&self, rows: &[usize]) -> Self {
        let labels = rows.iter().filter_map(|&row| self.labels.get(row).copied()).collect();
        Self { labels, names: self.names.clone() }
    }

    fn classes(&self) -> &[u32] {
        &self.labels
    }

    fn try_to_dtype<E: Real>(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

/// `Z` numbers for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Values<const Z: usize, E = f32>(pub(super) Vec<E>);

impl<const Z: usize, E: Real> Values<Z, E> {
    /// Row-major values, `[rows, Z]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the length is not a multiple of `Z`, or a value is not finite.
    pub fn new(values: Vec<E>) -> Result<Self, Error> {
        dataset::check_rows::<Z, E>("Values::new", &values)?;
        Ok(Self(values))
    }

    /// The values, row-major, `[rows, Z]`.
    pub fn as_slice(&self) -> &[E] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [E] {
        &mut self.0
    }
}

impl<const Z: usize, E: Real> Targets for Values<Z, E> {
    type In<E2: Real> = Values<Z, E2>;

    fn len(&self) -> usize {
        self.0.len() / Z.max(1)
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self(dataset::select_rows::<Z, E>(&self.0, rows))
    }

    fn try_to_dtype<E2: Real>(&self) -> Result<Values<Z, E2>, Error> {
        Ok(Values(dataset::converted("Values::try_to_dtype", &self.0, Z)?))
    }
}
