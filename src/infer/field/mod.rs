//! Inference in continuous time and flow matching: along the vector field that the network gives.

mod legs;

pub(super) use legs::{FieldWay, Outlook};

use std::cell::RefCell;

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{
    Asked, Combination, InferenceOutput, InferenceRequest, JobRows, Point, device_of, failed,
    nodes::starts, on_device, opinions::RunningMean,
};
use crate::{
    block::{AnyBlock, Host},
    device::{Matrix, Real},
    distributed::AnswerPart,
    error::Error,
    head::Reading,
    model::Model,
    plan::{Inputs, Memo, Prepared},
    random::normals,
    schedule::GammaSchedule,
    solver::{EulerMaruyama, Save, Solution, Solver, Steps},
    variant::{At, Inference, Transition, VectorField},
};

/// At each step of a solver with equal steps.
pub(super) fn points<E: Real, D: Host<E>>(
    asked: &Asked<'_, E, D>,
    field: &dyn VectorField<E, D>,
) -> Vec<Point> {
    let Inference::Ode(Solver { method, steps: Steps::Fixed(steps), .. }) = field.inference()
    else {
        return Vec::new();
    };
    let tableau = method.tableau();
    let (stages, shared) = (tableau.b.len(), usize::from(tableau.fsal));
    // To be at step i takes its calls, and one more is what the network says there.
    let more = match Combination::of(asked.process, InferenceRequest::Along) {
        Combination::Means => 0,
        _ => 1,
    };
    let calls = |i: usize| if i == 0 { 1 } else { i * (stages - shared) + shared + more };
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
        let rows = inputs.of_job(rank + job * ranks);
        let device = device_of::<E, D>(blocks[0]);
        let x = rows.on(device)?;
        let embedding = on_device(device, embedding.clone(), reading.embedding_shape())?;
        let network = Network::new(field, reading, &curve, &embedding, blocks[0], x)?;
        let combination = Combination::of(asked.process, request);
        network.answer(request, combination, &rows)
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
    solver.integrate(|t, z| network.drift(t, z, network.output(t, z)?), z, t0, t1)
}

/// The network as a vector field on z, for some rows of x.
struct Network<'a, E: Real, D: Host<E>> {
    field: &'a dyn VectorField<E, D>,
    reading: Reading,
    curve: &'a GammaSchedule,
    embedding: &'a Matrix<E, D>,
    plan: Prepared<'a, E, D>,
    x: Matrix<E, D>,
    /// What the network keeps from call to call, if it has a part that depends on x alone.
    memo: Option<RefCell<Memo<E, D>>>,
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
            let memo = plan.encode(&x)?;
            Ok((plan, memo))
        };
        let prepared: Result<_, D::Err> = prepared();
        let (plan, memo) = prepared.map_err(failed())?;
        Ok(Self { field, reading, curve, embedding, plan, x, memo: memo.map(RefCell::new) })
    }

    fn answer(
        &self,
        request: InferenceRequest,
        combination: Combination,
        rows: &JobRows<'_, E>,
    ) -> Result<InferenceOutput<E>, Error> {
        match (request, self.field.inference()) {
            (InferenceRequest::Answer, _) if combination == Combination::Starts => {
                self.mean_of_starts()
            }
            (InferenceRequest::Answer, Inference::Sde { draws, seed, .. }) => {
                InferenceOutput::mean(
                    (0..draws)
                        .map(|number| self.combined(combination, Some(rows.streams(seed, number)))),
                )
            }
            (InferenceRequest::Answer, Inference::Ode(_)) => self.combined(combination, None),
            (InferenceRequest::Sample(seed), _) => {
                let (z, calls) =
                    self.run(Some(rows.streams(seed, 0)), &|t, z| self.output(t, z))?;
                let end = self.finish(z, calls)?;
                Ok(InferenceOutput { values: end.z.as_vec(), calls: end.calls * rows.rows })
            }
            (InferenceRequest::Along, Inference::Ode(solver)) => self.along(solver, combination),
            (InferenceRequest::Along, _) => Ok(InferenceOutput::default()),
        }
    }

    /// The answer by one way from noise to target, with noise where there are streams for it.
    fn combined(
        &self,
        combination: Combination,
        streams: Option<Vec<ChaCha8Rng>>,
    ) -> Result<InferenceOutput<E>, Error> {
        let rows = self.x.shape().0;
        let (values, calls) = match combination {
            Combination::Mean => {
                let mean = RefCell::new(RunningMean::default());
                let heard = |t: f64, z: &Matrix<E, D>| {
                    let output = self.output(t, z)?;
                    mean.borrow_mut().add(&self.opinion(t, z, output.clone())?);
                    Ok(output)
                };
                let (_, calls) = self.run(streams, &heard)?;
                (mean.into_inner().values, calls)
            }
            _ => {
                let (z, calls) = self.run(streams, &|t, z| self.output(t, z))?;
                self.answer_of_end(z, calls)?
            }
        };
        Ok(InferenceOutput { values, calls: calls * rows })
    }

    /// The mean of numbers given x: that of the ends of some ways, which stand for all.
    fn mean_of_starts(&self) -> Result<InferenceOutput<E>, Error> {
        let (rows, width) = (self.x.shape().0, self.reading.latent);
        let starts: Vec<E> = starts(width);
        InferenceOutput::mean(starts.chunks_exact(width).map(|start| {
            let z = on_device(self.embedding.device(), start.repeat(rows), (rows, width))?;
            let (z, calls) = self.from(z, &mut Vec::new(), &|t, z| self.output(t, z))?;
            let (values, calls) = self.answer_of_end(z, calls)?;
            Ok(InferenceOutput { values, calls: calls * rows })
        }))
    }

    /// The answer as the network sees it at (z, x, t), from its output there.
    fn opinion(&self, t: f64, z: &Matrix<E, D>, output: Matrix<E, D>) -> Result<Vec<E>, Error> {
        let answer = self.field.answer_at(self.at(t, z), output);
        let answer = answer.and_then(|answer| self.reading.answer(answer)).map_err(failed())?;
        Ok(answer.as_vec())
    }

    fn output(&self, t: f64, z: &Matrix<E, D>) -> Result<Matrix<E, D>, Error> {
        // With x encoded, one time stands for all rows.
        let rows = if self.memo.is_some() { 1 } else { z.shape().0 };
        let times = on_device(z.device(), vec![E::of(t); rows], (rows,))?;
        let inputs = Inputs { z: z.clone(), x: self.x.clone(), t: Some(times) };
        let output = match &self.memo {
            Some(memo) => {
                memo.borrow_mut().at(t);
                self.plan.output(inputs, Some(&memo.borrow()))
            }
            None => self.plan.output(inputs, None),
        };
        output.and_then(|output| self.field.conditioned(self.at(t, z), output)).map_err(failed())
    }

    fn at<'t>(&'t self, t: f64, z: &'t Matrix<E, D>) -> At<'t, E, D> {
        At { t, z, curve: self.curve, embedding: self.embedding }
    }

    /// dz/dt from the network's output at (z, x, t).
    fn drift(&self, t: f64, z: &Matrix<E, D>, output: Matrix<E, D>) -> Result<Matrix<E, D>, Error> {
        self.field.drift(self.at(t, z), output).map_err(failed())
    }

    /// z_0 = 0.
    fn zeros(&self) -> Result<Matrix<E, D>, Error> {
        let shape = (self.x.shape().0, self.reading.latent);
        on_device(self.embedding.device(), vec![E::zero(); shape.0 * shape.1], shape)
    }

    /// The answer at every step from z_0 = 0 on: what the network says there, or the mean of all
    /// that it has said up to there.
    fn along(&self, solver: Solver, combination: Combination) -> Result<InferenceOutput<E>, Error> {
        let solver = Solver { save: Save::Steps, ..solver };
        let (means, mean) = (RefCell::new(Vec::new()), RefCell::new(RunningMean::default()));
        let drift = |t: f64, z: &Matrix<E, D>| {
            let output = self.output(t, z)?;
            if combination == Combination::Means {
                let mut mean = mean.borrow_mut();
                mean.add(&self.opinion(t, z, output.clone())?);
                means.borrow_mut().push(mean.values.clone());
            }
            self.drift(t, z, output)
        };
        let path = solver.integrate(drift, self.zeros()?, 0.0, self.field.end())?;
        let calls = path.calls * self.x.shape().0;
        let means = means.into_inner();
        if combination == Combination::Means {
            // The calls of each step after the first, whose mean has those before it too.
            let steps = path.times.len().saturating_sub(1).max(1);
            let first = means.len() - means.len() / steps * steps;
            let each = means.len() / steps;
            let at = |i: usize| means[(first + i * each).saturating_sub(1)].iter().copied();
            let values = (0..path.times.len()).flat_map(at).collect();
            return Ok(InferenceOutput { values, calls });
        }
        let mut values = Vec::new();
        for (&t, z) in path.times.iter().zip(&path.states) {
            values.extend(self.opinion(t, z, self.output(t, z)?)?);
        }
        Ok(InferenceOutput { values, calls })
    }

    /// From noise to target: where z ends, and how often the network was called for a row. Without
    /// streams of noise it starts from z_0 = 0. `output` calls the network.
    fn run(
        &self,
        streams: Option<Vec<ChaCha8Rng>>,
        output: &dyn Fn(f64, &Matrix<E, D>) -> Result<Matrix<E, D>, Error>,
    ) -> Result<(Matrix<E, D>, usize), Error> {
        match streams {
            Some(mut streams) => {
                let z = self.noise(&mut streams)?;
                self.from(z, &mut streams, output)
            }
            None => self.from(self.zeros()?, &mut Vec::new(), output),
        }
    }

    /// ε for each row.
    fn noise(&self, streams: &mut [ChaCha8Rng]) -> Result<Matrix<E, D>, Error> {
        let shape = (self.x.shape().0, self.reading.latent);
        let values = streams.iter_mut().flat_map(|rng| normals(rng, shape.1)).collect();
        on_device(self.embedding.device(), values, shape)
    }

    /// The same from z_0 on; `streams` are for the noise on the way.
    fn from(
        &self,
        z: Matrix<E, D>,
        streams: &mut [ChaCha8Rng],
        output: &dyn Fn(f64, &Matrix<E, D>) -> Result<Matrix<E, D>, Error>,
    ) -> Result<(Matrix<E, D>, usize), Error> {
        let end = self.field.end();
        let solution = match self.field.inference() {
            Inference::Sde { steps, .. } if !streams.is_empty() => {
                EulerMaruyama { steps, save: Save::End }.integrate(
                    |t, z| self.field.sde_drift(self.at(t, z), output(t, z)?).map_err(failed()),
                    |t| self.field.diffusion(self.curve, t),
                    |_| self.noise(streams),
                    z,
                    0.0,
                    end,
                )?
            }
            inference => {
                let solver = match inference {
                    Inference::Ode(solver) => solver,
                    Inference::Sde { .. } => Solver::default(),
                };
                let drift = |t: f64, z: &Matrix<E, D>| self.drift(t, z, output(t, z)?);
                Solver { save: Save::End, ..solver }.integrate(drift, z, 0.0, end)?
            }
        };
        let (status, calls) = (solution.status, solution.calls);
        match solution.into_last() {
            Some(z) if status.is_done() => Ok((z, calls)),
            _ => Err(Error::Integration {
                operation: "inference",
                expected: end,
                found: status.to_string(),
            }),
        }
    }

    /// The answer where integration has ended after so many calls for a row, and how many they are
    /// with those of the answer.
    fn answer_of_end(&self, z: Matrix<E, D>, calls: usize) -> Result<(Vec<E>, usize), Error> {
        let end = self.finish(z, calls)?;
        Ok((self.reading.answer(end.output).map_err(failed())?.as_vec(), end.calls))
    }

    /// What the end of an integration stands for, after so many calls.
    fn finish(&self, z: Matrix<E, D>, mut calls: usize) -> Result<Ended<E, D>, Error> {
        let end = self.field.end();
        let finished = self.field.finish(z, self.embedding, &mut |z| {
            calls += 1;
            self.output(end, z)
        })?;
        Ok(Ended { z: finished.z, output: finished.output, calls })
    }
}
