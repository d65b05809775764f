//! What follows a run.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::report::{EpochReport, Outcome, RunReport, StepReport};

/// Something that follows a run: a progress bar, a file of metrics, a plot.
///
/// It sees reports only, never the model, so it can be kept in a `Vec<Box<dyn Observer>>` beside
/// any model. The methods that may end the run return [`ControlFlow::Break`] to do so: the run then
/// ends cleanly, with [`Ended::Observer`](crate::train::Ended::Observer). An error ends it too, and
/// is returned.
///
/// The steps of a span (up to 16, less where a checkpoint is due) are reported together, after the
/// last of them.
pub trait Observer {
    /// Before the first step.
    ///
    /// # Errors
    /// The observer's own.
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        let _ = run;
        Ok(())
    }

    /// After a step.
    ///
    /// # Errors
    /// The observer's own.
    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        let _ = step;
        Ok(ControlFlow::Continue(()))
    }

    /// After an epoch and its validation.
    ///
    /// # Errors
    /// The observer's own.
    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        let _ = epoch;
        Ok(ControlFlow::Continue(()))
    }

    /// Right before a checkpoint is written: what the observer keeps in files has to be there as
    /// far as it has been told, since a run that goes on from the checkpoint tells the rest only.
    ///
    /// # Errors
    /// The observer's own.
    fn saving(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// After the last step, whatever ended the run but an error.
    ///
    /// # Errors
    /// The observer's own.
    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        let _ = outcome;
        Ok(())
    }
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        (**self).begin(run)
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        (**self).step(step)
    }

    fn epoch(&mut self, epoch: &EpochReport) -> Result<ControlFlow<()>, Error> {
        (**self).epoch(epoch)
    }

    fn saving(&mut self) -> Result<(), Error> {
        (**self).saving()
    }

    fn end(&mut self, outcome: &Outcome) -> Result<(), Error> {
        (**self).end(outcome)
    }
}
