//! The training loop.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use dfdx::nn::BuildOnDevice;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

#[cfg(feature = "checkpoint")]
use super::Checkpoints;
use super::{
    Batch, Chosen, Ended, EpochReport, Fit, Observer, Outcome, RunReport, StepReport,
    batch::Inputs, position::Position, span::Span, together::Agreed,
};
use crate::{
    data::{Dataset, Targets},
    device::{Backend, Real, Workers},
    error::Error,
    head::Head,
    noprop::{NoProp, TargetsOf},
    random::{Purpose, stream},
    variant::{State, Variant},
};

/// The rows of a trainer's variant.
pub(super) type Rows<V, const Z: usize, const X: usize, E, D> =
    Dataset<X, TargetsOf<V, Z, X, E, D>, E>;
type Hook<'a, V, const Z: usize, const X: usize, E, D> =
    Box<dyn FnMut(&mut Batch<V, Z, X, E, D>, &mut ChaCha8Rng) + 'a>;
type EachEpoch<'a, V, M, const Z: usize, const X: usize, E, D> =
    Box<dyn FnMut(&NoProp<V, M, Z, X, E, D>, &EpochReport) -> Result<ControlFlow<()>, Error> + 'a>;

/// A run that is being put together, by [`NoProp::training`].
///
/// ```
/// use dfdx_noprop::prelude::*;
///
/// type Block = ConditionalResNetDt<10, 64>;
/// let digits = data::digits()?;
/// let split = digits.train.split_stratified(0.1, 0)?;
/// let mut model =
///     NoProp::<DiscreteTime, Block, 10, 64>::new(&AutoDevice::default(), DiscreteTime::default())?;
/// let fit = Fit { epochs: 2, clip: Some(1.0), average: Some(0.99), ..Fit::default() };
/// let outcome = model.training(&fit).validation(&split.test).run(&split.train)?;
/// println!("{}: {:?}", outcome.ended, outcome.epochs[1].validation);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[must_use = "a run starts by `run`"]
pub struct Training<'a, V, M, const Z: usize, const X: usize, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    pub(super) model: &'a mut NoProp<V, M, Z, X, E, D>,
    pub(super) fit: &'a Fit,
    pub(super) validation: Option<&'a Rows<V, Z, X, E, D>>,
    observers: Vec<&'a mut dyn Observer>,
    pub(super) hook: Option<Hook<'a, V, Z, X, E, D>>,
    each_epoch: Option<EachEpoch<'a, V, M, Z, X, E, D>>,
    interrupt: Option<&'a AtomicBool>,
    #[cfg(feature = "checkpoint")]
    pub(super) checkpoints: Option<&'a mut Checkpoints>,
    /// On several ranks: what they agreed on at the end of the last epoch.
    pub(super) agreed: Agreed,
}

/// Steps that blocks take between two meetings, at most: a thread has little to wait for.
const TOGETHER: u64 = 16;

/// The same where nothing is read before the last of them: a GPU sorts the weights for each span.
const LATE: u64 = 64;

impl<'a, V, M, const Z: usize, const X: usize, E, D> Training<'a, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    pub(super) fn new(model: &'a mut NoProp<V, M, Z, X, E, D>, fit: &'a Fit) -> Self {
        Self {
            model,
            fit,
            validation: None,
            observers: Vec::new(),
            hook: None,
            each_epoch: None,
            interrupt: None,
            #[cfg(feature = "checkpoint")]
            checkpoints: None,
            agreed: Agreed::default(),
        }
    }

    /// Rows that are not learned from: evaluated after each [`validate_every`](Fit::validate_every) epochs, by the moving
    /// average of the weights where there is one.
    pub fn validation(mut self, rows: &'a Rows<V, Z, X, E, D>) -> Self {
        self.validation = Some(rows);
        self
    }

    /// Somebody who looks on. Several are told in the order in which they came.
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observers.push(observer);
        self
    }

    /// What is done to each batch before it is learned from: augmentation. The random stream depends on the seed and the
    /// step alone, so that a run that was stopped goes on exactly.
    pub fn each_batch(
        mut self,
        hook: impl FnMut(&mut Batch<V, Z, X, E, D>, &mut ChaCha8Rng) + 'a,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Called with the model and a report after each epoch; a [`ControlFlow::Break`] ends the run.
    pub fn each_epoch(
        mut self,
        observe: impl FnMut(&NoProp<V, M, Z, X, E, D>, &EpochReport) -> Result<ControlFlow<()>, Error>
        + 'a,
    ) -> Self {
        self.each_epoch = Some(Box::new(observe));
        self
    }

    /// Ends the run, at the end of a span of steps, once the flag is set: by Ctrl-C
    /// (`ctrl_c`, with the feature `observe`), or by another thread.
    pub fn interrupt(mut self, flag: &'a AtomicBool) -> Self {
        self.interrupt = Some(flag);
        self
    }

    /// Writes checkpoints along the way, and one at the end, whatever ended the run but an error.
    #[cfg(feature = "checkpoint")]
    pub fn checkpoints(mut self, checkpoints: &'a mut Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Trains on the data.
    ///
    /// # Errors
    /// Those of [`NoProp::fit`], and those of the observers. The model keeps what it has learned up to there.
    pub fn run(mut self, data: &Rows<V, Z, X, E, D>) -> Result<Outcome, Error> {
        let outcome = self.checked(data).map_err(|error| self.with_checkpoint(error));
        self.model.told(outcome)
    }

    fn checked(&mut self, data: &Rows<V, Z, X, E, D>) -> Result<Outcome, Error> {
        self.fit.validate::<V::Head, Z, E>()?;
        let rows = data.rows();
        if rows == 0 {
            return Err(Error::argument("NoProp::fit", "at least one row", 0));
        }
        self.agree_on_the_run(data)?;
        if let Some(position) = &self.model.position {
            position.check(rows, self.fit)?;
        }
        let fresh = Position::start(self.model.epochs, rows, self.fit);
        let mut position = self.model.position.take().unwrap_or(fresh);
        let outcome = self.go(data, &mut position);
        // Other data may lie there the next time.
        self.model.resident = None;
        let done = |outcome: &Outcome| matches!(outcome.ended, Ended::Finished | Ended::NoProgress);
        if !outcome.as_ref().is_ok_and(done) {
            self.model.position = Some(position);
        }
        outcome
    }

    fn go(
        &mut self,
        data: &Rows<V, Z, X, E, D>,
        position: &mut Position,
    ) -> Result<Outcome, Error> {
        let about = self.about(data.rows(), position);
        self.observers.iter_mut().try_for_each(|observer| observer.begin(&about))?;
        let mut epochs = Vec::new();
        let threads = if D::THREADS { self.fit.thread_count() } else { 0 };
        let pieces = match self.model.layout.ranks {
            1 => self.model.variant.pieces(),
            _ => self.model.blocks.len(),
        };
        let workers = Workers::new(threads, pieces)?;
        let ended =
            self.steps((data, &workers), position, about.steps_per_epoch as u64, &mut epochs)?;
        let done = matches!(ended, Ended::Finished | Ended::NoProgress);
        self.save(position, done)?;
        let along = match self.validation {
            Some(rows) => self.model.looked_at(self.fit, |model| model.evaluate_along(rows))?,
            None => Vec::new(),
        };
        let outcome = Outcome { epochs, ended, along };
        self.observers.iter_mut().try_for_each(|observer| observer.end(&outcome))?;
        Ok(outcome)
    }

    fn about(&self, rows: usize, position: &Position) -> RunReport {
        RunReport {
            variant: V::NAME,
            blocks: self.model.layout.blocks,
            parameters: self.model.parameters(),
            rows,
            batch_size: self.fit.batch_size,
            epochs: self.fit.epochs,
            steps_per_epoch: rows.div_ceil(self.own_batch_size()),
            steps_done: position.steps,
            classes: V::Head::CLASSES,
            schedule: self.model.state.points(),
        }
    }

    /// Spans of steps until the run ends; `each` is how many steps an epoch has.
    fn steps(
        &mut self,
        (data, workers): (&Rows<V, Z, X, E, D>, &Workers),
        position: &mut Position,
        each: u64,
        epochs: &mut Vec<EpochReport>,
    ) -> Result<Ended, Error> {
        let (start, mut clock) = (Instant::now(), Instant::now());
        let total = each * self.fit.epochs as u64;
        let last = self.fit.step_limit.map_or(total, |limit| total.min(position.steps + limit));
        let mut order = Vec::new();
        while position.steps < total {
            if position.steps >= last {
                return Ok(Ended::OutOfSteps);
            }
            // Several ranks stop at the end of an epoch only, where they can agree on it.
            if self.model.communicator.is_none()
                && let Some(ended) = self.stop(start)
            {
                return Ok(ended);
            }
            let at = position.steps % each;
            if order.is_empty() || at == 0 {
                order = (0..data.rows()).collect();
                order.shuffle(&mut stream(self.fit.seed, Purpose::Order, self.model.epochs, 0));
            }
            let most = if self.model.late { LATE } else { TOGETHER };
            let count =
                most.min(each - at).min(last - position.steps).min(self.steps_left(position));
            let flow = self.span((data, workers), &order, (at, count, total), position)?;
            if position.steps.is_multiple_of(each) {
                let seconds = clock.elapsed().as_secs_f64();
                let (report, mut ended) = self.end_epoch(position, seconds)?;
                epochs.push(report);
                clock = Instant::now();
                if self.model.communicator.is_some() {
                    ended = ended.or_else(|| self.agreed.broken.then_some(Ended::Observer));
                    if position.steps < total {
                        ended = ended.or_else(|| self.stop(start));
                    }
                    ended = self.agree_on_the_end(ended)?;
                }
                if let Some(ended) = ended {
                    return Ok(ended);
                }
            }
            if self.model.communicator.is_some() {
                self.agreed.broken |= flow.is_break();
            } else if flow.is_break() {
                return Ok(Ended::Observer);
            }
            if position.steps < total && self.is_due(position, each) {
                self.save(position, false)?;
            }
        }
        Ok(Ended::Finished)
    }

    fn stop(&self, start: Instant) -> Option<Ended> {
        let late = |limit| start.elapsed().as_secs_f64() >= limit;
        if self.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            Some(Ended::Interrupted)
        } else if self.fit.time_limit.is_some_and(late) {
            Some(Ended::OutOfTime)
        } else {
            None
        }
    }

    /// `count` steps from batch `at` of the epoch on.
    fn span(
        &mut self,
        (data, workers): (&Rows<V, Z, X, E, D>, &Workers),
        order: &[usize],
        (at, count, total): (u64, u64, u64),
        position: &mut Position,
    ) -> Result<ControlFlow<()>, Error> {
        let before = self.model.steps;
        let batches: Vec<_> = order
            .chunks(self.own_batch_size())
            .skip(at as usize)
            .take(count as usize)
            .zip(before + 1..)
            .map(|(rows, step)| self.choose(data, rows, step))
            .collect();
        let span = Span { fit: self.fit, workers, before: position.steps, total };
        let reports = V::train(self.model, &batches, &span)?;
        position.steps += count;
        let mut flow = ControlFlow::Continue(());
        for (k, report) in reports.into_iter().enumerate() {
            let report = StepReport {
                step: before + 1 + k as u64,
                epoch: self.model.epochs + 1,
                learning_rate: span.stepping(self.model.variant.optimizer(), k).learning_rate(),
                ..report
            };
            position.means.add(&report);
            for observer in &mut self.observers {
                if observer.step(&report)?.is_break() {
                    flow = ControlFlow::Break(());
                }
            }
        }
        Ok(flow)
    }

    fn choose<'b>(
        &mut self,
        data: &'b Rows<V, Z, X, E, D>,
        rows: &'b [usize],
        step: u64,
    ) -> Chosen<'b, X, TargetsOf<V, Z, X, E, D>, E> {
        let own = self.own_rows(rows.len());
        let targets = data.targets().select(&rows[own.clone()]);
        let weights = self.fit.class_weights.as_deref();
        let weights = weights.map(|weights| V::Head::row_weights(&targets, weights));
        let shared = self.shared_batch(data, rows, &own);
        let inputs = match &mut self.hook {
            Some(hook) => {
                let mut batch = Batch::gather(data, rows);
                hook(&mut batch, &mut stream(self.fit.seed, Purpose::Batch, 0, step));
                Inputs::Changed(batch.into_inputs(own))
            }
            None => Inputs::Rows(data.samples(), &rows[own]),
        };
        Chosen { inputs, targets, weights, shared }
    }

    /// The report of an epoch that is done, and whether it was the last.
    fn end_epoch(
        &mut self,
        position: &mut Position,
        seconds: f64,
    ) -> Result<(EpochReport, Option<Ended>), Error> {
        self.model.epochs += 1;
        let last = position.epochs_before + self.fit.epochs as u64;
        let means = self.means_of_all(std::mem::take(&mut position.means))?;
        let mut report = means.report(self.model.epochs, last as usize, seconds);
        let mut ended = None;
        let turn = (report.epoch - position.epochs_before)
            .is_multiple_of(self.fit.validate_every as u64)
            || report.epoch == last;
        if let Some(rows) = self.validation.filter(|_| turn) {
            let evaluation: crate::head::Evaluation =
                self.model.looked_at(self.fit, |model| model.evaluate(rows))?.into();
            let stop = self.fit.early_stopping.as_ref();
            if position.validated(evaluation.loss(), stop) {
                self.save_best(position)?;
            }
            if stop.is_some_and(|stop| position.waited >= stop.patience) {
                ended = Some(Ended::NoProgress);
            }
            report.validation = Some(evaluation);
        }
        for observer in &mut self.observers {
            if observer.epoch(&report)?.is_break() {
                ended = ended.or(Some(Ended::Observer));
            }
        }
        if let Some(each) = &mut self.each_epoch
            && each(self.model, &report)?.is_break()
        {
            ended = ended.or(Some(Ended::Observer));
        }
        Ok((report, ended))
    }
}

/// What a run does with checkpoints, where there are any.
#[cfg(feature = "checkpoint")]
impl<V, M, const Z: usize, const X: usize, E, D> Training<'_, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    fn steps_left(&self, position: &Position) -> u64 {
        self.checkpoints.as_ref().map_or(u64::MAX, |saving| saving.steps_left(position.steps))
    }

    fn is_due(&self, position: &Position, each: u64) -> bool {
        let Some(saving) = &self.checkpoints else { return false };
        if saving.by_the_clock() && self.model.communicator.is_some() {
            return self.agreed.save && position.steps.is_multiple_of(each);
        }
        saving.is_due(position.steps, each)
    }

    fn save(&mut self, position: &Position, done: bool) -> Result<(), Error> {
        match &mut self.checkpoints {
            Some(saving) => saving.save(self.model, (!done).then_some(position), self.fit),
            None => Ok(()),
        }
    }

    fn save_best(&self, position: &Position) -> Result<(), Error> {
        match &self.checkpoints {
            Some(saving) => saving.save_best(self.model, position, self.fit),
            None => Ok(()),
        }
    }

    fn with_checkpoint(&self, error: Error) -> Error {
        let last = self.checkpoints.as_ref().and_then(|saving| saving.last());
        error.with_checkpoint(last.map(ToOwned::to_owned))
    }
}

#[cfg(not(feature = "checkpoint"))]
impl<V, M, const Z: usize, const X: usize, E, D> Training<'_, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: BuildOnDevice<D, E>,
    E: Real,
    D: Backend<E>,
{
    fn steps_left(&self, _position: &Position) -> u64 {
        u64::MAX
    }

    fn is_due(&self, _position: &Position, _each: u64) -> bool {
        false
    }

    fn save(&mut self, _position: &Position, _done: bool) -> Result<(), Error> {
        Ok(())
    }

    fn save_best(&self, _position: &Position) -> Result<(), Error> {
        Ok(())
    }

    fn with_checkpoint(&self, error: Error) -> Error {
        error
    }
}
