//! Ranks that MPI has started.

use mpi::{
    Threading,
    environment::Universe,
    point_to_point::MatchedReceiveVec,
    request::{Request, StaticScope},
    topology::SimpleCommunicator,
    traits::{Communicator as _, Destination, Source},
};

use super::{Communicator, Settings, Topic, Transport};
use crate::error::Error;

/// One of the processes that `mpirun` has started.
struct Mpi {
    world: SimpleCommunicator,
    /// What has not left yet.
    sends: Vec<Sending>,
    /// MPI ends when this is dropped; all ranks wait for each other then.
    universe: Option<Universe>,
}

/// A message on its way; its bytes stay where they are until it has left.
struct Sending {
    request: Option<Request<'static, [u8], StaticScope>>,
    bytes: *mut [u8],
}

// SAFETY: MPI is initialised so that any thread may call it, one at a time, and whoever holds a transport holds it alone.
unsafe impl Send for Mpi {}

impl Communicator {
    /// The processes that `mpirun` has started this program in; the only one of its kind, if it was started by hand.
    ///
    /// MPI ends when the communicator and all trainers on it are dropped, so keep it until the end of `main`. Where another
    /// rank is gone the process leaves without waiting for MPI's own end.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; [`Error::Device`] if MPI was initialised before, or cannot be called by
    /// several threads in turn.
    pub fn mpi(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let failed = Error::device("starting MPI");
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| failed("it was initialised before"))?;
        if threading < Threading::Serialized {
            return Err(failed("this MPI serves one thread only"));
        }
        let world = universe.world();
        Self::new(Mpi { world, sends: Vec::new(), universe: Some(universe) }, settings)
    }
}

/// MPI's numbers for ranks and tags are signed.
fn number(of: usize) -> Result<i32, Error> {
    i32::try_from(of).map_err(Error::device("a message by MPI"))
}

/// The tag of a topic, above those that other libraries are likely to use.
fn tag(topic: Topic) -> i32 {
    0x4e50 + topic as i32
}

impl Mpi {
    /// Forgets what has left.
    fn clear(&mut self) {
        self.sends.retain_mut(|sending| {
            let Some(request) = sending.request.take() else { return false };
            match request.test() {
                Ok(_) => {
                    // SAFETY: the pointer is that of a box which `send` has let go of, and MPI no longer reads from it.
                    drop(unsafe { Box::from_raw(sending.bytes) });
                    false
                }
                Err(request) => {
                    sending.request = Some(request);
                    true
                }
            }
        });
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.world.rank().unsigned_abs() as usize
    }

    fn ranks(&self) -> usize {
        self.world.size().unsigned_abs() as usize
    }

    fn send(&mut self, to: usize, topic: Topic, message: Vec<u8>) -> Result<(), Error> {
        self.clear();
        let to = number(to)?;
        number(message.len())?;
        let bytes = Box::into_raw(message.into_boxed_slice());
        // SAFETY: the box lives until `clear` finds that the message has left, or for ever.
        let message: &'static [u8] = unsafe { &*bytes };
        let other = self.world.process_at_rank(to);
        let request = other.immediate_send_with_tag(StaticScope, message, tag(topic));
        self.sends.push(Sending { request: Some(request), bytes });
        Ok(())
    }

    fn receive(
        &mut self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Vec<u8>)>, Error> {
        let found = match from {
            Some(rank) => {
                let other = self.world.process_at_rank(number(rank)?);
                other.immediate_matched_probe_with_tag(tag(topic))
            }
            None => self.world.any_process().immediate_matched_probe_with_tag(tag(topic)),
        };
        let Some(found) = found else { return Ok(None) };
        let (bytes, status) = found.matched_receive_vec();
        Ok(Some((status.source_rank().unsigned_abs() as usize, bytes)))
    }

    fn has_sent(&mut self) -> bool {
        self.clear();
        self.sends.is_empty()
    }

    fn abandon(&mut self) {
        // MPI's end waits for all ranks: without it the process can leave.
        std::mem::forget(self.universe.take());
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // What has not left by now never will, and a request must not be dropped.
        self.sends.drain(..).for_each(|sending| std::mem::forget(sending.request));
    }
}
