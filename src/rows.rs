//! Batches of rows: dfdx's tensors by the names that they have here.

use dfdx::prelude::*;

/// A batch of rows, `[batch, N]`, with `N` such as `Const<10>`.
pub type Rows<N, E, D, T = NoneTape> = Tensor<(usize, N), E, D, T>;

/// A batch of rows whose width is known when the program runs, `[batch, N]`.
pub type Matrix<E, D, T = NoneTape> = Rows<usize, E, D, T>;

/// A number for each row, `[batch]`.
pub type Column<E, D, T = NoneTape> = Tensor<(usize,), E, D, T>;

/// The filters of a convolution, `[O, K, K, C]`.
pub type Filters<E, D> = Tensor<(usize, usize, usize, usize), E, D>;

/// A batch of rows that carries the tape, in training.
pub type TracedRows<N, E, D> = Rows<N, E, D, OwnedTape<E, D>>;

/// A number that carries the tape: a loss.
pub type TracedScalar<E, D> = Tensor<(), E, D, OwnedTape<E, D>>;
