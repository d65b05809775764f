//! Classes embedded as given rows.

use dfdx::prelude::Const;

use super::{
    Classification, Evaluation, HasClasses, Head, Reading, Reads,
    classes::{self, class_methods},
};
use crate::{
    data::{Dataset, Labels, TargetRows},
    device::Real,
    error::Error,
};

/// `C` classes, each embedded as a given row of `Z` numbers that stays as it is.
///
/// By default there are none yet, and a model cannot be made.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>"))]
pub struct Prototypes<const C: usize, const Z: usize> {
    rows: Vec<f64>,
}

impl<const C: usize, const Z: usize> From<Prototypes<C, Z>> for Vec<Vec<f64>> {
    fn from(prototypes: Prototypes<C, Z>) -> Self {
        prototypes.rows.chunks(Z.max(1)).map(<[f64]>::to_vec).collect()
    }
}

impl<const C: usize, const Z: usize> TryFrom<Vec<Vec<f64>>> for Prototypes<C, Z> {
    type Error = Error;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, Error> {
        let other = rows.iter().map(Vec::len).find(|len| *len != Z);
        if rows.len() != C || other.is_some() {
            let found = match other {
                Some(len) => format!("{} rows, one of {len} numbers", rows.len()),
                None => format!("{} rows", rows.len()),
            };
            let expected = format!("{C} rows of {Z} numbers");
            return Err(Error::argument("Prototypes::try_from", expected, found));
        }
        Self::from_vec("Prototypes::try_from", rows.concat())
    }
}

impl<const C: usize, const Z: usize> Prototypes<C, Z> {
    /// One row for each class. For rows too many or too wide for the stack see
    /// [`from_rows`](Self::from_rows).
    ///
    /// # Errors
    /// [`Error::Argument`] if one of the numbers is not finite, or two classes have the same row.
    pub fn new(rows: &[[f64; Z]; C]) -> Result<Self, Error> {
        Self::from_vec("Prototypes::new", rows.as_flattened().to_vec())
    }

    /// One row for each class, in order.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `C` rows, one of the numbers is not finite, or two
    /// classes have the same row.
    pub fn from_rows(rows: &[[f64; Z]]) -> Result<Self, Error> {
        let operation = "Prototypes::from_rows";
        if rows.len() != C {
            return Err(Error::argument(operation, format!("{C} rows"), rows.len()));
        }
        Self::from_vec(operation, rows.as_flattened().to_vec())
    }

    /// `C` rows of `Z` numbers.
    fn from_vec(operation: &'static str, rows: Vec<f64>) -> Result<Self, Error> {
        crate::data::check_rows::<Z, f64>(operation, &rows)?;
        if let Some((d, c)) = twins(rows.as_chunks::<Z>().0) {
            let found = format!("the same row for the classes {d} and {c}");
            return Err(Error::argument(operation, "a row for each class", found));
        }
        Ok(Self { rows })
    }

    /// For each class the row of the data whose median distance to the others of its class is
    /// smallest, with the latent as wide as the input (Li, Teh, Pascanu 2025, section 4:
    /// prototypes).
    ///
    /// The distances are those between all pairs of a class, up to `limit` rows of each class, the
    /// first ones.
    ///
    /// # Errors
    /// [`Error::Argument`] if a class has no row, or two classes have the same.
    pub fn medoids<E: Real>(data: &Dataset<Z, Labels<C>, E>, limit: usize) -> Result<Self, Error> {
        let operation = "Prototypes::medoids";
        let mut members = vec![Vec::new(); C];
        for (row, &label) in data.targets().as_slice().iter().enumerate() {
            if let Some(class) = members.get_mut(label as usize)
                && class.len() < limit.max(1)
            {
                class.push(data.input(row));
            }
        }
        let mut rows = Vec::with_capacity(C * Z);
        for (c, members) in members.iter().enumerate() {
            let Some(best) = medoid(members) else {
                let found = format!("none of class {c}");
                return Err(Error::argument(operation, "a row of each class", found));
            };
            rows.extend(best.iter().map(|v| v.as_f64()));
        }
        Self::from_vec(operation, rows)
    }

    /// The embedding, row-major, `[C, Z]`.
    pub fn rows(&self) -> &[f64] {
        &self.rows
    }
}

/// The first row that was there before, and its number then.
fn twins<const Z: usize>(rows: &[[f64; Z]]) -> Option<(usize, usize)> {
    // Equal rows side by side, in order; the numbers are finite, so there is always an order.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| {
        rows[a].partial_cmp(&rows[b]).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(&b))
    });
    let mut first = 0;
    let mut found: Option<(usize, usize)> = None;
    for (i, &c) in order.iter().enumerate() {
        if i == 0 || rows[order[i - 1]] != rows[c] {
            first = c;
        } else if found.is_none_or(|(_, earliest)| c < earliest) {
            found = Some((first, c));
        }
    }
    found
}

/// The member with the smallest median distance to all members.
fn medoid<'a, E: Real>(members: &[&'a [E]]) -> Option<&'a [E]> {
    let distance = |a: &[E], b: &[E]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a.as_f64() - b.as_f64()).powi(2)).sum()
    };
    let median = |a: &[E]| {
        let mut distances: Vec<f64> = members.iter().map(|b| distance(a, b)).collect();
        let middle = distances.len() / 2;
        *distances.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    let medians: Vec<f64> = members.iter().map(|a| median(a)).collect();
    let best = (0..members.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b]))?;
    members.get(best).copied()
}

impl<const C: usize, const W: usize, const Z: usize> Reads<Z> for Prototypes<C, W> {
    type Out = Const<C>;
}

#[diagnostic::do_not_recommend]
impl<const C: usize, const Z: usize> HasClasses for Prototypes<C, Z> {}

impl<const C: usize, const W: usize, const Z: usize, E: Real> Head<Z, E> for Prototypes<C, W> {
    class_methods!(C);

    const LEARNED: bool = false;

    fn table(&self, _seed: u64) -> Result<Vec<E>, Error> {
        if self.rows.len() != C * Z {
            let expected = format!("{C} rows, as `from_rows` or `medoids` gives them");
            return Err(Error::config("Prototypes", expected, "none"));
        }
        Ok(self.rows.iter().map(|&v| E::of(v)).collect())
    }

    fn reading() -> Reading {
        Reading::embedded(C, Z, false)
    }
}
