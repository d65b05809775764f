//! Between the units of a model and those of the world.

use std::borrow::Cow;

use crate::{data::Statistics, device::Real, error::Error};

/// How rows become a model's inputs, and its answers numbers and names.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Units {
    /// Of the columns of an input.
    pub(super) inputs: Option<Statistics>,
    /// Of the numbers of a target.
    pub(super) targets: Option<Statistics>,
    /// That of class 0 first; none where they have no names.
    pub(super) classes: Vec<String>,
}

impl Units {
    /// Whether they suit a model of X inputs and so many outputs.
    pub(super) fn check(
        &self,
        operation: &'static str,
        inputs: usize,
        outputs: usize,
        has_classes: bool,
    ) -> Result<(), Error> {
        if let Some(statistics) = &self.inputs {
            statistics.check(operation, inputs)?;
        }
        if let Some(statistics) = &self.targets {
            if has_classes {
                let found = "statistics of targets";
                return Err(Error::argument(operation, "targets that are numbers", found));
            }
            statistics.check(operation, outputs)?;
        }
        let names = &self.classes;
        if names.is_empty() {
            return Ok(());
        }
        if !has_classes || names.len() != outputs {
            let classes = if has_classes { outputs } else { 0 };
            let expected = format!("a name for each of {classes} classes");
            return Err(Error::argument(operation, expected, names.len()));
        }
        match crate::data::double(names) {
            Some(name) => {
                let found = format!("{name:?} twice");
                Err(Error::argument(operation, "a name of its own for each class", found))
            }
            None => Ok(()),
        }
    }

    /// Rows as the model takes them.
    pub(super) fn inputs<'r, E: Real>(
        &self,
        operation: &'static str,
        rows: &'r [E],
    ) -> Result<Cow<'r, [E]>, Error> {
        let Some(statistics) = &self.inputs else { return Ok(rows.into()) };
        let mut rows = rows.to_vec();
        statistics.apply(operation, &mut rows)?;
        Ok(rows.into())
    }

    /// Numbers as the world has them.
    pub(super) fn answers<E: Real>(
        &self,
        operation: &'static str,
        mut answers: Vec<E>,
    ) -> Result<Vec<E>, Error> {
        if let Some(statistics) = &self.targets {
            statistics.invert(operation, &mut answers)?;
        }
        Ok(answers)
    }
}
