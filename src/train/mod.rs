//! The training loop, and what it reports.

mod batch;
mod fit;
mod report;

pub use batch::Batch;
pub use fit::Fit;
pub use report::{BlockMean, BlockReport, EpochReport, StepReport};

pub(crate) use report::Trained;
