//! Files that are wrong in every way that a program can make: each is refused with an error that
//! says what is wrong, or read right, in a process whose memory is limited.
//!
//! `NOPROP_HOSTILE=100` tries 100 times as many changes drawn at random.
#![cfg(all(feature = "checkpoint", unix))]

#[path = "../common/cases.rs"]
mod cases;
#[path = "../../../fuzz/src/changes.rs"]
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod counters;
mod data;
mod edits;
mod memory;
mod trainers;

/// How many files are drawn, where a test draws `usual` of them.
fn rounds(usual: usize) -> usize {
    let factor = std::env::var("NOPROP_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    usual * factor
}

/// A folder in memory where the system has such a place: writing there waits for no disk.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
