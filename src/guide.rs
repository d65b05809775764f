//! Pages to read: the mathematics beside the code, and shapes as types.

#[doc = include_str!("../docs/mathematics.md")]
pub mod mathematics {}

#[doc = include_str!("../docs/shapes.md")]
pub mod shapes {}
