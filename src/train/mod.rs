//! The training loop, and what it reports.

mod batch;
mod fit;
mod observer;
mod report;

pub use batch::Batch;
pub use fit::Fit;
pub use observer::Observer;
pub use report::{
    AlongPoint, BlockMean, BlockReport, Ended, EpochReport, Outcome, RunReport, SchedulePoint,
    StepReport,
};

pub(crate) use report::Trained;
