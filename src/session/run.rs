//! The training loop.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use rand::seq::SliceRandom;

#[cfg(feature = "checkpoint")]
use super::Saving;
use super::{
    Fit, Hook, Observer, SessionParts,
    agree::Agreed,
    checkpoints::FolderLock,
    epoch::{check_weights, look},
    precision::{check_precision, slow_precision},
    warnings::{other_processor, warnings},
};
use crate::{
    block::{AnyBlock, Host, held},
    data::DataView,
    device::{Real, Workers},
    distributed::Facts,
    error::Error,
    model::{Calibration, Position, Trainer},
    random::{Purpose, stream},
    report::{Ended, EpochReport, Outcome, RunReport},
    step::{Residence, Runtime},
};

/// A run under way.
pub struct Session<'a, E: Real> {
    pub(super) fit: &'a Fit,
    pub(super) data: DataView<'a, E>,
    pub(super) validation: Option<DataView<'a, E>>,
    pub(super) observers: Vec<&'a mut dyn Observer>,
    pub(super) hook: Option<Hook<'a, E>>,
    interrupt: Option<&'a AtomicBool>,
    #[cfg(feature = "checkpoint")]
    pub(super) saving: Option<Saving<'a>>,
    model: Vec<[String; 2]>,
    /// Whether it goes on with a run that was stopped.
    pub(super) goes_on: bool,
    pub(super) position: Option<Position>,
    state: Option<State>,
    /// On several ranks: what they agreed on at the end of the last epoch.
    pub(super) agreed: Agreed,
    /// The checksum of the data, once it was needed.
    #[cfg(feature = "checkpoint")]
    pub(super) checksum: std::cell::OnceCell<String>,
}

/// Where a run is between two epochs.
pub(super) struct State {
    pub(super) workers: Workers,
    pub(super) residence: Option<Residence>,
    pub(super) order: Vec<usize>,
    epochs: Vec<EpochReport>,
    start: Instant,
    clock: Instant,
    /// Steps of an epoch, of the whole run, and those after which this call stops.
    each: u64,
    pub(super) total: u64,
    last: u64,
    closing: Option<Closing>,
    /// The folder of checkpoints, for as long as the run writes there.
    _lock: FolderLock,
    /// What the run was told to have against it, before its first step.
    warnings: Vec<String>,
}

/// An epoch whose report has been given.
struct Closing {
    ended: Option<Ended>,
    /// Whether an observer of a step wants the run to end.
    broken: bool,
    report: EpochReport,
}

/// What a run has come to.
pub enum Event {
    /// The end of an epoch.
    Epoch(EpochReport),
    /// Its own end.
    Ended(Outcome),
}

/// Steps that blocks take between two meetings, at most: a thread has little to wait for.
const SPAN: u64 = 16;

/// The same where nothing is read before the last of them: a GPU sorts the weights for each span.
const DEFERRED_SPAN: u64 = 64;

impl<'a, E: Real> Session<'a, E> {
    pub(crate) fn new(parts: SessionParts<'a, E>) -> Self {
        Self {
            fit: parts.fit,
            data: parts.data,
            validation: parts.validation,
            observers: parts.observers,
            hook: parts.hook,
            interrupt: parts.interrupt,
            #[cfg(feature = "checkpoint")]
            saving: parts.saving,
            model: parts.model,
            goes_on: parts.position.is_some(),
            position: parts.position,
            state: None,
            agreed: Agreed::default(),
            #[cfg(feature = "checkpoint")]
            checksum: std::cell::OnceCell::new(),
        }
    }

    /// Where the run is, if it can go on: what is left of it after its end.
    pub(crate) fn into_position(self) -> Option<Position> {
        self.position
    }

    pub(super) fn describe_model(&self, facts: &mut Facts) {
        self.model.iter().for_each(|[name, value]| facts.add(name, value));
    }

    /// Goes on to the end of the next epoch, or of the run. `flow` is what was said to the last
    /// epoch's report.
    pub(crate) fn advance<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        flow: ControlFlow<()>,
    ) -> Result<Event, Error> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.begin(trainer)?,
        };
        let mut position = self.position.clone().unwrap_or_else(|| {
            Position::start(trainer.counters.epochs, self.fit.run_settings(self.data.rows()))
        });
        let next = self.next(trainer, &mut state, &mut position, flow);
        // The run may go on from here, whatever happened.
        self.position = Some(position);
        match next? {
            Next::Epoch(report) => {
                self.state = Some(state);
                Ok(Event::Epoch(report))
            }
            Next::Ended(ended) => self.end(trainer, ended, state).map(Event::Ended),
        }
    }

    /// Everything is checked before the first step.
    fn begin<D: Runtime<E>>(&mut self, trainer: &mut Trainer<'_, E, D>) -> Result<State, Error> {
        trainer.counters.check_whole("NoProp::fit")?;
        self.fit.validate(trainer.model.objective.reading())?;
        check_precision::<E, D>(self.fit, trainer.model.objective.estimator())?;
        let rows = self.data.rows();
        if rows == 0 {
            return Err(Error::argument("NoProp::fit", "at least one row", 0));
        }
        self.agree_on_the_run(trainer)?;
        if let Some(position) = &self.position {
            position.check(&self.fit.run_settings(rows))?;
            self.check_data(trainer.ranks, position)?;
        }
        let _lock = self.take_folder(trainer)?;
        let done = self.position.as_ref().map_or(0, |position| position.steps);
        let mut about = self.about(trainer, done)?;
        about.warnings.extend(other_processor::<E, D>(self.position.as_ref()));
        about.warnings.extend(slow_precision(self.fit));
        self.observers.iter_mut().try_for_each(|observer| observer.begin(&about))?;
        let threads = if D::THREADS { self.fit.thread_count() } else { 0 };
        let objective = &trainer.model.objective;
        let units = match trainer.ranks.layout.ranks {
            1 if objective.blocks() == 1 => objective.estimator().pieces(),
            _ => trainer.blocks.len().min(self.fit.resident.unwrap_or(usize::MAX)),
        };
        let each = about.steps_per_epoch as u64;
        // A run that is past its end would say that it is finished.
        if done > each.saturating_mul(self.fit.epochs as u64) {
            let expected =
                format!("more than {} epochs, which the run that goes on has done", done / each);
            return Err(Error::config("Fit::epochs", expected, self.fit.epochs));
        }
        let workers = Workers::new(threads, units)?;
        let residence = self.residence(trainer, workers.at_once())?;
        trainer.model.calibration = Calibration::default();
        let total = each.saturating_mul(self.fit.epochs as u64);
        let last = self.fit.step_limit.map_or(total, |limit| total.min(done.saturating_add(limit)));
        Ok(State {
            workers,
            residence,
            order: Vec::new(),
            epochs: Vec::new(),
            start: Instant::now(),
            clock: Instant::now(),
            each,
            total,
            last,
            closing: None,
            _lock,
            warnings: about.warnings,
        })
    }

    fn about<D: Host<E>>(
        &self,
        trainer: &Trainer<'_, E, D>,
        steps_done: u64,
    ) -> Result<RunReport, Error> {
        let (model, rows) = (&*trainer.model, self.data.rows());
        // Blocks are of one type.
        let one = trainer.blocks.first().map(|block| held::<E, D>(block)).transpose()?;
        let parameters = one.map_or(Ok(0), |block| block.tensors().parameters());
        let each = rows.div_ceil(self.own_batch_size(trainer.ranks));
        let counters = &trainer.counters;
        Ok(RunReport {
            variant: model.objective.setup().name,
            blocks: trainer.ranks.layout.blocks,
            parameters: parameters.map_err(Error::device("counting the weights"))?
                * trainer.blocks.len(),
            rows,
            batch_size: self.fit.batch_size,
            epochs: self.fit.epochs,
            steps_per_epoch: each,
            steps_done,
            steps_before: counters.steps,
            epochs_before: counters.epochs,
            cross_entropy_weight: model.objective.setup().cross_entropy,
            warnings: warnings(self.fit, rows, each, counters.steps.saturating_sub(steps_done)),
            classes: model.objective.reading().has_classes(),
            schedule: model.objective.points(model.learned()),
        })
    }

    /// What a run leaves.
    fn end<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        ended: Ended,
        state: State,
    ) -> Result<Outcome, Error> {
        let State { epochs, warnings, .. } = state;
        // Other data may lie there the next time.
        trainer.model.device_inputs = None;
        let done = matches!(ended, Ended::Finished | Ended::NoProgress);
        let mut position = self.position.take();
        if let Some(position) = position.as_mut().filter(|_| !done) {
            position.data = self.checksum(trainer.ranks);
        }
        let saved = check_weights(trainer)
            .and_then(|()| self.calibrate(trainer))
            .and_then(|()| self.save(trainer, if done { None } else { position.as_ref() }));
        let along = match &self.validation {
            Some(rows) => look(trainer, self.fit, rows, |asked| {
                asked.evaluate_along("NoProp::evaluate_along", &rows.targets)
            }),
            None => Ok(Vec::new()),
        };
        if !done {
            self.position = position;
        }
        saved?;
        let outcome = Outcome { epochs, ended, warnings, along: along? };
        self.observers.iter_mut().try_for_each(|observer| observer.end(&outcome))?;
        Ok(outcome)
    }

    /// Spans of steps until an epoch or the run ends.
    fn next<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        state: &mut State,
        position: &mut Position,
        flow: ControlFlow<()>,
    ) -> Result<Next, Error> {
        if let Some(closing) = state.closing.take()
            && let Some(ended) = self.close_epoch(trainer, state, position, closing, flow)?
        {
            return Ok(Next::Ended(ended));
        }
        if position.is_at_open_end(state.each) {
            return self.epoch(trainer, state, position, false);
        }
        while position.steps < state.total {
            if position.steps >= state.last {
                return Ok(Next::Ended(Ended::OutOfSteps));
            }
            // Several ranks stop at the end of an epoch only, where they can agree on it.
            if trainer.ranks.communicator.is_none()
                && let Some(ended) = self.stop(state.start)
            {
                return Ok(Next::Ended(ended));
            }
            let at = position.steps % state.each;
            if state.order.is_empty() || at == 0 {
                state.order = (0..self.data.rows()).collect();
                let epoch = trainer.counters.epochs;
                let mut rng = stream(self.fit.seed, Purpose::Order, epoch, 0);
                state.order.shuffle(&mut rng);
            }
            let most = match state.residence {
                // Each block is read and written once.
                Some(_) => u64::MAX,
                None if trainer.model.switches.deferred => DEFERRED_SPAN,
                None => SPAN,
            };
            let count = most
                .min(state.each - at)
                .min(state.last - position.steps)
                .min(self.steps_until_checkpoint(position));
            let flow = self.span(trainer, state, position, at, count)?;
            if position.steps.is_multiple_of(state.each) {
                return self.epoch(trainer, state, position, flow.is_break());
            }
            if let Some(ended) = self.after_span(trainer, state, position, flow.is_break())? {
                return Ok(Next::Ended(ended));
            }
        }
        Ok(Next::Ended(Ended::Finished))
    }

    /// The end of an epoch up to its report.
    fn epoch<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        state: &mut State,
        position: &mut Position,
        broken: bool,
    ) -> Result<Next, Error> {
        let seconds = state.clock.elapsed().as_secs_f64();
        let (report, ended) = self.end_epoch(trainer, position, seconds)?;
        state.closing = Some(Closing { ended, broken, report: report.clone() });
        Ok(Next::Epoch(report))
    }

    /// The end of an epoch after its report has been given.
    fn close_epoch<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        state: &mut State,
        position: &Position,
        closing: Closing,
        flow: ControlFlow<()>,
    ) -> Result<Option<Ended>, Error> {
        let Closing { mut ended, broken, report } = closing;
        if flow.is_break() {
            ended = ended.or(Some(Ended::Observer));
        }
        state.epochs.push(report);
        state.clock = Instant::now();
        if trainer.ranks.communicator.is_some() {
            ended = ended.or_else(|| self.agreed.broken.then_some(Ended::Observer));
            if position.steps < state.total {
                ended = ended.or_else(|| self.stop(state.start));
            }
            ended = self.agree_on_the_end(trainer.ranks, ended)?;
        }
        match ended {
            Some(ended) => Ok(Some(ended)),
            None => self.after_span(trainer, state, position, broken),
        }
    }

    /// What is left to do after some steps.
    fn after_span<D: Runtime<E>>(
        &mut self,
        trainer: &mut Trainer<'_, E, D>,
        state: &State,
        position: &Position,
        broken: bool,
    ) -> Result<Option<Ended>, Error> {
        if trainer.ranks.communicator.is_some() {
            self.agreed.broken |= broken;
        } else if broken {
            return Ok(Some(Ended::Observer));
        }
        if position.steps < state.total && self.is_due(trainer.ranks, position, state.each) {
            self.save(trainer, Some(position))?;
        }
        Ok(None)
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
}

/// What comes next.
enum Next {
    Epoch(EpochReport),
    Ended(Ended),
}
