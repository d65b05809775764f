//! What a step of any variant needs: a batch on the device, and settings in their range.

use dfdx::{
    nn::{TensorCollection, ZeroGrads},
    prelude::*,
};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::objective::{Loss, Target, mean, value};
use crate::{
    data::Targets,
    device::{Backend, Lanes, Real, Rows, TracedRows},
    error::Error,
    gradient::{Estimator, Forward, Measured, Problem},
    head::Head,
    nn::NoisedPass,
    noprop::Block,
    optim::Optimizer,
    random::{Purpose, normals, stream},
    schedule::TracedColumn,
    train::{BlockReport, Chosen},
};

/// A row-major buffer on the device.
pub(super) fn on_device<S: Shape, E: Real, D: Backend<E>>(
    device: &D,
    values: Vec<E>,
    shape: S,
) -> Result<Tensor<S, E, D>, Error> {
    device.try_tensor_from_vec(values, shape).map_err(Error::device("moving a batch"))
}

/// The next noise of a stream for the rows of a batch, `[batch, Z]`: made by the device with what is `kept` there for a seed, if
/// there is a place for it and no other rank needs its part; else on the host.
pub(super) fn noise_of<T: Targets, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    batch: &Chosen<'_, X, T, E>,
    device: &D,
    stream: &mut [ChaCha8Rng; 1],
    kept: Option<(u64, &mut Option<Lanes<D>>)>,
) -> Result<Rows<Const<Z>, E, D>, Error> {
    let shape = (batch.rows(), Const::<Z>);
    match kept {
        Some(kept) if batch.shared.is_none() => {
            device.normals(kept, stream, shape).map_err(Error::device("making noise"))
        }
        _ => {
            let [rng] = stream;
            on_device(device, batch.own_part(Z, |rows| normals(rng, rows * Z)), shape)
        }
    }
}

/// Whether a block on several ranks can get its gradient in this way.
pub(super) fn check_shared<const X: usize, T: Targets, E: Real>(
    batches: &[Chosen<'_, X, T, E>],
    estimator: &Estimator,
) -> Result<(), Error> {
    let shared = batches.iter().any(|batch| batch.shared.is_some());
    if !shared || matches!(estimator, Estimator::Local) {
        return Ok(());
    }
    let expected = "Local, since each block is on several ranks, which average its gradient";
    Err(Error::config("Estimator", expected, format!("{estimator:?}")))
}

/// The seed of what the layers of block t draw in a step: another one for each replica.
pub(super) fn layer_seed<const X: usize, T: Targets, E: Real>(
    batch: &Chosen<'_, X, T, E>,
    seed: u64,
    t: usize,
    step: u64,
) -> u64 {
    let mut seeds = stream(seed, Purpose::Layers, t as u64, step);
    (0..batch.replica()).for_each(|_| {
        seeds.next_u64();
    });
    seeds.next_u64()
}

/// The targets of a batch on the device; `embedding` is `table` on the host.
pub(super) fn on_device_target<'a, H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
    device: &D,
    targets: &H::Targets,
    rows: usize,
    weights: Option<&[E]>,
    embedding: &[E],
    table: &'a Tensor<(H::Out, Const<Z>), E, D>,
) -> Result<Target<'a, H::Out, Z, E, D>, Error> {
    let u = on_device(device, H::embed(embedding, targets), (rows, Const::<Z>))?;
    let one_hot = if H::CLASSES {
        Some(on_device(device, H::one_hot(targets), (rows, H::Out::default()))?)
    } else {
        None
    };
    let weights = weights.map(|weights| on_device(device, weights.to_vec(), (rows,)));
    Ok(Target { u, one_hot, table, weights: weights.transpose()? })
}

/// A weight in a loss: finite, 0 or more.
pub(super) fn check_weight(setting: &'static str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(setting, "a finite number, 0 or more", value))
}

/// What block t says of a step: its weighted squared error and cross-entropy, and what its output got right.
pub(super) fn block_report<H: Head<Z, E>, const Z: usize, E: Real>(
    t: usize,
    [denoising, cross_entropy]: [f64; 2],
    output: &[E],
    targets: &H::Targets,
    gradient_norm: f64,
) -> BlockReport {
    BlockReport {
        block: t,
        denoising,
        cross_entropy,
        gradient_norm,
        correct: H::correct(output, targets),
        rows: targets.len(),
    }
}

/// A loss as numbers, from its tensors.
pub(super) fn measured<O: ConstDim, E: Real, D: Backend<E>>(
    loss: Loss<Rows<O, E, D>, E, D>,
) -> Measured<E> {
    Measured {
        rows: loss.rows.as_vec().into_iter().map(Real::as_f64).collect(),
        denoising: loss.denoising,
        cross_entropy: loss.cross_entropy,
        output: loss.output.as_vec(),
    }
}

/// A loss of the user's own.
pub(super) enum OwnLoss<'a, O: ConstDim, E: Real, D: Backend<E>> {
    /// On the tape: of each row, or one for all of them.
    #[allow(clippy::type_complexity)]
    Traced(&'a dyn Fn(TracedRows<O, E, D>) -> Result<TracedColumn<E, D>, D::Err>),
    /// Numbers from numbers.
    Numbers(&'a dyn Fn(&[E]) -> Vec<f64>),
}

/// A block as a function of z, in training, in inference, and with noise.
pub(super) struct Call<'a, B, const Z: usize, O: ConstDim, E: Real, D: Backend<E>> {
    pub(super) z: Rows<Const<Z>, E, D>,
    #[allow(clippy::type_complexity)]
    pub(super) train:
        &'a dyn Fn(&mut B, TracedRows<Const<Z>, E, D>) -> Result<TracedRows<O, E, D>, D::Err>,
    pub(super) infer: &'a dyn Fn(&B, Rows<Const<Z>, E, D>) -> Result<Rows<O, E, D>, D::Err>,
    #[allow(clippy::type_complexity)]
    pub(super) noised: &'a dyn Fn(
        &mut B,
        Rows<Const<Z>, E, D>,
        &mut NoisedPass<E, D>,
    ) -> Result<Rows<O, E, D>, D::Err>,
}

/// One step of a block on a loss of the user's own; the value of the loss before it.
pub(super) fn own_step<B, const Z: usize, O: ConstDim, E: Real, D: Backend<E>>(
    operation: &'static str,
    block: &mut Block<B, E, D>,
    (optimizer, estimator): (&Optimizer, &Estimator),
    (place, seed): ((usize, u64), u64),
    call: Call<'_, B, Z, O, E, D>,
    loss: OwnLoss<'_, O, E, D>,
) -> Result<f64, Error>
where
    B: TensorCollection<E, D>,
{
    let failed = || Error::device(operation);
    let stepping = (*optimizer).into();
    let Some(free) = estimator.derivative_free::<B, Z, O, E, D>() else {
        let OwnLoss::Traced(loss) = loss else {
            let expected = "WeightNoise or ActivityNoise, since the loss has no derivative";
            return Err(Error::config("Estimator", expected, "Local"));
        };
        let gradients = block.module.try_alloc_grads().map_err(failed())?;
        let output = (call.train)(&mut block.module, call.z.traced(gradients)).map_err(failed())?;
        let total = loss(output).and_then(mean).map_err(failed())?;
        let loss = value(&total);
        Error::diverged(place, "loss", loss)?;
        let mut gradients = total.try_backward().map_err(failed())?;
        let norm = block.step(&stepping, &mut gradients)?;
        Error::diverged(place, "gradient", norm)?;
        return Ok(loss);
    };
    let measure = |forward: Forward<'_, Z, O, E, D>| {
        let output = forward(call.z.clone()).map_err(failed())?;
        let batch = output.shape().0;
        let rows = match loss {
            OwnLoss::Traced(loss) => {
                let column = loss(output.put_tape(OwnedTape::default())).map_err(failed())?;
                column.as_vec().into_iter().map(Real::as_f64).collect()
            }
            OwnLoss::Numbers(loss) => loss(&output.as_vec()),
        };
        if rows.len() != batch && rows.len() != 1 {
            let expected = format!("a loss for each of the {batch} rows, or one for all");
            return Err(Error::argument(operation, expected, rows.len()));
        }
        Ok(Measured { rows, denoising: 0.0, cross_entropy: 0.0, output: Vec::new() })
    };
    let problem = Problem { loss: &measure, infer: call.infer, noised: call.noised, place };
    let (clean, norm) = free.step(&problem, block, &stepping, seed)?;
    Error::diverged(place, "gradient", norm)?;
    Ok(clean.mean())
}

/// Several inputs with as many rows each, at least one.
pub(super) fn check_rows(operation: &'static str, rows: &[usize]) -> Result<(), Error> {
    if rows.iter().all(|&n| n == rows[0] && n > 0) {
        return Ok(());
    }
    let found = rows.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
    Err(Error::argument(operation, "as many rows of each input, at least 1", found))
}
