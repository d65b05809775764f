//! What goes into a block from outside, with types and without.

use dfdx::prelude::*;

use crate::{
    device::{Backend, Matrix, Real, Rows, TracedRows},
    error::Error,
    schedule::TracedColumn,
};

/// Rows whose width is no longer part of the type.
pub(super) fn untyped<const N: usize, E: Real, D: Backend<E>>(
    operation: &'static str,
    rows: Rows<Const<N>, E, D>,
) -> Result<Matrix<E, D>, Error> {
    let shape = (rows.shape().0, N);
    rows.try_reshape_like(&shape).map_err(Error::device(operation))
}

/// Rows whose width is part of the type again.
pub(super) fn typed<const N: usize, E: Real, D: Backend<E>>(
    operation: &'static str,
    rows: Matrix<E, D>,
) -> Result<Rows<Const<N>, E, D>, Error> {
    let shape = (rows.shape().0, Const);
    rows.try_reshape_like(&shape).map_err(Error::device(operation))
}

/// A loss of typed rows as one of rows whose width is known when the program runs.
pub(super) fn untyped_loss<O: ConstDim, E: Real, D: Backend<E>>(
    loss: impl Fn(TracedRows<O, E, D>) -> Result<Tensor<(), E, D, OwnedTape<E, D>>, D::Err>,
) -> impl Fn(Matrix<E, D, OwnedTape<E, D>>) -> Result<TracedColumn<E, D>, D::Err> {
    move |output| {
        let shape = (output.shape().0, O::default());
        loss(output.try_reshape_like(&shape)?)?.try_reshape_like(&(1,))
    }
}

/// Several inputs with as many rows each, at least one.
pub(super) fn check_rows(operation: &'static str, rows: &[usize]) -> Result<(), Error> {
    if rows.iter().all(|&n| n == rows[0] && n > 0) {
        return Ok(());
    }
    let found = rows.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
    Err(Error::argument(operation, "as many rows of each input, at least 1", found))
}
