//! A trainer as a checkpoint, and back.

use std::path::Path;

use dfdx::nn::BuildOnDevice;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Contents,
    unit::{self, Mismatch, Restored, Tensors, number_type},
};
use crate::{
    device::{Backend, Real},
    error::Error,
    head::SuitsHead,
    nn::Denoises,
    noprop::{Block, NoProp, Runs},
    train::{Fit, Position},
    variant::{State, Variant},
};

/// What the first lines of every checkpoint say; another number is another layout of the file.
const FORMAT: &str = "dfdx-noprop checkpoint 1";
/// Settings of inference, and of what is past: a trainer may differ in them from the checkpoint that it takes.
const FREE: [&str; 4] = ["sampler", "inference", "solver", "seed"];

/// How far the trainer is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    steps: u64,
    epochs: u64,
    /// Steps of each block's optimiser, of the embedding's, and of the schedule's.
    pub(super) blocks: Vec<u64>,
    embedding: u64,
    schedule: u64,
    /// Of a run that is not at its end.
    pub(super) position: Option<Position>,
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Writes all that training depends on into one safetensors file: weights, what the optimisers remember, averages,
    /// embedding, schedule, settings, and where the run is. Random numbers follow from seeds and steps, so nothing of
    /// them has to be kept.
    ///
    /// The file is written under another name, synced and renamed: whatever happens, the path holds the old file or the
    /// new one, whole. Where the trainer is distributed, rank 0 gathers all blocks and writes; the file is that of a trainer
    /// in one process, and loads on any number of ranks.
    ///
    /// # Errors
    /// [`Error::Io`] for a full disk, a folder that is gone or that cannot be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let write = |contents: &Contents| contents.write(path).map(|()| path.to_owned());
        self.collective(|| self.written(self.position.as_ref(), None, write)).map(|_| ())
    }

    /// Takes all that [`save`](Self::save) has written. Training then goes on as if it had never stopped.
    ///
    /// Everything is checked first: the trainer is as it was unless all of it fits. Settings of inference may differ.
    /// Where the trainer is distributed, rank 0 reads the file and sends each rank its blocks.
    ///
    /// # Errors
    /// [`Error::File`] says what differs: the format, the variant, the numbers' type, a width, the model, a setting, a
    /// tensor; or that the file was cut off or altered. [`Error::Io`] if it cannot be read.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.restored(|| Ok(Some((path.to_owned(), Contents::read(path)?)))).map(|_| ())
    }

    /// A trainer made from a checkpoint alone: the settings are those in the file.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().expect("a folder for the example");
    /// # let path = folder.path().join("digits.safetensors");
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let dev = AutoDevice::default();
    /// let digits = data::digits()?;
    /// let mut model = Model::new(&dev, DiscreteTime { blocks: 4, ..DiscreteTime::default() })?;
    /// model.fit(&digits.train, &Fit { epochs: 1, ..Fit::default() })?;
    /// model.save(&path)?;
    ///
    /// let same = Model::from_checkpoint(&dev, &path)?;
    /// assert_eq!(same.predict(digits.test.samples())?, model.predict(digits.test.samples())?);
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`load`](Self::load) and of [`new`](Self::new).
    pub fn from_checkpoint(device: &D, path: impl AsRef<Path>) -> Result<Self, Error>
    where
        M: Denoises<V::Input, E, D>,
        M::Gives: SuitsHead<V::Reader, Z, E, D>,
        D: Runs<V, M, Z, X, E>,
    {
        let path = path.as_ref();
        let contents = Contents::read(path)?;
        Self::check_kind(&contents, path)?;
        let variant = parse(&contents, "settings", path)?;
        let mut model = Self::new(device, variant)?;
        let checked = model.check(contents, path)?;
        model.put(checked)?;
        Ok(model)
    }

    /// Writes the weights alone, for use elsewhere: `block.1.…` to `block.T.…` with dfdx's names for what is in a block,
    /// `embedding` (`[C, Z]`) for heads with classes, `schedule.…` where it is learned. For the averages of the weights
    /// export [`averaged`](Self::averaged).
    ///
    /// Python reads it by `safetensors.numpy.load_file(path)`.
    ///
    /// # Errors
    /// Those of [`save`](Self::save).
    pub fn export(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.collective(|| {
            let mut tensors = Vec::new();
            for block in self.saved_blocks() {
                tensors.extend(unit::weights(&name(block.t), &block.module)?);
            }
            if self.layout.rank == 0 {
                tensors.extend(unit::weights("embedding", &self.table)?);
                if let Some((gamma, _)) = self.state.learned() {
                    tensors.extend(unit::weights("schedule", gamma)?);
                }
            }
            let contents = Contents { metadata: Self::kind(), tensors };
            self.all_written(contents, |all| all.write(path).map(|()| path.to_owned())).map(|_| ())
        })
    }

    /// Writes the weights of block `t`, from 1 to T, under dfdx's own names: dfdx's `load_safetensors` reads them into a
    /// module of the same layers.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no block `t`, and those of [`save`](Self::save).
    pub fn export_block(&self, t: usize, path: impl AsRef<Path>) -> Result<(), Error> {
        let Some(block) = self.blocks.iter().find(|block| block.t == t) else {
            return Err(Error::argument("NoProp::export_block", self.expected_block(), t));
        };
        let tensors = unit::weights("", &block.module)?;
        Contents { metadata: Default::default(), tensors }.write(path.as_ref())
    }

    /// The blocks that are saved from here: the first of a block's replicas saves it.
    fn saved_blocks(&self) -> &[Block<M::Built, E, D>] {
        if self.layout.replica() == 0 { &self.blocks } else { &[] }
    }

    /// What a file has to agree in before anything else of it makes sense.
    fn kind() -> std::collections::BTreeMap<String, String> {
        let numbers = format!("{:?}", number_type::<E>());
        [
            ("format", FORMAT.to_owned()),
            ("variant", V::NAME.to_owned()),
            ("head", short(std::any::type_name::<V::Head>())),
            ("numbers", numbers),
            ("Z", Z.to_string()),
            ("X", X.to_string()),
            ("model", short(std::any::type_name::<M>())),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// All of the trainer, in a run at `position` with the settings `fit`; of a distributed one, this rank's part.
    pub(crate) fn contents(
        &self,
        position: Option<&Position>,
        fit: Option<&Fit>,
    ) -> Result<Contents, Error> {
        let mut tensors = Vec::new();
        for block in self.saved_blocks() {
            tensors.extend(unit::unit(&name(block.t), &block.module, &block.optimizer)?);
        }
        let first = self.layout.rank == 0;
        if first {
            tensors.extend(unit::unit("embedding", &self.table, &self.table_optimizer)?);
        }
        let mut progress = Progress {
            steps: self.steps,
            epochs: self.epochs,
            blocks: self.blocks.iter().map(|block| block.optimizer.steps()).collect(),
            embedding: self.table_optimizer.steps(),
            schedule: 0,
            position: position.cloned(),
        };
        if let Some((gamma, state)) = self.state.learned().filter(|_| first) {
            tensors.extend(unit::unit("schedule", gamma, state)?);
            progress.schedule = state.steps();
        }
        let mut metadata = Self::kind();
        metadata.insert("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        metadata.insert("settings".to_owned(), text(&self.variant)?);
        metadata.insert("progress".to_owned(), text(&progress)?);
        if let Some(fit) = fit {
            metadata.insert("fit".to_owned(), text(fit)?);
        }
        Ok(Contents { metadata, tensors })
    }

    fn check_kind(contents: &Contents, path: &Path) -> Result<(), Error> {
        for key in ["format", "variant", "numbers", "Z", "X", "head", "model"] {
            let expected = &Self::kind()[key];
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

    /// What a checkpoint holds of this rank, if all of it fits the trainer.
    pub(super) fn check(&self, contents: Contents, path: &Path) -> Result<Checked<E, D>, Error> {
        Self::check_kind(&contents, path)?;
        let settings: Value = parse(&contents, "settings", path)?;
        let mine = serde_json::to_value(&self.variant).map_err(unwritable)?;
        check_settings("settings", &mine, &settings, path)?;
        let progress: Progress = parse(&contents, "progress", path)?;
        if progress.blocks.len() != self.layout.blocks {
            let expected = format!("progress of {} blocks", self.layout.blocks);
            return Err(Error::file(path, expected, progress.blocks.len()));
        }
        let mut tensors: Tensors =
            contents.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let parts = self.parts(&progress, &mut tensors).map_err(|mismatch| match mismatch {
            Mismatch::Tensor(expected, found) => Error::file(path, expected, found),
            Mismatch::Other(error) => error,
        })?;
        if let Some(name) = tensors.into_keys().next() {
            let expected = "no tensors but the model's";
            return Err(Error::file(path, expected, format!("`{name}`")));
        }
        let (blocks, table, gamma) = parts;
        Ok(Checked { progress, blocks, table, gamma })
    }

    /// Puts a checkpoint in the trainer's place.
    pub(super) fn put(&mut self, checked: Checked<E, D>) -> Result<(), Error> {
        let Checked { progress, blocks, table, gamma } = checked;
        for (block, restored) in self.blocks.iter_mut().zip(blocks) {
            restored.put(&mut block.module, Some(&mut block.optimizer))?;
        }
        table.put(&mut self.table, Some(&mut self.table_optimizer))?;
        if let (Some((module, state)), Some(restored)) = (self.state.learned_mut(), gamma) {
            restored.put(module, Some(state))?;
        }
        self.steps = progress.steps;
        self.epochs = progress.epochs;
        self.position = progress.position.map(|position| {
            let means = position.means.own(self.layout);
            position.with_means(means)
        });
        Ok(())
    }

    /// What the file holds of blocks, embedding and schedule, each checked.
    #[allow(clippy::type_complexity)]
    fn parts(
        &self,
        progress: &Progress,
        tensors: &mut Tensors,
    ) -> Result<(Vec<Restored<E, D>>, Restored<E, D>, Option<Restored<E, D>>), Mismatch> {
        let blocks = self.blocks.iter().map(|block| {
            let steps = progress.blocks.get(block.t - 1).copied().unwrap_or_default();
            unit::restore(&name(block.t), (&block.module, &block.device), steps, tensors)
        });
        let blocks = blocks.collect::<Result<_, _>>()?;
        let table = (&self.table, &self.device);
        let table = unit::restore("embedding", table, progress.embedding, tensors)?;
        let gamma = match self.state.learned() {
            Some((gamma, _)) => {
                let of = (gamma, &self.device);
                Some(unit::restore("schedule", of, progress.schedule, tensors)?)
            }
            None => None,
        };
        Ok((blocks, table, gamma))
    }
}

/// A checkpoint that fits the trainer.
pub(super) struct Checked<E: Real, D: Backend<E>> {
    progress: Progress,
    blocks: Vec<Restored<E, D>>,
    table: Restored<E, D>,
    gamma: Option<Restored<E, D>>,
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

pub(super) fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(unwritable)
}

/// Settings of a user's own head that serde cannot write.
fn unwritable(error: serde_json::Error) -> Error {
    Error::argument("NoProp::save", "settings that can be written as JSON", error)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    contents: &Contents,
    key: &str,
    path: &Path,
) -> Result<T, Error> {
    let text = contents.metadata.get(key).map_or("", String::as_str);
    let what = |error| Error::file(path, format!("{key} of a trainer"), error);
    serde_json::from_str(text).map_err(what)
}

/// Settings that differ, but for those that may; the first of them is named.
fn check_settings(name: &str, mine: &Value, file: &Value, path: &Path) -> Result<(), Error> {
    if let (Value::Object(mine), Value::Object(file)) = (mine, file) {
        for key in mine.keys().chain(file.keys().filter(|key| !mine.contains_key(*key))) {
            if FREE.contains(&key.as_str()) {
                continue;
            }
            let get = |of: &serde_json::Map<_, _>| of.get(key).cloned().unwrap_or(Value::Null);
            check_settings(&format!("{name}.{key}"), &get(mine), &get(file), path)?;
        }
        return Ok(());
    }
    if mine == file {
        return Ok(());
    }
    Err(Error::file(path, format!("{name} = {mine}, as this trainer has it"), file))
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
