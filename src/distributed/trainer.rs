//! What a trainer does together with the other ranks.

use dfdx::nn::BuildOnDevice;

use super::{
    Facts, Topic, fingerprint,
    pack::{pack, unpack},
};
use crate::{
    device::{Backend, Real},
    error::Error,
    noprop::NoProp,
    variant::{Answers, Variant},
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Does something that all ranks do: one that fails tells the others why.
    pub(crate) fn collective<T>(
        &self,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = work();
        self.told(result)
    }

    /// Tells the other ranks of an error.
    pub(crate) fn told<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let (Some(communicator), Err(error)) = (&self.communicator, &result) {
            communicator.alarm(error);
        }
        result
    }

    /// The same for work on rows, which are the same on all ranks.
    pub(crate) fn together<T>(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.collective(|| {
            if let Some(communicator) = &self.communicator {
                let mut facts = Facts::default();
                facts.add("the call", operation);
                facts.add("rows", rows.len());
                facts.add("fingerprint of the rows", fingerprint(&[rows.as_flattened()]));
                facts.agree(communicator)?;
            }
            work()
        })
    }

    /// Answers to parts of a question, each with its place, from all ranks, in the order of the places.
    pub(crate) fn answers_of_all(
        &self,
        mut own: Vec<(Place, Answers<E>)>,
    ) -> Result<Vec<(Place, Answers<E>)>, Error> {
        if let Some(communicator) = &self.communicator {
            let what = "the answers of an evaluation";
            let message: Vec<_> = own.iter().map(to_bytes).collect();
            let all = communicator.all_gather(Topic::Evaluation, message.concat(), what)?;
            own = all.iter().flat_map(|bytes| from_bytes(bytes)).collect();
            own.sort_by_key(|(place, _)| *place);
        }
        Ok(own)
    }

    /// Numbers of each block, from those of this rank's blocks, in the order of the blocks.
    pub(crate) fn of_all_blocks(&self, own: Vec<Vec<E>>) -> Result<Vec<Vec<E>>, Error> {
        let Some(communicator) = &self.communicator else { return Ok(own) };
        let what = "the gradient of the embedding";
        let layout = self.layout;
        let message: Vec<_> = match layout.replica() {
            0 => own.iter().map(|numbers| E::to_bytes(numbers)).collect(),
            _ => Vec::new(),
        };
        let all = communicator.all_gather(Topic::Training, pack(&message), what)?;
        let mut of_ranks = Vec::with_capacity(all.len());
        for (rank, message) in all.iter().enumerate() {
            let of = layout.of(rank);
            let count = if of.replica() == 0 { of.own().count() } else { 0 };
            let numbers = unpack(message, count, what)?.into_iter();
            of_ranks.push(numbers.map(|bytes| E::from_bytes(&bytes)).collect::<Vec<_>>());
        }
        Ok(layout.in_order(&of_ranks.iter().map(|rank| &rank[..]).collect::<Vec<_>>()))
    }

    /// Which blocks there are here, for a message.
    pub(crate) fn expected_block(&self) -> String {
        let count = self.layout.blocks;
        match &self.communicator {
            None => format!("a block from 1 to {count}"),
            Some(communicator) => {
                let own: Vec<_> = self.layout.own().collect();
                format!("a block of rank {}, which has {own:?} of {count}", communicator.rank())
            }
        }
    }
}

/// Where a part of an answer belongs: the job, the draw, and the point on the way.
type Place = [usize; 3];

/// Place, calls and the number of values, and then these.
fn to_bytes<E: Real>((place, answers): &(Place, Answers<E>)) -> Vec<u8> {
    let head = place.iter().copied().chain([answers.calls, answers.values.len()]);
    let mut bytes: Vec<u8> = head.flat_map(|n| (n as u64).to_le_bytes()).collect();
    bytes.extend(E::to_bytes(&answers.values));
    bytes
}

/// What [`to_bytes`] has made of any number of answers.
fn from_bytes<E: Real>(mut bytes: &[u8]) -> Vec<(Place, Answers<E>)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<40>() {
        let mut head = head.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n) as usize);
        let mut next = || head.next().unwrap_or_default();
        let (place, calls, count) = ([next(), next(), next()], next(), next());
        let Some((values, rest)) = rest.split_at_checked(count.saturating_mul(size_of::<E>()))
        else {
            break;
        };
        all.push((place, Answers { values: E::from_bytes(values), calls }));
        bytes = rest;
    }
    all
}
