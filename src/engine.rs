//! What the typed face asks for: one trait, so that a program that uses the crate compiles none of
//! what is behind it.

use std::ops::ControlFlow;

use dfdx::prelude::Cpu;
#[cfg(feature = "cuda")]
use dfdx::prelude::Cuda;

#[cfg(feature = "checkpoint")]
use crate::checkpoint::{self, Found, Identity, Saved, Taken, Wanted};
#[cfg(not(feature = "inference"))]
use crate::device::Real as InferenceNumber;
#[cfg(feature = "checkpoint")]
use crate::file::Draft;
#[cfg(feature = "checkpoint")]
use crate::model::Position;
#[cfg(feature = "onnx")]
use crate::onnx::Exported;
#[cfg(feature = "inference")]
use crate::predictor::{InferenceNumber, ModelParts};
use crate::{
    block::{AnyBlock, averaged, held, put_away},
    data::TargetRows,
    device::{Backend, Matrix, Real},
    error::Error,
    head::Evaluation,
    infer::{Asked, EarlyOutput, InferenceOutput, InferenceRequest, Until, trajectory},
    model::{Model, Trainer},
    plan::{SummaryLine, describe},
    report::AlongPoint,
    session::{Event, Session},
    solver::Solution,
    step::{FlowSamples, OwnLoss, OwnStep, Runtime, flow_step, own_step},
    variant::Mathematics,
};

/// Models of numbers `E` on the device `D`, whatever their types.
pub trait Engine<E: Real, D: Backend<E>>: Sync {
    /// A model that has learned nothing, without its blocks.
    fn model(
        &self,
        device: &D,
        mathematics: Mathematics,
        embedding: Vec<E>,
    ) -> Result<Model<E, D>, Error>;

    /// Gives a model other settings.
    fn set_mathematics(&self, model: &mut Model<E, D>, mathematics: Mathematics);

    /// The same model with its moving averages, without its blocks.
    fn averaged(&self, model: &Model<E, D>) -> Result<Model<E, D>, Error>;

    /// Gives a block the moving averages of another one's weights, or these where none are kept.
    fn average_block(&self, from: &D::Block, to: &mut D::Block) -> Result<(), Error>;

    /// How many trained numbers a block has.
    fn parameters(&self, block: &D::Block) -> usize;

    /// A block's operations, for z and x of these widths.
    fn describe(&self, block: &D::Block, widths: [usize; 2]) -> Result<Vec<SummaryLine>, Error>;

    /// Goes on with a run to the end of the next epoch, or of the run.
    fn advance(
        &self,
        trainer: &mut Trainer<'_, E, D>,
        session: &mut Session<'_, E>,
        flow: ControlFlow<()>,
    ) -> Result<Event, Error>;

    /// The parts of a predictor.
    #[cfg(feature = "inference")]
    fn predictor(&self, asked: &Asked<'_, E, D>) -> Result<ModelParts<E>, Error>;

    /// The answers to rows; `operation` is what the user has called.
    fn answers(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error>;

    /// The answers to rows, each as soon as it is sure enough.
    fn answers_until(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        until: Until,
    ) -> Result<EarlyOutput<E>, Error>;

    /// The answers against the truth.
    fn evaluate(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Evaluation, Error>;

    /// The answers on the way from noise to target against the truth.
    fn evaluate_along(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Vec<AlongPoint>, Error>;

    /// One step of a block on a loss of the user's own.
    fn own_step(
        &self,
        block: &mut D::Block,
        how: OwnStep<'_, E, D>,
        loss: OwnLoss<'_, E, D>,
    ) -> Result<f64, Error>;

    /// One step of a network on the squared error of flow matching.
    fn flow_step(
        &self,
        model: &Model<E, D>,
        block: &mut D::Block,
        how: OwnStep<'_, E, D>,
        samples: FlowSamples<E, D>,
    ) -> Result<f64, Error>;

    /// The way of z from one time to another.
    fn trajectory(
        &self,
        model: &Model<E, D>,
        block: &D::Block,
        z: Matrix<E, D>,
        x: Matrix<E, D>,
        interval: [f64; 2],
    ) -> Result<Solution<Matrix<E, D>>, Error>;

    /// Writes a checkpoint.
    #[cfg(feature = "checkpoint")]
    fn write(
        &self,
        saved: &Saved<'_, E, D>,
        position: Option<&Position>,
        path: &std::path::Path,
    ) -> Result<(), Error>;

    /// Writes the weights alone: of all blocks, or of block `t`.
    #[cfg(feature = "checkpoint")]
    fn export(
        &self,
        saved: &Saved<'_, E, D>,
        t: Option<usize>,
        path: &std::path::Path,
    ) -> Result<(), Error>;

    /// Writes a model as an ONNX graph.
    #[cfg(feature = "onnx")]
    fn export_onnx(
        &self,
        exported: &Exported<'_, E, D>,
        path: &std::path::Path,
    ) -> Result<(), Error>;

    /// Takes what is wanted of the file that `find` finds.
    #[cfg(feature = "checkpoint")]
    fn restore(
        &self,
        trainer: Trainer<'_, E, D>,
        identity: &Identity,
        wanted: Wanted,
        find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
    ) -> Result<Option<Taken>, Error>;
}

/// The one engine there is.
struct Compiled;

impl<E: Real, D: Runtime<E>> Engine<E, D> for Compiled {
    fn model(
        &self,
        device: &D,
        mathematics: Mathematics,
        embedding: Vec<E>,
    ) -> Result<Model<E, D>, Error> {
        let objective = mathematics.objective::<E, D>();
        objective.optimizer().validate::<E>()?;
        Model::new(device, objective, embedding)
    }

    fn set_mathematics(&self, model: &mut Model<E, D>, mathematics: Mathematics) {
        model.objective = mathematics.objective();
    }

    fn averaged(&self, model: &Model<E, D>) -> Result<Model<E, D>, Error> {
        model.averaged().map_err(Error::device("averaging the model"))
    }

    fn average_block(&self, from: &D::Block, to: &mut D::Block) -> Result<(), Error> {
        to.bring()?;
        let copied = to.parts().1.copy_from(averaged::<E, D>(from)?.tensors());
        copied.map_err(Error::device("averaging the model"))?;
        // Where there was no room for the one there is none for the other.
        match &from.state().away {
            Some(away) => put_away::<E, D>(to, away.scratch()),
            None => Ok(()),
        }
    }

    fn parameters(&self, block: &D::Block) -> usize {
        let block = held::<E, D>(block).ok();
        block.and_then(|block| block.tensors().parameters().ok()).unwrap_or_default()
    }

    fn describe(&self, block: &D::Block, widths: [usize; 2]) -> Result<Vec<SummaryLine>, Error> {
        let block = held::<E, D>(block)?;
        let plan = block.plan().map_err(Error::device("describing the model"))?;
        let [z, x] = widths;
        Ok(describe(&plan, z, x))
    }

    fn advance(
        &self,
        trainer: &mut Trainer<'_, E, D>,
        session: &mut Session<'_, E>,
        flow: ControlFlow<()>,
    ) -> Result<Event, Error> {
        let event = session.advance(trainer, flow);
        let event = event.map_err(|error| session.with_checkpoint(error));
        trainer.ranks.report_to_ranks(event)
    }

    #[cfg(feature = "inference")]
    fn predictor(&self, asked: &Asked<'_, E, D>) -> Result<ModelParts<E>, Error> {
        ModelParts::of(asked)
    }

    fn answers(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error> {
        asked.answers(operation, request)
    }

    fn answers_until(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        until: Until,
    ) -> Result<EarlyOutput<E>, Error> {
        asked.answers_until(operation, until)
    }

    fn evaluate(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Evaluation, Error> {
        asked.evaluate_distribution(operation, targets)
    }

    fn evaluate_along(
        &self,
        asked: &Asked<'_, E, D>,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Vec<AlongPoint>, Error> {
        asked.evaluate_along(operation, targets)
    }

    fn own_step(
        &self,
        block: &mut D::Block,
        how: OwnStep<'_, E, D>,
        loss: OwnLoss<'_, E, D>,
    ) -> Result<f64, Error> {
        own_step(block, how, loss)
    }

    fn flow_step(
        &self,
        model: &Model<E, D>,
        block: &mut D::Block,
        how: OwnStep<'_, E, D>,
        samples: FlowSamples<E, D>,
    ) -> Result<f64, Error> {
        flow_step(model, block, how, samples)
    }

    fn trajectory(
        &self,
        model: &Model<E, D>,
        block: &D::Block,
        z: Matrix<E, D>,
        x: Matrix<E, D>,
        interval: [f64; 2],
    ) -> Result<Solution<Matrix<E, D>>, Error> {
        trajectory(model, block, z, x, interval)
    }

    #[cfg(feature = "checkpoint")]
    fn write(
        &self,
        saved: &Saved<'_, E, D>,
        position: Option<&Position>,
        path: &std::path::Path,
    ) -> Result<(), Error> {
        let write = |draft: &Draft<'_>| draft.save(path).map(|()| path.to_owned());
        saved.ranks.collective(|| saved.write(position, None, write)).map(|_| ())
    }

    #[cfg(feature = "checkpoint")]
    fn export(
        &self,
        saved: &Saved<'_, E, D>,
        t: Option<usize>,
        path: &std::path::Path,
    ) -> Result<(), Error> {
        match t {
            Some(t) => saved.export_block(t, path),
            None => saved.ranks.collective(|| saved.export(path)),
        }
    }

    #[cfg(feature = "onnx")]
    fn export_onnx(
        &self,
        exported: &Exported<'_, E, D>,
        path: &std::path::Path,
    ) -> Result<(), Error> {
        // A graph has the weights of all blocks.
        let asked = exported.asked;
        let here = (0..asked.blocks.len()).map(|i| asked.held(i));
        let here = here.collect::<Result<Vec<_>, _>>()?;
        let asked = Asked { blocks: here.iter().map(|block| &**block).collect(), ..*asked };
        Exported { asked: &asked, ..*exported }.write(path)
    }

    #[cfg(feature = "checkpoint")]
    fn restore(
        &self,
        trainer: Trainer<'_, E, D>,
        identity: &Identity,
        wanted: Wanted,
        find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
    ) -> Result<Option<Taken>, Error> {
        let ranks = trainer.ranks;
        ranks.report_to_ranks(checkpoint::restore(trainer, identity, wanted, find))
    }
}

/// Numbers that the engine is compiled for, in this crate.
#[diagnostic::on_unimplemented(
    message = "there are no trainers of `{Self}`",
    label = "a trainer of `{Self}` is asked for",
    note = "trainers are for `f32` and `f64`, with the feature `training` of `dfdx-noprop`, which is on by default"
)]
pub trait Number: Real + InferenceNumber {
    /// The engine on the processor.
    #[doc(hidden)]
    fn on_cpu() -> &'static dyn Engine<Self, Cpu>;

    /// The engine on a GPU.
    #[cfg(feature = "cuda")]
    #[doc(hidden)]
    fn on_cuda() -> &'static dyn Engine<Self, Cuda>;
}

// Without trainers nothing of the engine is compiled.
#[cfg(feature = "training")]
macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Number for $number {
            // Never inlined: a program that could see this would compile the engine again.
            #[inline(never)]
            fn on_cpu() -> &'static dyn Engine<Self, Cpu> {
                &Compiled
            }

            #[cfg(feature = "cuda")]
            #[inline(never)]
            fn on_cuda() -> &'static dyn Engine<Self, Cuda> {
                &Compiled
            }
        }
    )*};
}

#[cfg(feature = "training")]
numbers!(f32 f64);
