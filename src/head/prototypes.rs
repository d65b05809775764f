//! Classes embedded as given rows.

use dfdx::prelude::*;

use super::{
    Classification, HasClasses, Head, Reads,
    classes::{self, class_methods},
};
use crate::{
    data::{Dataset, Labels},
    device::{Backend, Real, Rows},
    error::Error,
};

/// `C` classes, each embedded as a given row of `Z` numbers that stays as it is.
#[derive(Clone, Debug, PartialEq)]
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
        let found = format!("{} rows of {:?} numbers", rows.len(), rows.first().map(Vec::len));
        let wrong = || {
            let expected = format!("{C} rows of {Z} numbers");
            Error::argument("Prototypes::try_from", expected, &found)
        };
        let row = |row: Vec<f64>| <[f64; Z]>::try_from(row).map_err(|_| wrong());
        let rows: Vec<[f64; Z]> = rows.into_iter().map(row).collect::<Result<_, _>>()?;
        Self::new(&<[[f64; Z]; C]>::try_from(rows).map_err(|_| wrong())?)
    }
}

impl<const C: usize, const Z: usize> Prototypes<C, Z> {
    /// One row for each class.
    ///
    /// # Errors
    /// [`Error::Argument`] if one of the numbers is not finite, or two classes have the same row.
    pub fn new(rows: &[[f64; Z]; C]) -> Result<Self, Error> {
        crate::data::check_rows::<Z, f64>("Prototypes::new", rows.as_flattened())?;
        for c in 0..C {
            if let Some(d) = (0..c).find(|&d| rows[d] == rows[c]) {
                let found = format!("the same row for the classes {d} and {c}");
                return Err(Error::argument("Prototypes::new", "a row for each class", found));
            }
        }
        Ok(Self { rows: rows.as_flattened().to_vec() })
    }

    /// For each class the row of the data whose median distance to the others of its class is smallest, with the
    /// latent as wide as the input (Li, Teh, Pascanu 2025, section 4: prototypes).
    ///
    /// The distances are those between all pairs of a class, up to `limit` rows of each class, the first ones.
    ///
    /// # Errors
    /// [`Error::Argument`] if a class has no row.
    pub fn medoids<E: Real>(data: &Dataset<Z, Labels<C>, E>, limit: usize) -> Result<Self, Error> {
        let mut rows = [[0.0; Z]; C];
        for (c, prototype) in rows.iter_mut().enumerate() {
            let labels = data.targets().as_slice();
            let members: Vec<&[E]> = (0..data.rows())
                .filter(|&row| labels[row] as usize == c)
                .take(limit.max(1))
                .map(|row| data.input(row))
                .collect();
            let Some(best) = medoid(&members) else {
                let found = format!("none of class {c}");
                return Err(Error::argument("Prototypes::medoids", "a row of each class", found));
            };
            prototype.iter_mut().zip(best).for_each(|(p, v)| *p = v.as_f64());
        }
        Self::new(&rows)
    }

    /// The embedding, row-major, `[C, Z]`.
    pub fn rows(&self) -> &[f64] {
        &self.rows
    }
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
        Ok(self.rows.iter().map(|&v| E::of(v)).collect())
    }

    fn estimate<D: Backend<E>, T: Tape<E, D>>(
        output: Rows<Const<C>, E, D, T>,
        table: &Tensor<(Const<C>, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
        classes::estimate(output, table)
    }
}
