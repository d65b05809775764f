//! What flows between operations.

use dfdx::prelude::*;

use crate::device::{Backend, Column, Matrix, Real};

/// What goes into a block: the latent, the input, and the time of each row where the network takes
/// one.
#[derive(Clone, Debug)]
pub struct Inputs<E: Real, D: Backend<E>, T = NoneTape> {
    /// z, `[batch, Z]`, with the tape in training.
    pub z: Matrix<E, D, T>,
    /// x, `[batch, X]`.
    pub x: Matrix<E, D>,
    /// t, `[batch]`.
    pub t: Option<Column<E, D>>,
}

/// What flows between operations, with a tape in training.
#[derive(Clone, Debug)]
pub enum Value<E: Real, D: Backend<E>, T = NoneTape> {
    /// Activations, `[batch, N]`.
    Rows(Matrix<E, D, T>),
    /// Numbers that are given, `[batch, N]`: no gradient with respect to them is ever asked for.
    Given(Matrix<E, D>),
    /// Times, `[batch]`.
    Times(Column<E, D>),
    /// All that goes into a block.
    Inputs(Inputs<E, D, T>),
}

impl<E: Real, D: Backend<E>, T: Tape<E, D>> Value<E, D, T> {
    /// The numbers with a tape for the layer's own parameters, and whether anything asks for the
    /// gradient with respect to them.
    ///
    /// # Errors
    /// The device's own.
    pub fn into_rows(self) -> Result<(Matrix<E, D, T>, bool), D::Err> {
        match self {
            Self::Rows(rows) => Ok((rows, true)),
            Self::Given(rows) => Ok((rows.put_tape(T::default()), false)),
            Self::Times(times) => {
                let rows = times.shape().0;
                Ok((times.try_reshape_like(&(rows, 1))?.put_tape(T::default()), false))
            }
            Self::Inputs(inputs) => Ok((inputs.z, true)),
        }
    }
}

impl<E: Real, D: Backend<E>> Value<E, D> {
    /// With an empty tape.
    pub(crate) fn traced(self) -> Value<E, D, OwnedTape<E, D>> {
        match self {
            Self::Rows(rows) => Value::Rows(rows.put_tape(OwnedTape::default())),
            Self::Given(rows) => Value::Given(rows),
            Self::Times(times) => Value::Times(times),
            Self::Inputs(Inputs { z, x, t }) => {
                Value::Inputs(Inputs { z: z.put_tape(OwnedTape::default()), x, t })
            }
        }
    }
}
