//! Runs.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::AtomicBool,
};

use rand_chacha::ChaCha8Rng;

use super::{Batch, NoProp, TargetsOf};
#[cfg(feature = "checkpoint")]
use crate::{
    checkpoint::Identity,
    session::{Checkpoints, Saving},
};
use crate::{
    data::{DataView, Dataset, Targets},
    device::{Backend, Real},
    error::Error,
    head::Head,
    nn::Layer,
    report::{EpochReport, Outcome},
    session::{Event, Fit, Hook, Observer, Session, SessionParts},
    variant::Variant,
};

/// The rows of a trainer's variant.
type Rows<V, const Z: usize, const X: usize, E, D> = Dataset<X, TargetsOf<V, Z, X, E, D>, E>;
type BatchHook<'a, V, const Z: usize, const X: usize, E, D> =
    Box<dyn FnMut(&mut Batch<V, Z, X, E, D>, &mut ChaCha8Rng) + 'a>;
type EachEpoch<'a, V, M, const Z: usize, const X: usize, E, D> =
    Box<dyn FnMut(&NoProp<V, M, Z, X, E, D>, &EpochReport) -> Result<ControlFlow<()>, Error> + 'a>;

/// A run that is being put together, by [`NoProp::training`].
///
/// ```
/// use dfdx_noprop::prelude::*;
///
/// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
/// let digits = data::digits()?;
/// let split = digits.train.split_stratified(0.1, 0)?;
/// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// let fit = Fit { epochs: 2, clip: Some(1.0), average: Some(0.99), ..Fit::default() };
/// let outcome = model.training(&fit).validation(&split.test).run(&split.train)?;
/// println!("{}: {:?}", outcome.ended, outcome.epochs[1].validation);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[must_use = "a run starts by `run`"]
pub struct Training<'a, V, M, const Z: usize, const X: usize, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    model: &'a mut NoProp<V, M, Z, X, E, D>,
    fit: &'a Fit,
    validation: Option<&'a Rows<V, Z, X, E, D>>,
    observers: Vec<&'a mut dyn Observer>,
    hook: Option<BatchHook<'a, V, Z, X, E, D>>,
    each_epoch: Option<EachEpoch<'a, V, M, Z, X, E, D>>,
    interrupt: Option<&'a AtomicBool>,
    #[cfg(feature = "checkpoint")]
    checkpoints: Option<&'a mut Checkpoints>,
    /// What the model is called in checkpoints, made only where there are any.
    #[cfg(feature = "checkpoint")]
    identity: Option<fn(&NoProp<V, M, Z, X, E, D>) -> Result<Identity, Error>>,
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Trains on the data; the reports of the epochs come back.
    ///
    /// Called again after all epochs are done, it trains as many again. Called again after a run
    /// that was stopped, it goes on where that one stopped, and ends with the same weights, bit for
    /// bit, as if it had not been.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Argument`] for data without rows, or
    /// other data or settings than those of the run that goes on, [`Error::Diverged`] for a loss
    /// that is not finite, [`Error::Device`] for a lack of memory.
    pub fn fit(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        fit: &Fit,
    ) -> Result<Vec<EpochReport>, Error> {
        Ok(self.training(fit).run(data)?.epochs)
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
        observe: impl FnMut(&Self, &EpochReport) -> Result<ControlFlow<()>, Error>,
    ) -> Result<Vec<EpochReport>, Error> {
        Ok(self.training(fit).each_epoch(observe).run(data)?.epochs)
    }

    /// A run with all that can go along: validation rows, observers, a hook on each batch,
    /// checkpoints, a way to stop it.
    pub fn training<'a>(&'a mut self, fit: &'a Fit) -> Training<'a, V, M, Z, X, E, D> {
        Training {
            model: self,
            fit,
            validation: None,
            observers: Vec::new(),
            hook: None,
            each_epoch: None,
            interrupt: None,
            #[cfg(feature = "checkpoint")]
            checkpoints: None,
            #[cfg(feature = "checkpoint")]
            identity: None,
        }
    }

    /// What ranks compare of the model before a run; nothing where there is one process.
    fn facts(&self) -> Vec<[String; 2]> {
        if self.ranks.communicator.is_none() {
            return Vec::new();
        }
        let mut facts = vec![
            ["the model", std::any::type_name::<M>()].map(str::to_owned),
            ["the numbers", std::any::type_name::<E>()].map(str::to_owned),
            ["the widths Z and X".to_owned(), format!("{Z} and {X}")],
        ];
        let settings = format!("{:#?}", self.variant);
        let line =
            |line: &str| ["settings".to_owned(), line.trim().trim_end_matches(',').to_owned()];
        facts.extend(settings.lines().map(line));
        facts
    }
}

impl<'a, V, M, const Z: usize, const X: usize, E, D> Training<'a, V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Rows that are not learned from: evaluated after each [`validate_every`](Fit::validate_every)
    /// epochs, by the moving average of the weights where there is one.
    pub fn validation(mut self, rows: &'a Rows<V, Z, X, E, D>) -> Self {
        self.validation = Some(rows);
        self
    }

    /// An observer of the run. Several are called in the order in which they were added.
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observers.push(observer);
        self
    }

    /// What is done to each batch before it is learned from: augmentation. The random stream
    /// depends on the seed and the step alone, so that a run that was stopped goes on exactly.
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
        self.identity = Some(NoProp::identity);
        self
    }

    /// Trains on the data.
    ///
    /// # Errors
    /// Those of [`NoProp::fit`], and those of the observers. The model keeps what it has learned up
    /// to there.
    pub fn run(self, data: &Rows<V, Z, X, E, D>) -> Result<Outcome, Error> {
        #[cfg(feature = "checkpoint")]
        if self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_finished()) {
            return Ok(Outcome::nothing_left());
        }
        let Self {
            model, fit, validation, interrupt, mut observers, mut hook, mut each_epoch, ..
        } = self;
        let observers =
            observers.iter_mut().map(|observer| -> &mut dyn Observer { &mut **observer });
        let hook = hook.as_mut().map(|hook| -> Hook<'_, E> {
            Box::new(move |inputs, rows, rng| {
                let targets = data.targets().select(rows);
                let mut batch = Batch { x: std::mem::take(inputs), targets };
                hook(&mut batch, rng);
                *inputs = batch.x;
            })
        });
        let parts = SessionParts {
            fit,
            data: view::<V, Z, X, E, D>(data),
            validation: validation.map(view::<V, Z, X, E, D>),
            observers: observers.collect(),
            hook,
            interrupt,
            #[cfg(feature = "checkpoint")]
            saving: match (self.checkpoints, self.identity) {
                (Some(checkpoints), Some(identity)) => {
                    Some(Saving { checkpoints, identity: identity(model)? })
                }
                _ => None,
            },
            model: model.facts(),
            position: model.position.take(),
        };
        let (engine, mut session) = (model.engine, Session::new(parts));
        let mut flow = ControlFlow::Continue(());
        let mut steps = || loop {
            match engine.advance(&mut model.trainer(), &mut session, flow) {
                Ok(Event::Epoch(report)) => match &mut each_epoch {
                    Some(each) => match each(model, &report) {
                        Ok(said) => flow = said,
                        Err(error) => break model.ranks.report_to_ranks(Err(error)),
                    },
                    None => flow = ControlFlow::Continue(()),
                },
                Ok(Event::Ended(outcome)) => break Ok(outcome),
                Err(error) => break Err(error),
            }
        };
        // Where a hook or an observer panics, the run can still go on from where it is.
        let outcome = catch_unwind(AssertUnwindSafe(&mut steps));
        model.position = session.into_position();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// A data set without its types.
fn view<V, const Z: usize, const X: usize, E, D>(data: &Rows<V, Z, X, E, D>) -> DataView<'_, E>
where
    V: Variant<Z, X, E, D>,
    E: Real,
    D: Backend<E>,
{
    DataView { inputs: data.inputs(), width: X, targets: V::Head::target_rows(data.targets()) }
}
