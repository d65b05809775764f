//! What training says of itself.

/// One block's part in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockReport {
    /// The block, counted from 1.
    pub block: usize,
    /// Its squared error ‖û − u‖², weighted: (T/2) η (SNR(t) − SNR(t−1)) times the batch's mean.
    pub denoising: f64,
    /// The cross-entropy of its own logits, weighted; 0 for a head without classes.
    pub cross_entropy: f64,
    /// How many rows its own logits have right; 0 for a head without classes.
    pub correct: usize,
    /// How many rows there were.
    pub rows: usize,
}

/// One step of all blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// One entry for each block, from noise to target.
    pub blocks: Vec<BlockReport>,
    /// CE(p̂(y | z_T)) and KL(q(z_0 | y) ‖ N(0, I)), which no block has a part in. Unless the embedding is learned
    /// they depend on nothing that is trained, and are computed on some batches only.
    pub terminal: [f64; 2],
}

/// What one block brings back from some steps.
#[derive(Debug, Default)]
pub(crate) struct Trained<E> {
    pub(crate) reports: Vec<BlockReport>,
    pub(crate) table_gradient: Vec<E>,
}

/// One block over an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockMean {
    /// The weighted squared error, mean over the rows.
    pub denoising: f64,
    /// The weighted cross-entropy of the block's own logits, mean over the rows.
    pub cross_entropy: f64,
    /// The share of rows that the block's own logits had right, on noised targets, in training: from 0 to 1.
    pub accuracy: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, counted from 1 over the life of the trainer.
    pub epoch: u64,
    /// How many epochs this call trains.
    pub epochs: usize,
    /// How many rows were learned from, each once.
    pub rows: usize,
    /// How many steps each block took.
    pub steps: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// CE(p̂(y | z_T)) + KL(q(z_0 | y) ‖ N(0, I)) + mean_t of the blocks' squared errors: the paper's loss, eq. 8.
    pub loss: f64,
    /// The blocks, from noise to target.
    pub blocks: Vec<BlockMean>,
}

impl EpochReport {
    /// Means over the steps of an epoch, weighted by their rows.
    pub(super) fn new(epoch: u64, epochs: usize, seconds: f64, steps: &[StepReport]) -> Self {
        let count = steps.first().map_or(0, |step| step.blocks.len());
        let rows = |step: &StepReport| step.blocks.first().map_or(0, |block| block.rows);
        let total: usize = steps.iter().map(rows).sum();
        let mut blocks = vec![BlockMean::default(); count];
        let mut terminal = 0.0;
        for step in steps {
            let share = rows(step) as f64 / total.max(1) as f64;
            terminal += share * (step.terminal[0] + step.terminal[1]);
            for (mean, block) in blocks.iter_mut().zip(&step.blocks) {
                mean.denoising += share * block.denoising;
                mean.cross_entropy += share * block.cross_entropy;
                mean.accuracy += block.correct as f64 / total.max(1) as f64;
            }
        }
        let denoising: f64 = blocks.iter().map(|block| block.denoising).sum();
        Self {
            epoch,
            epochs,
            rows: total,
            steps: steps.len(),
            seconds,
            loss: terminal + denoising / count.max(1) as f64,
            blocks,
        }
    }
}
