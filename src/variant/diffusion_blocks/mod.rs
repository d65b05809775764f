//! Blocks by noise level (DiffusionBlocks): B blocks, each with its own weights, each trained on its
//! own part of the noise.

mod denoiser;
mod objective;
mod preconditioning;
#[cfg(test)]
mod tests;

pub(crate) use denoiser::Denoiser;
#[doc(hidden)]
pub use objective::NoiseBlocks;
pub(crate) use preconditioning::Preconditioning;

use super::{Mathematics, Probabilities, Sampler, Setup, TimeSampling, Variant};
use crate::{
    device::{Backend, Real},
    error::Error,
    gradient::Estimator,
    head::{Head, OneHot},
    nn::Timed,
    optim::Optimizer,
    schedule::{Classes, NoiseDistribution, Partition},
    solver::{Method, Save, Solver, Steps},
};

/// Blocks by noise level: B networks F_1 … F_B on (z, x, σ), of which each takes the noise out of z
/// in its own part of [σ_min, σ_max] (Shing, Koyama, Akiba 2025, *DiffusionBlocks: block-wise neural
/// network training via diffusion interpretation*). B = 1 is one network for all noise levels, EDM
/// (Karras et al. 2022).
///
/// In training z = u + σ ε, with σ drawn from the block's part and what overlaps it, and no block
/// waits for another. A block sees c_in z, x and, as the time t of its
/// [`TimeEmbedding`](crate::nn::TimeEmbedding), ¼ ln σ: −1.55 at σ = 0.002, 1.10 at σ = 80. With
/// c_skip = σ_d² / (σ² + σ_d²), c_out = σ σ_d / √(σ² + σ_d²) and c_in = 1 / √(σ² + σ_d²) its output
/// stands for the estimate
///
/// D = softmax(F) W for classes, with the loss CE(F, y) (the paper's section 3.4),
///
/// D = c_skip z + c_out F for numbers, with the loss ‖D − u‖² / c_out², weighted row by row.
///
/// In inference z goes from σ_max through the blocks to σ_min by
///
/// z′ = (σ′/σ) z + (1 − σ′/σ) D
///
/// (or another method of the same equation). For classes the answer is the mean of the blocks'
/// probabilities, or those of the last; for numbers the mean of where
/// 16 ways end, whose starts stand for all of N(0, σ_max²).
///
/// ```
/// use dfdx_noprop::prelude::*;
///
/// type Model = NoProp<DiffusionBlocks, ConditionalResNetCt<10, 64>, 10, 64>;
/// let digits = data::digits()?;
/// let mut model = Model::new(&AutoDevice::default(), DiffusionBlocks::default())?;
/// model.fit(&digits.train, &Fit { epochs: 4, ..Fit::default() })?;
/// assert!(model.evaluate(&digits.test)?.accuracy > 0.5);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct DiffusionBlocks<H = OneHot> {
    /// B, the number of blocks: at least 1.
    /// Default: `3`.
    pub blocks: usize,
    /// How the noise is shared out among the blocks.
    /// Default: `Partition::EqualProbability`.
    pub partition: Partition,
    /// The noise levels of training, and their ends.
    /// Default: that of [`NoiseDistribution`].
    pub noise: NoiseDistribution,
    /// γ, by how much of its width (in ln σ) a part grows at either end for training: 0 to 1.
    /// Default: `0.05`.
    pub overlap: f64,
    /// σ_d, about how far the numbers of u are from 0: above 0. If not given it is measured: the
    /// root of the mean square of the embedding's numbers as they are at the start, √(1/C) for
    /// one-hot classes; 1 for numbers, which should be standardised.
    /// Default: `None`.
    pub sigma_data: Option<f64>,
    /// How the uniform numbers are drawn from which σ follows.
    /// Default: `TimeSampling::LowDiscrepancy`.
    pub times: TimeSampling,
    /// What takes z from one end of a block's part to the other, in how many steps: `Steps::Fixed`.
    /// The steps are of equal probability under [`noise`](field@Self::noise), and in each the
    /// method is applied to d(z/σ)/d(1/σ) = D, of which Euler's step is z′ above.
    /// Default: one step of [`Method::Euler`] a block.
    pub solver: Solver,
    /// How answers are read off: from z = 0 at σ_max, or from draws of N(0, σ_max²), whose answers
    /// are averaged. No noise comes on the way.
    /// Default: `Sampler::Deterministic`.
    pub sampler: Sampler,
    /// Whose probabilities are the answer, for classes.
    /// Default: `Probabilities::Mean`.
    pub probabilities: Probabilities,
    /// How blocks step.
    /// Default: that of [`AdamW`](crate::optim::AdamW).
    pub optimizer: Optimizer,
    /// How blocks get their gradient.
    /// Default: `Estimator::Local`.
    pub estimator: Estimator,
    /// What the targets are.
    /// Default: that of the head.
    pub head: H,
    /// The seed of the initial weights.
    /// Default: `0`.
    pub seed: u64,
}

impl DiffusionBlocks {
    /// The same settings for targets of another kind.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// let variant = DiffusionBlocks::default().with_head(Regression);
    /// assert_eq!(variant, DiffusionBlocks::<Regression>::default());
    /// ```
    pub fn with_head<G>(self, head: G) -> DiffusionBlocks<G> {
        DiffusionBlocks {
            blocks: self.blocks,
            partition: self.partition,
            noise: self.noise,
            overlap: self.overlap,
            sigma_data: self.sigma_data,
            times: self.times,
            solver: self.solver,
            sampler: self.sampler,
            probabilities: self.probabilities,
            optimizer: self.optimizer,
            estimator: self.estimator,
            head,
            seed: self.seed,
        }
    }
}

impl<H: Default> Default for DiffusionBlocks<H> {
    /// The paper's B = 3, its noise levels and its overlap; σ_d measured, one step of Euler's method
    /// a block.
    fn default() -> Self {
        Self {
            blocks: 3,
            partition: Partition::default(),
            noise: NoiseDistribution::default(),
            overlap: 0.05,
            sigma_data: None,
            times: TimeSampling::default(),
            solver: Solver { method: Method::Euler, steps: Steps::Fixed(1), save: Save::End },
            sampler: Sampler::Deterministic,
            probabilities: Probabilities::Mean,
            optimizer: Optimizer::default(),
            estimator: Estimator::default(),
            head: H::default(),
            seed: 0,
        }
    }
}

impl<H, const Z: usize, const X: usize, E: Real, D: Backend<E>> Variant<Z, X, E, D>
    for DiffusionBlocks<H>
where
    H: Head<Z, E>,
{
    type Head = H;
    type Reader = H;
    type Input = Timed<Z, X>;

    const NAME: &'static str = Denoiser::NAME;

    fn head(&self) -> &H {
        &self.head
    }

    fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    fn steps_mut(&mut self) -> (&mut Optimizer, &mut Estimator) {
        (&mut self.optimizer, &mut self.estimator)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn blocks(&self) -> usize {
        self.blocks
    }

    fn mathematics(&self) -> Result<Mathematics, Error> {
        let reading = H::reading();
        self.estimator.check(reading.is_learned().then_some("embedding"))?;
        let rows: Vec<f64> = match reading.has_classes() {
            true => self.head.table(self.seed)?.into_iter().map(|v: E| v.as_f64()).collect(),
            false => Vec::new(),
        };
        let classes = reading.has_classes().then_some(Classes { rows: &rows, width: Z });
        let parts = self.partition.parts(self.noise, self.blocks, self.overlap, classes)?;
        let sigma_data = self.sigma_data.unwrap_or_else(|| match classes {
            Some(_) => (rows.iter().map(|v| v * v).sum::<f64>() / rows.len() as f64).sqrt(),
            None => 1.0,
        });
        let setup = Setup {
            name: Denoiser::NAME,
            blocks: self.blocks,
            reading,
            probabilities: self.probabilities,
            optimizer: self.optimizer,
            estimator: self.estimator,
            cross_entropy: f64::from(u8::from(reading.has_classes())),
            times: Some(self.times),
        };
        let levels = parts.levels(Denoiser::steps(&self.solver)?);
        let denoiser = Denoiser::new(setup, levels, &self.solver, sigma_data, self.sampler)?;
        Ok(Mathematics::Blocks(Box::new(NoiseBlocks { denoiser, parts })))
    }
}
