//! Blocks on many machines.
//!
//! Blocks need nothing from each other, so a model of T blocks trains on T machines: rank r of n
//! holds the blocks t with t mod n = r, and those alone. Where there are more ranks than blocks,
//! the ranks of a block are its replicas, each of which learns from its part of a batch. Continuous
//! time and flow matching have one block, so that all ranks are replicas of it.
//!
//! [`NoProp::distributed`](crate::NoProp::distributed) makes such a trainer from a
//! [`Communicator`]; `fit`, `evaluate`, `predict`, `save` and `load` are then collective: all ranks
//! call them, in the same order. The page [`distributed`](crate::guide::distributed) explains what
//! is sent, and when it pays.

mod agree;
mod alarm;
mod answers;
mod communicator;
mod layout;
mod link;
#[cfg(feature = "mpi")]
mod mpi;
mod pack;
mod replicas;
mod seal;
mod settings;
mod threads;
mod transport;

pub use communicator::{Communicator, Traffic};
pub use link::Link;
pub use settings::{Rows, Settings};
pub use transport::{Topic, Transport};

pub(crate) use agree::{Facts, fingerprint};
pub(crate) use answers::{AnswerPart, parts_from_bytes, parts_to_bytes};
pub(crate) use layout::Layout;
pub(crate) use pack::{pack, unpack};
pub(crate) use replicas::{Replicas, Totals};
