//! Which column is what.

use std::path::Path;

use parquet::schema::types::SchemaDescriptor;

use super::{
    Parquet,
    cell::{Kind, described},
};
use crate::error::Error;

/// What is asked for.
pub(super) struct Wanted {
    /// X.
    pub(super) inputs: usize,
    /// Z, or 1 for a label.
    pub(super) targets: usize,
    /// C, for labels.
    pub(super) classes: Option<usize>,
}

/// Where the numbers of a column go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The input of this number, from 0.
    Input(usize),
    /// The target of this number, from 0.
    Target(usize),
    Label,
}

/// A column that is read.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Its number among those of the file.
    pub(super) at: usize,
    pub(super) role: Role,
    pub(super) kind: Kind,
    /// The level of a value that is there.
    pub(super) level: i16,
}

/// The columns to read, in the order of the file.
pub(super) fn fields(
    options: &Parquet,
    wanted: &Wanted,
    schema: &SchemaDescriptor,
    path: &Path,
) -> Result<Vec<Field>, Error> {
    let names: Vec<&str> = schema.root_schema().get_fields().iter().map(|f| f.name()).collect();
    let used = used(options, wanted, &names, path)?;
    let mut fields = Vec::with_capacity(used.len());
    for (root, role) in used {
        let mut leaves =
            (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == root);
        let (Some(at), None) = (leaves.next(), leaves.next()) else {
            return Err(unsuitable(path, names[root], "several columns in one"));
        };
        let column = schema.column(at);
        let flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
        let kind = match Kind::of(&column) {
            Some(kind) if flat && (kind != Kind::Text || role == Role::Label) => kind,
            _ if !flat => return Err(unsuitable(path, names[root], "a list or a group")),
            _ => return Err(unsuitable(path, names[root], &described(&column))),
        };
        let (name, level) = (names[root].to_owned(), column.max_def_level());
        fields.push(Field { name, at, role, kind, level });
    }
    Ok(fields)
}

fn unsuitable(path: &Path, name: &str, found: &str) -> Error {
    let expected = format!("numbers in column {name:?}");
    let advice = "set `Parquet::leave_out` if it is no input, or `Parquet::label` if it is the \
                  label's";
    Error::file(path, expected, format!("{found}; {advice}"))
}

/// The columns that are read, by their number, and what for.
fn used(
    options: &Parquet,
    wanted: &Wanted,
    names: &[&str],
    path: &Path,
) -> Result<Vec<(usize, Role)>, Error> {
    let mut roles = vec![None; names.len()];
    let mut left: Vec<bool> = vec![true; names.len()];
    for name in &options.leave_out {
        take(
            &mut left,
            find("Parquet::leave_out", name, names, path)?,
            "Parquet::leave_out",
            name,
        )?;
    }
    let (setting, targets) = match wanted.classes {
        Some(_) => ("Parquet::label", options.label.as_slice()),
        None => ("Parquet::targets", &options.targets[..]),
    };
    let role = |target| if wanted.classes.is_some() { Role::Label } else { Role::Target(target) };
    if targets.is_empty() {
        let free: Vec<usize> = (0..names.len()).filter(|&at| left[at]).collect();
        let first = free.len().saturating_sub(wanted.targets);
        for (target, &at) in free[first..].iter().enumerate() {
            (roles[at], left[at]) = (Some(role(target)), false);
        }
    } else if targets.len() != wanted.targets {
        let expected = format!("{} columns, or none for the last ones", wanted.targets);
        return Err(Error::config(setting, expected, targets.len()));
    }
    for (target, name) in targets.iter().enumerate() {
        let at = find(setting, name, names, path)?;
        take(&mut left, at, setting, name)?;
        roles[at] = Some(role(target));
    }
    let inputs: Vec<usize> = (0..names.len()).filter(|&at| left[at]).collect();
    if inputs.len() != wanted.inputs || roles.iter().flatten().count() != wanted.targets {
        let expected = format!("{} columns of inputs, beside the target", wanted.inputs);
        let found = some_of(inputs.iter().map(|&at| names[at]));
        let advice = "set `Parquet::leave_out` to those that are not inputs";
        return Err(Error::file(path, expected, format!("{}: {found}; {advice}", inputs.len())));
    }
    inputs.iter().enumerate().for_each(|(input, &at)| roles[at] = Some(Role::Input(input)));
    Ok(roles.into_iter().enumerate().filter_map(|(at, role)| Some((at, role?))).collect())
}

fn take(left: &mut [bool], at: usize, setting: &'static str, name: &str) -> Result<(), Error> {
    if std::mem::replace(&mut left[at], false) {
        return Ok(());
    }
    Err(Error::config(setting, "each column for one thing only", format!("{name:?} again")))
}

fn find(setting: &str, name: &str, names: &[&str], path: &Path) -> Result<usize, Error> {
    let mut found = names.iter().enumerate().filter(|(_, known)| **known == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (first, _) => {
            let expected = format!("one column {name:?}, for `{setting}`");
            let known = || some_of(names.iter().copied());
            let found = first.map_or_else(known, |_| "more than one".to_owned());
            Err(Error::file(path, expected, found))
        }
    }
}

/// The first of these names.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = if names.len() > 16 { ", …" } else { "" };
    let some: Vec<_> = names.take(16).map(|name| format!("{name:?}")).collect();
    some.join(", ") + more
}
