//! A step on a loss of the user's own.

use dfdx::prelude::*;

use crate::{
    block::{AnyBlock, Host},
    device::{Backend, Column, Matrix, Real},
    error::{Error, Place},
    gradient::{Estimator, Forward, Measured, Problem},
    model::Model,
    optim::Optimizer,
    plan::Inputs,
    schedule::TracedColumn,
    variant::{Line, mean, mixing, value},
};

/// A loss of the user's own.
pub enum OwnLoss<'a, E: Real, D: Backend<E>> {
    /// On the tape: of each row, or one for all of them.
    Traced(&'a TracedLoss<'a, E, D>),
    /// Numbers from numbers.
    Numbers(&'a dyn Fn(&[E]) -> Vec<f64>),
}

/// A loss on the tape.
pub type TracedLoss<'a, E, D> = dyn Fn(Matrix<E, D, OwnedTape<E, D>>) -> Result<Column<E, D, OwnedTape<E, D>>, <D as HasErr>::Err>
    + 'a;

/// What such a step needs besides the block and the loss.
pub struct OwnStep<'a, E: Real, D: Backend<E>> {
    /// What the user called.
    pub(crate) operation: &'static str,
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) estimator: &'a Estimator,
    /// Which step of the model it is, counted from 1.
    pub(crate) step: u64,
    /// The seed of what is drawn.
    pub(crate) seed: u64,
    pub(crate) inputs: Inputs<E, D>,
}

/// One step of a block; the value of the loss before it.
pub(crate) fn own_step<E: Real, D: Host<E>>(
    block: &mut D::Block,
    how: OwnStep<'_, E, D>,
    loss: OwnLoss<'_, E, D>,
) -> Result<f64, Error> {
    let OwnStep { operation, optimizer, estimator, step, seed, inputs: Inputs { z, x, t } } = how;
    let failed = || Error::device(operation);
    block.bring()?;
    let place = Place { block: block.state().t, step };
    // A device of its own for what the layers draw; the data stays where it is on a GPU.
    let device = block.state().device.seeded(seed);
    let z = device.own(&z).map_err(failed())?;
    let x = device.own(&x).map_err(failed())?;
    let t = t.map(|t| device.own(&t)).transpose().map_err(failed())?;
    let stepping = (*optimizer).into();
    if let Some(free) = estimator.derivative_free::<E, D>() {
        let measure = |forward: Forward<'_, E, D>| {
            let output = forward(z.clone()).map_err(failed())?;
            measured(operation, output, &loss)
        };
        let problem = Problem { loss: &measure, x, t, place };
        let (clean, norm) = free.step(&problem, block, &stepping, seed)?;
        place.check("gradient", norm)?;
        return Ok(clean.mean());
    }
    let OwnLoss::Traced(loss) = loss else {
        let expected = "WeightNoise or ActivityNoise, since the loss has no derivative";
        return Err(Error::config("Estimator", expected, "Local"));
    };
    let gradients = crate::block::new_gradients(block.tensors()).map_err(failed())?;
    let output = {
        let mut plan = block.plan_mut().map_err(failed())?;
        Inputs { z: z.traced(gradients), x, t }.through(&mut plan).map_err(failed())?
    };
    let total = loss(output).and_then(mean).map_err(failed())?;
    let loss = value(&total);
    place.check("loss", loss)?;
    let mut gradients = total.try_backward().map_err(failed())?;
    let norm = block.step(&stepping, &mut gradients)?;
    place.check("gradient", norm)?;
    Ok(loss)
}

/// The loss of an output, as numbers.
fn measured<E: Real, D: Backend<E>>(
    operation: &'static str,
    output: Matrix<E, D>,
    loss: &OwnLoss<'_, E, D>,
) -> Result<Measured<E>, Error> {
    let batch = output.shape().0;
    let rows = match loss {
        OwnLoss::Traced(loss) => {
            let column: TracedColumn<E, D> =
                loss(output.put_tape(OwnedTape::default())).map_err(Error::device(operation))?;
            column.as_vec().into_iter().map(Real::as_f64).collect()
        }
        OwnLoss::Numbers(loss) => loss(&output.as_vec()),
    };
    if rows.len() != batch && rows.len() != 1 {
        let expected = format!("a loss for each of the {batch} rows, or one for all");
        return Err(Error::argument(operation, expected, rows.len()));
    }
    Ok(Measured { rows, denoising: 0.0, cross_entropy: 0.0, output: Vec::new() })
}

/// Base samples, samples of the target distribution, and the times between them.
pub struct FlowSamples<E: Real, D: Backend<E>> {
    pub(crate) start: Matrix<E, D>,
    pub(crate) end: Matrix<E, D>,
    pub(crate) times: Column<E, D>,
}

/// One step of a network on the squared error of flow matching; z and t of the inputs are those of
/// the samples.
pub(crate) fn flow_step<E: Real, D: Host<E>>(
    model: &Model<E, D>,
    block: &mut D::Block,
    how: OwnStep<'_, E, D>,
    samples: FlowSamples<E, D>,
) -> Result<f64, Error> {
    let FlowSamples { start, end, times } = samples;
    let operation = how.operation;
    let host_times: Vec<f64> = times.as_vec().into_iter().map(Real::as_f64).collect();
    if let Some(time) = host_times.iter().find(|t| !(0.0..=1.0).contains(*t)) {
        return Err(Error::argument(operation, "times from 0 to 1", time));
    }
    let mix = || {
        let [toward, away] = mixing(times.clone(), start.shape().1)?;
        end.clone().try_mul(toward)?.try_add(away.try_mul(start.clone())?)
    };
    let point: Result<_, D::Err> = mix();
    let point = point.map_err(Error::device(operation))?;
    let line = Line {
        start,
        end,
        point: point.clone(),
        times: &host_times,
        embedding: &model.embedding.0,
        weights: None,
    };
    let reading = model.objective.reading();
    let Some(prediction) = model.objective.prediction() else {
        return Err(Error::argument(operation, "flow matching", model.objective.setup().name));
    };
    let loss = |output| Ok(prediction.compare(reading, output, &line)?.error);
    let inputs = Inputs { z: point, x: how.inputs.x.clone(), t: Some(times) };
    own_step(block, OwnStep { inputs, ..how }, OwnLoss::Traced(&loss))
}
