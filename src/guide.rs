//! Pages to read: the mathematics beside the code, and shapes as types.

#[doc = include_str!("../docs/mathematics.md")]
pub mod mathematics {}

#[doc = include_str!("../docs/shapes.md")]
pub mod shapes {}

#[cfg(feature = "digits")]
#[doc = include_str!("../docs/images.md")]
pub mod images {}

#[cfg(feature = "digits")]
#[doc = include_str!("../docs/gradient_free.md")]
pub mod gradient_free {}

#[cfg(feature = "digits")]
#[doc = include_str!("../docs/distributed.md")]
pub mod distributed {}

#[cfg(all(feature = "inference", feature = "digits"))]
#[doc = include_str!("../docs/uncertainty.md")]
pub mod uncertainty {}

#[cfg(all(feature = "checkpoint", feature = "digits"))]
#[doc = include_str!("../docs/predictor.md")]
pub mod predictor {}

#[cfg(all(feature = "onnx", feature = "digits"))]
#[doc = include_str!("../docs/onnx.md")]
pub mod onnx {}

#[doc = include_str!("../docs/cuda.md")]
pub mod cuda {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[cfg(all(feature = "checkpoint", feature = "observe", feature = "digits"))]
#[doc = include_str!("../docs/training.md")]
pub mod training {}
