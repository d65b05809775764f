//! A predictor as a file, and back.

use std::{collections::BTreeMap, path::Path};

use super::{
    model::Answering,
    parts::{BlockParts, ModelParts},
    units::Units,
};
use crate::{
    device::Real,
    error::Error,
    file::{self, Contents, FileTensors},
    head::Reading,
    model::Calibration,
    plan::{StoredOperation, Widths},
    variant::{Probabilities, ReverseSettings},
};

/// What the first text of every file says; another number is another layout of the file.
const FORMAT: &str = "dfdx-noprop predictor 1";

/// The text entry with the checksum: CRC-32 over all texts and tensors.
pub(super) const CHECKSUM: &str = "crc32";

/// What a file says of a model but for its weights.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// From noise to target.
    pub(crate) process: ReverseSettings,
    /// How targets are embedded and outputs read.
    pub(crate) reading: Reading,
    /// Whose probabilities are the answer; those of the last in a file that does not say.
    #[serde(default = "last")]
    pub(crate) probabilities: Probabilities,
    /// How sure its answers are.
    #[serde(default)]
    pub(crate) calibration: Calibration,
    /// X.
    pub(crate) x: usize,
    /// Those of each block, or one for all.
    pub(crate) operations: Vec<StoredOperation>,
    /// The first module of a user's own, where there is one: no file has it.
    #[serde(skip)]
    pub(crate) module: Option<String>,
}

/// What models answered with before they had a choice.
fn last() -> Probabilities {
    Probabilities::Last
}

impl About {
    /// The operation of the i-th block, counted from 0.
    pub(super) fn operation(&self, i: usize) -> &StoredOperation {
        &self.operations[i.min(self.operations.len() - 1)]
    }

    /// Whether all that it says fits together: the part of a type in a declared model.
    fn check(&self, path: &Path) -> Result<(), Error> {
        let wrong = |expected: String, found: String| Err(Error::file(path, expected, found));
        if let Err((expected, found)) = self.reading.check() {
            return wrong(expected, found);
        }
        let (blocks, kinds) = (self.process.blocks(), self.operations.len());
        if blocks == 0 || (kinds != 1 && kinds != blocks) {
            let expected = format!("the operations of {blocks} blocks, or of one for all");
            return wrong(expected, kinds.to_string());
        }
        if let Err([expected, found]) = self.calibration.check(blocks) {
            return wrong(expected, found);
        }
        let (z, is_timed) = (self.reading.latent, self.process.is_timed());
        for (i, operation) in self.operations.iter().enumerate() {
            let out = operation.check(Widths { z, x: self.x, is_timed });
            let block = format!("block {}: ", i + 1);
            match out {
                Err([expected, found]) => return wrong(block + &expected, found),
                Ok(out) if out != self.reading.outputs => {
                    let expected = format!("{block}{} numbers at its end", self.reading.outputs);
                    return wrong(expected, out.to_string());
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// The bytes of a file.
///
/// # Errors
/// [`Error::Argument`] for a model with a module of the user's own.
pub(super) fn to_bytes<E: Real>(
    operation: &'static str,
    model: &dyn Answering<E>,
    units: &Units,
) -> Result<Vec<u8>, Error> {
    let tensors = model.tensors(operation)?;
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|e| Error::argument(operation, "settings that can be written as JSON", e))
    };
    let texts = [
        ("format", FORMAT.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("model", json(serde_json::to_string(model.about()))?),
        ("units", json(serde_json::to_string(units))?),
    ];
    let metadata = texts.map(|(name, text)| (name.to_owned(), text)).into();
    let contents = Contents { metadata, tensors };
    contents.with_text(CHECKSUM, checksum(&contents))
}

/// What the bytes of a file say; `path` is for messages.
///
/// # Errors
/// [`Error::File`] for bytes that are no such file, were cut off or altered, or say what does not
/// fit together.
pub(super) fn from_bytes<E: Real>(
    bytes: &[u8],
    path: &Path,
) -> Result<(ModelParts<E>, Units), Error> {
    let mut contents = Contents::unchecked(bytes, path)?;
    match contents.metadata.get("format").map(String::as_str) {
        Some(FORMAT) => {}
        Some(other) => {
            let expected = format!("a {FORMAT}, as `Predictor::save` writes it");
            return Err(Error::file(path, expected, format!("a {other}")));
        }
        None => return Err(Error::file(path, format!("a {FORMAT}"), "another file")),
    }
    let expected = contents.metadata.remove(CHECKSUM).unwrap_or_default();
    let found = checksum(&contents);
    if found != expected {
        let expected = format!("content with the CRC-32 checksum {expected}");
        let found = format!("{found}: the file was altered after it was written");
        return Err(Error::file(path, expected, found));
    }
    let about: About = json(&contents.metadata, "model", path)?;
    about.check(path)?;
    let units: Units = json(&contents.metadata, "units", path)?;
    let Reading { outputs, .. } = about.reading;
    units
        .check("loading a predictor", about.x, outputs, about.reading.has_classes())
        .map_err(|error| Error::file(path, "units that suit the model", error))?;
    let mut tensors: FileTensors =
        contents.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut blocks = Vec::new();
    for i in 0..about.process.blocks() {
        let slots = about.operation(i).slots().into_iter();
        let values = slots.map(|slot| {
            let name = format!("block.{}.{}", i + 1, slot.path);
            let values = take::<E>(&mut tensors, &name, &slot.shape, path)?;
            match values.iter().find(|v| slot.path.ends_with("variance") && **v < E::zero()) {
                Some(bad) => {
                    Err(Error::file(path, format!("variances in `{name}`"), bad.to_string()))
                }
                None => Ok(values),
            }
        });
        blocks.push(BlockParts::Stored(values.collect::<Result<_, _>>()?));
    }
    let embedding = match about.reading.has_classes() {
        true => {
            let (classes, latent) = about.reading.embedding_shape();
            take(&mut tensors, "embedding", &[classes, latent], path)?
        }
        false => Vec::new(),
    };
    match tensors.into_keys().next() {
        Some(name) => Err(Error::file(path, "no tensors but the model's", format!("`{name}`"))),
        None => Ok((ModelParts { about, blocks, embedding }, units)),
    }
}

fn json<T: serde::de::DeserializeOwned>(
    texts: &BTreeMap<String, String>,
    key: &str,
    path: &Path,
) -> Result<T, Error> {
    let text = texts.get(key).map_or("", String::as_str);
    serde_json::from_str(text)
        .map_err(|error| Error::file(path, format!("the text `{key}` of a predictor"), error))
}

/// A tensor of finite numbers, of this shape.
fn take<E: Real>(
    tensors: &mut FileTensors,
    name: &str,
    shape: &[usize],
    path: &Path,
) -> Result<Vec<E>, Error> {
    let wrong = |[expected, found]: [String; 2]| Error::file(path, expected, found);
    file::take(tensors, name, shape).map_err(wrong)
}

pub(super) fn checksum(contents: &Contents) -> String {
    let mut hash = crc32fast::Hasher::new();
    contents.each_part(&mut |bytes| hash.update(bytes));
    format!("{:08x}", hash.finalize())
}
