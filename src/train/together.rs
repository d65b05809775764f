//! What a run does where several ranks train the model.

use std::ops::Range;

use dfdx::nn::BuildOnDevice;

use super::{Ended, Fit, Means, Training, batch::SharedBatch, training::Rows};
use crate::{
    data::Targets,
    device::{Backend, Real},
    distributed::{self, Facts, Replicas, Topic, fingerprint},
    error::Error,
    head::Head,
    noprop::TargetsOf,
    variant::Variant,
};

/// What ranks agree on at the end of an epoch.
#[derive(Debug, Default)]
pub(super) struct Agreed {
    /// Whether an observer of this rank wants the run to end.
    pub(super) broken: bool,
    /// Whether a checkpoint is due by rank 0's clock.
    pub(super) save: bool,
}

impl<V, M, const Z: usize, const X: usize, E, D> Training<'_, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// How many rows a rank takes from its data for a step.
    pub(super) fn own_batch_size(&self) -> usize {
        match self.has_own_rows() {
            true => self.fit.batch_size / self.model.layout.replicas().len(),
            false => self.fit.batch_size,
        }
    }

    fn has_own_rows(&self) -> bool {
        let settings = self.model.communicator.as_ref().map(|c| c.settings().rows);
        settings == Some(distributed::Rows::Own)
    }

    /// Which of the rows that were taken this rank learns from: at least one, even if it does not count.
    pub(super) fn own_rows(&self, rows: usize) -> Range<usize> {
        if self.has_own_rows() {
            return 0..rows;
        }
        match self.model.layout.part(rows) {
            none if none.is_empty() => 0..rows.min(1),
            own => own,
        }
    }

    /// What replicas need to know of a batch, of which this one learns from `own`.
    pub(super) fn shared_batch(
        &self,
        data: &Rows<V, Z, X, E, D>,
        rows: &[usize],
        own: &Range<usize>,
    ) -> Option<SharedBatch<TargetsOf<V, Z, X, E, D>>> {
        let layout = self.model.layout;
        let replicas = Replicas::new(self.model.communicator.as_ref()?, layout)?;
        Some(match self.has_own_rows() {
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
                targets: Some(data.targets().select(rows)),
                replicas,
            },
        })
    }

    /// All ranks start from the same settings, data and weights, or none does.
    pub(super) fn agree_on_the_run(&self, data: &Rows<V, Z, X, E, D>) -> Result<(), Error> {
        let Some(communicator) = &self.model.communicator else { return Ok(()) };
        let mut facts = Facts::default();
        facts.add("version", env!("CARGO_PKG_VERSION"));
        facts.add("the model", std::any::type_name::<M>());
        facts.add("the numbers", std::any::type_name::<E>());
        facts.add("the widths Z and X", format!("{Z} and {X}"));
        facts.add_settings("settings", &self.model.variant);
        facts.add_settings("settings", &Fit { threads: None, ..self.fit.clone() });
        facts.add_settings("settings", communicator.settings());
        facts.add("steps done", self.model.steps);
        facts.add("a run to go on with", self.model.position.is_some());
        facts.add("rows", data.rows());
        if !self.has_own_rows() {
            facts.add("fingerprint of the rows", self.fingerprint(data));
        }
        facts.add("validation rows", self.validation.map_or(0, |rows| rows.rows()));
        facts.add(
            "fingerprint of the validation rows",
            self.validation.map_or(0, |rows| self.fingerprint(rows)),
        );
        facts.add("a hook on each batch", self.hook.is_some());
        facts.add("checkpoints", self.saves());
        facts.agree(communicator)?;
        self.check_own_rows()
    }

    /// Whether each rank can have rows of its own.
    fn check_own_rows(&self) -> Result<(), Error> {
        let layout = self.model.layout;
        let (replicas, batch) = (layout.replicas().len(), self.fit.batch_size);
        if !self.has_own_rows() {
            return Ok(());
        }
        if layout.ranks > layout.blocks && !layout.ranks.is_multiple_of(layout.blocks) {
            let expected =
                format!("Rows::All, or as many replicas of each of the {} blocks", layout.blocks);
            return Err(Error::config(
                "Settings::rows",
                expected,
                format!("{} ranks", layout.ranks),
            ));
        }
        if batch % replicas != 0 {
            let expected = format!("a multiple of the {replicas} replicas of a block");
            return Err(Error::config("Fit::batch_size", expected, batch));
        }
        Ok(())
    }

    fn fingerprint(&self, data: &Rows<V, Z, X, E, D>) -> u64 {
        let table = self.model.table.as_vec();
        let all: Vec<usize> = (0..data.rows()).collect();
        let targets = all.chunks(4096).map(|rows| data.targets().select(rows));
        let targets: Vec<E> = targets.flat_map(|some| V::Head::embed(&table, &some)).collect();
        fingerprint(&[data.inputs(), &targets])
    }

    /// The means of all blocks, from those of this rank's.
    pub(super) fn means_of_all(&self, own: Means) -> Result<Means, Error> {
        let Some(communicator) = &self.model.communicator else { return Ok(own) };
        let what = "the report of an epoch";
        let all = communicator.all_gather(Topic::Meeting, own.to_bytes(), what)?;
        let all: Vec<Means> = all.iter().map(|bytes| Means::from_bytes(bytes)).collect();
        Ok(Means::of_all(&all, self.model.layout))
    }

    /// Whether the run ends here, and why: as the first rank says that wants it to.
    pub(super) fn agree_on_the_end(&mut self, own: Option<Ended>) -> Result<Option<Ended>, Error> {
        const REASONS: [Ended; 6] = [
            Ended::Finished,
            Ended::NoProgress,
            Ended::OutOfTime,
            Ended::OutOfSteps,
            Ended::Interrupted,
            Ended::Observer,
        ];
        let Some(communicator) = &self.model.communicator else { return Ok(own) };
        let code = own.and_then(|own| REASONS.iter().position(|reason| *reason == own));
        let code = code.map_or(u8::MAX, |code| code as u8);
        let message = vec![code, u8::from(self.is_late_to_save())];
        let all = communicator.all_gather(Topic::Meeting, message, "the end of an epoch")?;
        self.agreed.save = all.first().is_some_and(|first| first.get(1) == Some(&1));
        let mut ends = all.iter().filter_map(|one| REASONS.get(usize::from(*one.first()?)));
        Ok(ends.next().cloned())
    }
}

#[cfg(feature = "checkpoint")]
impl<V, M, const Z: usize, const X: usize, E, D> Training<'_, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// When checkpoints are written, in words.
    fn saves(&self) -> String {
        let saving = self.checkpoints.as_ref();
        saving.map_or_else(|| "none".to_owned(), |saving| format!("{:?}", saving.every()))
    }

    fn is_late_to_save(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|saving| saving.by_the_clock() && saving.is_due(0, 1))
    }
}

#[cfg(not(feature = "checkpoint"))]
impl<V, M, const Z: usize, const X: usize, E, D> Training<'_, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    fn saves(&self) -> &'static str {
        "none"
    }

    fn is_late_to_save(&self) -> bool {
        false
    }
}
