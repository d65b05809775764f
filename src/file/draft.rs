//! A file that is to be written, whose tensors need not be in memory together.

use std::{borrow::Cow, collections::BTreeMap};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use super::contents::{NamedTensor, NumberType};
use crate::error::Error;

/// What a file of tensors is to hold.
pub(crate) struct Draft<'a> {
    pub(crate) metadata: BTreeMap<String, String>,
    /// In the order of their names.
    tensors: Vec<DraftTensor<'a>>,
}

/// A tensor of it.
pub(crate) struct DraftTensor<'a> {
    pub(crate) name: String,
    pub(crate) dtype: NumberType,
    pub(crate) shape: Vec<usize>,
    /// How many bytes it has.
    pub(crate) length: usize,
    pub(crate) bytes: DraftBytes<'a>,
}

/// The bytes of a tensor.
pub(crate) enum DraftBytes<'a> {
    InMemory(Cow<'a, [u8]>),
    /// Read anew at each call.
    Read(Box<dyn Fn() -> Result<Vec<u8>, Error> + 'a>),
}

impl DraftTensor<'_> {
    /// Its bytes.
    ///
    /// # Errors
    /// Those of reading them.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, Error> {
        match &self.bytes {
            DraftBytes::InMemory(bytes) => Ok(Cow::Borrowed(bytes)),
            DraftBytes::Read(read) => read().map(Cow::Owned),
        }
    }
}

impl From<NamedTensor> for DraftTensor<'_> {
    fn from(NamedTensor { name, dtype, shape, bytes }: NamedTensor) -> Self {
        let (length, bytes) = (bytes.len(), DraftBytes::InMemory(bytes.into()));
        Self { name, dtype, shape, length, bytes }
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        metadata: BTreeMap<String, String>,
        mut tensors: Vec<DraftTensor<'a>>,
    ) -> Self {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Self { metadata, tensors }
    }

    /// Its tensors, in the order of their names.
    pub(crate) fn tensors(&self) -> &[DraftTensor<'a>] {
        &self.tensors
    }

    /// Every text and every tensor, each part behind its length, so that no two contents run
    /// together: what a checksum is taken of.
    ///
    /// # Errors
    /// Those of reading tensors.
    pub(crate) fn each_part(&self, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut part = |bytes: &[u8]| {
            take(&(bytes.len() as u64).to_le_bytes());
            take(bytes);
        };
        part(&self.metadata.len().to_le_bytes());
        for (name, text) in &self.metadata {
            part(name.as_bytes());
            part(text.as_bytes());
        }
        for tensor in &self.tensors {
            part(tensor.name.as_bytes());
            part(format!("{:?}{:?}", tensor.dtype, tensor.shape).as_bytes());
            part(&tensor.bytes()?);
        }
        Ok(())
    }

    /// The bytes of the file, with one more text entry, from its begin to its end.
    ///
    /// # Errors
    /// [`Error::Argument`] for two tensors of one name, or for bytes that are not those of the
    /// shape; those of reading tensors, and of `take`.
    pub(crate) fn write(
        &self,
        name: &str,
        text: String,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        take(&self.header(name, text)?)?;
        self.tensors.iter().try_for_each(|tensor| take(&tensor.bytes()?))
    }

    /// The same in one piece.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub(crate) fn to_bytes(&self, name: &str, text: String) -> Result<Vec<u8>, Error> {
        let mut file = Vec::new();
        self.write(name, text, &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(file)
    }

    /// What the file begins with. The same contents are the same bytes: entries are in order.
    fn header(&self, name: &str, text: String) -> Result<Vec<u8>, Error> {
        /// What the length of the header is a multiple of, so that numbers are aligned.
        const ALIGNMENT: usize = 8;
        let wrong = |expected: &str, found: String| {
            Err(Error::argument("Contents::to_bytes", expected, found))
        };
        if let Some(pair) = self.tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return wrong("a name for each tensor", format!("two named `{}`", pair[0].name));
        }
        let mut texts: BTreeMap<&str, &str> =
            self.metadata.iter().map(|(name, text)| (&**name, &**text)).collect();
        texts.insert(name, &text);
        let mut entries = BTreeMap::from([("__metadata__", Entry::Text(texts))]);
        let mut end = 0;
        for tensor in &self.tensors {
            let data_offsets = (end, end + tensor.length);
            end = data_offsets.1;
            let (dtype, shape) = (tensor.dtype.dtype(), &*tensor.shape);
            let alone =
                TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (0, tensor.length) };
            if let Err(e) = Metadata::new(None, vec![(String::new(), alone)]) {
                return wrong("bytes of the shape", format!("`{}`: {e}", tensor.name));
            }
            let before = entries.insert(&tensor.name, Entry::Tensor { data_offsets, dtype, shape });
            if before.is_some() {
                return wrong("other names for tensors", format!("`{}`", tensor.name));
            }
        }
        let header = serde_json::to_vec(&entries);
        let mut header = header.or_else(|e| wrong("a safetensors file", e.to_string()))?;
        header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
        Ok([&(header.len() as u64).to_le_bytes(), &header[..]].concat())
    }
}

/// An entry of the header: text by name, or where a tensor lies. Fields are in the order of their
/// names.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Text(BTreeMap<&'a str, &'a str>),
    Tensor { data_offsets: (usize, usize), dtype: Dtype, shape: &'a [usize] },
}
