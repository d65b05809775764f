//! What training says of itself: plain data, which observers and files can hold.

use crate::{device::Real, distributed::Layout, head::Evaluation, schedule::SchedulePoint};

/// What a run is, before its first step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RunReport {
    /// The variant's name: `discrete time`, `continuous time`, `flow matching` or `diffusion blocks`.
    pub variant: &'static str,
    /// How many blocks are trained.
    pub blocks: usize,
    /// How many trained numbers the blocks have, all together.
    pub parameters: usize,
    /// How many rows there are to learn from.
    pub rows: usize,
    /// How many rows make a step.
    pub batch_size: usize,
    /// How many epochs the whole run has.
    pub epochs: usize,
    /// How many steps an epoch has.
    pub steps_per_epoch: usize,
    /// How many steps of the run were taken before: 0 unless it was stopped and goes on.
    pub steps_done: u64,
    /// How many steps the trainer had taken before, over its whole life: the next one is
    /// `steps_before` + 1.
    pub steps_before: u64,
    /// How many epochs it had completed.
    pub epochs_before: u64,
    /// λ, what the cross-entropy of a block's own logits is multiplied by in what is minimised; 0
    /// where there is none.
    pub cross_entropy_weight: f64,
    /// What is not wrong and yet hardly meant, a sentence each: a run too short to learn from.
    pub warnings: Vec<String>,
    /// Whether the targets are classes, so that there is an accuracy.
    pub classes: bool,
    /// How noise turns into target, as it is before the first step: from t = 0 (noise) to t = 1
    /// (target).
    pub schedule: Vec<SchedulePoint>,
}

/// One block's part in one step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BlockReport {
    /// The block, counted from 1.
    pub block: usize,
    /// Its squared error ‖û − u‖², weighted: (T/2) η (SNR(t) − SNR(t−1)) times the batch's mean.
    pub denoising: f64,
    /// The cross-entropy of its own logits, weighted; 0 for a head without classes.
    pub cross_entropy: f64,
    /// The Euclidean norm of the gradient of all its weights, before clipping.
    pub gradient_norm: f64,
    /// How many rows its own logits have right; 0 for a head without classes.
    pub correct: usize,
    /// How many rows there were.
    pub rows: usize,
}

/// One step of all blocks.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StepReport {
    /// The step, counted from 1 over the life of the trainer.
    pub step: u64,
    /// The epoch that it belongs to, counted from 1 over the life of the trainer.
    pub epoch: u64,
    /// The learning rate that it had.
    pub learning_rate: f64,
    /// One entry for each block, from noise to target.
    pub blocks: Vec<BlockReport>,
    /// CE(p̂(y | z_T)) and KL(q(z_0 | y) ‖ N(0, I)), which no block has a part in. Unless the
    /// embedding is learned they depend on nothing that is trained, and are computed on some
    /// batches only.
    pub terminal: [f64; 2],
}

impl StepReport {
    /// How many rows were learned from.
    pub fn rows(&self) -> usize {
        self.blocks.first().map_or(0, |block| block.rows)
    }

    /// The loss, as [`EpochReport::loss`] has it.
    pub fn loss(&self) -> f64 {
        let denoising: f64 = self.blocks.iter().map(|block| block.denoising).sum();
        self.terminal[0] + self.terminal[1] + denoising / self.blocks.len().max(1) as f64
    }

    /// What the step made smaller, as [`EpochReport::minimised`] has it.
    pub fn minimised(&self) -> f64 {
        let cross_entropy: f64 = self.blocks.iter().map(|block| block.cross_entropy).sum();
        self.loss() + cross_entropy / self.blocks.len().max(1) as f64
    }
}

/// One block over an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockMean {
    /// The weighted squared error, mean over the rows.
    pub denoising: f64,
    /// The weighted cross-entropy of the block's own logits, mean over the rows.
    pub cross_entropy: f64,
    /// The norm of the gradient, mean over the steps.
    pub gradient_norm: f64,
    /// The share of rows that the block's own logits had right, on noised targets, in training:
    /// from 0 to 1.
    pub accuracy: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EpochReport {
    /// The epoch, counted from 1 over the life of the trainer.
    pub epoch: u64,
    /// The epoch that the run ends with, counted in the same way.
    pub epochs: usize,
    /// How many rows were learned from, each once.
    pub rows: usize,
    /// How many steps each block took.
    pub steps: usize,
    /// How long it took, in seconds, evaluation apart. Of an epoch that was stopped and went on,
    /// the last part.
    pub seconds: f64,
    /// CE(p̂(y | z_T)) + KL(q(z_0 | y) ‖ N(0, I)) + mean_t of the blocks' squared errors: the
    /// paper's loss, eq. 8.
    pub loss: f64,
    /// What training makes smaller: `loss`, plus the mean over the blocks of λ times the
    /// cross-entropy of their own logits.
    pub minimised: f64,
    /// That cross-entropy by itself, in nats as the validation rows' negative log-likelihood:
    /// without λ, mean over the blocks and the rows. `None` where there is none.
    pub cross_entropy: Option<f64>,
    /// The blocks, from noise to target.
    pub blocks: Vec<BlockMean>,
    /// The validation rows, where there are any and it is this epoch's turn.
    pub validation: Option<Evaluation>,
}

/// Means over the steps of an epoch, as they come in.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Means {
    rows: usize,
    steps: usize,
    terminal: f64,
    blocks: Vec<BlockMean>,
}

impl Means {
    /// As a message: the three numbers of the run, and then four for each block.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = vec![self.rows as f64, self.steps as f64, self.terminal];
        for block in &self.blocks {
            let BlockMean { denoising, cross_entropy, gradient_norm, accuracy } = *block;
            numbers.extend([denoising, cross_entropy, gradient_norm, accuracy]);
        }
        f64::to_bytes(&numbers)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let numbers = f64::from_bytes(bytes);
        let Some((&[rows, steps, terminal], blocks)) = numbers.split_first_chunk() else {
            return Self::default();
        };
        let block = |&[denoising, cross_entropy, gradient_norm, accuracy]: &[f64; 4]| BlockMean {
            denoising,
            cross_entropy,
            gradient_norm,
            accuracy,
        };
        let blocks = blocks.as_chunks().0.iter().map(block).collect();
        Self { rows: rows as usize, steps: steps as usize, terminal, blocks }
    }

    /// Those of all blocks, from those of each rank's blocks.
    pub(crate) fn of_all(ranks: &[Self], layout: Layout) -> Self {
        let Some(first) = ranks.first() else { return Self::default() };
        let blocks: Vec<_> = ranks.iter().map(|rank| &rank.blocks[..]).collect();
        Self { blocks: layout.in_order(&blocks), ..first.clone() }
    }

    /// Those of one rank's blocks, from those of all.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn own(&self, layout: Layout) -> Self {
        let own = layout.own().filter_map(|t| self.blocks.get(t - 1).cloned());
        Self { blocks: own.collect(), ..self.clone() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// What no run could have left after so many steps, `under_way` of them in the epoch where that
    /// is known: what was expected, and what came.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn contradiction(
        &self,
        steps: u64,
        under_way: Option<u64>,
        batch_size: usize,
        blocks: usize,
    ) -> Option<(String, String)> {
        let (own, rows) = (self.steps as u64, self.rows);
        if own > steps || under_way.is_some_and(|under_way| own != under_way) {
            let expected = under_way.map_or(format!("at most {steps}"), |exact| exact.to_string());
            return Some((format!("means over {expected} steps"), own.to_string()));
        }
        if !(self.steps..=self.steps.saturating_mul(batch_size)).contains(&rows) {
            let expected = format!("means over the rows of {own} steps of up to {batch_size}");
            return Some((expected, rows.to_string()));
        }
        let expected = if own == 0 { 0 } else { blocks };
        if self.blocks.len() != expected {
            let expected = format!("means of {expected} blocks, over {own} steps");
            return Some((expected, self.blocks.len().to_string()));
        }
        let wrong = |block: &&BlockMean| {
            !(0.0..=rows as f64).contains(&block.accuracy) || block.gradient_norm < 0.0
        };
        let block = self.blocks.iter().find(wrong)?;
        let expected = format!("sums of 0 or more, of up to {rows} right answers");
        Some((expected, format!("{block:?}")))
    }

    pub(crate) fn add(&mut self, step: &StepReport) {
        let rows = step.rows();
        self.rows += rows;
        self.steps += 1;
        self.terminal += rows as f64 * (step.terminal[0] + step.terminal[1]);
        self.blocks.resize(step.blocks.len(), BlockMean::default());
        for (sum, block) in self.blocks.iter_mut().zip(&step.blocks) {
            sum.denoising += rows as f64 * block.denoising;
            sum.cross_entropy += rows as f64 * block.cross_entropy;
            sum.gradient_norm += block.gradient_norm;
            sum.accuracy += block.correct as f64;
        }
    }

    /// `weight` is that of the cross-entropy.
    pub(crate) fn report(
        &self,
        epoch: u64,
        epochs: usize,
        seconds: f64,
        weight: f64,
    ) -> EpochReport {
        let share = 1.0 / self.rows.max(1) as f64;
        let mean = |sum: &BlockMean| BlockMean {
            denoising: share * sum.denoising,
            cross_entropy: share * sum.cross_entropy,
            gradient_norm: sum.gradient_norm / self.steps.max(1) as f64,
            accuracy: share * sum.accuracy,
        };
        let blocks: Vec<BlockMean> = self.blocks.iter().map(mean).collect();
        let over_blocks = |of: fn(&BlockMean) -> f64| {
            blocks.iter().map(of).sum::<f64>() / blocks.len().max(1) as f64
        };
        let loss = share * self.terminal + over_blocks(|block| block.denoising);
        let cross_entropy = over_blocks(|block| block.cross_entropy);
        EpochReport {
            epoch,
            epochs,
            rows: self.rows,
            steps: self.steps,
            seconds,
            loss,
            minimised: loss + cross_entropy,
            cross_entropy: (weight > 0.0).then(|| cross_entropy / weight),
            blocks,
            validation: None,
        }
    }
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Ended {
    /// All epochs were trained.
    Finished,
    /// The validation score had not become better for the patience asked for
    /// validations.
    NoProgress,
    /// The time limit was over.
    OutOfTime,
    /// The step limit was reached.
    OutOfSteps,
    /// Ctrl-C, or whatever else set the flag that was given to `interrupt`.
    Interrupted,
    /// An observer asked for it.
    Observer,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Finished => "all epochs are done",
            Self::NoProgress => "the validation score has not become better for a while",
            Self::OutOfTime => "the time is over",
            Self::OutOfSteps => "the steps asked for are done",
            Self::Interrupted => "interrupted",
            Self::Observer => "an observer asked for it",
        })
    }
}

/// What a run leaves: the epochs that it trained, and why it ended.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Outcome {
    /// The epochs that were completed.
    pub epochs: Vec<EpochReport>,
    /// Why it ended.
    pub ended: Ended,
    /// Those of [`RunReport::warnings`].
    pub warnings: Vec<String>,
    /// The validation rows' answers on the way from noise to target, for the model as it is at the
    /// end; empty without validation rows, and for solvers whose steps depend on the rows.
    pub along: Vec<AlongPoint>,
}

#[cfg(feature = "checkpoint")]
impl Outcome {
    /// Of a run that was at its end when it was resumed.
    pub(crate) fn nothing_left() -> Self {
        let ended = Ended::Finished;
        Self { epochs: Vec::new(), ended, warnings: Vec::new(), along: Vec::new() }
    }
}

/// The answer at one point of the way from noise to target.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AlongPoint {
    /// t, from 0 (noise) to 1 (target); t/T after block t in discrete time.
    pub t: f64,
    /// How often a network was called for a row up to here.
    pub calls: f64,
    /// The answer at this point against the truth.
    pub evaluation: Evaluation,
}
