//! A block as values: a short list of operations with handles of its parameters, and what is done
//! with such a list.
//!
//! Types check that layers fit ([`Takes`](crate::nn::Takes)); then each layer is lowered to an
//! [`Operation`]. A plan holds the parameters by handles: the same tensor under the same id, so
//! that gradients collected under one are found under the other. It is made afresh for each pass,
//! so that nobody but the block owns the weights while the optimiser moves them in place.

mod borrowed;
mod describe;
mod fuse;
mod infer;
mod module;
mod noise;
mod prepared;
mod stack;
#[cfg(feature = "inference")]
mod stored;
mod train;
mod value;

pub use borrowed::Borrowed;
pub(crate) use borrowed::fields;
pub use describe::{Summary, SummaryLine, describe};
pub(crate) use fuse::fuse;
pub(crate) use infer::{Memo, channels_last, encode, infer, pool};
pub use module::ModuleOperation;
pub(crate) use noise::NoisyPass;
#[cfg(feature = "inference")]
pub use prepared::Kept;
pub use prepared::Prepared;
pub(crate) use stack::{StackPass, repeated, stacked};
#[cfg(feature = "inference")]
pub use stored::RowNorm;
#[cfg(feature = "inference")]
pub(crate) use stored::{KeptPlan, NotStored, StoredOperation, Widths, take};
pub(crate) use train::train;
pub use value::{Inputs, Value};

use dfdx::prelude::{HasErr, HasShape, RealizeTo, ReshapeTo, Shape, Tensor};

use crate::device::{Backend, Column, Filters, Matrix, Real, Window};

/// One operation of a block, on rows of numbers: an image is a row too, channels last.
#[non_exhaustive]
pub enum Operation<'a, E: Real, D: Backend<E>> {
    /// One after the other.
    Sequence(Vec<Operation<'a, E, D>>),
    /// F_z(z) + F_x(x), and F_t(t) where there is a time.
    Condition {
        /// F_z.
        z: Box<Operation<'a, E, D>>,
        /// F_x.
        x: Box<Operation<'a, E, D>>,
        /// F_t.
        t: Option<Box<Operation<'a, E, D>>>,
    },
    /// h + F(h).
    Residual(Box<Operation<'a, E, D>>),
    /// F(h) + R(h).
    Projected {
        /// F.
        branch: Box<Operation<'a, E, D>>,
        /// R.
        projection: Box<Operation<'a, E, D>>,
    },
    /// The same layers several times, each time with weights of their own.
    Repeated(Vec<Operation<'a, E, D>>),
    /// x Wᵀ + b.
    Dense(Dense<E, D>),
    /// L(h + F(h)) for linear L, with the last layer of F and L in one: inference makes it.
    FusedResidual(Box<FusedResidual<'a, E, D>>),
    /// A function of each number.
    Activation(Activation),
    /// Numbers dropped with this probability in training.
    Dropout(f64),
    /// (x − μ) / √(σ² + ε) · γ + β over the numbers of a row.
    LayerNorm {
        /// γ.
        scale: Column<E, D>,
        /// β.
        shift: Column<E, D>,
        /// ε.
        epsilon: f64,
    },
    /// The same over the rows (and pixels) of a batch, for each channel.
    BatchNorm(Box<BatchNorm<'a, E, D>>),
    /// A convolution.
    Convolution(Box<Convolution<E, D>>),
    /// One number for each window and channel.
    Pool {
        /// How it is made.
        by: Pooling,
        /// Where it looks.
        window: Window,
    },
    /// Planes of one channel each to pixels of so many channels.
    ChannelsLast(usize),
    /// An image as a row: nothing to do.
    Flatten,
    /// The sinusoidal embedding of times, so wide.
    TimeEmbedding(usize),
    /// A module of a user's own.
    Module(Box<dyn ModuleOperation<E, D> + 'a>),
}

/// What lowering a layer gives.
pub type Lowered<'a, E, D> = Result<Operation<'a, E, D>, <D as HasErr>::Err>;

/// The same tensor under the same id, with sizes that are known when the program runs, or when it
/// is compiled.
pub(crate) fn handle<S: Shape, To: Shape<Concrete = S::Concrete>, E: Real, D: Backend<E>>(
    tensor: &Tensor<S, E, D>,
    shape: To,
) -> Result<Tensor<To, E, D>, D::Err> {
    match tensor.clone().try_realize::<To>() {
        Ok(same) => Ok(same),
        Err(tensor) => tensor.try_reshape_like(&shape),
    }
}

/// A dense layer's parameters.
#[derive(Clone)]
pub struct Dense<E: Real, D: Backend<E>> {
    /// W, `[O, I]`.
    pub weight: Matrix<E, D>,
    /// b, `[O]`.
    pub bias: Column<E, D>,
    /// Wᵀ, where it is laid out for many calls.
    pub(crate) transposed: Option<Box<Matrix<E, D>>>,
    /// By dfdx's own operations, as its `Linear` has them.
    pub(crate) plain: bool,
}

impl<E: Real, D: Backend<E>> Dense<E, D> {
    /// By this crate's product.
    pub fn new(weight: Matrix<E, D>, bias: Column<E, D>) -> Self {
        Self { weight, bias, transposed: None, plain: false }
    }

    /// By dfdx's product.
    pub fn plain(weight: Matrix<E, D>, bias: Column<E, D>) -> Self {
        Self { weight, bias, transposed: None, plain: true }
    }

    /// I.
    pub fn inputs(&self) -> usize {
        self.weight.shape().1
    }

    /// O.
    pub fn outputs(&self) -> usize {
        self.weight.shape().0
    }
}

/// L(h + F(h)) for linear L, with the last layer of F and L in one.
pub struct FusedResidual<'a, E: Real, D: Backend<E>> {
    /// F without its last layer.
    pub front: Vec<Operation<'a, E, D>>,
    /// L.
    pub next: Dense<E, D>,
    /// L after the last layer of F, but for L's bias.
    pub composed: Dense<E, D>,
}

/// A convolution's parameters.
pub struct Convolution<E: Real, D: Backend<E>> {
    /// `[O, K, K, C]`.
    pub filter: Filters<E, D>,
    /// `[O]`.
    pub bias: Column<E, D>,
    /// Where it looks.
    pub window: Window,
}

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x Φ(x), approximately.
    FastGelu,
    /// x Φ(x).
    Gelu,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// sin x.
    Sin,
    /// cos x.
    Cos,
    /// |x|.
    Abs,
    /// x².
    Square,
}

/// How a window becomes one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Pooling {
    /// Its largest.
    Max,
    /// Its mean; padding counts as zeros.
    Mean,
}

/// Batch normalisation's parameters.
pub struct BatchNorm<'a, E: Real, D: Backend<E>> {
    /// γ.
    pub scale: Column<E, D>,
    /// β.
    pub shift: Column<E, D>,
    /// ε.
    pub epsilon: f64,
    /// How far the running statistics go towards those of a batch.
    pub momentum: f64,
    /// The running statistics.
    pub running: Running<'a, E, D>,
}

/// Statistics that follow those of the batches.
pub enum Running<'a, E: Real, D: Backend<E>> {
    /// As they are: μ and σ².
    Fixed([Column<E, D>; 2]),
    /// To be moved by a training pass.
    Moving(&'a mut dyn MovingStatistics<E, D>),
}

/// Running statistics that a training pass moves.
pub trait MovingStatistics<E: Real, D: Backend<E>> {
    /// μ and σ² by now.
    ///
    /// # Errors
    /// The device's own.
    fn now(&self) -> Result<[Column<E, D>; 2], D::Err>;

    /// Moves them towards μ and the biased σ² of a batch with so many numbers a channel.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn follow(&mut self, batch: [Column<E, D>; 2], count: usize) -> Result<(), D::Err>;
}

impl<E: Real, D: Backend<E>> Running<'_, E, D> {
    /// μ and σ² by now.
    pub(crate) fn now(&self) -> Result<[Column<E, D>; 2], D::Err> {
        match self {
            Self::Fixed(now) => Ok(now.clone()),
            Self::Moving(moving) => moving.now(),
        }
    }
}

impl<E: Real, D: Backend<E>> Operation<'_, E, D> {
    /// Whether it draws from its input's device in training, as dropout does.
    pub(crate) fn draws(&self) -> bool {
        match self {
            Self::Dropout(_) => true,
            Self::Module(module) => module.draws(),
            _ => self.parts().any(Self::draws),
        }
    }

    /// Whether what comes out of a row depends on that row alone, and on nothing that is drawn.
    pub(crate) fn is_rowwise(&self) -> bool {
        match self {
            Self::Dropout(_) | Self::BatchNorm(_) => false,
            Self::Module(module) => module.is_rowwise(),
            _ => self.parts().all(Self::is_rowwise),
        }
    }

    /// Whether it has tensors, trained or not.
    pub(crate) fn has_tensors(&self) -> bool {
        match self {
            Self::Dense(_)
            | Self::FusedResidual(_)
            | Self::LayerNorm { .. }
            | Self::BatchNorm(_)
            | Self::Convolution(_) => true,
            Self::Module(module) => module.has_tensors(),
            _ => self.parts().any(Self::has_tensors),
        }
    }

    /// Whether it is a product with weights, after nothing but an embedding of times.
    pub(crate) fn is_linear(&self) -> bool {
        match self {
            Self::Dense(dense) => !dense.plain,
            Self::Convolution(_) => true,
            Self::Sequence(operations) => match operations.split_last() {
                Some((last, before)) => last.is_linear() && before.iter().all(Self::only_embeds),
                None => false,
            },
            _ => false,
        }
    }

    /// Whether it is an embedding of times.
    fn only_embeds(&self) -> bool {
        match self {
            Self::TimeEmbedding(_) => true,
            Self::Sequence(operations) => operations.iter().all(Self::only_embeds),
            _ => false,
        }
    }

    /// The operations that this one is made of.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Self> {
        let (list, boxed): (&[Self], [Option<&Self>; 3]) = match self {
            Self::Sequence(operations) | Self::Repeated(operations) => (operations, [None; 3]),
            Self::FusedResidual(fused) => (&fused.front, [None; 3]),
            Self::Condition { z, x, t } => (&[], [Some(z), Some(x), t.as_deref()]),
            Self::Residual(branch) => (&[], [Some(branch), None, None]),
            Self::Projected { branch, projection } => (&[], [Some(branch), Some(projection), None]),
            _ => (&[], [None; 3]),
        };
        list.iter().chain(boxed.into_iter().flatten())
    }
}
