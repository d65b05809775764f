//! Ctrl-C, and a request to end, as a wish.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::error::Error;

/// What the process has been told.
struct Told {
    stop: Arc<AtomicBool>,
    /// The exit status that goes with the signal; 0 before there was one.
    status: Arc<AtomicUsize>,
}

static TOLD: OnceLock<Result<Told, String>> = OnceLock::new();

/// A flag that Ctrl-C (SIGINT) and SIGTERM set, for
/// [`Training::interrupt`](crate::train::Training::interrupt): the run then ends at the next span of
/// steps, writes its checkpoint and returns. SIGTERM is what Slurm, Kubernetes, Docker and systemd
/// send before they kill. A second signal ends the process at once.
///
/// It stands instead of what the process did before at these signals; also where that was to ignore
/// them, as of a job that a script runs in the background. [`exit_status`] is what the process
/// should then end with.
///
/// # Errors
/// [`Error::Io`] if the system does not let it.
pub fn ctrl_c() -> Result<&'static AtomicBool, Error> {
    match TOLD.get_or_init(|| listen().map_err(|error| error.to_string())) {
        Ok(told) => Ok(&told.stop),
        Err(error) => {
            let source = io::Error::other(error.as_str());
            Err(Error::io("Ctrl-C".as_ref(), "be told of", source))
        }
    }
}

/// What a process that was told to end should end with: 130 after Ctrl-C, 143 after SIGTERM, as
/// shells have it (128 + the signal); `None` where nothing was told.
///
/// ```
/// use std::process::ExitCode;
///
/// // At the end of `main`: 0 unless somebody wanted the program to end before.
/// let code = dfdx_noprop::observe::exit_status().map_or(ExitCode::SUCCESS, ExitCode::from);
/// assert_eq!(code, ExitCode::SUCCESS);
/// ```
pub fn exit_status() -> Option<u8> {
    let told = TOLD.get()?.as_ref().ok()?;
    u8::try_from(told.status.load(Ordering::Relaxed)).ok().filter(|status| *status > 0)
}

fn listen() -> io::Result<Told> {
    let told = Told { stop: Arc::default(), status: Arc::default() };
    for signal in [SIGINT, SIGTERM] {
        let status = 128 + signal;
        // In this order: the first signal finds the flag unset, and the second ends the process.
        flag::register_conditional_shutdown(signal, status, told.stop.clone())?;
        flag::register_usize(signal, told.status.clone(), status.unsigned_abs() as usize)?;
        flag::register(signal, told.stop.clone())?;
    }
    Ok(told)
}
