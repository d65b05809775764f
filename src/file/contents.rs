//! Named tensors with text beside them: safetensors files, without a word on what they mean.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors};

use super::{Draft, DraftBytes, DraftTensor};
use crate::{error::Error, number::Real};

/// What a file of tensors holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Text, by name; `checksum` is the file's own.
    pub metadata: BTreeMap<String, String>,
    /// Tensors, no two of one name.
    pub tensors: Vec<NamedTensor>,
}

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, such as `block.1.0.z.weight`.
    pub name: String,
    /// The type of its numbers.
    pub dtype: NumberType,
    /// Its sizes; empty for a single number.
    pub shape: Vec<usize>,
    /// Its numbers, row-major, each the least significant byte first.
    pub bytes: Vec<u8>,
}

/// The type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// `f32`
    F32,
    /// `f64`
    F64,
}

impl NumberType {
    /// How a file calls numbers of this type.
    pub(crate) fn of_real<E: Real>() -> Self {
        if size_of::<E>() == size_of::<f64>() { Self::F64 } else { Self::F32 }
    }

    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }
}

impl NamedTensor {
    /// A tensor of these numbers, row-major.
    pub(crate) fn new<E: Real>(name: String, shape: Vec<usize>, values: &[E]) -> Self {
        Self { name, dtype: NumberType::of_real::<E>(), shape, bytes: E::to_bytes(values) }
    }

    /// The same, to be written.
    fn draft(&self) -> DraftTensor<'_> {
        DraftTensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            length: self.bytes.len(),
            bytes: DraftBytes::InMemory(Cow::Borrowed(&self.bytes)),
        }
    }
}

impl Contents {
    /// The bytes of the file, with one more text entry.
    ///
    /// # Errors
    /// [`Error::Argument`] for two tensors of one name, or for bytes that are not those of the shape.
    pub(crate) fn with_text(&self, name: &str, text: String) -> Result<Vec<u8>, Error> {
        self.draft().to_bytes(name, text)
    }

    /// The same, to be written.
    pub(crate) fn draft(&self) -> Draft<'_> {
        Draft::new(self.metadata.clone(), self.tensors.iter().map(NamedTensor::draft).collect())
    }

    /// What the bytes of a file say, of which no checksum is looked at; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no safetensors file, or that were cut off.
    pub(crate) fn unchecked(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            let found =
                format!("{} bytes that are none ({e}): cut off, or another file", bytes.len());
            Error::file(path, "a whole safetensors file", found)
        })?;
        let mut tensors = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            let Some(dtype) = NumberType::of(view.dtype()) else {
                let found = format!("`{name}` of {:?}", view.dtype());
                return Err(Error::file(path, "tensors of f32 or f64", found));
            };
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            tensors.push(NamedTensor { name: name.to_owned(), dtype, shape, bytes });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { metadata: metadata(bytes), tensors })
    }

    /// Every text and every tensor, each part behind its length, so that no two contents run
    /// together: what a checksum is taken of.
    pub(crate) fn each_part(&self, take: &mut dyn FnMut(&[u8])) {
        // What is in memory can be read.
        self.draft().each_part(take).unwrap_or_default();
    }
}

/// The text of a file whose header is known to be right.
fn metadata(bytes: &[u8]) -> BTreeMap<String, String> {
    let header = SafeTensors::read_metadata(bytes);
    header.ok().and_then(|(_, header)| header.metadata().clone()).into_iter().flatten().collect()
}

/// Tensors of a file by name, each of which can be taken once.
pub(crate) type FileTensors = BTreeMap<String, NamedTensor>;

/// Takes the finite numbers of a tensor of this shape.
///
/// # Errors
/// What was expected, and what came.
pub(crate) fn take<E: Real>(
    tensors: &mut FileTensors,
    name: &str,
    shape: &[usize],
) -> Result<Vec<E>, [String; 2]> {
    let dtype = NumberType::of_real::<E>();
    let expected = format!("the tensor `{name}` of {dtype:?} numbers, {shape:?}");
    let Some(found) = tensors.remove(name) else {
        return Err([expected, "none of this name".to_owned()]);
    };
    if found.dtype != dtype || found.shape != shape {
        return Err([expected, format!("{:?} numbers, {:?}", found.dtype, found.shape)]);
    }
    let values = E::from_bytes(&found.bytes);
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => {
            let expected = format!("finite numbers in the tensor `{name}`");
            Err([expected, format!("{} at place {i}", values[i])])
        }
        None => Ok(values),
    }
}
