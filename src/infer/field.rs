//! Inference in continuous time and flow matching: along the vector field that the network gives.

use std::cell::RefCell;

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Asked, InferenceOutput, InferenceRequest, JobRows, Point, device_of, failed, on_device,
};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    distributed::AnswerPart,
    error::Error,
    head::Reading,
    model::Model,
    plan::{Inputs, Memo, Operation, Value, encode, infer},
    random::{Purpose, normals, stream},
    schedule::GammaSchedule,
    solver::{EulerMaruyama, Save, Solution, Solver, Steps},
    variant::{At, Inference, Transition, VectorField},
};

/// At each step of a solver with equal steps.
pub(super) fn points<E: Real, D: Host<E>>(field: &dyn VectorField<E, D>) -> Vec<Point> {
    let Inference::Ode(Solver { method, steps: Steps::Fixed(steps), .. }) = field.inference()
    else {
        return Vec::new();
    };
    let tableau = method.tableau();
    let (stages, shared) = (tableau.b.len(), usize::from(tableau.fsal));
    // To be at step i takes its calls, and one more is what the network says there.
    let calls = |i: usize| if i == 0 { 1 } else { i * (stages - shared) + shared + 1 };
    let point = |i: usize| Point { t: field.end() * i as f64 / steps as f64, calls: calls(i) };
    (0..=steps).map(point).collect()
}

/// How often an inference calls the network, about.
fn calls(inference: &Inference) -> usize {
    match inference {
        Inference::Ode(Solver { method, steps: Steps::Fixed(steps), .. }) => {
            steps.saturating_mul(method.tableau().b.len())
        }
        // A solver that chooses its steps takes some at least.
        Inference::Ode(Solver { method, .. }) => 4 * method.tableau().b.len(),
        Inference::Sde { steps, draws, .. } => steps.saturating_mul(*draws),
    }
}

/// Answers for some rows at a time, in parallel. On several ranks each takes every so many-th job.
pub(super) fn parts<E: Real, D: Host<E>>(
    asked: &Asked<'_, E, D>,
    field: &dyn VectorField<E, D>,
    request: InferenceRequest,
) -> Result<Vec<InferenceOutput<E>>, Error> {
    let embedding = asked.embedding.numbers();
    let curve = field.curve(asked.learned);
    let reading = asked.process.reading();
    let (rank, ranks) = (asked.ranks.layout.rank, asked.ranks.layout.ranks);
    let inputs = asked.inputs;
    let own = (rank..inputs.jobs().max(rank)).step_by(ranks).len();
    let parts = D::map(&asked.blocks, own, &|blocks: &[&D::Block], job| {
        let JobRows { first, rows } = inputs.of_job(rank + job * ranks);
        let device = device_of::<E, D>(blocks[0]);
        let x = on_device(device, rows.numbers.to_vec(), (rows.rows(), rows.width))?;
        let embedding = on_device(device, embedding.clone(), reading.embedding_shape())?;
        let network = Network::new(field, reading, &curve, &embedding, blocks[0], x)?;
        network.answer(request, first)
    });
    let own = parts.into_iter().enumerate().map(|(job, part)| {
        let InferenceOutput { values, calls } = part?;
        Ok(AnswerPart { place: [rank + job * ranks, 0, 0], values, calls })
    });
    let all = asked.ranks.answers_of_all(own.collect::<Result<_, Error>>()?)?;
    let output = |AnswerPart { values, calls, .. }| InferenceOutput { values, calls };
    Ok(all.into_iter().map(output).collect())
}

/// dz/dt from `t0` to `t1`, with everything that the solver keeps.
pub(crate) fn trajectory<E: Real, D: Host<E>>(
    model: &Model<E, D>,
    block: &D::Block,
    z: Matrix<E, D>,
    x: Matrix<E, D>,
    interval: [f64; 2],
) -> Result<Solution<Matrix<E, D>>, Error> {
    let Transition::Field(field) = model.objective.transition() else {
        let expected = "a variant with one network";
        let found = model.objective.setup().name;
        return Err(Error::argument("NoProp::integrate_trajectory", expected, found));
    };
    let solver = match field.inference() {
        Inference::Ode(solver) => solver,
        Inference::Sde { .. } => Solver::default(),
    };
    let curve = field.curve(model.learned());
    let (reading, embedding) = (model.objective.reading(), &model.embedding.0);
    let network = Network::new(field, reading, &curve, embedding, block, x)?;
    let [t0, t1] = interval;
    solver.integrate(|t, z| network.drift(t, z), z, t0, t1)
}

/// The network as a vector field on z, for some rows of x.
struct Network<'a, E: Real, D: Host<E>> {
    field: &'a dyn VectorField<E, D>,
    reading: Reading,
    curve: &'a GammaSchedule,
    embedding: &'a Matrix<E, D>,
    plan: Operation<'a, E, D>,
    x: Matrix<E, D>,
    /// What the network keeps from call to call, if it has a part that depends on x alone.
    memo: Option<RefCell<Memo<E, D>>>,
}

/// The noise of a way from noise to target: a seed, the number of the first row, and that of the
/// draw.
#[derive(Clone, Copy)]
struct NoiseDraw {
    seed: u64,
    first: usize,
    number: usize,
}

/// Where a way from noise to target ended.
struct Ended<E: Real, D: Host<E>> {
    z: Matrix<E, D>,
    output: Matrix<E, D>,
    /// For each row.
    calls: usize,
}

impl<'a, E: Real, D: Host<E>> Network<'a, E, D> {
    fn new(
        field: &'a dyn VectorField<E, D>,
        reading: Reading,
        curve: &'a GammaSchedule,
        embedding: &'a Matrix<E, D>,
        block: &'a D::Block,
        x: Matrix<E, D>,
    ) -> Result<Self, Error> {
        let prepared = || {
            let plan = block.prepared(x.shape().0, calls(&field.inference()))?;
            let memo = encode(&plan, &x)?;
            Ok((plan, memo))
        };
        let prepared: Result<_, D::Err> = prepared();
        let (plan, memo) = prepared.map_err(failed())?;
        Ok(Self { field, reading, curve, embedding, plan, x, memo: memo.map(RefCell::new) })
    }

    fn answer(&self, request: InferenceRequest, first: usize) -> Result<InferenceOutput<E>, Error> {
        let rows = self.x.shape().0;
        match (request, self.field.inference()) {
            (InferenceRequest::Answer, Inference::Sde { draws, seed, .. }) => {
                InferenceOutput::mean((0..draws).map(|number| {
                    self.answers(self.run(Some(NoiseDraw { seed, first, number }))?)
                }))
            }
            (InferenceRequest::Answer, Inference::Ode(_)) => self.answers(self.run(None)?),
            (InferenceRequest::Sample(seed), _) => {
                let end = self.run(Some(NoiseDraw { seed, first, number: 0 }))?;
                Ok(InferenceOutput { values: end.z.as_vec(), calls: end.calls * rows })
            }
            (InferenceRequest::Along, Inference::Ode(solver)) => self.along(solver),
            (InferenceRequest::Along, _) => Ok(InferenceOutput::default()),
        }
    }

    fn answers(&self, end: Ended<E, D>) -> Result<InferenceOutput<E>, Error> {
        let calls = end.calls * end.z.shape().0;
        let answer = self.reading.answer(end.output).map_err(failed())?;
        Ok(InferenceOutput { values: answer.as_vec(), calls })
    }

    fn output(&self, t: f64, z: &Matrix<E, D>) -> Result<Matrix<E, D>, Error> {
        // With x encoded, one time stands for all rows.
        let rows = if self.memo.is_some() { 1 } else { z.shape().0 };
        let times = on_device(z.device(), vec![E::of(t); rows], (rows,))?;
        let inputs = Inputs { z: z.clone(), x: self.x.clone(), t: Some(times) };
        let output = match &self.memo {
            Some(memo) => {
                memo.borrow_mut().at(t);
                infer(&self.plan, Value::Inputs(inputs), Some(&memo.borrow()))
            }
            None => infer(&self.plan, Value::Inputs(inputs), None),
        };
        Ok(output.and_then(Value::into_rows).map_err(failed())?.0)
    }

    fn at<'t>(&'t self, t: f64, z: &'t Matrix<E, D>) -> At<'t, E, D> {
        At { t, z, curve: self.curve, embedding: self.embedding }
    }

    fn drift(&self, t: f64, z: &Matrix<E, D>) -> Result<Matrix<E, D>, Error> {
        self.field.drift(self.at(t, z), self.output(t, z)?).map_err(failed())
    }

    fn sde_drift(&self, t: f64, z: &Matrix<E, D>) -> Result<Matrix<E, D>, Error> {
        self.field.sde_drift(self.at(t, z), self.output(t, z)?).map_err(failed())
    }

    /// z_0 = 0.
    fn zeros(&self) -> Result<Matrix<E, D>, Error> {
        let shape = (self.x.shape().0, self.reading.latent);
        on_device(self.embedding.device(), vec![E::zero(); shape.0 * shape.1], shape)
    }

    /// The answer at every step from z_0 = 0 on.
    fn along(&self, solver: Solver) -> Result<InferenceOutput<E>, Error> {
        let solver = Solver { save: Save::Steps, ..solver };
        let drift = |t: f64, z: &Matrix<E, D>| self.drift(t, z);
        let path = solver.integrate(drift, self.zeros()?, 0.0, self.field.end())?;
        let mut answers =
            InferenceOutput { values: Vec::new(), calls: path.calls * self.x.shape().0 };
        for (&t, z) in path.times.iter().zip(&path.states) {
            let output = self.output(t, z)?;
            let answer = self.field.answer_at(self.at(t, z), output);
            let answer = answer.and_then(|answer| self.reading.answer(answer)).map_err(failed())?;
            answers.values.extend(answer.as_vec());
        }
        Ok(answers)
    }

    /// From noise to target: from z_0 = 0 without noise.
    fn run(&self, noise: Option<NoiseDraw>) -> Result<Ended<E, D>, Error> {
        let (device, shape) = (self.embedding.device(), (self.x.shape().0, self.reading.latent));
        let of_draw = |NoiseDraw { seed, first, number }: NoiseDraw| {
            (0..shape.0).map(move |row| {
                stream(seed, Purpose::Inference, (first + row) as u64, number as u64)
            })
        };
        let mut streams: Vec<ChaCha8Rng> = noise.into_iter().flat_map(of_draw).collect();
        let mut draw = || {
            let values = streams.iter_mut().flat_map(|rng| normals(rng, shape.1)).collect();
            on_device(device, values, shape)
        };
        let z = match noise {
            Some(_) => draw()?,
            None => self.zeros()?,
        };
        let end = self.field.end();
        let solution = match self.field.inference() {
            Inference::Ode(solver) => {
                let solver = Solver { save: Save::End, ..solver };
                solver.integrate(|t, z| self.drift(t, z), z, 0.0, end)?
            }
            Inference::Sde { steps, .. } => EulerMaruyama { steps, save: Save::End }.integrate(
                |t, z| self.sde_drift(t, z),
                |t| self.field.diffusion(self.curve, t),
                |_| draw(),
                z,
                0.0,
                end,
            )?,
        };
        self.finish(solution)
    }

    /// What the end of an integration stands for.
    fn finish(&self, solution: Solution<Matrix<E, D>>) -> Result<Ended<E, D>, Error> {
        let (status, mut calls, end) = (solution.status, solution.calls, self.field.end());
        let z = match solution.into_last() {
            Some(z) if status.is_done() => z,
            _ => {
                return Err(Error::Integration {
                    operation: "inference",
                    expected: end,
                    found: status.to_string(),
                });
            }
        };
        let finished = self.field.finish(z, self.embedding, &mut |z| {
            calls += 1;
            self.output(end, z)
        })?;
        Ok(Ended { z: finished.z, output: finished.output, calls })
    }
}
