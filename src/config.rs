//! What every setting can do.

/// Settings that can be kept as data: with the feature `serde`, `Serialize` and `DeserializeOwned`;
/// nothing without it.
#[cfg(feature = "serde")]
pub trait Config: serde::Serialize + serde::de::DeserializeOwned {}

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Config for T {}

/// Settings that can be kept as data: with the feature `serde`, `Serialize` and `DeserializeOwned`;
/// nothing without it.
#[cfg(not(feature = "serde"))]
pub trait Config {}

#[cfg(not(feature = "serde"))]
impl<T> Config for T {}
