//! The pass of training: recorded on the tape.

use dfdx::prelude::*;

use super::{
    BatchNorm, Convolution, Inputs, Operation, Running, Value,
    infer::{activation, channels_last, layer_norm, pool},
};
use crate::device::{Backend, Matrix, Real, plain_dense};

type Traced<E, D> = Matrix<E, D, OwnedTape<E, D>>;
type TracedValue<E, D> = Value<E, D, OwnedTape<E, D>>;

/// The output of an operation.
pub(crate) fn train<E: Real, D: Backend<E>>(
    operation: &mut Operation<'_, E, D>,
    value: TracedValue<E, D>,
) -> Result<TracedValue<E, D>, D::Err> {
    match (operation, value) {
        (Operation::Sequence(operations) | Operation::Repeated(operations), value) => {
            operations.iter_mut().try_fold(value, |value, operation| train(operation, value))
        }
        (Operation::Condition { z, x, t }, Value::Inputs(inputs)) => {
            condition(z, x, t.as_deref_mut(), inputs).map(Value::Rows)
        }
        (Operation::Residual(branch), value) => {
            residual(branch, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Projected { branch, projection }, value) => {
            projected(branch, projection, value).map(Value::Rows)
        }
        (Operation::Dense(layer), value) => {
            let (x, gradient) = value.into_rows()?;
            let y = match layer.plain {
                true => plain_dense(x, &layer.weight, &layer.bias),
                false => D::dense(x, &layer.weight, &layer.bias, gradient),
            };
            y.map(Value::Rows)
        }
        (Operation::Activation(function), value) => {
            activation(*function, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Dropout(share), value) => {
            value.into_rows()?.0.try_dropout(*share).map(Value::Rows)
        }
        (Operation::LayerNorm { scale, shift, epsilon }, value) => {
            layer_norm(value.into_rows()?.0, scale, shift, *epsilon).map(Value::Rows)
        }
        (Operation::BatchNorm(norm), value) => {
            batch_norm(norm, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Convolution(layer), value) => {
            let Convolution { filter, bias, window } = &**layer;
            let (x, gradient) = value.into_rows()?;
            D::convolution(x, filter, bias, *window, gradient).map(Value::Rows)
        }
        (Operation::Pool { by, window }, value) => match value {
            Value::Given(x) => pool(*by, x, *window).map(Value::Given),
            other => pool(*by, other.into_rows()?.0, *window).map(Value::Rows),
        },
        (Operation::ChannelsLast(channels), value) => match value {
            Value::Given(x) => channels_last(x, *channels).map(Value::Given),
            other => channels_last(other.into_rows()?.0, *channels).map(Value::Rows),
        },
        (Operation::Flatten, value) => Ok(value),
        (Operation::TimeEmbedding(width), Value::Times(times)) => {
            D::time_embedding(times, *width).map(Value::Given)
        }
        (Operation::Module(module), value) => module.train(value).map(Value::Rows),
        // What the types rule out, and what only inference has.
        (
            Operation::Condition { .. } | Operation::TimeEmbedding(_) | Operation::FusedResidual(_),
            value,
        ) => Ok(value),
    }
}

/// h + F(h).
fn residual<E: Real, D: Backend<E>>(
    branch: &mut Operation<'_, E, D>,
    input: Traced<E, D>,
) -> Result<Traced<E, D>, D::Err> {
    let skip = input.with_empty_tape();
    D::sum(skip, train(branch, Value::Rows(input))?.into_rows()?.0)
}

/// F(h) + R(h).
fn projected<E: Real, D: Backend<E>>(
    branch: &mut Operation<'_, E, D>,
    projection: &mut Operation<'_, E, D>,
    value: TracedValue<E, D>,
) -> Result<Traced<E, D>, D::Err> {
    let (input, _) = value.into_rows()?;
    let skip = input.with_empty_tape();
    let (branch, _) = train(branch, Value::Rows(input))?.into_rows()?;
    let (rest, _) = train(projection, Value::Rows(skip))?.into_rows()?;
    D::sum(branch, rest)
}

/// F_z(z) + F_x(x), + F_t(t).
fn condition<E: Real, D: Backend<E>>(
    of_z: &mut Operation<'_, E, D>,
    of_x: &mut Operation<'_, E, D>,
    of_t: Option<&mut Operation<'_, E, D>>,
    Inputs { z, x, t }: Inputs<E, D, OwnedTape<E, D>>,
) -> Result<Traced<E, D>, D::Err> {
    let (rows, _) = train(of_z, Value::Rows(z))?.into_rows()?;
    let rows = train_onto(of_x, Value::Given(x), rows)?;
    match (of_t, t) {
        (Some(of_t), Some(t)) => train_onto(of_t, Value::Times(t), rows),
        _ => Ok(rows),
    }
}

/// The output added to `sum`, of which nobody else needs the numbers.
fn train_onto<E: Real, D: Backend<E>>(
    operation: &mut Operation<'_, E, D>,
    value: TracedValue<E, D>,
    sum: Traced<E, D>,
) -> Result<Traced<E, D>, D::Err> {
    match operation {
        Operation::Sequence(operations) => {
            let Some((last, front)) = operations.split_last_mut() else {
                return D::sum(sum, value.into_rows()?.0);
            };
            let value = front.iter_mut().try_fold(value, |value, layer| train(layer, value))?;
            train_onto(last, value, sum)
        }
        Operation::Dense(layer) if !layer.plain => {
            let (x, gradient) = value.into_rows()?;
            D::dense_onto(x, &layer.weight, &layer.bias, sum, gradient)
        }
        other => D::sum(sum, train(other, value)?.into_rows()?.0),
    }
}

/// By the statistics of the batch, which the running ones follow.
fn batch_norm<E: Real, D: Backend<E>>(
    norm: &mut BatchNorm<'_, E, D>,
    x: Traced<E, D>,
) -> Result<Traced<E, D>, D::Err> {
    let count = x.shape().num_elements() / norm.scale.shape().0.max(1);
    let (y, batch) = D::batch_norm(x, &norm.scale, &norm.shift, norm.epsilon)?;
    if let Running::Moving(running) = &mut norm.running {
        running.follow(batch, count)?;
    }
    Ok(y)
}

/// What goes into a block, on the tape.
impl<E: Real, D: Backend<E>> Inputs<E, D, OwnedTape<E, D>> {
    /// The block's output in training.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    pub fn through(self, operation: &mut Operation<'_, E, D>) -> Result<Traced<E, D>, D::Err> {
        Ok(train(operation, Value::Inputs(self))?.into_rows()?.0)
    }
}
