//! How ranks reach each other.

use crate::error::Error;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// Gradients within an epoch.
    Training,
    /// What ranks agree on before a run, and what they report after each epoch.
    Meeting,
    /// Latents on their way through the blocks, and answers.
    Evaluation,
    /// Weights, on their way into or out of a file.
    Checkpoint,
    /// A rank that failed, or that waits in vain.
    Alarm,
}

impl Topic {
    /// All of them; each one's place is its number.
    pub const ALL: [Self; 5] =
        [Self::Training, Self::Meeting, Self::Evaluation, Self::Checkpoint, Self::Alarm];
}

/// Messages between ranks. Those from one rank to another about the same [`Topic`] arrive in the
/// order in which they were sent.
///
/// The library has two: `Communicator::mpi` (with the feature `mpi`) and
/// [`Communicator::threads`](super::Communicator::threads). With one of your own,
/// [`Communicator::new`](super::Communicator::new) runs on another engine.
pub trait Transport: Send {
    /// This process's number, from 0 on.
    fn rank(&self) -> usize;

    /// How many processes there are, at least 1.
    fn ranks(&self) -> usize;

    /// Starts to send, and does not wait: not even where the other rank is gone.
    ///
    /// # Errors
    /// [`Error::Device`] for what the engine cannot send.
    fn send(&mut self, to: usize, topic: Topic, message: Vec<u8>) -> Result<(), Error>;

    /// The next message from this rank, or from any, with who sent it; `None` if there is none yet.
    ///
    /// # Errors
    /// [`Error::Device`] for what the engine cannot receive.
    fn receive(
        &mut self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Vec<u8>)>, Error>;

    /// Whether all that was sent has left.
    fn has_sent(&mut self) -> bool {
        true
    }

    /// Other ranks may be gone: nothing may wait for them any more, not at the end either.
    fn abandon(&mut self) {}
}
