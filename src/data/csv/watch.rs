//! Signs that a table is not what it was taken for.

use std::path::Path;

use super::field::{parse, short};
use crate::{device::Real, error::Error};

/// Looks for columns whose numbers differ in the file, but are all the same in `E`.
pub(super) struct Spread<E> {
    columns: Vec<Seen<E>>,
}

#[derive(Clone)]
enum Seen<E> {
    Nothing,
    /// One number only: as it is in the file, and in `E`.
    Same(f64, E),
    /// Another number in the file that is the same in `E`.
    Merged(f64, f64),
    Different,
}

impl<E: Real> Spread<E> {
    /// Of so many columns; of none where `E` is as exact as the numbers are read.
    pub(super) fn new(width: usize) -> Self {
        let watched = if size_of::<E>() < size_of::<f64>() { width } else { 0 };
        Self { columns: vec![Seen::Nothing; watched] }
    }

    pub(super) fn see(&mut self, at: usize, field: &[u8], value: E) {
        let Some(seen) = self.columns.get_mut(at) else { return };
        let exact = |field| parse::<f64>(field).unwrap_or(f64::NAN);
        match *seen {
            Seen::Different => {}
            Seen::Nothing => *seen = Seen::Same(exact(field), value),
            Seen::Same(_, first) if first != value => *seen = Seen::Different,
            Seen::Same(first, _) => {
                let other = exact(field);
                if other != first {
                    *seen = Seen::Merged(first, other);
                }
            }
            Seen::Merged(first, _) => {
                if E::of(first) != value {
                    *seen = Seen::Different;
                }
            }
        }
    }

    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        for (at, seen) in self.columns.iter().enumerate() {
            if let Seen::Merged(a, b) = seen {
                return Err(Error::file(
                    path,
                    format!("numbers that f32 can tell apart in column {}", at + 1),
                    format!(
                        "{a} and {b}, and all the others, which are one number there; \
                         read the file as f64 by `Csv::labels` or `Csv::values`, then standardise"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Looks for labels in the first column, where the last one was taken for theirs.
pub(super) struct Misplaced {
    /// What the last column has in each row so far.
    last: Option<Vec<u8>>,
    /// The classes that the first column has had.
    first: Vec<bool>,
    /// Whether there is nothing to be said any more.
    fine: bool,
    path: std::path::PathBuf,
}

impl Misplaced {
    pub(super) fn new(path: &Path, classes: usize, watched: bool) -> Self {
        let fine = !watched || classes < 2;
        let first = if fine { Vec::new() } else { vec![false; classes] };
        Self { last: None, first, fine, path: path.to_owned() }
    }

    pub(super) fn see(&mut self, record: &csv::ByteRecord) {
        let (false, Some(first), Some(last)) =
            (self.fine, record.get(0), record.get(record.len().saturating_sub(1)))
        else {
            return;
        };
        match parse::<usize>(first).and_then(|class| self.first.get_mut(class)) {
            Some(seen) => *seen = true,
            None => self.fine = true,
        }
        match &self.last {
            Some(before) if before != last => self.fine = true,
            Some(_) => {}
            None => self.last = Some(last.to_vec()),
        }
    }

    pub(super) fn check(&self, width: usize) -> Result<(), Error> {
        if self.fine || !self.first.iter().all(|seen| *seen) {
            return Ok(());
        }
        let same = short(self.last.as_deref().unwrap_or_default());
        let classes = self.first.len();
        Err(Error::file(
            &self.path,
            format!("labels of more than one class in column {width}, the last"),
            format!(
                "{same:?} in each row, and all {classes} classes in column 1; set `Csv::label` to 1 or to {width}"
            ),
        ))
    }
}
