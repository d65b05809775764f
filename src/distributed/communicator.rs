//! What ranks say to each other: with a limit to how long one waits, and every byte counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Layout, Settings, Topic, Transport,
    alarm::Alarm,
    pack::{pack, unpack},
    seal::{open, seal},
    threads::Threads,
};
use crate::{device::Real, error::Error};

/// The ranks of a distributed run, as one of them sees them; clones are the same rank.
///
/// Calls of a trainer that is distributed are collective: all ranks make the same ones, in the same
/// order.
#[derive(Clone)]
pub struct Communicator(Arc<Shared>);

struct Shared {
    rank: usize,
    ranks: usize,
    settings: Settings,
    line: Mutex<Line>,
}

/// What is used by one thread at a time.
struct Line {
    transport: Box<dyn Transport>,
    traffic: Traffic,
    /// How many messages went to each rank and came from it, by topic.
    sent: HashMap<(usize, Topic), u32>,
    received: HashMap<(usize, Topic), u32>,
    /// Why this rank no longer talks to the others.
    failed: Option<Failure>,
}

/// Which ranks failed, what was expected of them, and what was found.
type Failure = (Vec<usize>, String, String);

/// Bytes that a rank has sent; each message has 8 more, which are not counted: a number and a
/// checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Traffic {
    /// Gradients within epochs: 0 unless a block has replicas or the embedding is learned.
    pub training: u64,
    /// What ranks agree on before a run, and report after each epoch.
    pub meetings: u64,
    /// Latents and answers.
    pub evaluation: u64,
    /// Weights, for files.
    pub checkpoints: u64,
}

impl std::fmt::Debug for Communicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.ranks())
    }
}

impl Communicator {
    /// Ranks that reach each other by `transport`.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range.
    pub fn new(transport: impl Transport + 'static, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let (rank, ranks) = (transport.rank(), transport.ranks());
        let transport = Box::new(transport);
        let (traffic, sent, received) = Default::default();
        let line = Line { transport, traffic, sent, received, failed: None };
        Ok(Self(Arc::new(Shared { rank, ranks, settings, line: Mutex::new(line) })))
    }

    /// `ranks` ranks that are threads of this process: to try out what a cluster will do, and for
    /// tests.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, or no ranks.
    pub fn threads(ranks: usize, settings: Settings) -> Result<Vec<Self>, Error> {
        if ranks == 0 {
            return Err(Error::config("Communicator::threads", "at least 1 rank", 0));
        }
        Threads::group(ranks).into_iter().map(|one| Self::new(one, settings)).collect()
    }

    /// This rank's number, from 0 on.
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.0.ranks
    }

    /// How the ranks work together.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What this rank has sent up to now, alarms apart.
    pub fn traffic(&self) -> Traffic {
        self.line().traffic
    }

    /// Who holds which of `blocks` blocks.
    pub(crate) fn layout(&self, blocks: usize) -> Layout {
        Layout { rank: self.rank(), ranks: self.ranks(), blocks }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, to: usize, topic: Topic, message: Vec<u8>) -> Result<(), Error> {
        let mut line = self.line();
        line.check()?;
        line.send(to, topic, message)
    }

    /// The next message from a rank; `what` says what is waited for.
    pub(crate) fn receive(&self, from: usize, topic: Topic, what: &str) -> Result<Vec<u8>, Error> {
        let mut line = self.line();
        line.check()?;
        let begin = Instant::now();
        loop {
            if let Some((_, message)) = line.transport.receive(Some(from), topic)? {
                return line.open(from, topic, message, what);
            }
            let alarm = line.transport.receive(None, Topic::Alarm)?;
            if alarm.is_some() || begin.elapsed() >= self.0.settings.time_out {
                return Err(self.roll_call(&mut line, alarm, what));
            }
            // Idle: what was sent may need a push to leave.
            line.transport.has_sent();
            pause(begin);
        }
    }

    /// Each rank's message, in the order of the ranks.
    pub(crate) fn all_gather(
        &self,
        topic: Topic,
        own: Vec<u8>,
        what: &str,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let all = self.gather(topic, own, what)?.map(|all| pack(&all));
        unpack(&self.broadcast(topic, all, what)?, self.ranks(), what)
    }

    /// Each rank's message, in the order of the ranks, at rank 0; `None` elsewhere.
    pub(crate) fn gather(
        &self,
        topic: Topic,
        own: Vec<u8>,
        what: &str,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        if self.rank() != 0 {
            self.send(0, topic, own)?;
            return Ok(None);
        }
        let mut all = vec![own];
        for rank in 1..self.ranks() {
            all.push(self.receive(rank, topic, what)?);
        }
        Ok(Some(all))
    }

    /// Rank 0's message, on all ranks: it goes down a binomial tree, so that no rank sends more
    /// than log₂ n times.
    pub(crate) fn broadcast(
        &self,
        topic: Topic,
        first: Option<Vec<u8>>,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        let (rank, ranks) = (self.rank(), self.ranks());
        let (message, below) = match rank {
            0 => (first.unwrap_or_default(), ranks.next_power_of_two()),
            // From the rank without this one's lowest bit; those below have lower bits as well.
            _ => (self.receive(rank & (rank - 1), topic, what)?, rank & rank.wrapping_neg()),
        };
        let bits = std::iter::successors(Some(below >> 1), |bit| Some(bit >> 1));
        for bit in bits.take_while(|bit| *bit > 0) {
            if rank | bit < ranks {
                self.send(rank | bit, topic, message.clone())?;
            }
        }
        Ok(message)
    }

    /// Replaces the values by their sum over the ranks of `group`, which this one is in:
    /// the same at each of them, to the bit. Each sends 2 (m − 1) / m times the values, in 2 (m −
    /// 1) messages (a ring: Patarasuk, Yuan 2009).
    pub(crate) fn sum<E: Real>(
        &self,
        group: &[usize],
        values: &mut [E],
        what: &str,
    ) -> Result<(), Error> {
        let m = group.len();
        let Some(k) = group.iter().position(|rank| *rank == self.rank()) else { return Ok(()) };
        let (next, previous) = (group[(k + 1) % m], group[(k + m - 1) % m]);
        let length = values.len();
        let piece = |i: usize| i % m * length / m..(i % m + 1) * length / m;
        // First each rank comes to hold the sum of one piece, then all sums go round.
        for step in 0..2 * (m - 1) {
            let (give, take) = (piece(k + 2 * m - step), piece(k + 2 * m - step - 1));
            self.send(next, Topic::Training, E::to_bytes(&values[give]))?;
            let got = E::from_bytes(&self.receive(previous, Topic::Training, what)?);
            if got.len() != take.len() {
                let expected = format!("{} numbers in {what}", take.len());
                return Err(Error::rank(vec![previous], expected, got.len()));
            }
            for (value, got) in values[take].iter_mut().zip(got) {
                *value = if step < m - 1 { *value + got } else { got };
            }
        }
        Ok(())
    }

    /// Tells all others why this rank stops, unless they know.
    pub(crate) fn alarm(&self, error: &Error) {
        let mut line = self.line();
        if line.failed.is_some() {
            return;
        }
        let text = Alarm::Failed(error.to_string()).to_bytes();
        for rank in (0..self.ranks()).filter(|rank| *rank != self.rank()) {
            // A rank that cannot be told will find out by waiting.
            let _ = line.transport.send(rank, Topic::Alarm, text.clone());
        }
        let begin = Instant::now();
        while !line.transport.has_sent() && begin.elapsed() < Duration::from_secs(1) {
            pause(begin);
        }
        line.fail((
            vec![self.rank()],
            "this rank not to have failed".to_owned(),
            error.to_string(),
        ));
    }

    /// Finds out which ranks are still there after one has waited in vain, or has heard of it.
    fn roll_call(&self, line: &mut Line, heard: Option<(usize, Vec<u8>)>, what: &str) -> Error {
        let mut waits: Vec<Option<String>> = vec![None; self.ranks()];
        waits[self.rank()] = Some(what.to_owned());
        let own = Alarm::Waits(what.to_owned()).to_bytes();
        for rank in (0..self.ranks()).filter(|rank| *rank != self.rank()) {
            let _ = line.transport.send(rank, Topic::Alarm, own.clone());
        }
        let (begin, mut heard) = (Instant::now(), heard);
        while waits.iter().any(Option::is_none) && begin.elapsed() < self.0.settings.grace() {
            let next = heard.take().or_else(|| line.transport.receive(None, Topic::Alarm).ok()?);
            match next.map(|(rank, bytes)| (rank, Alarm::from_bytes(&bytes))) {
                Some((rank, Alarm::Failed(text))) => {
                    let expected = format!("it to take part in {what}");
                    return line.fail((vec![rank], expected, text));
                }
                Some((rank, Alarm::Waits(what))) => waits[rank] = Some(what),
                None => {
                    line.transport.has_sent();
                    pause(begin);
                }
            }
        }
        let missing: Vec<usize> = (0..self.ranks()).filter(|&rank| waits[rank].is_none()).collect();
        if missing.is_empty() {
            let other = |(rank, other): (usize, Option<String>)| Some((rank, other?));
            let mut others = waits.into_iter().enumerate().filter_map(other);
            let (rank, other) =
                others.find(|(_, other)| other != what).unwrap_or((self.rank(), what.to_owned()));
            let expected = format!("the same calls on all ranks, and here {what}");
            return line.fail((vec![rank], expected, other));
        }
        let limit = self.0.settings.time_out.as_secs_f64();
        let expected = format!("it to take part in {what}");
        line.fail((missing, expected, format!("no sign of it within {limit} s")))
    }
}

impl Line {
    fn check(&self) -> Result<(), Error> {
        match self.failed.clone() {
            Some((ranks, expected, found)) => Err(Error::rank(ranks, expected, found)),
            None => Ok(()),
        }
    }

    fn fail(&mut self, failure: Failure) -> Error {
        self.transport.abandon();
        self.failed = Some(failure.clone());
        let (ranks, expected, found) = failure;
        Error::rank(ranks, expected, found)
    }

    fn send(&mut self, to: usize, topic: Topic, message: Vec<u8>) -> Result<(), Error> {
        let bytes = message.len() as u64;
        match topic {
            Topic::Training => self.traffic.training += bytes,
            Topic::Meeting => self.traffic.meetings += bytes,
            Topic::Evaluation => self.traffic.evaluation += bytes,
            Topic::Checkpoint => self.traffic.checkpoints += bytes,
            Topic::Alarm => {}
        }
        let number = self.sent.entry((to, topic)).or_default();
        let message = seal(message, *number);
        *number = number.wrapping_add(1);
        self.transport.send(to, topic, message)
    }

    /// What a rank has sent, if it is whole and its turn.
    fn open(
        &mut self,
        from: usize,
        topic: Topic,
        message: Vec<u8>,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        let number = self.received.entry((from, topic)).or_default();
        let wanted = *number;
        *number = number.wrapping_add(1);
        let expected = || format!("its message {wanted} for {what}, as it was sent");
        open(message, wanted).map_err(|found| self.fail((vec![from], expected(), found)))
    }
}

impl Drop for Shared {
    /// What was sent last, such as the end of a pipeline, still has to leave.
    fn drop(&mut self) {
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        while line.failed.is_none() && !line.transport.has_sent() {
            if begin.elapsed() > self.settings.time_out {
                line.transport.abandon();
                return;
            }
            pause(begin);
        }
    }
}

/// Waits a little, and longer the longer one has waited: the others may need this core.
fn pause(since: Instant) {
    if since.elapsed() < Duration::from_micros(200) {
        std::thread::yield_now();
    } else {
        std::thread::sleep((since.elapsed() / 20).min(Duration::from_millis(2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_same_on_all_ranks_and_cost_what_a_ring_costs() {
        for n in 1..=5 {
            for length in [0, 1, 4, 17] {
                // Numbers whose sum depends on the order in single precision.
                let value = |rank: usize, i: usize| 0.1f32 * (1 + rank) as f32 + 1e4 * i as f32;
                let sums = std::thread::scope(|scope| {
                    let all = Communicator::threads(n + 1, Settings::default()).unwrap();
                    let one = |communicator: Communicator| {
                        // The last rank has no part in it.
                        let group: Vec<_> = (0..n).rev().collect();
                        let rank = communicator.rank();
                        let mut values: Vec<_> = (0..length).map(|i| value(rank, i)).collect();
                        communicator.sum(&group, &mut values, "a test").unwrap();
                        (values, communicator.traffic())
                    };
                    let threads: Vec<_> =
                        all.into_iter().map(|each| scope.spawn(move || one(each))).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
                });
                for (values, _) in &sums[..n] {
                    assert_eq!(*values, sums[0].0, "{n} ranks");
                    for (i, sum) in values.iter().enumerate() {
                        let exact: f64 = (0..n).map(|rank| f64::from(value(rank, i))).sum();
                        assert!((f64::from(*sum) - exact).abs() <= 1e-6 * exact, "{sum} {exact}");
                    }
                }
                let sent: u64 = sums.iter().map(|(_, traffic)| traffic.training).sum();
                assert_eq!(sent, 4 * 2 * (n as u64 - 1) * length as u64, "{n} ranks, {length}");
                assert_eq!(sums[n].1, Traffic::default());
            }
        }
    }

    #[test]
    fn what_rank_0_says_reaches_all() {
        for n in 1..=9 {
            let all = Communicator::threads(n, Settings::default()).unwrap();
            let one = |communicator: Communicator| {
                let own = (communicator.rank() == 0).then(|| vec![7, 8, 9]);
                let heard = communicator.broadcast(Topic::Meeting, own, "a test").unwrap();
                let rank = communicator.rank() as u8;
                let all = communicator.all_gather(Topic::Meeting, vec![rank; 3], "a test").unwrap();
                (heard, all)
            };
            let threads: Vec<_> =
                all.into_iter().map(|each| std::thread::spawn(move || one(each))).collect();
            for thread in threads {
                let (heard, all) = thread.join().unwrap();
                assert_eq!(heard, [7, 8, 9], "{n} ranks");
                assert_eq!(all, (0..n as u8).map(|rank| vec![rank; 3]).collect::<Vec<_>>());
            }
        }
    }
}
