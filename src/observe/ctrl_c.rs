//! Ctrl-C as a wish.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::error::Error;

/// A flag that Ctrl-C sets, for [`Training::interrupt`](crate::train::Training::interrupt): the run then ends at the next
/// span of steps, writes its checkpoint and returns. A second Ctrl-C ends the process at once, with status 130.
///
/// # Errors
/// [`Error::Io`] if the process already handles Ctrl-C in another way.
pub fn ctrl_c() -> Result<&'static AtomicBool, Error> {
    static PRESSED: AtomicBool = AtomicBool::new(false);
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        let handler = || {
            if PRESSED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::try_set_handler(handler).map_err(|error| error.to_string())
    };
    match INSTALLED.get_or_init(install) {
        Ok(()) => Ok(&PRESSED),
        Err(error) => {
            let source = std::io::Error::other(error.as_str());
            Err(Error::io("Ctrl-C".as_ref(), "be told of", source))
        }
    }
}
