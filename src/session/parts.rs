//! What a run is made of.

use std::sync::atomic::AtomicBool;

use rand_chacha::ChaCha8Rng;

#[cfg(feature = "checkpoint")]
use super::Checkpoints;
use super::{Fit, Observer};
#[cfg(feature = "checkpoint")]
use crate::checkpoint::Identity;
use crate::{data::DataView, device::Real, model::Position};

/// What is done to the inputs of each batch, `[rows, X]`, before it is learned from; it gets the
/// numbers of the rows, and a stream.
pub(crate) type Hook<'a, E> = Box<dyn FnMut(&mut Vec<E>, &[usize], &mut ChaCha8Rng) + 'a>;

/// What a run is made of.
pub struct SessionParts<'a, E: Real> {
    pub(crate) fit: &'a Fit,
    pub(crate) data: DataView<'a, E>,
    pub(crate) validation: Option<DataView<'a, E>>,
    pub(crate) observers: Vec<&'a mut dyn Observer>,
    pub(crate) hook: Option<Hook<'a, E>>,
    pub(crate) interrupt: Option<&'a AtomicBool>,
    #[cfg(feature = "checkpoint")]
    pub(crate) saving: Option<Saving<'a>>,
    /// What the model and its settings are, for ranks that compare them.
    pub(crate) model: Vec<[String; 2]>,
    /// Of a run that was stopped.
    pub(crate) position: Option<Position>,
}

/// Where checkpoints go, and what the model is called in them.
#[cfg(feature = "checkpoint")]
pub struct Saving<'a> {
    pub(crate) checkpoints: &'a mut Checkpoints,
    pub(crate) identity: Identity,
}
