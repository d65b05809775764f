//! The mathematics of NoProp, one file for each variant.

mod continuous;
mod discrete;
mod flow;
mod late;
mod network;
mod objective;
mod pieces;
mod pipeline;
mod stacked;
mod step;
mod walk;

pub use continuous::{ContinuousTime, Inference, Weighting};
pub use discrete::{DiscreteTime, Sampler};
pub use flow::{Estimate, EstimateWeighting, FlowMatching, Predictor};
pub use network::{TimeSampling, TimedRows};
pub use objective::{BlockLoss, Loss, Target};

use dfdx::{nn::BuildOnDevice, prelude::Gradients};

use crate::{
    Config,
    device::{Backend, Real},
    error::Error,
    head::{Head, Reads},
    nn::Signal,
    noprop::{NoProp, TargetsOf},
    optim::{Optimizer, OptimizerState, Stepping},
    schedule::LearnedGamma,
    train::{Chosen, SchedulePoint, Span, StepReport},
};

/// A way to train by denoising: what a block takes, what it learns, and how an answer is read off.
///
/// Sealed: its methods reach into the trainer.
pub trait Variant<const Z: usize, const X: usize, E: Real, D: Backend<E>>:
    sealed::Sealed + Config + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// What the targets are.
    type Head: Head<Z, E>;
    /// What reads a block's output: the head, or a predictor.
    type Reader: Reads<Z>;
    /// What a block takes.
    type Input: Signal<E, D>;
    /// What is worked out once, or trained beside the blocks: noise levels, a learned schedule.
    type State: State<E, D>;

    /// What it is called: `discrete time`, `continuous time` or `flow matching`.
    const NAME: &'static str;

    /// The head's settings.
    fn head(&self) -> &Self::Head;

    /// How blocks step.
    fn optimizer(&self) -> &Optimizer;

    /// The seed of the initial weights.
    fn seed(&self) -> u64;

    /// How many blocks there are: T in discrete time, 1 elsewhere.
    fn blocks(&self) -> usize;

    /// How many pieces of a step can go side by side.
    #[doc(hidden)]
    fn pieces(&self) -> usize {
        self.blocks()
    }

    #[doc(hidden)]
    fn start(&self, device: &D) -> Result<Self::State, Error>;

    #[doc(hidden)]
    fn train<M: BuildOnDevice<D, E>>(
        trainer: &mut NoProp<Self, M, Z, X, E, D>,
        batches: &[Chosen<'_, X, TargetsOf<Self, Z, X, E, D>, E>],
        span: &Span<'_>,
    ) -> Result<Vec<StepReport>, Error>;

    #[doc(hidden)]
    fn infer<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
        ask: Ask,
    ) -> Result<Answers<E>, Error>;

    /// The answers at the points of the way from noise to target, each with its t.
    #[doc(hidden)]
    fn along<M: BuildOnDevice<D, E>>(
        trainer: &NoProp<Self, M, Z, X, E, D>,
        x: &[[E; X]],
    ) -> Result<Vec<(f64, Answers<E>)>, Error>;
}

/// What is trained beside the blocks, if anything is.
#[doc(hidden)]
pub trait State<E: Real, D: Backend<E>>: Clone {
    /// Makes room for gradients.
    fn register(&self, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        let _ = gradients;
        Ok(())
    }

    /// The schedule from noise to target, as it is by now.
    fn points(&self) -> Vec<SchedulePoint>;

    /// What is trained, if anything is, with what its optimiser remembers.
    fn learned(&self) -> Option<(&LearnedGamma<E, D>, &OptimizerState<E, D>)> {
        None
    }

    /// The same, to be changed.
    fn learned_mut(&mut self) -> Option<(&mut LearnedGamma<E, D>, &mut OptimizerState<E, D>)> {
        None
    }

    /// One step.
    fn step(&mut self, stepping: &Stepping, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        let _ = (stepping, gradients);
        Ok(())
    }
}

impl<E: Real, D: Backend<E>> State<E, D> for () {
    /// The straight line z = t u + (1 − t) ε.
    fn points(&self) -> Vec<SchedulePoint> {
        let at = |t: f64| SchedulePoint { t, snr: (t / (1.0 - t)).powi(2) };
        (0..=100).map(|i| at(f64::from(i) / 100.0)).collect()
    }
}

impl<E: Real, D: Backend<E>> State<E, D> for crate::schedule::NoiseLevels {
    fn points(&self) -> Vec<SchedulePoint> {
        let last = self.blocks();
        let at = |t: usize| SchedulePoint { t: t as f64 / last as f64, snr: self.snr(t) };
        (0..=last).map(at).collect()
    }
}

/// What inference is asked for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// The answer, `[rows, Out]`.
    Answer,
    /// A draw of the final latent, `[rows, Z]`, with this seed.
    Sample(u64),
    /// The answers at all points of the way, `[points, rows, Out]`.
    Along,
}

/// What inference answers.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Answers<E> {
    /// Row-major.
    pub values: Vec<E>,
    /// How often a network was called for a row, summed over the rows.
    pub calls: usize,
}

impl<E> Answers<E> {
    /// The mean of several draws for the same rows.
    fn mean(draws: impl ExactSizeIterator<Item = Result<Self, Error>>) -> Result<Self, Error>
    where
        E: Real,
    {
        let share = E::of(1.0 / draws.len().max(1) as f64);
        let mut mean = Self { values: Vec::new(), calls: 0 };
        for draw in draws {
            let draw = draw?;
            mean.values.resize(draw.values.len(), E::zero());
            mean.calls += draw.calls;
            mean.values.iter_mut().zip(draw.values).for_each(|(mean, v)| *mean += share * v);
        }
        Ok(mean)
    }

    /// The answers at each of `points`, from those of some rows at a time, `[points, rows, Out]`; `calls` is how often a
    /// network was called for a row up to each point.
    fn along(parts: Vec<Self>, points: &[(f64, usize)], rows: usize) -> Vec<(f64, Self)>
    where
        E: Real,
    {
        let empty =
            |&(t, calls): &(f64, usize)| (t, Self { values: Vec::new(), calls: calls * rows });
        let mut all: Vec<(f64, Self)> = points.iter().map(empty).collect();
        for part in parts {
            let values = part.values;
            let each = values.len() / points.len().max(1);
            for ((_, answers), part) in all.iter_mut().zip(values.chunks_exact(each.max(1))) {
                answers.values.extend_from_slice(part);
            }
        }
        all
    }

    /// The parts of an answer, put together.
    fn collect(parts: Vec<Self>) -> Self {
        let mut all = Self { values: Vec::new(), calls: 0 };
        for part in parts {
            all.values.extend(part.values);
            all.calls += part.calls;
        }
        all
    }
}

/// Rows that go through inference together.
const TOGETHER: usize = 256;

mod sealed {
    pub trait Sealed {}
    impl<H> Sealed for super::DiscreteTime<H> {}
    impl<H> Sealed for super::ContinuousTime<H> {}
    impl<H, P> Sealed for super::FlowMatching<H, P> {}
}
