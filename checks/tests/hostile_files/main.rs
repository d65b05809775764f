//! Files that are wrong in every way that a program can make: each is refused with an error that
//! says what is wrong, or read right.
#![cfg(all(feature = "checkpoint", unix))]

#[path = "../common/mod.rs"]
mod common;
mod counters;
