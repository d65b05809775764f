//! The training loop, and what it reports.

mod batch;
mod fit;
mod observer;
mod position;
mod report;
mod resident;
#[cfg(feature = "checkpoint")]
mod saving;
mod span;
mod together;
mod training;

pub use batch::Batch;
#[doc(hidden)]
pub use batch::Chosen;
pub use fit::{EarlyStopping, Fit};
pub use observer::Observer;
pub use report::{
    AlongPoint, BlockMean, BlockReport, Ended, EpochReport, Outcome, RunReport, SchedulePoint,
    StepReport,
};

#[cfg(feature = "checkpoint")]
pub use saving::{Checkpoints, Every};
#[doc(hidden)]
pub use span::Span;
pub use training::Training;

pub(crate) use position::Position;
pub(crate) use report::{Means, Trained};
pub(crate) use resident::Resident;
