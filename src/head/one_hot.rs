//! Classes as unit vectors.

use dfdx::prelude::*;

use super::{
    Classification, HasClasses, Head, Reads,
    classes::{self, class_methods},
};
use crate::{
    data::Labels,
    device::{Backend, Real, Rows},
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

    fn estimate<D: Backend<E>, T: Tape<E, D>>(
        output: Rows<Const<Z>, E, D, T>,
        _table: &Tensor<(Const<Z>, Const<Z>), E, D>,
    ) -> Result<Rows<Const<Z>, E, D, T>, D::Err> {
        D::softmax(output)
    }
}
