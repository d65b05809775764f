//! Ranks that are threads of one process.

use std::{
    collections::{HashMap, VecDeque},
    sync::mpsc::{Receiver, Sender, channel},
};

use super::{Topic, Transport};
use crate::error::Error;

type Message = (usize, Topic, Vec<u8>);

/// One of some ranks in this process.
pub(super) struct Threads {
    rank: usize,
    others: Vec<Sender<Message>>,
    inbox: Receiver<Message>,
    waiting: HashMap<Topic, VecDeque<(usize, Vec<u8>)>>,
}

impl Threads {
    /// All `ranks` of them.
    pub(super) fn group(ranks: usize) -> Vec<Self> {
        let (others, inboxes): (Vec<_>, Vec<_>) = (0..ranks).map(|_| channel()).unzip();
        let one = |(rank, inbox)| {
            let waiting = HashMap::new();
            Self { rank, others: others.clone(), inbox, waiting }
        };
        inboxes.into_iter().enumerate().map(one).collect()
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.others.len()
    }

    fn send(&mut self, to: usize, topic: Topic, message: Vec<u8>) -> Result<(), Error> {
        if let Some(other) = self.others.get(to) {
            // A rank that is gone gets nothing, as over a network.
            let _ = other.send((self.rank, topic, message));
        }
        Ok(())
    }

    fn receive(
        &mut self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Vec<u8>)>, Error> {
        while let Ok((rank, topic, message)) = self.inbox.try_recv() {
            self.waiting.entry(topic).or_default().push_back((rank, message));
        }
        let queue = self.waiting.entry(topic).or_default();
        let wanted = |(rank, _): &(usize, Vec<u8>)| from.is_none_or(|from| from == *rank);
        let found = queue.iter().position(wanted);
        Ok(found.and_then(|at| queue.remove(at)))
    }
}
