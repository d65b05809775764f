//! Classes as unit vectors.

use dfdx::prelude::Const;

use super::{
    Classification, Evaluation, HasClasses, Head, Reading, Reads,
    classes::{self, class_methods},
};
use crate::{
    data::{Labels, TargetRows},
    device::Real,
    error::Error,
};

/// As many classes as the latent is wide, each embedded as its unit vector: W = I, û = softmax(o).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "super::NoSettings", into = "super::NoSettings"))]
pub struct OneHot;

#[diagnostic::do_not_recommend]
impl HasClasses for OneHot {}

impl<const Z: usize> Reads<Z> for OneHot {
    type Out = Const<Z>;
}

impl<const Z: usize, E: Real> Head<Z, E> for OneHot {
    class_methods!(Z);

    const LEARNED: bool = false;

    fn table(&self, _seed: u64) -> Result<Vec<E>, Error> {
        let mut table = vec![E::zero(); Z * Z];
        table.iter_mut().step_by(Z + 1).for_each(|diagonal| *diagonal = E::one());
        Ok(table)
    }

    fn reading() -> Reading {
        Reading::one_hot_classes(Z)
    }
}
