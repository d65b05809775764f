//! The numbers that a model is made of.

use dfdx::shapes::Dtype;
use num_traits::Float;
use rand_distr::uniform::SampleUniform;

/// A floating-point type that the library computes in: `f32` or `f64`.
pub trait Real: Dtype + Float + SampleUniform + std::fmt::Display {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as `f64`.
    fn as_f64(self) -> f64;

    /// The values as bytes, each the least significant byte first.
    fn to_bytes(values: &[Self]) -> Vec<u8>;

    /// Values from such bytes; bytes at the end that do not make a whole number are left out.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

/// How precise the operands of a step's large products are: x and W in x Wᵀ, and those of the
/// products for their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Precision {
    /// That of the model's numbers.
    #[default]
    F32,
    /// bfloat16: 8 bits of each number instead of 24, and its exponent, rounded to the nearest, ties to
    /// even. Sums, weights, what the optimiser remembers and all that lies between two products
    /// stay `f32`, and so do products with less than 32 rows, columns or terms, such as those of the
    /// last layer. Twice as many multiply-adds a second on processors with AVX-512 BF16
    /// (`vdpbf16ps`); elsewhere the same by multiply-adds of `f32`, which is slower than
    /// [`F32`](Self::F32).
    Bf16,
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        self.into()
    }

    fn to_bytes(values: &[Self]) -> Vec<u8> {
        let mut bytes = vec![0; size_of_val(values)];
        let places = bytes.as_chunks_mut().0.iter_mut();
        places.zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }

    fn to_bytes(values: &[Self]) -> Vec<u8> {
        let mut bytes = vec![0; size_of_val(values)];
        let places = bytes.as_chunks_mut().0.iter_mut();
        places.zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
    }
}
