//! Training: the settings of a run, what goes along with it, and what it reports.

#[cfg(feature = "checkpoint")]
pub use crate::session::{Checkpoints, Every};
pub use crate::{
    noprop::{Batch, Training},
    report::{
        AlongPoint, BlockMean, BlockReport, Ended, EpochReport, Outcome, RunReport, StepReport,
    },
    schedule::SchedulePoint,
    session::{EarlyStopping, Fit, Observer},
};
