//! What a run is told before its first step that is no error.

use super::Fit;

/// Fewer steps than this hardly move a network. Measured on iris (150 rows; AdamW at its default
/// rate of 0.001, batches of 128, mean of five seeds): see `docs/training.md`.
const FEW: u64 = 200;

/// A sentence for each. `each` are the steps of an epoch, `before` those that the trainer had taken
/// before the run.
pub(super) fn warnings(fit: &Fit, rows: usize, each: usize, before: u64) -> Vec<String> {
    let steps = (each as u64).saturating_mul(fit.epochs as u64);
    // None at all are meant, and a trainer that has learned may be tuned in a few.
    if steps == 0 || steps.saturating_add(before) >= FEW {
        return Vec::new();
    }
    let Fit { epochs, batch_size, .. } = fit;
    let steps_named = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
    vec![format!(
        "the whole run has {steps_named} ({rows} rows in batches of {batch_size}, {epochs} \
         epochs), and fewer than {FEW} hardly train a network: raise Fit::epochs, or lower \
         Fit::batch_size"
    )]
}
