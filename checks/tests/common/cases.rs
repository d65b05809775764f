//! Many cases of what somebody could pass in: each ends, without a panic, with an error or with
//! finite numbers, in a process whose memory is limited.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use dfdx_noprop::Error;

/// What became of all cases.
#[derive(Debug, Default)]
pub struct Counts {
    /// Not taken, with an error that names a setting, an argument or a file.
    pub refused: usize,
    /// Taken, with another error on the way.
    pub failed: usize,
    pub answered: usize,
}

/// One case, with a limit of time. `work` says whether all of its answers are right.
pub fn case(
    counts: &mut Counts,
    name: &str,
    work: impl FnOnce() -> Result<bool, Error> + Send + 'static,
) {
    if std::env::var_os("NOPROP_NAMES").is_some() {
        eprintln!("{name}");
    }
    let (done, result) = channel();
    std::thread::spawn(move || drop(done.send(catch_unwind(AssertUnwindSafe(work)))));
    match result.recv_timeout(Duration::from_secs(60)) {
        Err(_) => panic!("{name}: not done after a minute"),
        Ok(Err(_)) => panic!("{name}: a panic"),
        Ok(Ok(Ok(right))) => {
            assert!(right, "{name}: an answer that is not right");
            counts.answered += 1;
        }
        Ok(Ok(Err(error))) => {
            assert!(!error.to_string().is_empty());
            let named = matches!(
                error,
                Error::Config { .. }
                    | Error::Argument { .. }
                    | Error::File { .. }
                    | Error::Io { .. }
            );
            *(if named { &mut counts.refused } else { &mut counts.failed }) += 1;
        }
    }
}

/// What tells a test that it is the child process of another one.
const CHILD: &str = "NOPROP_CHILD";

/// What a child process was given, or `None` where this is none.
pub fn given() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs a test of this program that is ignored elsewhere, in a process that has so much memory and
/// so many minutes; what it prints.
#[track_caller]
pub fn limited(test: &str, given: &str, megabytes: u64, minutes: u64) -> String {
    let script = "ulimit -v $(($1 * 1024)) && exec \"$0\" --ignored --exact \"$2\" --nocapture";
    let mut child = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args([&megabytes.to_string(), test])
        .env(CHILD, given)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::read_to_string(&mut output).unwrap());
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
        }
    };
    let text = reading.join().unwrap();
    assert!(status.success(), "{test} of {given}, {megabytes} MB: {status}\n{text}");
    text
}
