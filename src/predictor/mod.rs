//! A trained model for use: weights and how answers come about, without anything that trains.
//!
//! [`NoProp::predictor`](crate::NoProp::predictor) makes one; a file or bytes in the program bring
//! it anywhere. It takes rows as they come, and answers in their own units.

mod any;
#[cfg(feature = "ndarray")]
mod arrays;
mod file;
mod model;
mod parts;
#[cfg(all(test, feature = "training"))]
mod tests;
mod typed;
mod units;

pub use any::AnyPredictor;
pub use model::InferenceNumber;
pub use parts::ModelParts;
pub use typed::Predictor;
