//! A trained model behind HTTP: JSON in and out, requests that wait are answered together.

pub mod batching;
pub mod digits;
pub mod questions;
pub mod routes;
pub mod server;
