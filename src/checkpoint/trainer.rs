//! A trainer as a checkpoint, and back.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{Contents, progress::Progress, settings::text, unit};
use crate::{
    block::{AnyBlock, Host, held},
    device::{Backend, Real},
    error::Error,
    file::{Draft, DraftTensor, NamedTensor, NumberType},
    model::{Calibration, Counters, Model, Position, Ranks, Trainer},
};

/// What the first lines of every checkpoint say; another number is another layout of the file.
const FORMAT: &str = "dfdx-noprop checkpoint 1";

/// The text entry that says of a file that its blocks are to be taken to memory one by one.
pub(super) const BLOCKS: &str = "blocks";
pub(super) const ONE_BY_ONE: &str = "one by one";

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
    pub(super) fn has_embedding(&self) -> bool {
        self.model.objective.reading().has_classes()
    }

    /// All of the trainer, in a run at `position` with the settings `fit`, as JSON; of a
    /// distributed one, this rank's part.
    pub(super) fn contents(
        &self,
        position: Option<&Position>,
        fit: Option<&str>,
    ) -> Result<Draft<'_>, Error> {
        let (model, first) = (self.model, self.ranks.layout.rank == 0);
        let (mut tensors, mut entries) = (Vec::new(), Vec::new());
        let mut in_file = Vec::new();
        let mut add =
            |some: Vec<NamedTensor>| tensors.extend(some.into_iter().map(DraftTensor::from));
        for block in self.saved_blocks() {
            let state = block.state();
            match &state.away {
                // Blocks are of one type, and have the same tensors.
                Some(away) => {
                    if entries.is_empty() {
                        entries = unit::entries(held::<E, D>(block)?.tensors())?;
                    }
                    in_file.extend(unit::unit_in_file(&name(state.t), &entries, away));
                }
                None => {
                    let block = held::<E, D>(block)?;
                    add(unit::unit(&name(state.t), block.tensors(), &state.optimizer)?);
                }
            }
        }
        if first && self.has_embedding() {
            add(unit::unit("embedding", &model.embedding, &model.embedding_optimizer)?);
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
            add(unit::unit("schedule", &schedule.gamma, &schedule.optimizer)?);
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
        if self.blocks.iter().any(|block| block.state().away.is_some()) {
            metadata.insert(BLOCKS.to_owned(), ONE_BY_ONE.to_owned());
        }
        tensors.extend(in_file);
        Ok(Draft::new(metadata, tensors))
    }

    /// Whether a file holds this very trainer, by all the numbers that this rank has.
    pub(crate) fn is_in(&self, contents: &Contents) -> Result<bool, Error> {
        let all: HashMap<_, _> =
            contents.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let own = self.contents(None, None)?;
        for tensor in own.tensors() {
            let bytes = tensor.bytes()?;
            let is_same = |other: &&NamedTensor| {
                other.dtype == tensor.dtype && other.shape == tensor.shape && *bytes == *other.bytes
            };
            if !all.get(&*tensor.name).is_some_and(is_same) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the weights alone.
    pub(crate) fn export(&self, path: &Path) -> Result<(), Error> {
        let mut tensors = Vec::new();
        for block in self.saved_blocks() {
            let block = held::<E, D>(block)?;
            let weights = unit::weights(&name(block.state().t), block.tensors())?;
            tensors.extend(weights.into_iter().map(DraftTensor::from));
        }
        if self.ranks.layout.rank == 0 {
            if self.has_embedding() {
                let weights = unit::weights("embedding", &self.model.embedding)?;
                tensors.extend(weights.into_iter().map(DraftTensor::from));
            }
            if let Some(schedule) = &self.model.schedule {
                let weights = unit::weights("schedule", &schedule.gamma)?;
                tensors.extend(weights.into_iter().map(DraftTensor::from));
            }
        }
        let draft = Draft::new(self.identity.kind::<E>(), tensors);
        self.write_all(draft, |all| all.save(path).map(|()| path.to_owned())).map(|_| ())
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
pub(super) fn name(t: usize) -> String {
    format!("block.{t}")
}

/// A type's name without the modules that it is in.
pub(super) fn short(name: &str) -> String {
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
