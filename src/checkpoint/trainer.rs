//! A trainer as a checkpoint, and back.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    Contents,
    file::Found,
    gather::{meet, own_part},
    progress::{Beside, Progress},
    settings::{canonical, check_settings, parse, settings, text, unwritable},
    unit::{self, Mismatch, Restored},
};
use crate::{
    block::{AnyBlock, Host, held},
    device::{Backend, Real},
    error::Error,
    file::{FileTensors, NumberType},
    model::{Calibration, Counters, Model, Position, Ranks, Trainer},
    optim::Optimizer,
};

/// What the first lines of every checkpoint say; another number is another layout of the file.
const FORMAT: &str = "dfdx-noprop checkpoint 1";

/// What a model is called in a file: a file for another model is refused by these.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The variant's name.
    pub(crate) variant: &'static str,
    /// The type of the head.
    pub(crate) head: &'static str,
    /// The declaration of a block.
    pub(crate) model: &'static str,
    /// Z and X.
    pub(crate) widths: [usize; 2],
    /// The variant's settings, as JSON.
    pub(crate) settings: String,
}

/// All that a checkpoint holds.
pub struct Saved<'a, E: Real, D: Backend<E>> {
    pub(crate) model: &'a Model<E, D>,
    /// Those of this rank.
    pub(crate) blocks: Vec<&'a D::Block>,
    pub(crate) ranks: &'a Ranks,
    pub(crate) counters: Counters,
    pub(crate) identity: &'a Identity,
}

impl Identity {
    /// What a file has to agree in before anything else of it makes sense.
    fn kind<E: Real>(&self) -> BTreeMap<String, String> {
        let [z, x] = self.widths;
        [
            ("format", FORMAT.to_owned()),
            ("variant", self.variant.to_owned()),
            ("head", short(self.head)),
            ("numbers", format!("{:?}", NumberType::of_real::<E>())),
            ("Z", z.to_string()),
            ("X", x.to_string()),
            ("model", short(self.model)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Whether a file is of such a model.
    pub(crate) fn check<E: Real>(&self, contents: &Contents, path: &Path) -> Result<(), Error> {
        let kind = self.kind::<E>();
        for key in ["format", "variant", "numbers", "Z", "X", "head", "model"] {
            let expected = &kind[key];
            match contents.metadata.get(key) {
                Some(found) if found == expected => {}
                found => {
                    let found = found.map_or("none", String::as_str);
                    return Err(Error::file(path, format!("{key} {expected}"), found));
                }
            }
        }
        Ok(())
    }
}

impl<E: Real, D: Host<E>> Saved<'_, E, D> {
    /// The blocks that are saved from here: the first of a block's replicas saves it.
    fn saved_blocks(&self) -> &[&D::Block] {
        if self.ranks.layout.replica() == 0 { &self.blocks } else { &[] }
    }

    /// Whether the head has classes, which are embedded.
    fn has_embedding(&self) -> bool {
        self.model.objective.reading().has_classes()
    }

    /// All of the trainer, in a run at `position` with the settings `fit`, as JSON; of a
    /// distributed one, this rank's part.
    pub(super) fn contents(
        &self,
        position: Option<&Position>,
        fit: Option<&str>,
    ) -> Result<Contents, Error> {
        let (model, first) = (self.model, self.ranks.layout.rank == 0);
        let mut tensors = Vec::new();
        for block in self.saved_blocks() {
            let block = held::<E, D>(block)?;
            let state = block.state();
            tensors.extend(unit::unit(&name(state.t), block.tensors(), &state.optimizer)?);
        }
        if first && self.has_embedding() {
            tensors.extend(unit::unit("embedding", &model.embedding, &model.embedding_optimizer)?);
        }
        let mut progress = Progress {
            steps: self.counters.steps,
            epochs: self.counters.epochs,
            blocks: self.blocks.iter().map(|block| block.state().optimizer.steps()).collect(),
            embedding: model.embedding_optimizer.steps(),
            schedule: 0,
            position: position.cloned(),
        };
        if let Some(schedule) = model.schedule.as_ref().filter(|_| first) {
            tensors.extend(unit::unit("schedule", &schedule.gamma, &schedule.optimizer)?);
            progress.schedule = schedule.optimizer.steps();
        }
        let mut metadata = self.identity.kind::<E>();
        metadata.insert("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        metadata.insert("settings".to_owned(), self.identity.settings.clone());
        metadata.insert("progress".to_owned(), text(&progress)?);
        if model.calibration != Calibration::default() {
            metadata.insert("calibration".to_owned(), text(&model.calibration)?);
        }
        if let Some(fit) = fit {
            metadata.insert("fit".to_owned(), fit.to_owned());
        }
        Ok(Contents { metadata, tensors })
    }

    /// Whether a file holds this very trainer, by all the numbers that this rank has.
    pub(crate) fn is_in(&self, contents: &Contents) -> Result<bool, Error> {
        let all: HashMap<_, _> =
            contents.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let own = self.contents(None, None)?.tensors;
        Ok(own.iter().all(|tensor| all.get(tensor.name.as_str()) == Some(&tensor)))
    }

    /// Writes the weights alone.
    pub(crate) fn export(&self, path: &Path) -> Result<(), Error> {
        let mut tensors = Vec::new();
        for block in self.saved_blocks() {
            let block = held::<E, D>(block)?;
            tensors.extend(unit::weights(&name(block.state().t), block.tensors())?);
        }
        if self.ranks.layout.rank == 0 {
            if self.has_embedding() {
                tensors.extend(unit::weights("embedding", &self.model.embedding)?);
            }
            if let Some(schedule) = &self.model.schedule {
                tensors.extend(unit::weights("schedule", &schedule.gamma)?);
            }
        }
        let contents = Contents { metadata: self.identity.kind::<E>(), tensors };
        self.write_all(contents, |all| all.write(path).map(|()| path.to_owned())).map(|_| ())
    }

    /// Writes the weights of block `t` under dfdx's own names.
    pub(crate) fn export_block(&self, t: usize, path: &Path) -> Result<(), Error> {
        let Some(block) = self.blocks.iter().find(|block| block.state().t == t) else {
            let expected = self.ranks.expected_block();
            return Err(Error::argument("NoProp::export_block", expected, t));
        };
        let tensors = unit::weights("", held::<E, D>(block)?.tensors())?;
        Contents { metadata: Default::default(), tensors }.write(path)
    }

    /// What a checkpoint holds of this rank, if all of it fits the trainer.
    pub(super) fn check(
        &self,
        contents: Contents,
        path: &Path,
        wanted: Wanted,
    ) -> Result<Checked<E, D>, Error> {
        self.identity.check::<E>(&contents, path)?;
        let progress = match wanted {
            Wanted::Weights => {
                Progress { blocks: vec![0; self.ranks.layout.blocks], ..Progress::default() }
            }
            Wanted::Trainer => {
                let head = short(self.identity.head);
                let settings = canonical(settings(&contents, path)?, &head);
                let mine = serde_json::from_str(&self.identity.settings).map_err(unwritable)?;
                check_settings("settings", &canonical(mine, &head), &settings, path)?;
                parse(&contents, "progress", path)?
            }
        };
        if progress.blocks.len() != self.ranks.layout.blocks {
            let expected = format!("progress of {} blocks", self.ranks.layout.blocks);
            return Err(Error::file(path, expected, progress.blocks.len()));
        }
        let calibration = match wanted {
            Wanted::Trainer if contents.metadata.contains_key("calibration") => {
                parse(&contents, "calibration", path)?
            }
            _ => Calibration::default(),
        };
        let fits = calibration.check(self.ranks.layout.blocks);
        fits.map_err(|[expected, found]| Error::file(path, expected, found))?;
        let beside = Beside {
            embedding: self.model.objective.reading().is_learned(),
            schedule: self.model.schedule.is_some(),
        };
        if let Some((expected, found)) = progress.contradiction(beside) {
            return Err(Error::file(path, expected, found));
        }
        let mut tensors: FileTensors = contents
            .tensors
            .into_iter()
            .filter(|tensor| wanted == Wanted::Trainer || unit::is_weights(&tensor.name))
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        let checked =
            self.parts(progress, calibration, &mut tensors).map_err(|mismatch| match mismatch {
                Mismatch::Tensor(expected, found) => Error::file(path, expected, found),
                Mismatch::Other(error) => error,
            })?;
        if let Some(name) = tensors.into_keys().next() {
            let expected = "no tensors but the model's";
            return Err(Error::file(path, expected, format!("`{name}`")));
        }
        Ok(checked)
    }

    /// What the file holds of blocks, embedding and schedule, each checked.
    fn parts(
        &self,
        progress: Progress,
        calibration: Calibration,
        tensors: &mut FileTensors,
    ) -> Result<Checked<E, D>, Mismatch> {
        let squares = matches!(self.model.objective.optimizer(), Optimizer::AdamW(_));
        let remembered = |steps| unit::Remembered { steps, squares };
        let blocks = self.blocks.iter().map(|block| {
            let block = held::<E, D>(block).map_err(Mismatch::Other)?;
            let state = block.state();
            let steps = progress.blocks.get(state.t - 1).copied().unwrap_or_default();
            let remembered = remembered(steps);
            unit::restore(&name(state.t), block.tensors(), &state.device, remembered, tensors)
        });
        let blocks = blocks.collect::<Result<_, _>>()?;
        let (model, device) = (self.model, &self.model.device);
        let embedding = match self.has_embedding() {
            true => {
                let remembered = remembered(progress.embedding);
                let embedding = &model.embedding;
                Some(unit::restore("embedding", embedding, device, remembered, tensors)?)
            }
            false => {
                // Older files have one, of zeros.
                tensors.remove("embedding");
                None
            }
        };
        let schedule = match &model.schedule {
            Some(schedule) => {
                let (gamma, remembered) = (&schedule.gamma, remembered(progress.schedule));
                Some(unit::restore("schedule", gamma, device, remembered, tensors)?)
            }
            None => None,
        };
        Ok(Checked { progress, calibration, blocks, embedding, schedule })
    }
}

/// What is to be taken from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that training depends on.
    Trainer,
    /// The weights alone.
    Weights,
}

/// A checkpoint that fits the trainer.
pub(super) struct Checked<E: Real, D: Backend<E>> {
    progress: Progress,
    calibration: Calibration,
    blocks: Vec<Restored<E, D>>,
    embedding: Option<Restored<E, D>>,
    schedule: Option<Restored<E, D>>,
}

/// A checkpoint that was taken: where it was, and of a run that is not at its end, where that is.
pub struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) position: Option<Position>,
}

/// Takes the checkpoint that `find` finds, on all ranks or on none.
pub(crate) fn restore<E: Real, D: Host<E>>(
    trainer: Trainer<'_, E, D>,
    identity: &Identity,
    wanted: Wanted,
    find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
) -> Result<Option<Taken>, Error> {
    let ranks = trainer.ranks;
    let Some((path, contents)) = own_part(ranks, find)? else { return Ok(None) };
    let checked = trainer.saved(identity).check(contents, &path, wanted)?;
    meet(ranks)?;
    let position = checked.put(trainer)?;
    Ok(Some(Taken { path, position }))
}

impl<E: Real, D: Host<E>> Checked<E, D> {
    /// Puts a checkpoint in the trainer's place; where its run is.
    fn put(self, trainer: Trainer<'_, E, D>) -> Result<Option<Position>, Error> {
        let Trainer { model, blocks, ranks, counters } = trainer;
        for (block, restored) in blocks.into_iter().zip(self.blocks) {
            block.bring()?;
            let (state, tensors) = block.parts();
            restored.put(tensors, &mut state.optimizer)?;
        }
        if let Some(restored) = self.embedding {
            restored.put(&mut model.embedding, &mut model.embedding_optimizer)?;
        }
        if let (Some(schedule), Some(restored)) = (&mut model.schedule, self.schedule) {
            restored.put(&mut schedule.gamma, &mut schedule.optimizer)?;
        }
        model.calibration = self.calibration;
        *counters =
            Counters { steps: self.progress.steps, epochs: self.progress.epochs, torn: false };
        Ok(self.progress.position.map(|position| {
            let means = position.means.own(ranks.layout);
            position.with_means(means)
        }))
    }
}

impl<E: Real, D: Host<E>> Trainer<'_, E, D> {
    /// All that a checkpoint holds.
    pub(crate) fn saved<'s>(&'s self, identity: &'s Identity) -> Saved<'s, E, D> {
        Saved {
            model: self.model,
            blocks: self.blocks.iter().map(|block| &**block).collect(),
            ranks: self.ranks,
            counters: *self.counters,
            identity,
        }
    }
}

/// What a block is called in a file.
fn name(t: usize) -> String {
    format!("block.{t}")
}

/// A type's name without the modules that it is in.
fn short(name: &str) -> String {
    let mut out = String::new();
    for part in name.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        out.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_lose_their_modules() {
        let name = "(a::b::Condition<a::Dense<10, 128>, c::Dense<64, 128>>, d::e::ReLU)";
        assert_eq!(short(name), "(Condition<Dense<10, 128>, Dense<64, 128>>, ReLU)");
    }
}
