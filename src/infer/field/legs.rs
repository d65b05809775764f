//! The way along the vector field in legs, so that rows may stop between them.

use std::cell::RefCell;

use super::Network;
use crate::{
    block::Host,
    device::{Matrix, Real},
    error::Error,
    head::Reading,
    infer::{
        Asked, JobRows, device_of, on_device,
        until::{Leg, Sure, unsure},
    },
    schedule::GammaSchedule,
    solver::{Save, Solver, Steps},
    variant::VectorField,
};

/// A way along the vector field in legs: a step of the solver each.
pub(in crate::infer) struct FieldWay<'a, E: Real, D: Host<E>> {
    field: &'a dyn VectorField<E, D>,
    reading: Reading,
    curve: GammaSchedule,
    embedding: &'a [E],
    solver: Solver,
    steps: usize,
}

/// Some rows before a leg.
pub(in crate::infer) struct Outlook<'a, E: Real> {
    pub(in crate::infer) inputs: &'a JobRows<'a, E>,
    /// `[rows, Z]`.
    pub(in crate::infer) z: &'a [E],
    /// Whether a row, by its place here, is sure after the first call.
    pub(in crate::infer) sure: Sure<'a, E>,
}

impl<'a, E: Real, D: Host<E>> FieldWay<'a, E, D> {
    pub(in crate::infer) fn new(
        operation: &'static str,
        asked: &'a Asked<'_, E, D>,
        field: &'a dyn VectorField<E, D>,
        solver: Solver,
        embedding: &'a [E],
    ) -> Result<Self, Error> {
        let Steps::Fixed(steps) = solver.steps else {
            let expected = "a solver that takes the same steps for all rows, `Steps::Fixed`";
            return Err(Error::argument(operation, expected, "`Steps::Adaptive`"));
        };
        solver.check()?;
        let solver = Solver { steps: Steps::Fixed(1), save: Save::End, ..solver };
        let (reading, curve) = (asked.process.reading(), field.curve(asked.learned));
        Ok(Self { field, reading, curve, embedding, solver, steps })
    }

    pub(in crate::infer) fn steps(&self) -> usize {
        self.steps
    }

    /// How often a step calls the network for a row, at most.
    pub(in crate::infer) fn calls(&self, is_last: bool) -> usize {
        // The answer at the end may take one more.
        self.solver.method.tableau().b.len() + usize::from(is_last)
    }

    /// Step k, counted from 0, for the rows that are not sure after its first call.
    pub(in crate::infer) fn leg(
        &self,
        block: &D::Block,
        k: usize,
        outlook: Outlook<'_, E>,
    ) -> Result<Leg<E>, Error> {
        let Outlook { inputs, z, sure } = outlook;
        let [t0, t1] = [k, k + 1].map(|k| self.field.end() * k as f64 / self.steps as f64);
        let (latent, classes) = (self.reading.latent, self.reading.outputs);
        let embedding = self.embedding_on(block)?;
        let network = self.network(block, inputs, &embedding)?;
        let z_on = on_device(device_of::<E, D>(block), z.to_vec(), (inputs.rows, latent))?;
        let output = network.output(t0, &z_on)?;
        let opinions = network.opinion(t0, &z_on, output.clone())?;
        let unsure = unsure(&opinions, classes, sure);
        if unsure.is_empty() {
            return Ok(Leg { first: opinions, unsure, more: Vec::new(), z: Vec::new() });
        }
        let pick = |rows: &[E], width: usize| crate::data::select_wide(rows, width, &unsure);
        let packed = JobRows::once(unsure.len(), pick(&inputs.numbers, inputs.width()).into());
        let network = match unsure.len() == inputs.rows {
            true => network,
            false => self.network(block, &packed, &embedding)?,
        };
        let shape = (unsure.len(), latent);
        let z = on_device(device_of::<E, D>(block), pick(z, latent), shape)?;
        let output = output.as_vec();
        let width = output.len() / inputs.rows;
        let shape = (unsure.len(), width);
        let first = on_device(device_of::<E, D>(block), pick(&output, width), shape)?;
        // The first call of a step is the one that was looked at.
        let first = RefCell::new(Some(first));
        let said = RefCell::new(Vec::new());
        let drift = |t: f64, z: &Matrix<E, D>| {
            let known = first.borrow_mut().take();
            let output = match known {
                Some(output) => output,
                None => {
                    let output = network.output(t, z)?;
                    said.borrow_mut().push(network.opinion(t, z, output.clone())?);
                    output
                }
            };
            network.drift(t, z, output)
        };
        let end = self.solver.integrate(drift, z, t0, t1)?;
        let (status, end) = (end.status, end.into_last());
        let Some(end) = end.filter(|_| status.is_done()) else {
            let (operation, found) = ("inference", status.to_string());
            return Err(Error::Integration { operation, expected: t1, found });
        };
        Ok(Leg { first: opinions, unsure, more: said.into_inner(), z: end.as_vec() })
    }

    /// The answers where integration has ended, and how often the network was called for each.
    pub(in crate::infer) fn end(
        &self,
        block: &D::Block,
        inputs: &JobRows<'_, E>,
        z: Vec<E>,
    ) -> Result<(Vec<E>, usize), Error> {
        let embedding = self.embedding_on(block)?;
        let network = self.network(block, inputs, &embedding)?;
        let z = on_device(device_of::<E, D>(block), z, (inputs.rows, self.reading.latent))?;
        network.answer_of_end(z, 0)
    }

    fn embedding_on(&self, block: &D::Block) -> Result<Matrix<E, D>, Error> {
        let shape = self.reading.embedding_shape();
        on_device(device_of::<E, D>(block), self.embedding.to_vec(), shape)
    }

    fn network<'n>(
        &'n self,
        block: &'n D::Block,
        inputs: &JobRows<'_, E>,
        embedding: &'n Matrix<E, D>,
    ) -> Result<Network<'n, E, D>, Error> {
        let x = inputs.on(device_of::<E, D>(block))?;
        Network::new(self.field, self.reading, &self.curve, embedding, block, x)
    }
}
