//! The ranks that share a model.

use crate::{
    device::Real,
    distributed::{
        AnswerPart, Communicator, Facts, Layout, Topic, fingerprint, pack, parts_from_bytes,
        parts_to_bytes, unpack,
    },
    error::Error,
};

/// Which rank this is, and how it speaks with the others, if there are any.
#[derive(Clone)]
pub(crate) struct Ranks {
    pub(crate) communicator: Option<Communicator>,
    pub(crate) layout: Layout,
}

impl Ranks {
    /// Those of a model of so many blocks.
    pub(crate) fn new(communicator: Option<Communicator>, blocks: usize) -> Self {
        let layout = match &communicator {
            Some(communicator) => communicator.layout(blocks),
            None => Layout::alone(blocks),
        };
        Self { communicator, layout }
    }

    /// Does something that all ranks do: one that fails tells the others why.
    pub(crate) fn collective<T>(
        &self,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.report_to_ranks(work())
    }

    /// Tells the other ranks of an error.
    pub(crate) fn report_to_ranks<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let (Some(communicator), Err(error)) = (&self.communicator, &result) {
            communicator.alarm(error);
        }
        result
    }

    /// The same for work on rows, which are the same on all ranks.
    pub(crate) fn collective_on_rows<E: Real, T>(
        &self,
        operation: &'static str,
        rows: usize,
        inputs: &[E],
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.collective(|| {
            if let Some(communicator) = &self.communicator {
                let mut facts = Facts::default();
                facts.add("the call", operation);
                facts.add("rows", rows);
                facts.add("fingerprint of the rows", fingerprint(&[inputs]));
                facts.agree(communicator)?;
            }
            work()
        })
    }

    /// Answers to parts of a question from all ranks, in the order of the parts.
    pub(crate) fn answers_of_all<E: Real>(
        &self,
        mut own: Vec<AnswerPart<E>>,
    ) -> Result<Vec<AnswerPart<E>>, Error> {
        if let Some(communicator) = &self.communicator {
            let what = "the answers of an evaluation";
            let all = communicator.all_gather(Topic::Evaluation, parts_to_bytes(&own), what)?;
            own = all.iter().flat_map(|bytes| parts_from_bytes(bytes)).collect();
            own.sort_by_key(|part| part.place);
        }
        Ok(own)
    }

    /// Numbers of each block, from those of this rank's blocks, in the order of the blocks.
    pub(crate) fn of_all_blocks<E: Real>(&self, own: Vec<Vec<E>>) -> Result<Vec<Vec<E>>, Error> {
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
