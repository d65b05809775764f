//! What a run does where several ranks train the model.

use std::ops::Range;

use super::Session;
use crate::{
    block::Host,
    data::DataView,
    device::Real,
    distributed::{self, Facts, Replicas, Topic, fingerprint},
    error::Error,
    model::{Model, Ranks, Trainer},
    report::{Ended, Means},
    step::SharedBatch,
};

/// What ranks agree on at the end of an epoch.
#[derive(Debug, Default)]
pub(super) struct Agreed {
    /// Whether an observer of this rank wants the run to end.
    pub(super) broken: bool,
    /// Whether a checkpoint is due by rank 0's clock.
    pub(super) save: bool,
}

/// Whether each rank has rows of its own.
pub(super) fn has_own_rows(ranks: &Ranks) -> bool {
    let settings = ranks.communicator.as_ref().map(|communicator| communicator.settings().rows);
    settings == Some(distributed::Rows::Own)
}

impl<E: Real> Session<'_, E> {
    /// How many rows a rank takes from its data for a step.
    pub(super) fn own_batch_size(&self, ranks: &Ranks) -> usize {
        match has_own_rows(ranks) {
            true => self.fit.batch_size / ranks.layout.replicas().len(),
            false => self.fit.batch_size,
        }
    }

    /// All ranks start from the same settings, data and weights, or none does.
    pub(super) fn agree_on_the_run<D: Host<E>>(
        &self,
        trainer: &Trainer<'_, E, D>,
    ) -> Result<(), Error> {
        let (model, ranks) = (&*trainer.model, trainer.ranks);
        let Some(communicator) = &ranks.communicator else { return Ok(()) };
        let mut facts = Facts::default();
        facts.add("version", env!("CARGO_PKG_VERSION"));
        self.describe_model(&mut facts);
        facts.add_settings("settings", &super::Fit { threads: None, ..self.fit.clone() });
        facts.add_settings("settings", communicator.settings());
        facts.add("steps done", trainer.counters.steps);
        facts.add("a run to go on with", self.goes_on);
        facts.add("rows", self.data.rows());
        if !has_own_rows(ranks) {
            facts.add("fingerprint of the rows", of_data(model, &self.data));
        }
        let validation = self.validation.as_ref();
        facts.add("validation rows", validation.map_or(0, DataView::rows));
        facts.add(
            "fingerprint of the validation rows",
            validation.map_or(0, |rows| of_data(model, rows)),
        );
        facts.add("a hook on each batch", self.hook.is_some());
        facts.add("checkpoints", self.saves());
        facts.agree(communicator)?;
        self.check_own_rows(ranks)
    }

    /// Whether each rank can have rows of its own.
    fn check_own_rows(&self, ranks: &Ranks) -> Result<(), Error> {
        let layout = ranks.layout;
        let (replicas, batch) = (layout.replicas().len(), self.fit.batch_size);
        if !has_own_rows(ranks) {
            return Ok(());
        }
        if layout.ranks > layout.blocks && !layout.ranks.is_multiple_of(layout.blocks) {
            let expected =
                format!("Rows::All, or as many replicas of each of the {} blocks", layout.blocks);
            let found = format!("{} ranks", layout.ranks);
            return Err(Error::config("Settings::rows", expected, found));
        }
        if batch % replicas != 0 {
            let expected = format!("a multiple of the {replicas} replicas of a block");
            return Err(Error::config("Fit::batch_size", expected, batch));
        }
        Ok(())
    }

    /// Whether the run ends here, and why: as the first rank says that wants it to.
    pub(super) fn agree_on_the_end(
        &mut self,
        ranks: &Ranks,
        own: Option<Ended>,
    ) -> Result<Option<Ended>, Error> {
        const REASONS: [Ended; 6] = [
            Ended::Finished,
            Ended::NoProgress,
            Ended::OutOfTime,
            Ended::OutOfSteps,
            Ended::Interrupted,
            Ended::Observer,
        ];
        let Some(communicator) = &ranks.communicator else { return Ok(own) };
        let code = own.and_then(|own| REASONS.iter().position(|reason| *reason == own));
        let code = code.map_or(u8::MAX, |code| code as u8);
        let message = vec![code, u8::from(self.is_late_to_save())];
        let all = communicator.all_gather(Topic::Meeting, message, "the end of an epoch")?;
        self.agreed.save = all.first().is_some_and(|first| first.get(1) == Some(&1));
        let mut ends = all.iter().filter_map(|one| REASONS.get(usize::from(*one.first()?)));
        Ok(ends.next().cloned())
    }
}

/// Which of the rows that were taken this rank learns from: at least one, even if it does not
/// count.
pub(super) fn own_rows(ranks: &Ranks, rows: usize) -> Range<usize> {
    if has_own_rows(ranks) {
        return 0..rows;
    }
    match ranks.layout.part(rows) {
        none if none.is_empty() => 0..rows.min(1),
        own => own,
    }
}

/// What replicas need to know of a batch, of which this one learns from `own`.
pub(super) fn shared_batch<E: Real>(
    ranks: &Ranks,
    data: &DataView<'_, E>,
    rows: &[usize],
    own: &Range<usize>,
) -> Option<SharedBatch<E>> {
    let layout = ranks.layout;
    let replicas = Replicas::new(ranks.communicator.as_ref()?, layout)?;
    Some(match has_own_rows(ranks) {
        true => SharedBatch {
            first: layout.replica() * rows.len(),
            rows: layout.replicas().len() * rows.len(),
            counted: rows.len(),
            targets: None,
            replicas,
        },
        false => SharedBatch {
            first: own.start,
            rows: rows.len(),
            counted: layout.part(rows.len()).len(),
            targets: Some(data.targets.select(rows)),
            replicas,
        },
    })
}

/// The means of all blocks, from those of this rank's.
pub(super) fn means_of_all(ranks: &Ranks, own: Means) -> Result<Means, Error> {
    let Some(communicator) = &ranks.communicator else { return Ok(own) };
    let what = "the report of an epoch";
    let all = communicator.all_gather(Topic::Meeting, own.to_bytes(), what)?;
    let all: Vec<Means> = all.iter().map(|bytes| Means::from_bytes(bytes)).collect();
    Ok(Means::of_all(&all, ranks.layout))
}

/// A number that differs where the data do.
fn of_data<E: Real, D: Host<E>>(model: &Model<E, D>, data: &DataView<'_, E>) -> u64 {
    let (reading, embedding) = (model.objective.reading(), model.embedding.numbers());
    let all: Vec<usize> = (0..data.rows()).collect();
    let targets = all.chunks(4096).map(|rows| data.targets.select(rows));
    let targets: Vec<E> = targets.flat_map(|some| reading.embed(&embedding, &some)).collect();
    fingerprint(&[data.inputs, &targets])
}
