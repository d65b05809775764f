//! Ctrl-C as a wish.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::error::Error;

/// A flag that Ctrl-C sets, for [`Training::interrupt`](crate::train::Training::interrupt): the run
/// then ends at the next span of steps, writes its checkpoint and returns. A second Ctrl-C ends the
/// process at once, with status 130.
///
/// It takes the place of what the process did before at Ctrl-C; also where that was to ignore it,
/// as of a job that a script runs in the background.
///
/// # Errors
/// [`Error::Io`] if the system does not let it, or another part of the program uses the crate
/// `ctrlc`.
pub fn ctrl_c() -> Result<&'static AtomicBool, Error> {
    static PRESSED: AtomicBool = AtomicBool::new(false);
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        let handler = || {
            if PRESSED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).map_err(|error| error.to_string())
    };
    match INSTALLED.get_or_init(install) {
        Ok(()) => Ok(&PRESSED),
        Err(error) => {
            let source = std::io::Error::other(error.as_str());
            Err(Error::io("Ctrl-C".as_ref(), "be told of", source))
        }
    }
}
