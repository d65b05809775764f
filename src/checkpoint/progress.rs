//! How far a trainer is, as a checkpoint says it.

use serde::{Deserialize, Serialize};

use crate::model::{Counters, Position};

/// No run takes more steps than this, and every count up to it is exact as an `f64`.
const MOST: u64 = 1 << 53;

/// How far the trainer is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) steps: u64,
    pub(super) epochs: u64,
    /// Steps of each block's optimiser, of the embedding's, and of the schedule's.
    pub(super) blocks: Vec<u64>,
    pub(super) embedding: u64,
    pub(super) schedule: u64,
    /// Of a run that is not at its end.
    pub(super) position: Option<Position>,
}

/// What a trainer trains beside its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub(super) embedding: bool,
    pub(super) schedule: bool,
}

impl Progress {
    /// How many steps the optimiser of block t has taken.
    pub(super) fn steps_of(&self, t: usize) -> u64 {
        self.blocks.get(t - 1).copied().unwrap_or_default()
    }

    /// What no training could have left, as what was expected and what came.
    ///
    /// The steps of a block's optimiser may be more than those of the trainer (steps by hand, a
    /// run that diverged) and fewer (another optimiser, averaged weights), and differ between
    /// blocks.
    pub(super) fn contradiction(&self, beside: Beside) -> Option<(String, String)> {
        let least = self.blocks.iter().copied().min().unwrap_or_default();
        let counts = [
            ("steps", self.steps, MOST, "the most that a run can take"),
            ("epochs", self.epochs, self.steps, "one for each step"),
            ("steps of the embedding", self.embedding, least, "those of each block"),
            ("steps of the schedule", self.schedule, MOST, "the most that a run can take"),
        ];
        let blocks = self.blocks.iter().copied().max().unwrap_or_default();
        let all = counts.into_iter().chain([(
            "steps of a block's optimiser",
            blocks,
            MOST,
            "the most that a run can take",
        )]);
        for (what, found, most, why) in all {
            if found > most {
                let expected = format!("progress with at most {most} {what}, {why}");
                return Some((expected, found.to_string()));
            }
        }
        let untrained = [
            ("embedding", beside.embedding, self.embedding),
            ("schedule", beside.schedule, self.schedule),
        ];
        for (what, trained, found) in untrained {
            if !trained && found > 0 {
                let expected = format!("no steps of the {what}, which is not trained");
                return Some((expected, found.to_string()));
            }
        }
        let counters = Counters { steps: self.steps, epochs: self.epochs, torn: false };
        self.position.as_ref()?.contradiction(&counters, self.blocks.len())
    }
}
