//! How long messages take.

use std::time::Instant;

use super::{Communicator, Topic};
use crate::{device::Real, error::Error};

/// How long messages take between two ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Link {
    /// The time of an empty message, from being sent to being received: half of a round trip.
    pub seconds_a_message: f64,
    /// The bytes of a large message by the time that it takes on top.
    pub bytes_a_second: f64,
}

impl Communicator {
    /// How long messages take between rank 0 and the rank that is slowest to reach, the same on all
    /// ranks; `None` for a rank alone. Collective. For a plan of how many ranks pay.
    ///
    /// # Errors
    /// [`Error::Rank`] if another rank is gone.
    pub fn measure(&self) -> Result<Option<Link>, Error> {
        const SMALL: (usize, u32) = (0, 200);
        const LARGE: (usize, u32) = (1 << 22, 10);
        let what = "a measurement of messages";
        let mut slowest: Option<Link> = None;
        for other in 1..self.ranks() {
            // All wait for the first and the last message, so that no two ranks measure at a time.
            self.all_gather(Topic::Meeting, Vec::new(), what)?;
            let mut seconds = [0.0; 2];
            for ((size, times), seconds) in [SMALL, LARGE].into_iter().zip(&mut seconds) {
                let begin = Instant::now();
                for _ in 0..times {
                    if self.rank() == 0 {
                        self.send(other, Topic::Meeting, vec![0; size])?;
                        self.receive(other, Topic::Meeting, what)?;
                    } else if self.rank() == other {
                        let message = self.receive(0, Topic::Meeting, what)?;
                        self.send(0, Topic::Meeting, message)?;
                    }
                }
                *seconds = begin.elapsed().as_secs_f64() / f64::from(2 * times);
            }
            let link = Link {
                seconds_a_message: seconds[0],
                bytes_a_second: LARGE.0 as f64 / (seconds[1] - seconds[0]).max(1e-9),
            };
            let slower = |old: &Link| link.bytes_a_second < old.bytes_a_second;
            if slowest.as_ref().is_none_or(slower) {
                slowest = Some(link);
            }
        }
        let own = slowest.map_or([0.0; 2], |link| [link.seconds_a_message, link.bytes_a_second]);
        let all = self.all_gather(Topic::Meeting, f64::to_bytes(&own), what)?;
        // Rank 0 has been part of every link.
        let first = all.first().map(|bytes| f64::from_bytes(bytes));
        Ok(first.filter(|_| self.ranks() > 1).and_then(|numbers| match numbers[..] {
            [seconds_a_message, bytes_a_second] => Some(Link { seconds_a_message, bytes_a_second }),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::Settings;

    #[test]
    fn a_link_is_measured_from_both_ends_and_by_one_rank_alone() {
        for n in 1..=3 {
            let all = Communicator::threads(n, Settings::default()).unwrap();
            let measure = |one: Communicator| std::thread::spawn(move || one.measure().unwrap());
            let threads: Vec<_> = all.into_iter().map(measure).collect();
            for thread in threads {
                let link = thread.join().unwrap();
                assert_eq!(link.is_some(), n > 1, "{link:?}");
                if let Some(Link { seconds_a_message, bytes_a_second }) = link {
                    assert!(seconds_a_message > 0.0 && bytes_a_second > 0.0);
                }
            }
        }
    }
}
