//! Models as types: what flows between layers, which layer takes what, and the conditional ResNets.

mod condition;
mod custom;
mod dense;
mod encoded;
mod foreign;
pub mod image;
mod joins;
mod noised;
mod resnet;
mod sequence;
mod signal;
mod stack;
mod takes;
mod time;
mod timed_condition;

pub use condition::Condition;
pub use custom::{Custom, Gives};
pub use dense::{BuiltDense, Dense};
pub use encoded::Encoded;
pub use joins::Joins;
pub use noised::NoisedPass;
pub use resnet::{ConditionalResNetCt, ConditionalResNetDt, ConditionalResNetFm};
pub use sequence::Repeats;
pub use signal::{Activation, Input, Kind, Pair, Signal, Time, Timed, Width};
pub use stack::StackPass;
pub(crate) use stack::{StackedWeights, is_countable, repeated};
pub use takes::{Denoises, Takes};
pub use time::{Even, TimeEmbedding};
pub use timed_condition::TimedCondition;
