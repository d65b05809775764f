//! Some steps of a run.

use std::ops::ControlFlow;

use super::{
    Session,
    agree::{own_rows, shared_batch},
    run::State,
};
use crate::{
    block::Host,
    data::select_wide,
    device::{Backend, Real},
    error::Error,
    model::{Position, Trainer},
    random::{Purpose, stream},
    report::StepReport,
    step::{BatchInputs, Runtime, Span, StepBatch, Trainee, train},
};

impl<'a, E: Real> Session<'a, E> {
    /// `count` steps from batch `at` of the epoch on.
    pub(super) fn span<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        state: &State,
        position: &mut Position,
        at: u64,
        count: u64,
    ) -> Result<ControlFlow<()>, Error> {
        let before = trainer.counters.steps;
        let fit = self.fit;
        let rows = state.order.chunks(self.own_batch_size(trainer.ranks));
        let rows: Vec<&[usize]> = rows.skip(at as usize).take(count as usize).collect();
        let batches = rows.into_iter().zip(before + 1..);
        let batches = batches.map(|(rows, step)| self.choose(trainer, rows, step));
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        let span = Span {
            seed: fit.seed,
            learning_rate: &fit.learning_rate,
            clip: fit.clip,
            average: fit.average,
            precision: fit.precision,
            workers: &state.workers,
            residence: state.residence.as_ref(),
            before: position.steps,
            total: state.total,
        };
        // A panic in a layer leaves it so: some blocks have stepped and others have not.
        trainer.counters.torn = true;
        let reports = train(trainee(trainer), &batches, &span);
        // So does an error where blocks have their turns: some had theirs and others have not.
        trainer.counters.torn = reports.is_err() && state.residence.is_some();
        let reports = reports?;
        trainer.counters.steps += count;
        position.steps += count;
        let optimizer = *trainer.model.objective.optimizer();
        let reports = (0..).zip(reports).map(|(k, report)| StepReport {
            step: before + 1 + k as u64,
            epoch: trainer.counters.epochs + 1,
            learning_rate: span.stepping(&optimizer, k).learning_rate(),
            ..report
        });
        let reports: Vec<StepReport> = reports.collect();
        reports.iter().for_each(|report| position.means.add(report));
        // An observer that panics takes neither the run's place nor its means with it.
        self.position = Some(position.clone());
        let mut flow = ControlFlow::Continue(());
        for report in &reports {
            for observer in &mut self.observers {
                if observer.step(report)?.is_break() {
                    flow = ControlFlow::Break(());
                }
            }
        }
        Ok(flow)
    }

    /// The batch of a step.
    fn choose<'b, D: Host<E>>(
        &mut self,
        trainer: &Trainer<'_, E, D>,
        rows: &'b [usize],
        step: u64,
    ) -> Result<StepBatch<'b, E>, Error>
    where
        'a: 'b,
    {
        let own = own_rows(trainer.ranks, rows.len());
        let targets = self.data.targets.select(&rows[own.clone()]);
        let weights = self.fit.class_weights.as_deref();
        let reading = trainer.model.objective.reading();
        let weights = weights.map(|weights| reading.row_weights(&targets, weights));
        let shared = shared_batch(trainer.ranks, &self.data, rows, &own);
        let width = self.data.width;
        let inputs = match &mut self.hook {
            Some(hook) => {
                let mut inputs = select_wide(self.data.inputs, width, rows);
                let mut rng = stream(self.fit.seed, Purpose::Batch, 0, step);
                hook(&mut inputs, rows, &mut rng);
                check_hooked(&inputs, rows, width, step)?;
                inputs.truncate(own.end * width);
                inputs.drain(..own.start * width);
                BatchInputs::Changed(inputs)
            }
            None => BatchInputs::Rows(self.data.inputs, &rows[own]),
        };
        Ok(StepBatch { inputs, width, targets, weights, shared })
    }
}

/// Whether a hook has left finite inputs: a loss can be finite where they are not.
fn check_hooked<E: Real>(
    inputs: &[E],
    rows: &[usize],
    width: usize,
    step: u64,
) -> Result<(), Error> {
    let Some(i) = inputs.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let (row, column) = (i / width.max(1), i % width.max(1));
    let of_data = rows.get(row).map_or(String::new(), |of| format!(", row {of} of the data"));
    let found =
        format!("{} in row {row}, column {column} of the batch of step {step}{of_data}", inputs[i]);
    Err(Error::argument("Training::each_batch", "finite inputs after the hook", found))
}

/// The model, for some steps.
fn trainee<'t, E: Real, D: Backend<E>>(trainer: &'t mut Trainer<'_, E, D>) -> Trainee<'t, E, D> {
    Trainee {
        model: trainer.model,
        blocks: trainer.blocks.iter_mut().map(|block| &mut **block).collect(),
        ranks: trainer.ranks,
        steps: trainer.counters.steps,
    }
}
