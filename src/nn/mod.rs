//! Models as types: what flows between layers, which layer takes what, and the conditional ResNets.

mod condition;
mod custom;
mod dense;
mod foreign;
pub mod image;
mod joins;
mod layer;
mod misfit;
mod resnet;
mod sequence;
mod signal;
mod takes;
mod time;
mod timed_condition;
mod typed;

pub use condition::Condition;
pub(crate) use custom::IsPlain;
pub use custom::{Custom, Gives};
pub use dense::{BuiltDense, Dense};
pub use joins::Joins;
pub use layer::Layer;
#[doc(hidden)]
pub use misfit::Misfit;
pub use resnet::{ConditionalResNetCt, ConditionalResNetDt, ConditionalResNetFm};
pub use sequence::Repeats;
pub use signal::{Activation, Input, Kind, Pair, Signal, Time, Timed, Width};
pub use takes::{Denoises, Takes};
pub use time::{Even, TimeEmbedding};
pub use timed_condition::TimedCondition;
