//! What a run is told before its first step that is no error.

use super::Fit;

/// A network is seldom done before. Measured with AdamW at its default rate: iris and 150 digits
/// are within a point of their best accuracy after 200 steps in all variants, up to 5 points below
/// after 100, and 10 to 60 after 20 (`docs/training.md` has the table).
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
         epochs), and a network is seldom done before {FEW}: raise Fit::epochs, or lower \
         Fit::batch_size"
    )]
}
