//! What the tests of the library share.

#[path = "../../../tests/common/mod.rs"]
mod shared;

pub use shared::*;
