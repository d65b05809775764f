//! Labels as they are written, and as numbers.

use std::collections::HashMap;

use super::{
    super::class_names::double,
    Classes,
    field::{not_a_label, parse, wrong},
    scan::Row,
};
use crate::error::Error;

/// How labels become numbers.
pub(in crate::data) enum Codes {
    /// Less the first one.
    Numbers { first: u32, classes: usize },
    /// By name.
    Known { by_name: HashMap<Vec<u8>, u32>, names: Vec<String> },
    /// By names that are collected, in the order in which they come.
    Found { by_name: HashMap<Vec<u8>, u32>, classes: usize },
}

/// What is wrong with a text as a label.
pub(in crate::data) struct NoLabel {
    /// What it should be.
    pub(in crate::data) expected: String,
    pub(in crate::data) why: Why,
}

/// Why a text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Why {
    Other,
    /// It is the number after the last, as if labels were counted from 1.
    FromOne,
    /// There are as many classes already.
    Further,
}

impl NoLabel {
    fn new(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), why: Why::Other }
    }
}

impl Codes {
    /// `setting` is that of `kind`.
    pub(in crate::data) fn new(
        setting: &'static str,
        kind: &Classes,
        classes: usize,
    ) -> Result<Self, Error> {
        Ok(match kind {
            Classes::Numbers { first } => Self::Numbers { first: *first, classes },
            Classes::Text => Self::Found { by_name: HashMap::new(), classes },
            Classes::Names(names) => {
                let expected = || format!("{classes} names, each another one");
                if names.len() != classes {
                    return Err(Error::config(setting, expected(), names.len()));
                }
                if let Some(name) = double(names) {
                    return Err(Error::config(setting, expected(), format!("{name:?} twice")));
                }
                let by_name = names.iter().map(|name| name.trim().as_bytes().to_vec()).zip(0..);
                Self::Known { by_name: by_name.collect(), names: names.clone() }
            }
        })
    }

    /// The label in a field, by its column from 0.
    pub(super) fn label(&mut self, row: &Row<'_>, at: usize) -> Result<u32, Error> {
        let field = row.record.get(at).unwrap_or_default();
        let missing = |field: &[u8]| super::field::is_missing(row.csv, field);
        self.of(field, &missing).map_err(|NoLabel { expected, why }| match why {
            Why::Further => {
                let advice = "a further one: is it the label's column, and as many classes?";
                wrong(row, at, &expected, advice)
            }
            why => not_a_label(row, at, &expected, why == Why::FromOne),
        })
    }

    /// The label of a text.
    pub(in crate::data) fn of(
        &mut self,
        field: &[u8],
        missing: &dyn Fn(&[u8]) -> bool,
    ) -> Result<u32, NoLabel> {
        match self {
            Self::Numbers { first, classes } => whole(field, *first, *classes),
            Self::Known { by_name, names } => by_name.get(field).copied().ok_or_else(|| {
                let known = super::layout::some_of(names.iter().map(String::as_bytes));
                NoLabel::new(format!("one of the classes {known}"))
            }),
            Self::Found { by_name, classes } => {
                if let Some(label) = by_name.get(field) {
                    return Ok(*label);
                }
                if missing(field) || std::str::from_utf8(field).is_err() {
                    return Err(NoLabel::new("the name of a class in UTF-8"));
                }
                let new = by_name.len();
                if new == *classes {
                    let expected = format!("one of {classes} classes");
                    return Err(NoLabel { expected, why: Why::Further });
                }
                by_name.insert(field.to_vec(), new as u32);
                Ok(new as u32)
            }
        }
    }

    /// The names of the classes, if they are known; labels in the order of the names.
    pub(in crate::data) fn finish(
        self,
        setting: &str,
        path: &std::path::Path,
        labels: &mut [u32],
    ) -> Result<Option<Vec<String>>, Error> {
        match self {
            Self::Numbers { first: 0, .. } => Ok(None),
            Self::Numbers { first, classes } => {
                let from = u64::from(first);
                Ok(Some((from..from + classes as u64).map(|label| label.to_string()).collect()))
            }
            Self::Known { names, .. } => Ok(Some(names)),
            Self::Found { by_name, classes } => {
                let mut names: Vec<(String, u32)> = by_name
                    .into_iter()
                    .map(|(name, label)| (String::from_utf8_lossy(&name).into_owned(), label))
                    .collect();
                sort(&mut names);
                if names.len() != classes {
                    let texts = names.iter().map(|(name, _)| name.as_bytes());
                    let found = super::layout::some_of(texts);
                    let advice =
                        format!("if this file has not all classes, set `{setting}` to their names");
                    let expected = format!("labels of {classes} classes");
                    let found = format!("{}: {found}; {advice}", names.len());
                    return Err(Error::file(path, expected, found));
                }
                let mut order = vec![0; classes];
                names
                    .iter()
                    .zip(0..)
                    .for_each(|((_, label), place)| order[*label as usize] = place);
                labels.iter_mut().for_each(|label| *label = order[*label as usize]);
                Ok(Some(names.into_iter().map(|(name, _)| name).collect()))
            }
        }
    }
}

/// By size if all are numbers, else by the alphabet.
fn sort(names: &mut [(String, u32)]) {
    let number = |name: &str| name.parse::<f64>().ok().filter(|n| n.is_finite());
    names.sort();
    if names.iter().all(|(name, _)| number(name).is_some()) {
        names.sort_by(|(a, _), (b, _)| {
            number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
    }
}

fn whole(field: &[u8], first: u32, classes: usize) -> Result<u32, NoLabel> {
    let from = f64::from(first);
    let end = from + classes as f64;
    let value: Option<f64> = parse(field);
    match value.filter(|value| value.fract() == 0. && (from..end).contains(value)) {
        Some(value) => Ok((value - from) as u32),
        None => {
            let expected = format!("a label from {first} to {}", (end - 1.).max(0.));
            let from_one = first == 0 && value == Some(end);
            Err(NoLabel { expected, why: if from_one { Why::FromOne } else { Why::Other } })
        }
    }
}
