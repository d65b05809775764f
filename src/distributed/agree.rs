//! What ranks must have in common before a run.

use std::hash::{DefaultHasher, Hasher};

use super::{
    Communicator, Topic,
    pack::{pack, unpack},
};
use crate::{device::Real, error::Error};

/// Facts by name, such as `rows` and `60000`: the same on every rank, or else an error on every
/// rank.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<[String; 2]>);

impl Facts {
    /// One more.
    pub(crate) fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push([name.to_owned(), value.to_string()]);
    }

    /// Settings, one fact a line: so that the one that differs is named.
    pub(crate) fn add_settings(&mut self, name: &str, settings: &impl std::fmt::Debug) {
        for line in format!("{settings:#?}").lines() {
            self.add(name, line.trim().trim_end_matches(','));
        }
    }

    /// Compares them with those of the other ranks.
    ///
    /// # Errors
    /// [`Error::Rank`] names the first rank, and the first fact of it, that differs from rank 0's.
    pub(crate) fn agree(self, communicator: &Communicator) -> Result<(), Error> {
        let what = "the comparison of settings and data before the run";
        let own = self.0.into_iter().flatten().map(String::into_bytes).collect::<Vec<_>>();
        let count = own.len();
        let message = pack(&[count.to_le_bytes().to_vec(), pack(&own)]);
        let all = communicator.all_gather(Topic::Meeting, message, what)?;
        let read = |bytes: &Vec<u8>| -> Result<Vec<String>, Error> {
            let [count, facts] = &unpack(bytes, 2, what)?[..] else { return Ok(Vec::new()) };
            let count = count.first_chunk().map_or(0, |count| usize::from_le_bytes(*count));
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(unpack(facts, count, what)?.into_iter().map(text).collect())
        };
        let all = all.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some((first, others)) = all.split_first() else { return Ok(()) };
        for (rank, other) in (1..).zip(others) {
            let pairs = first.as_chunks::<2>().0.iter().zip(other.as_chunks::<2>().0);
            if let Some(([name, expected], [_, found])) = { pairs }.find(|(a, b)| a != b) {
                let expected = format!("{name}: {expected}, as rank 0 has it");
                return Err(Error::rank(vec![rank], expected, found));
            }
            if first.len() != other.len() {
                let expected = format!("{} facts about the run, as rank 0 has", first.len());
                return Err(Error::rank(vec![rank], expected, other.len()));
            }
        }
        Ok(())
    }
}

/// A number that differs, but by chance, wherever the values do.
pub(crate) fn fingerprint<E: Real>(values: &[&[E]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for values in values {
        hasher.write_usize(values.len());
        values.chunks(4096).for_each(|some| hasher.write(&E::to_bytes(some)));
    }
    hasher.finish()
}
