//! The pass of inference: nothing is recorded, dropout does nothing.

use dfdx::prelude::*;

use super::{
    Activation, BatchNorm, Convolution, Dense, FusedResidual, Inputs, Operation, Pooling, Value,
};
use crate::device::{Backend, Column, Matrix, Real, plain_dense};

/// What a network keeps between calls with the same x: its part that depends on x alone, and the
/// sum of that and what it made of the last time.
pub(crate) struct Memo<E: Real, D: Backend<E>> {
    x: Matrix<E, D>,
    time: std::cell::RefCell<Option<(f64, Matrix<E, D>)>>,
    /// The time of all rows in the call to come.
    now: f64,
}

impl<E: Real, D: Backend<E>> Memo<E, D> {
    /// All rows of the next call have this time.
    pub(crate) fn at(&mut self, t: f64) {
        self.now = t;
    }
}

/// The part of the work that depends on x alone, done once for many z and t; `None` if there is
/// none.
pub(crate) fn encode<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    x: &Matrix<E, D>,
) -> Result<Option<Memo<E, D>>, D::Err> {
    match operation {
        Operation::Sequence(operations) => match operations.first() {
            Some(first) => encode(first, x),
            None => Ok(None),
        },
        Operation::Condition { x: of_x, t: Some(_), .. } => {
            let x = infer(of_x, Value::Given(x.clone()), None)?.into_rows()?.0;
            Ok(Some(Memo { x, time: std::cell::RefCell::new(None), now: 0.0 }))
        }
        _ => Ok(None),
    }
}

/// The output of an operation.
pub(crate) fn infer<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    value: Value<E, D>,
    memo: Option<&Memo<E, D>>,
) -> Result<Value<E, D>, D::Err> {
    match (operation, value) {
        (Operation::Sequence(operations), value) => {
            let mut value = value;
            for (i, operation) in operations.iter().enumerate() {
                value = infer(operation, value, memo.filter(|_| i == 0))?;
            }
            Ok(value)
        }
        (Operation::Repeated(rounds), value) => {
            rounds.iter().try_fold(value, |value, round| infer(round, value, None))
        }
        (Operation::Condition { z, x, t }, Value::Inputs(inputs)) => {
            condition(z, x, t.as_deref(), inputs, memo).map(Value::Rows)
        }
        (Operation::Residual(branch), value) => {
            let (skip, _) = value.into_rows()?;
            infer_onto(branch, Value::Rows(skip.clone()), skip).map(Value::Rows)
        }
        (Operation::Projected { branch, projection }, value) => {
            projected(branch, projection, value).map(Value::Rows)
        }
        (Operation::FusedResidual(fused), value) => {
            fused_residual(fused, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Dense(layer), value) => dense(layer, value.into_rows()?.0).map(Value::Rows),
        (Operation::Activation(function), value) => {
            activation(*function, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Dropout(_), value) => Ok(Value::Rows(value.into_rows()?.0)),
        (Operation::LayerNorm { scale, shift, epsilon }, value) => {
            layer_norm(value.into_rows()?.0, scale, shift, *epsilon).map(Value::Rows)
        }
        (Operation::BatchNorm(norm), value) => {
            batch_norm(norm, value.into_rows()?.0).map(Value::Rows)
        }
        (Operation::Convolution(layer), value) => {
            let Convolution { filter, bias, window } = &**layer;
            let (x, _) = value.into_rows()?;
            D::convolution(x, filter, bias, *window, false).map(Value::Rows)
        }
        (Operation::Pool { by, window }, value) => {
            let pooled = |x: Matrix<E, D>| pool(*by, x, *window);
            same_kind(value, pooled)
        }
        (Operation::ChannelsLast(channels), value) => {
            same_kind(value, |x| channels_last(x, *channels))
        }
        (Operation::Flatten, value) => Ok(value),
        (Operation::TimeEmbedding(width), Value::Times(times)) => {
            D::time_embedding(times, *width).map(Value::Given)
        }
        (Operation::Module(module), value) => module.infer(value).map(Value::Rows),
        // What the types rule out.
        (Operation::Condition { .. } | Operation::TimeEmbedding(_), value) => Ok(value),
    }
}

/// The output added to `sum`.
fn infer_onto<E: Real, D: Backend<E>>(
    operation: &Operation<'_, E, D>,
    value: Value<E, D>,
    sum: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    match operation {
        Operation::Sequence(operations) => {
            let Some((last, front)) = operations.split_last() else {
                return D::sum(sum, value.into_rows()?.0);
            };
            let mut layers = front.iter();
            let value = layers.try_fold(value, |value, layer| infer(layer, value, None))?;
            infer_onto(last, value, sum)
        }
        Operation::Dense(layer) => dense_onto(layer, value.into_rows()?.0, sum),
        other => D::sum(sum, infer(other, value, None)?.into_rows()?.0),
    }
}

/// F(h) + R(h).
fn projected<E: Real, D: Backend<E>>(
    branch: &Operation<'_, E, D>,
    projection: &Operation<'_, E, D>,
    value: Value<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let (branch, _) = infer(branch, value.clone(), None)?.into_rows()?;
    infer_onto(projection, value, branch)
}

/// L(h + F(h)), with the last layer of F and L in one.
fn fused_residual<E: Real, D: Backend<E>>(
    FusedResidual { front, next, composed }: &FusedResidual<'_, E, D>,
    input: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let skip = dense(next, input.clone())?;
    let layer = |value, operation| infer(operation, value, None);
    let (x, _) = front.iter().try_fold(Value::Rows(input), layer)?.into_rows()?;
    dense_onto(composed, x, skip)
}

/// By the running statistics.
fn batch_norm<E: Real, D: Backend<E>>(
    norm: &BatchNorm<'_, E, D>,
    x: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let [mean, variance] = norm.running.now()?;
    let deviation = variance.try_add(E::of(norm.epsilon))?.try_sqrt()?;
    let factor = norm.scale.clone().try_div(deviation)?;
    let shift = mean.try_mul(factor.clone())?.try_negate()?.try_add(norm.shift.clone())?;
    D::scale_and_shift(x, &factor, &shift)
}

/// F_z(z) + F_x(x), + F_t(t).
fn condition<E: Real, D: Backend<E>>(
    of_z: &Operation<'_, E, D>,
    of_x: &Operation<'_, E, D>,
    of_t: Option<&Operation<'_, E, D>>,
    Inputs { z, x, t }: Inputs<E, D>,
    memo: Option<&Memo<E, D>>,
) -> Result<Matrix<E, D>, D::Err> {
    let rows =
        |operation: &Operation<'_, E, D>, value| Ok(infer(operation, value, None)?.into_rows()?.0);
    let beside = || {
        let x = memo.map_or_else(|| rows(of_x, Value::Given(x)), |memo| Ok(memo.x.clone()))?;
        let (Some(of_t), Some(t)) = (of_t, t) else { return Ok(x) };
        let t = rows(of_t, Value::Times(t))?;
        if t.shape().0 == x.shape().0 { D::sum(x, t) } else { D::add_row(x, t) }
    };
    let sum = match memo {
        None => beside()?,
        Some(Memo { time, now, .. }) => {
            let kept = time.take().filter(|(then, _)| then == now);
            let kept = kept.map_or_else(|| Ok((*now, beside()?)), Ok)?;
            let sum = kept.1.clone();
            time.replace(Some(kept));
            sum
        }
    };
    infer_onto(of_z, Value::Rows(z), sum)
}

/// x Wᵀ + b without a tape.
pub(super) fn dense<E: Real, D: Backend<E>>(
    layer: &Dense<E, D>,
    x: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    match &layer.transposed {
        _ if layer.plain => plain_dense(x, &layer.weight, &layer.bias),
        Some(transposed) => D::dense_transposed(x, transposed, &layer.bias, None),
        None => D::dense(x, &layer.weight, &layer.bias, true),
    }
}

/// [`dense`] added to `sum`.
fn dense_onto<E: Real, D: Backend<E>>(
    layer: &Dense<E, D>,
    x: Matrix<E, D>,
    sum: Matrix<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    match &layer.transposed {
        _ if layer.plain => D::sum(sum, plain_dense(x, &layer.weight, &layer.bias)?),
        Some(transposed) => D::dense_transposed(x, transposed, &layer.bias, Some(sum)),
        None => D::dense_onto(x, &layer.weight, &layer.bias, sum, false),
    }
}

/// A function of each number.
pub(super) fn activation<E: Real, D: Backend<E>, T: Tape<E, D>>(
    function: Activation,
    x: Matrix<E, D, T>,
) -> Result<Matrix<E, D, T>, D::Err> {
    match function {
        Activation::Relu => D::relu(x),
        Activation::FastGelu => x.try_fast_gelu(),
        Activation::Gelu => x.try_accurate_gelu(),
        Activation::Sigmoid => x.try_sigmoid(),
        Activation::Tanh => x.try_tanh(),
        Activation::Sin => x.try_sin(),
        Activation::Cos => x.try_cos(),
        Activation::Abs => x.try_abs(),
        Activation::Square => x.try_square(),
    }
}

pub(super) fn layer_norm<E: Real, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    scale: &Column<E, D>,
    shift: &Column<E, D>,
    epsilon: f64,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = *x.shape();
    x.try_normalize::<Axis<1>>(epsilon)?
        .try_mul(scale.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?)?
        .try_add(shift.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?)
}

pub(crate) fn pool<E: Real, D: Backend<E>, T: Tape<E, D>>(
    by: Pooling,
    x: Matrix<E, D, T>,
    window: crate::device::Window,
) -> Result<Matrix<E, D, T>, D::Err> {
    match by {
        Pooling::Max => D::max_pool(x, window),
        Pooling::Mean => D::average_pool(x, window),
    }
}

/// One plane for each channel to pixels of all channels; one channel lies so already.
pub(crate) fn channels_last<E: Real, D: Backend<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    channels: usize,
) -> Result<Matrix<E, D, T>, D::Err> {
    if channels == 1 { Ok(x) } else { D::channels_last(x, channels) }
}

/// What is given stays given.
fn same_kind<E: Real, D: Backend<E>>(
    value: Value<E, D>,
    work: impl FnOnce(Matrix<E, D>) -> Result<Matrix<E, D>, D::Err>,
) -> Result<Value<E, D>, D::Err> {
    match value {
        Value::Given(x) => work(x).map(Value::Given),
        other => work(other.into_rows()?.0).map(Value::Rows),
    }
}

/// What goes into a block, without a tape.
impl<E: Real, D: Backend<E>> Inputs<E, D> {
    /// The block's output in inference.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    pub fn through(self, operation: &Operation<'_, E, D>) -> Result<Matrix<E, D>, D::Err> {
        Ok(infer(operation, Value::Inputs(self), None)?.into_rows()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::{ConditionalResNetCt, Takes, Timed},
        plan::Borrowed,
    };
    use dfdx::nn::BuildOnDevice;

    #[test]
    fn what_is_encoded_of_x_once_changes_nothing() {
        type Network = ConditionalResNetCt<3, 6, 16>;
        let dev = Cpu::seed_from_u64(2);
        let module = Network::try_build_on_device(&dev).unwrap();
        let plan =
            <Network as Takes<Timed<3, 6>, f32, Cpu>>::lower(Borrowed::Shared(&module)).unwrap();
        let x: Matrix<f32, _> = dev.sample_normal_like(&(5, 6));
        let mut memo = encode(&plan, &x).unwrap().unwrap();
        let output = |inputs: &Inputs<f32, Cpu>, memo: Option<&Memo<f32, Cpu>>| {
            let output = infer(&plan, Value::Inputs(inputs.clone()), memo).unwrap();
            output.into_rows().unwrap().0.as_vec()
        };
        for t in [0.0f32, 0.5, 1.0] {
            let times = dev.tensor_from_vec(vec![t; 5], (5,));
            let inputs =
                Inputs { z: dev.sample_normal_like(&(5, 3)), x: x.clone(), t: Some(times) };
            memo.at(t.into());
            let whole = output(&inputs, None);
            assert_eq!(output(&inputs, Some(&memo)), whole);
            // And it is this x that was encoded.
            let other = Inputs { x: dev.zeros_like(&(5, 6)), ..inputs };
            assert_eq!(output(&other, Some(&memo)), whole);
            assert_ne!(output(&other, None), whole);
            // What was made of the time is kept with it, and one time may stand for all rows.
            memo.at(-1.0);
            memo.at(t.into());
            let later = Inputs { t: Some(dev.tensor_from_vec(vec![t + 1.0], (1,))), ..other };
            assert_eq!(output(&later, Some(&memo)), whole);
            memo.at(f64::from(t) + 1.0);
            assert_ne!(output(&later, Some(&memo)), whole);
            let again = Inputs { t: Some(dev.tensor_from_vec(vec![t], (1,))), ..later };
            memo.at(t.into());
            // To rounding: elsewhere than on x86-64 a product of one row is summed in another order.
            let again = output(&again, Some(&memo));
            assert!(again.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-6), "{again:?}");
        }
    }
}
