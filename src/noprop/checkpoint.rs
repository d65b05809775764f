//! Trainers as files.

use std::path::{Path, PathBuf};

use super::{NoProp, Runs};
use crate::{
    checkpoint::{Found, Identity, Saved, Wanted, check_blocks, settings, text},
    device::{Backend, Real},
    error::Error,
    head::SuitsHead,
    nn::{Denoises, Layer},
    session::Checkpoints,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Writes all that training depends on into one safetensors file: weights, what the optimisers
    /// remember, averages, embedding, schedule, settings, and where the run is. Random numbers
    /// follow from seeds and steps, so nothing of them has to be kept.
    ///
    /// The file is written under another name, synced and renamed: whatever happens, the path holds
    /// the old file or the new one, whole. Where the trainer is distributed, rank 0 gathers all
    /// blocks and writes; the file is that of a trainer in one process, and loads on any number of
    /// ranks.
    ///
    /// # Errors
    /// [`Error::Io`] for a full disk, a folder that is gone or that cannot be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.counters.check_whole("NoProp::save")?;
        let identity = self.identity()?;
        let saved = self.saved(&identity);
        self.engine.write(&saved, self.position.as_ref(), path.as_ref())
    }

    /// Takes all that [`save`](Self::save) has written. Training then goes on as if it had never
    /// stopped.
    ///
    /// Everything is checked first: the trainer is as it was unless all of it fits. Settings of
    /// inference may differ. Where the trainer is distributed, rank 0 reads the file and sends each
    /// rank its blocks.
    ///
    /// # Errors
    /// [`Error::File`] says what differs: the format, the variant, the numbers' type, a width, the
    /// model, a setting, a tensor; or that the file was cut off or altered. [`Error::Io`] if it
    /// cannot be read.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let mut find = || Ok(Some(Found::open(path)?));
        self.restore(Wanted::Trainer, &mut find).map(|_| ())
    }

    /// Takes the weights of a file that [`export`](Self::export) or [`save`](Self::save) has
    /// written, embedding and learned schedule among them, and nothing else: settings stay, what
    /// optimisers remember and the run that was under way are forgotten, and steps count from 0.
    /// The trainer is as it was unless all of the weights fit.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), but for settings.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let mut find = || Ok(Some(Found::open(path)?));
        self.restore(Wanted::Weights, &mut find).map(|_| ())
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
        let found = Found::open(path)?;
        Self::named(String::new()).check::<E>(&found.contents, path)?;
        let variant: V = serde_json::from_value(settings(&found.contents, path)?)
            .map_err(|error| Error::file(path, "settings of a trainer", error))?;
        check_blocks(&found, variant.blocks())?;
        let mut model = Self::new(device, variant)?;
        let mut found = Some(found);
        model.restore(Wanted::Trainer, &mut || Ok(found.take()))?;
        Ok(model)
    }

    /// Writes the weights alone, for use elsewhere: `block.1.…` to `block.T.…` with dfdx's names
    /// for what is in a block, `embedding` (`[C, Z]`) for heads with classes, `schedule.…` where it
    /// is learned. For the averages of the weights export [`averaged`](Self::averaged).
    ///
    /// Python reads it by `safetensors.numpy.load_file(path)`, and
    /// [`load_weights`](Self::load_weights) takes it back.
    ///
    /// # Errors
    /// Those of [`save`](Self::save).
    pub fn export(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let identity = Self::named(String::new());
        self.engine.export(&self.saved(&identity), None, path.as_ref())
    }

    /// Writes the weights of block `t`, from 1 to T, under dfdx's own names: dfdx's
    /// `load_safetensors` reads them into a module of the same layers.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no block `t`, and those of [`save`](Self::save).
    pub fn export_block(&self, t: usize, path: impl AsRef<Path>) -> Result<(), Error> {
        let identity = Self::named(String::new());
        self.engine.export(&self.saved(&identity), Some(t), path.as_ref())
    }

    /// Takes the checkpoint that `find` finds, on all ranks or on none; where it was, if there is
    /// one.
    pub(crate) fn restore(
        &mut self,
        wanted: Wanted,
        find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
    ) -> Result<Option<PathBuf>, Error> {
        let (identity, engine) = (self.identity()?, self.engine);
        let taken = engine.restore(self.trainer(), &identity, wanted, find)?;
        let Some(taken) = taken else { return Ok(None) };
        self.position = taken.position;
        Ok(Some(taken.path))
    }

    /// What the model is called in a file.
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        Ok(Self::named(text(&self.variant)?))
    }

    fn named(settings: String) -> Identity {
        Identity {
            variant: V::NAME,
            head: std::any::type_name::<V::Head>(),
            model: std::any::type_name::<M>(),
            widths: [Z, X],
            settings,
        }
    }

    /// All that a checkpoint holds.
    fn saved<'a>(&'a self, identity: &'a Identity) -> Saved<'a, E, D> {
        Saved {
            model: &self.model,
            blocks: self.erased_blocks(),
            ranks: &self.ranks,
            counters: self.counters,
            identity,
        }
    }
}

impl Checkpoints {
    /// Loads the last checkpoint of the folder into the trainer; false if there is none. Where the
    /// trainer is distributed all ranks call this, and rank 0 reads.
    ///
    /// Where that is the checkpoint of a run's end, a run with these checkpoints takes no step and
    /// says that it is finished: the same program, started again after it was killed at any moment,
    /// ends with the same weights. To train a finished model further, [`load`](NoProp::load) it and
    /// begin a run in a folder of its own.
    ///
    /// # Errors
    /// Those of [`NoProp::load`].
    pub fn resume<V, M, const Z: usize, const X: usize, E, D>(
        &mut self,
        model: &mut NoProp<V, M, Z, X, E, D>,
    ) -> Result<bool, Error>
    where
        V: Variant<Z, X, E, D>,
        M: Layer<D, E>,
        E: Real,
        D: Backend<E>,
    {
        let Some(path) = model.restore(Wanted::Trainer, &mut || self.latest())? else {
            return Ok(false);
        };
        self.went_on_from(path, model.steps() > 0 && !model.is_unfinished());
        Ok(true)
    }
}
