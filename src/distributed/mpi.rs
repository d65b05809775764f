//! Ranks that MPI has started.

use mpi::{
    Threading,
    environment::Universe,
    request::{Request, StaticScope},
    topology::SimpleCommunicator,
    traits::{Communicator as _, Destination, Equivalence, Source},
};

use super::{Communicator, Settings, Topic, Transport};
use crate::error::Error;

/// One of the processes that `mpirun` has started.
struct Mpi {
    world: SimpleCommunicator,
    /// What has not left yet.
    sends: Vec<Transfer>,
    /// What has been announced and is not here yet, by whom it is from and what it is about.
    receives: Vec<(usize, Topic, Transfer)>,
    /// MPI ends when this is dropped; all ranks wait for each other then.
    universe: Option<Universe>,
}

/// A message on its way; its bytes stay where they are until MPI is done with them.
struct Transfer {
    request: Request<'static, [u8], StaticScope>,
    bytes: *mut [u8],
}

// SAFETY: MPI is initialised so that any thread may call it, one at a time, and whoever holds a
// transport holds it alone.
unsafe impl Send for Mpi {}

impl Transfer {
    /// Begins one: of these bytes, by the request that `start` makes for them.
    fn begin(
        bytes: Vec<u8>,
        start: impl FnOnce(&'static mut [u8]) -> Request<'static, [u8], StaticScope>,
    ) -> Self {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: the box is not touched until `test` finds that MPI is done with it, and lives for
        // ever if it never is.
        let request = start(unsafe { &mut *bytes });
        Self { request, bytes }
    }

    /// The bytes, if MPI is done with them.
    fn test(self) -> Result<Vec<u8>, Self> {
        let Self { request, bytes } = self;
        match request.test() {
            // SAFETY: the pointer is that of the box which `begin` has let go of, and the request
            // that used it has ended.
            Ok(_) => Ok(unsafe { Box::from_raw(bytes) }.into_vec()),
            Err(request) => Err(Self { request, bytes }),
        }
    }
}

impl Communicator {
    /// The processes that `mpirun` has started this program in; the only one of its kind, if it was
    /// started by hand.
    ///
    /// MPI ends when the communicator and all trainers on it are dropped, so keep it until the end
    /// of `main`. Where another rank is gone the process leaves without waiting for MPI's own end.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range; [`Error::Device`] if MPI was initialised
    /// before, or cannot be called by several threads in turn.
    pub fn mpi(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let failed = Error::device("starting MPI");
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| failed("it was initialised before"))?;
        if threading < Threading::Serialized {
            return Err(failed("this MPI serves one thread only"));
        }
        let world = universe.world();
        Self::new(
            Mpi { world, sends: Vec::new(), receives: Vec::new(), universe: Some(universe) },
            settings,
        )
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
        let sends = self.sends.drain(..).filter_map(|sending| sending.test().err());
        self.sends = sends.collect();
    }

    /// Begins to fetch the next message that was announced. A sender that dies then never hands it
    /// over, so nothing may block.
    fn announced(
        &self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Transfer)>, Error> {
        let found = match from {
            Some(rank) => {
                let other = self.world.process_at_rank(number(rank)?);
                other.immediate_matched_probe_with_tag(tag(topic))
            }
            None => self.world.any_process().immediate_matched_probe_with_tag(tag(topic)),
        };
        let Some((message, status)) = found else { return Ok(None) };
        let length = status.count(u8::equivalent_datatype()).unsigned_abs() as usize;
        let receive = |bytes| message.immediate_matched_receive_into(StaticScope, bytes);
        let rank = status.source_rank().unsigned_abs() as usize;
        Ok(Some((rank, Transfer::begin(vec![0; length], receive))))
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
        let other = self.world.process_at_rank(to);
        self.sends.push(Transfer::begin(message, |message| {
            other.immediate_send_with_tag(StaticScope, &*message, tag(topic))
        }));
        Ok(())
    }

    fn receive(
        &mut self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Vec<u8>)>, Error> {
        let awaited = |(rank, about, _): &(usize, Topic, Transfer)| {
            from.is_none_or(|from| from == *rank) && *about == topic
        };
        let (rank, _, message) = match self.receives.iter().position(awaited) {
            Some(i) => self.receives.remove(i),
            None => match self.announced(from, topic)? {
                Some((rank, message)) => (rank, topic, message),
                None => return Ok(None),
            },
        };
        match message.test() {
            Ok(bytes) => Ok(Some((rank, bytes))),
            Err(message) => {
                self.receives.push((rank, topic, message));
                Ok(None)
            }
        }
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
        // What is under way by now stays so, and a request must not be dropped.
        let receives = self.receives.drain(..).map(|(.., message)| message);
        self.sends.drain(..).chain(receives).for_each(|message| std::mem::forget(message.request));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::*;

    const CHILD: &str = "DFDX_NOPROP_TEST_RANK";

    #[test]
    #[ignore = "what each rank does in the test below"]
    fn a_rank_that_dies_while_its_message_is_fetched() {
        let folder = std::path::PathBuf::from(std::env::var_os(CHILD).unwrap());
        let settings = Settings { time_out: Duration::from_millis(500), ..Settings::default() };
        let ranks = Communicator::mpi(settings).unwrap();
        if ranks.rank() == 1 {
            // Too long to be sent before it is asked for.
            ranks.send(0, Topic::Checkpoint, vec![0; 1 << 22]).unwrap();
            std::fs::write(folder.join("sent"), "").unwrap();
            // SIGKILL: as the out-of-memory killer does it.
            let own = std::process::id().to_string();
            Command::new("kill").args(["-9", &own]).status().unwrap();
        }
        while !folder.join("sent").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        let error = ranks.receive(1, Topic::Checkpoint, "a test").unwrap_err();
        let text = format!("{error} after {} ms", begin.elapsed().as_millis());
        std::fs::write(folder.join("found"), text).unwrap();
    }

    #[test]
    fn nobody_waits_for_ever_for_a_message_that_was_announced() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", "30", "mpirun", "--oversubscribe", "-n", "2"]);
        command.arg("--enable-recovery").arg(std::env::current_exe().unwrap());
        command.args(["--ignored", "a_rank_that_dies_while_its_message_is_fetched"]);
        command.env(CHILD, folder.path());
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        let output = command.output().unwrap();
        let found = std::fs::read_to_string(folder.path().join("found")).unwrap_or_default();
        let expected = "rank 1: expected it to take part in a test, found no sign of it";
        assert!(found.starts_with(expected), "{found}\n{output:?}");
    }
}
