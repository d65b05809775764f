//! Data without its types, as the engine reads it.

use std::borrow::Cow;

use super::select_wide;
use crate::device::Real;

/// The targets of some rows: of a data set, or of a batch of it.
#[derive(Clone, Debug)]
pub enum TargetRows<'a, E: Real> {
    /// A class for each row.
    Labels(Cow<'a, [u32]>),
    /// So many numbers for each row, row-major.
    Values(Cow<'a, [E]>, usize),
}

impl<E: Real> TargetRows<'_, E> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Values(values, width) => values.len() / (*width).max(1),
        }
    }

    /// The targets of some rows, in the order given.
    pub(crate) fn select(&self, rows: &[usize]) -> TargetRows<'static, E> {
        match self {
            Self::Labels(labels) => {
                let some = rows.iter().filter_map(|&row| labels.get(row).copied());
                TargetRows::Labels(some.collect())
            }
            Self::Values(values, width) => {
                TargetRows::Values(select_wide(values, *width, rows).into(), *width)
            }
        }
    }

    /// The classes; none for numbers.
    pub(crate) fn labels(&self) -> &[u32] {
        match self {
            Self::Labels(labels) => labels,
            Self::Values(..) => &[],
        }
    }

    /// The numbers; none for classes.
    pub(crate) fn values(&self) -> &[E] {
        match self {
            Self::Labels(_) => &[],
            Self::Values(values, _) => values,
        }
    }
}

/// Inputs and targets, side by side.
#[derive(Clone, Debug)]
pub struct DataView<'a, E: Real> {
    /// Row-major, `[rows, width]`.
    pub(crate) inputs: &'a [E],
    /// X.
    pub(crate) width: usize,
    pub(crate) targets: TargetRows<'a, E>,
}

impl<E: Real> DataView<'_, E> {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.targets.len()
    }
}
