//! The model of a predictor, on the processor, behind a trait object: what is behind it is compiled
//! in this crate.

use std::sync::Arc;

use dfdx::prelude::{Cpu, TensorFromVec, ZerosTensor};

#[cfg(feature = "onnx")]
use super::units::Units;
use super::{
    file::About,
    parts::{BlockParts, ModelParts},
};
use crate::{
    block::{AnyBlock, Embedding, Host, StoredBlock},
    device::{Backend, Real},
    error::Error,
    file::NamedTensor,
    infer::{Asked, EarlyOutput, InferenceOutput, InferenceRequest, InputRows, PointOutput, Until},
    model::Ranks,
    plan::{SummaryLine, describe},
    variant::ReverseProcess,
};

/// A model that answers.
pub trait Answering<E: Real>: Send + Sync {
    /// What a file says of it but for its weights.
    #[doc(hidden)]
    fn about(&self) -> &About;

    /// The answers to rows in the model's units, each of which is asked about `draws` times;
    /// `operation` is what the user has called.
    #[doc(hidden)]
    fn answers(
        &self,
        rows: &[E],
        draws: usize,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error>;

    /// The answers at the points of the way from noise to target.
    #[doc(hidden)]
    fn along(&self, rows: &[E], operation: &'static str) -> Result<Vec<PointOutput<E>>, Error>;

    /// The answers to rows, each as soon as it is sure enough.
    #[doc(hidden)]
    fn answers_until(
        &self,
        rows: &[E],
        operation: &'static str,
        until: Until,
    ) -> Result<EarlyOutput<E>, Error>;

    /// The operations of a block.
    #[doc(hidden)]
    fn describe(&self) -> Result<Vec<SummaryLine>, Error>;

    /// Writes it as an ONNX graph, in these units.
    #[doc(hidden)]
    #[cfg(feature = "onnx")]
    fn export_onnx(&self, units: &Units, path: &std::path::Path) -> Result<(), Error>;

    /// Its weights as tensors of a file.
    #[doc(hidden)]
    fn tensors(&self, operation: &'static str) -> Result<Vec<NamedTensor>, Error>;
}

/// Numbers that inference is compiled for, in this crate.
pub trait InferenceNumber: Real {
    /// A model of these parts, which are checked.
    #[doc(hidden)]
    fn answering(parts: ModelParts<Self>) -> Result<Arc<dyn Answering<Self>>, Error>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl InferenceNumber for $number {
            // Never inlined: a program that could see this would compile inference again.
            #[inline(never)]
            fn answering(parts: ModelParts<Self>) -> Result<Arc<dyn Answering<Self>>, Error> {
                Ok(Arc::new(OnCpu::new(parts, |block| Box::new(block))?))
            }
        }
    )*};
}

numbers!(f32 f64);

/// A block on the processor, and what makes one of a stored one.
type CpuBlock<E> = dyn AnyBlock<E, Cpu> + Send + Sync;
type Erase<E> = fn(StoredBlock<E, Cpu>) -> Box<CpuBlock<E>>;

/// A model on the processor.
struct OnCpu<E: Real>
where
    Cpu: Backend<E, Block = CpuBlock<E>>,
{
    about: About,
    process: Arc<dyn ReverseProcess<E, Cpu>>,
    embedding: Embedding<E, Cpu>,
    blocks: Vec<Box<CpuBlock<E>>>,
    ranks: Ranks,
}

impl<E: Real> OnCpu<E>
where
    Cpu: Host<E> + Backend<E, Block = CpuBlock<E>>,
{
    fn new(parts: ModelParts<E>, erase: Erase<E>) -> Result<Self, Error> {
        let ModelParts { about, blocks, embedding } = parts;
        let (device, failed) = (Cpu::default(), || Error::device("building the model"));
        let process = about.process.clone().process(about.reading, about.probabilities)?;
        let shape = about.reading.embedding_shape();
        let embedding = match about.reading.has_classes() {
            true => device.try_tensor_from_vec(embedding, shape),
            false => device.try_zeros_like(&shape),
        };
        let embedding = Embedding(embedding.map_err(failed())?);
        let blocks = blocks.into_iter().enumerate().map(|(i, block)| match block {
            BlockParts::Stored(tensors) => {
                let tensor = |numbers: Vec<E>| {
                    let length = (numbers.len(),);
                    device.try_tensor_from_vec(numbers, length)
                };
                let tensors = tensors.into_iter().map(tensor).collect::<Result<_, _>>();
                let operation = about.operation(i).clone();
                let tensors = tensors.map_err(failed())?;
                let stored = StoredBlock::new(i + 1, device.clone(), operation, tensors, erase);
                Ok(erase(stored))
            }
            BlockParts::Typed(block) => match block.downcast::<Box<CpuBlock<E>>>() {
                Ok(block) => Ok(*block),
                Err(_) => {
                    let expected = "a model on the processor, as it has a module of your own: \
                                    load its checkpoint into a trainer on `Cpu`";
                    Err(Error::argument("NoProp::predictor", expected, "one on a GPU"))
                }
            },
        });
        let blocks = blocks.collect::<Result<Vec<_>, Error>>()?;
        let ranks = Ranks::new(None, blocks.len());
        Ok(Self { about, process, embedding, blocks, ranks })
    }

    /// The model, to be asked about some rows.
    fn asked<'a>(&'a self, rows: &'a [E]) -> Asked<'a, E, Cpu> {
        Asked {
            process: &*self.process,
            embedding: &self.embedding,
            learned: None,
            calibration: &self.about.calibration,
            blocks: self.blocks.iter().map(|block| &**block).collect(),
            averages: false,
            ranks: &self.ranks,
            inputs: InputRows::new(rows, self.about.x),
        }
    }
}

impl<E: Real> Answering<E> for OnCpu<E>
where
    Cpu: Host<E> + Backend<E, Block = CpuBlock<E>>,
{
    fn about(&self) -> &About {
        &self.about
    }

    fn answers(
        &self,
        rows: &[E],
        draws: usize,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error> {
        let mut asked = self.asked(rows);
        asked.inputs.draws = draws;
        asked.answers(operation, request)
    }

    fn along(&self, rows: &[E], operation: &'static str) -> Result<Vec<PointOutput<E>>, Error> {
        self.asked(rows).answers_along(operation)
    }

    fn answers_until(
        &self,
        rows: &[E],
        operation: &'static str,
        until: Until,
    ) -> Result<EarlyOutput<E>, Error> {
        self.asked(rows).answers_until(operation, until)
    }

    #[cfg(feature = "onnx")]
    fn export_onnx(&self, units: &Units, path: &std::path::Path) -> Result<(), Error> {
        let asked = &self.asked(&[]);
        let Units { inputs, targets, classes } = units;
        let (inputs, targets) = (inputs.as_ref(), targets.as_ref());
        crate::onnx::Exported { asked, inputs, targets, class_names: classes }.write(path)
    }

    fn describe(&self) -> Result<Vec<SummaryLine>, Error> {
        let Some(block) = self.blocks.first() else { return Ok(Vec::new()) };
        let plan = block.plan().map_err(Error::device("describing the model"))?;
        Ok(describe(&plan, self.about.reading.latent, self.about.x))
    }

    fn tensors(&self, operation: &'static str) -> Result<Vec<NamedTensor>, Error> {
        if let Some(module) = &self.about.module {
            let expected = "layers of this crate and of dfdx; a model with a module of your own \
                            is saved by `NoProp::save`, and `predictor` makes one of it again";
            return Err(Error::argument(operation, expected, format!("the module `{module}`")));
        }
        let mut tensors = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let named = block.tensors().named().map_err(Error::device("reading the weights"))?;
            tensors.extend(named.into_iter().map(|tensor| {
                let name = format!("block.{}.{}", i + 1, tensor.path);
                NamedTensor::new(name, tensor.shape, &tensor.values.as_vec())
            }));
        }
        if self.about.reading.has_classes() {
            let (classes, latent) = self.about.reading.embedding_shape();
            let numbers = self.embedding.numbers();
            tensors.push(NamedTensor::new("embedding".into(), vec![classes, latent], &numbers));
        }
        Ok(tensors)
    }
}
