//! Epochs of steps over shuffled batches.

use std::{ops::ControlFlow, time::Instant};

use dfdx::nn::BuildOnDevice;
use rand::seq::SliceRandom;

use super::{Batch, EpochReport, report::Means};
use crate::{
    data::Dataset,
    device::{Backend, Real},
    error::Error,
    noprop::{NoProp, TargetsOf},
    random::{Purpose, stream},
    variant::Variant,
};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// How often each row is learned from: 0 or more.
    pub epochs: usize,
    /// How many rows make a step: at least 1. The last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// How many threads blocks are spread over; `None` for as many as the processor has. The weights do not depend
    /// on it.
    pub threads: Option<usize>,
    /// The seed of the order of the rows and of the noise.
    pub seed: u64,
}

impl Default for Fit {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 128, threads: None, seed: 0 }
    }
}

impl Fit {
    fn validate(&self) -> Result<(), Error> {
        if self.batch_size == 0 {
            return Err(Error::config("Fit::batch_size", "at least 1", 0));
        }
        if self.threads == Some(0) {
            return Err(Error::config("Fit::threads", "at least 1, or None", 0));
        }
        Ok(())
    }

    /// The number of threads, as asked for or as the processor has.
    pub fn thread_count(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Trains on the data; the reports of the epochs come back.
    ///
    /// Called again, it goes on where it stopped.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Argument`] for data without rows,
    /// [`Error::Diverged`] for a loss that is not finite, [`Error::Device`] for a lack of memory.
    pub fn fit(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
    ) -> Result<Vec<EpochReport>, Error> {
        self.fit_with(data, fit, |_, _| Ok(ControlFlow::Continue(())))
    }

    /// Trains on the data, and calls `observe` with the model and a report after each epoch; a
    /// [`ControlFlow::Break`] ends the training.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit), and those that `observe` returns.
    pub fn fit_with(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
        mut observe: impl FnMut(&Self, &EpochReport) -> Result<ControlFlow<()>, Error>,
    ) -> Result<Vec<EpochReport>, Error> {
        fit.validate()?;
        if data.rows() == 0 {
            return Err(Error::argument("NoProp::fit", "at least one row", 0));
        }
        let mut reports = Vec::with_capacity(fit.epochs);
        for _ in 0..fit.epochs {
            let report = self.epoch(data, fit)?;
            let flow = observe(self, &report)?;
            reports.push(report);
            if flow.is_break() {
                break;
            }
        }
        Ok(reports)
    }

    fn epoch(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
    ) -> Result<EpochReport, Error> {
        /// Steps that blocks take between two meetings: a thread has little to wait for.
        const TOGETHER: usize = 16;
        let start = Instant::now();
        let mut order: Vec<usize> = (0..data.rows()).collect();
        order.shuffle(&mut stream(fit.seed, Purpose::Order, self.epochs, 0));
        let batches: Vec<&[usize]> = order.chunks(fit.batch_size).collect();
        let mut means = Means::default();
        for rows in batches.chunks(TOGETHER) {
            let batches: Vec<_> = rows.iter().map(|rows| Batch::gather(data, rows)).collect();
            for step in V::train(self, &batches, fit.seed, fit.thread_count())? {
                means.add(&step);
            }
        }
        self.epochs += 1;
        Ok(means.report(self.epochs, fit.epochs, start.elapsed().as_secs_f64()))
    }
}
