//! Which column is what.

use std::path::Path;

use csv::ByteRecord;

use super::{Classes, Column, Csv, scan::Wanted};
use crate::error::Error;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Input,
    /// The target of this number, from 0.
    Target(usize),
    LeftOut,
}

/// A row of names, and where it is.
pub(super) struct Names<'a> {
    pub(super) names: &'a ByteRecord,
    pub(super) line: u64,
    pub(super) path: &'a Path,
}

/// The role of each column.
pub(super) fn roles(
    csv: &Csv,
    wanted: &Wanted,
    names: Option<&Names<'_>>,
) -> Result<Vec<Role>, Error> {
    let width = wanted.width(csv);
    let mut roles = vec![Role::Input; width];
    for column in &csv.leave_out {
        let at = find("Csv::leave_out", column, width.checked_sub(1), width, names)?;
        give(&mut roles, "Csv::leave_out", column, at, Role::LeftOut)?;
    }
    let (setting, columns) = match wanted.classes {
        Some(_) => ("Csv::label", std::slice::from_ref(&csv.label)),
        None => ("Csv::targets", &csv.targets[..]),
    };
    if columns.is_empty() {
        let free = roles.iter_mut().rev().filter(|role| **role == Role::Input);
        let last = free.take(wanted.targets).zip((0..wanted.targets).rev());
        last.for_each(|(role, target)| *role = Role::Target(target));
    } else if columns.len() != wanted.targets {
        let expected = format!("{} columns, or none for the last ones", wanted.targets);
        return Err(Error::config(setting, expected, columns.len()));
    }
    for (target, column) in columns.iter().enumerate() {
        let last = roles.iter().rposition(|role| *role == Role::Input);
        let at = find(setting, column, last, width, names)?;
        give(&mut roles, setting, column, at, Role::Target(target))?;
    }
    if let (Some(names), Some(_), Column::Last) = (names, wanted.classes, &csv.label) {
        check_last(csv, names, &roles)?;
    }
    Ok(roles)
}

fn give(
    roles: &mut [Role],
    setting: &'static str,
    column: &Column,
    at: usize,
    role: Role,
) -> Result<(), Error> {
    match roles.get_mut(at) {
        Some(free @ Role::Input) => *free = role,
        _ => {
            let expected = "each column for one thing only";
            return Err(Error::config(setting, expected, format!("{column:?} again")));
        }
    }
    Ok(())
}

/// Where a column is, counted from 0.
fn find(
    setting: &'static str,
    column: &Column,
    last: Option<usize>,
    width: usize,
    names: Option<&Names<'_>>,
) -> Result<usize, Error> {
    let numbers = || format!("a column from 1 to {width}");
    match column {
        Column::Last => last.ok_or_else(|| Error::config(setting, numbers(), "none that is left")),
        Column::Number(number) if (1..=width).contains(number) => Ok(number - 1),
        Column::Number(number) => Err(Error::config(setting, numbers(), number)),
        Column::Name(name) => {
            let Some(Names { names, line, path }) = names else {
                let expected = "a column by its number, in a file without a header of names";
                return Err(Error::config(setting, expected, format!("{name:?}")));
            };
            let mut found = names.iter().enumerate().filter(|(_, known)| *known == name.as_bytes());
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (first, _) => {
                    let expected = format!("one column {name:?} at line {line}, for `{setting}`");
                    let known = || some_of(names.iter());
                    let found = first.map_or_else(known, |_| "more than one".to_owned());
                    Err(Error::file(path, expected, found))
                }
            }
        }
    }
}

/// A header that has its label elsewhere is not read as if it had it in the last column.
fn check_last(csv: &Csv, header: &Names<'_>, roles: &[Role]) -> Result<(), Error> {
    let says_label = |name: &[u8]| {
        [&b"label"[..], b"labels", b"class", b"target"].iter().any(|l| name.eq_ignore_ascii_case(l))
    };
    let columns = || header.names.iter().zip(roles).enumerate();
    let label = columns().find(|(_, (_, role))| **role == Role::Target(0));
    if label.is_some_and(|(_, (name, _))| says_label(name)) || csv.classes == Classes::Text {
        return Ok(());
    }
    let other = columns().find(|(_, (name, role))| **role == Role::Input && says_label(name));
    let (Some((at, (name, _))), Some((last, _))) = (other, label) else { return Ok(()) };
    let name = String::from_utf8_lossy(name);
    Err(Error::file(
        header.path,
        format!("the label in column {}, as none is set", last + 1),
        format!(
            "{name:?} at line {}, column {}; set `Csv::label` to one of the two",
            header.line,
            at + 1
        ),
    ))
}

/// The first of these texts.
pub(super) fn some_of<'a>(texts: impl ExactSizeIterator<Item = &'a [u8]>) -> String {
    let more = if texts.len() > 8 { ", …" } else { "" };
    let some: Vec<_> =
        texts.take(8).map(|text| format!("{:?}", super::field::short(text))).collect();
    some.join(", ") + more
}
