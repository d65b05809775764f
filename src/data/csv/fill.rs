//! Rows as numbers.

use super::{
    super::gzip::{Source, make_room},
    Classes, Column, Csv, Header,
    codes::Codes,
    field::{not_a_number, number},
    layout::Role,
    scan::{Row, Wanted, scan},
    watch::{Misplaced, Spread},
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
    pub(super) fn read(csv: &Csv, source: Source<'_>, wanted: Wanted) -> Result<Self, Error> {
        let width = wanted.width(csv);
        let classes = wanted.classes.unwrap_or(0);
        let mut codes = Codes::new("Csv::classes", &csv.classes, classes)?;
        let watched = wanted.classes.is_some()
            && csv.label == Column::Last
            && csv.leave_out.is_empty()
            && csv.classes == Classes::default()
            && csv.header != Header::ScikitLearn;
        let mut misplaced = Misplaced::new(source.path, classes, watched);
        let mut spread = Spread::new(width);
        let mut table = Self::with_room(count(csv, source, &wanted), &wanted);
        let scanned = scan(csv, source, &wanted, &mut |row| {
            table.push(row, &wanted, &mut codes, &mut spread)?;
            misplaced.see(row.record);
            Ok(())
        })?;
        spread.check(source.path)?;
        if !scanned.named && scanned.classes.is_none() {
            misplaced.check(width)?;
        }
        if wanted.classes.is_some() {
            table.names =
                codes.finish("Csv::classes", source.path, &mut table.labels)?.or(scanned.classes);
        }
        Ok(table)
    }

    fn with_room(rows: usize, wanted: &Wanted) -> Self {
        let values = if wanted.classes.is_some() { 0 } else { wanted.targets };
        let labels = if wanted.classes.is_some() { rows } else { 0 };
        Self {
            inputs: Vec::with_capacity(rows.saturating_mul(wanted.inputs)),
            values: Vec::with_capacity(rows.saturating_mul(values)),
            labels: Vec::with_capacity(labels),
            names: None,
        }
    }

    fn push(
        &mut self,
        row: &Row<'_>,
        wanted: &Wanted,
        codes: &mut Codes,
        spread: &mut Spread<E>,
    ) -> Result<(), Error> {
        make_room(&mut self.inputs, wanted.inputs);
        let first = self.values.len();
        if wanted.classes.is_none() {
            make_room(&mut self.values, wanted.targets);
            self.values.resize(first + wanted.targets, E::zero());
        }
        for (at, (field, role)) in row.record.iter().zip(row.roles).enumerate() {
            if *role == Role::LeftOut {
                continue;
            }
            if wanted.classes.is_some() && *role != Role::Input {
                make_room(&mut self.labels, 1);
                self.labels.push(codes.label(row, at)?);
                continue;
            }
            let value = number::<E>(field).ok_or_else(|| not_a_number(row, at))?;
            spread.see(at, field, value);
            match role {
                Role::Target(target) => self.values[first + target] = value,
                _ => self.inputs.push(value),
            }
        }
        Ok(())
    }
}

/// How many rows there will be, up to the first that is not as it should be; 0 if they can be read
/// only once.
fn count(csv: &Csv, source: Source<'_>, wanted: &Wanted) -> usize {
    let mut rows = 0;
    if source.opens_twice() {
        let counted = scan(csv, source, wanted, &mut |_| {
            rows += 1;
            Ok(())
        });
        // What is wrong comes up again when the rows are read.
        drop(counted);
    }
    rows
}
