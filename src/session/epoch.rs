//! The end of an epoch, and what is asked of the model there.

use super::{Fit, Session, agree::means_of_all};
use crate::{
    block::{AnyBlock, Host, averaged},
    data::DataView,
    device::{Backend, Real},
    error::Error,
    infer::{Asked, InputRows},
    model::{Calibration, Model, Position, Trainer},
    report::{Ended, EpochReport},
    step::{self, Runtime},
};

impl<E: Real> Session<'_, E> {
    /// The report of an epoch that is done, and whether it was the last.
    pub(super) fn end_epoch<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        position: &mut Position,
        seconds: f64,
    ) -> Result<(EpochReport, Option<Ended>), Error> {
        check_weights(trainer)?;
        trainer.counters.epochs += 1;
        let last = position.epochs_before.saturating_add(self.fit.epochs as u64);
        let means = std::mem::take(&mut position.means);
        // Whatever fails from here on, the epoch ends once.
        self.position = Some(position.clone());
        let means = means_of_all(trainer.ranks, means)?;
        let weight = trainer.model.objective.setup().cross_entropy;
        let mut report = means.report(trainer.counters.epochs, last as usize, seconds, weight);
        let (mut ended, mut better) = (None, false);
        let turn = (report.epoch - position.epochs_before)
            .is_multiple_of(self.fit.validate_every as u64)
            || report.epoch == last;
        if let Some(rows) = self.validation.as_ref().filter(|_| turn) {
            let evaluation = look(trainer, self.fit, rows, |asked| {
                asked.evaluate("NoProp::evaluate", &rows.targets)
            })?;
            let stop = self.fit.early_stopping.as_ref();
            let least = stop.map_or(0.0, |stop| stop.least);
            better = position.validated(evaluation.loss(), least);
            if stop.is_some_and(|stop| position.waited >= stop.patience) {
                ended = Some(Ended::NoProgress);
            }
            report.validation = Some(evaluation);
        }
        for observer in &mut self.observers {
            if observer.epoch(&report)?.is_break() {
                ended = ended.or(Some(Ended::Observer));
            }
        }
        // After the observers, whose files have this epoch then.
        if better {
            self.save_best(trainer, position)?;
        }
        Ok((report, ended))
    }

    /// Measures what sampling has to know of the blocks, by rows that were held out where there are
    /// some.
    pub(super) fn calibrate<D: Runtime<E>>(
        &self,
        trainer: &mut Trainer<'_, E, D>,
    ) -> Result<(), Error> {
        let rows = self.validation.as_ref().unwrap_or(&self.data);
        let estimate_variances =
            look(trainer, self.fit, rows, |asked| asked.estimate_variances(&rows.targets))?;
        trainer.model.calibration = Calibration { estimate_variances, ..Calibration::default() };
        Ok(())
    }
}

/// [`Error::Diverged`] where the last steps have left weights that are not finite: no loss after
/// them has said so.
pub(super) fn check_weights<E: Real, D: Host<E>>(trainer: &Trainer<'_, E, D>) -> Result<(), Error> {
    let steps = trainer.counters.steps;
    // Those that lie in a file were looked at before.
    let mut here = trainer.blocks.iter().filter(|block| block.state().away.is_none());
    here.try_for_each(|block| step::check_weights::<E, D>(block, steps))
}

/// A model with its moving averages instead of the weights.
struct Averaged<E: Real, D: Backend<E>> {
    model: Model<E, D>,
    blocks: Vec<Box<D::Block>>,
}

impl<E: Real, D: Host<E>> Averaged<E, D> {
    fn new(trainer: &Trainer<'_, E, D>) -> Result<Self, Error> {
        let model = trainer.model.averaged().map_err(Error::device("averaging the model"))?;
        let blocks = trainer.blocks.iter().map(|block| averaged::<E, D>(block));
        Ok(Self { model, blocks: blocks.collect::<Result<_, _>>()? })
    }
}

/// What `ask` finds of the model with some rows: by the averages where they are kept, by the
/// weights elsewhere.
pub(super) fn look<E: Real, D: Host<E>, T>(
    trainer: &Trainer<'_, E, D>,
    fit: &Fit,
    rows: &DataView<'_, E>,
    ask: impl FnOnce(Asked<'_, E, D>) -> Result<T, Error>,
) -> Result<T, Error> {
    let inputs = InputRows::new(rows.inputs, rows.width);
    let ranks = trainer.ranks;
    if fit.average.is_none() {
        let blocks = trainer.blocks.iter().map(|block| &**block).collect();
        return ask(Asked::new(trainer.model, blocks, ranks, inputs));
    }
    if trainer.blocks.iter().any(|block| block.state().away.is_some()) {
        let averaged = trainer.model.averaged().map_err(Error::device("averaging the model"))?;
        let blocks = trainer.blocks.iter().map(|block| &**block).collect();
        return ask(Asked { averages: true, ..Asked::new(&averaged, blocks, ranks, inputs) });
    }
    let averaged = Averaged::new(trainer)?;
    let blocks = averaged.blocks.iter().map(|block| &**block).collect();
    ask(Asked::new(&averaged.model, blocks, ranks, inputs))
}
