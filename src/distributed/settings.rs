//! How ranks work together.

use std::time::Duration;

use crate::error::Error;

/// How ranks work together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long a rank waits for another before it takes it for dead: above 0. Whoever waits finds
    /// out, in a tenth of that time more, who is still there. Within an epoch blocks wait for
    /// nobody, so this has to be longer than the ranks differ in the time that they need for an
    /// epoch.
    pub time_out: Duration,
    /// Which rows a rank is given to learn from.
    pub rows: Rows,
}

/// Which rows a rank is given to learn from. Rows that are evaluated are the same on all ranks in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rows {
    /// All of them, the same on each rank: the weights are those of one process. Replicas share out
    /// each batch.
    #[default]
    All,
    /// Its own, as many as each other rank (as [`Dataset::part`](crate::data::Dataset::part) makes
    /// them): a machine reads and keeps its part of the data alone, and its blocks learn from
    /// nothing else. Of the replicas of a block, each takes its share of a batch from its own rows.
    Own,
}

impl Default for Settings {
    /// Five minutes, and all rows on each rank.
    fn default() -> Self {
        Self { time_out: Duration::from_secs(300), rows: Rows::All }
    }
}

impl Settings {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.time_out.is_zero() {
            return Err(Error::config("Settings::time_out", "a time above 0", "0"));
        }
        Ok(())
    }

    /// How long ranks have to answer when one has waited in vain.
    pub(super) fn grace(&self) -> Duration {
        self.time_out / 10
    }
}
