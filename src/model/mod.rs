//! What there is of a model besides its blocks, what is known of a run, and the ranks that share
//! them.

mod calibration;
mod position;
mod ranks;

pub use calibration::Calibration;
pub(crate) use calibration::Conformal;
pub use position::Position;
pub(crate) use position::{RunSettings, StepSettings};
pub(crate) use ranks::Ranks;

use std::sync::Arc;

use dfdx::prelude::*;

use crate::{
    block::Embedding,
    device::{Backend, Matrix, Module, Real},
    error::Error,
    kernel,
    optim::OptimizerState,
    schedule::LearnedGamma,
    variant::Objective,
};

/// A model without its blocks: the mathematics, the embedding of the classes, and the schedule
/// where it is learned.
pub struct Model<E: Real, D: Backend<E>> {
    pub(crate) objective: Arc<dyn Objective<E, D>>,
    pub(crate) embedding: Embedding<E, D>,
    pub(crate) embedding_optimizer: OptimizerState<E, D>,
    pub(crate) schedule: Option<LearnedSchedule<E, D>>,
    pub(crate) device: D,
    pub(crate) switches: Switches,
    /// What was measured at the end of the last run, and since.
    pub(crate) calibration: Calibration,
    /// The inputs of the run on the device, once a step has taken them there.
    pub(crate) device_inputs: Option<DeviceInputs<E, D>>,
}

/// A schedule that is trained, with what its optimiser remembers.
#[derive(Clone)]
pub(crate) struct LearnedSchedule<E: Real, D: Backend<E>> {
    pub(crate) gamma: Module<LearnedGamma<E, D>>,
    pub(crate) optimizer: OptimizerState<E, D>,
}

/// How steps are executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switches {
    /// Whether blocks are trained as one computation, where their layers can do that.
    pub(crate) stacked: bool,
    /// Whether the device makes the noise of training.
    pub(crate) device_noise: bool,
    /// Whether numbers of steps stay on the device until a span is done.
    pub(crate) deferred: bool,
}

/// The inputs of a data set on the device: they go there once, and a batch picks its rows there.
pub(crate) struct DeviceInputs<E: Real, D: Backend<E>> {
    /// The address of the inputs on the host, and how many numbers there are.
    pub(crate) from: (usize, usize),
    /// `None` where they do not fit.
    pub(crate) rows: Option<Matrix<E, D>>,
}

/// A model that a run trains.
pub struct Trainer<'a, E: Real, D: Backend<E>> {
    pub(crate) model: &'a mut Model<E, D>,
    /// Those of this rank.
    pub(crate) blocks: Vec<&'a mut D::Block>,
    pub(crate) ranks: &'a Ranks,
    pub(crate) counters: &'a mut Counters,
}

/// How far a model is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// How many steps each block has taken in `fit`.
    pub(crate) steps: u64,
    /// How many epochs were completed in `fit`.
    pub(crate) epochs: u64,
    /// Whether its blocks are in the midst of steps: for good where one of them has panicked, or
    /// failed while others lay in a file.
    pub(crate) torn: bool,
}

impl Counters {
    /// [`Error::Argument`] where a panic has left the blocks at different steps.
    pub(crate) fn check_whole(&self, operation: &'static str) -> Result<(), Error> {
        if !self.torn {
            return Ok(());
        }
        let found = "blocks at different steps, as what went wrong in one of them has left them";
        let expected = "a trainer that is whole: load a checkpoint into it, or make a new one";
        Err(Error::argument(operation, expected, found))
    }
}

impl<E: Real, D: Backend<E>> Clone for Model<E, D> {
    fn clone(&self) -> Self {
        Self {
            objective: self.objective.clone(),
            embedding: self.embedding.clone(),
            embedding_optimizer: self.embedding_optimizer.clone(),
            schedule: self.schedule.clone(),
            device: self.device.clone(),
            switches: self.switches,
            calibration: self.calibration.clone(),
            device_inputs: None,
        }
    }
}

impl<E: Real, D: Backend<E>> Model<E, D> {
    /// Forgets what the optimisers of embedding and schedule have remembered.
    pub(crate) fn forget_moments(&mut self) {
        self.embedding_optimizer.forget_moments();
        if let Some(schedule) = &mut self.schedule {
            schedule.optimizer.forget_moments();
        }
    }

    /// A model that has learned nothing, with this embedding to start from, row-major.
    pub(crate) fn new(
        device: &D,
        objective: Arc<dyn Objective<E, D>>,
        embedding: Vec<E>,
    ) -> Result<Self, Error> {
        kernel::ensure_pool();
        let failed = || Error::device("building the model");
        let reading = objective.reading();
        let shape = reading.embedding_shape();
        if embedding.len() != shape.0 * shape.1 {
            let expected = format!("an embedding of {} classes, {} wide", shape.0, shape.1);
            return Err(Error::argument("NoProp::new", expected, embedding.len()));
        }
        let embedding = device.try_tensor_from_vec(embedding, shape).map_err(failed())?;
        let schedule = match objective.learned_schedule() {
            Some(schedule) => Some(LearnedSchedule {
                gamma: Module(LearnedGamma::start(device, schedule)?),
                optimizer: OptimizerState::default(),
            }),
            None => None,
        };
        let on_gpu = D::STACKS;
        Ok(Self {
            objective,
            embedding: Embedding(embedding),
            embedding_optimizer: OptimizerState::default(),
            schedule,
            device: device.clone(),
            switches: Switches { stacked: on_gpu, device_noise: on_gpu, deferred: on_gpu },
            calibration: Calibration::default(),
            device_inputs: None,
        })
    }

    /// γ(t), where it is trained.
    pub(crate) fn learned(&self) -> Option<&LearnedGamma<E, D>> {
        self.schedule.as_ref().map(|schedule| &schedule.gamma.0)
    }

    /// Whether something is trained beside the blocks.
    pub(crate) fn learns_beside(&self) -> bool {
        self.objective.reading().is_learned() || self.schedule.is_some()
    }

    /// The same with the moving averages instead of embedding and schedule, where they are
    /// kept.
    pub(crate) fn averaged(&self) -> Result<Self, D::Err> {
        let shape = *self.embedding.0.shape();
        let numbers = self.embedding.numbers();
        let mut embedding = Embedding(self.device.try_tensor_from_vec(numbers, shape)?);
        self.embedding_optimizer.put_averages(&mut embedding)?;
        let mut schedule = self.schedule.clone();
        if let (Some(from), Some(to)) = (&self.schedule, &mut schedule) {
            from.optimizer.put_averages(&mut to.gamma)?;
        }
        Ok(Self {
            objective: self.objective.clone(),
            embedding,
            embedding_optimizer: OptimizerState::default(),
            schedule,
            device: self.device.clone(),
            switches: self.switches,
            calibration: self.calibration.clone(),
            device_inputs: None,
        })
    }
}
