//! What a row is to be mapped to: a class, or numbers.

use crate::error::Error;

/// The targets of a data set, one for each row.
pub trait Targets: Clone + Send + Sync + 'static {
    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets of some rows, in the order given. Rows past the end are left out.
    fn select(&self, rows: &[usize]) -> Self;
}

/// One of `C` classes for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels<const C: usize>(Vec<u32>);

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
            None => Ok(Self(labels)),
        }
    }

    /// The labels, one for each row.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// How many rows each class has.
    pub fn counts(&self) -> [usize; C] {
        let mut counts = [0; C];
        for &label in &self.0 {
            counts[label as usize] += 1;
        }
        counts
    }
}

impl<const C: usize> Targets for Labels<C> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().filter_map(|&row| self.0.get(row).copied()).collect())
    }
}

/// `Z` numbers for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Values<const Z: usize, E = f32>(Vec<E>);

impl<const Z: usize, E: crate::device::Real> Values<Z, E> {
    /// Row-major values, `[rows, Z]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the length is not a multiple of `Z`, or a value is not finite.
    pub fn new(values: Vec<E>) -> Result<Self, Error> {
        super::dataset::check_rows::<Z, E>("Values::new", &values)?;
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

impl<const Z: usize, E: crate::device::Real> Targets for Values<Z, E> {
    fn len(&self) -> usize {
        self.0.len() / Z.max(1)
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self(super::dataset::select_rows::<Z, E>(&self.0, rows))
    }
}
