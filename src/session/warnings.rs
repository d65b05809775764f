//! What a run is told before its first step that is no error.

use super::Fit;
use crate::{
    device::{Backend, Real},
    kernel::instructions,
    model::Position,
};

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

/// What computes a run's sums.
pub(super) fn processor<E: Real, D: Backend<E>>() -> &'static str {
    if D::THREADS { instructions() } else { "a GPU" }
}

/// A sentence where a run goes on by other instructions than it had: sums are in another order.
pub(super) fn other_processor<E: Real, D: Backend<E>>(
    position: Option<&Position>,
) -> Option<String> {
    let (before, now) = (position?.processor.as_ref()?, processor::<E, D>());
    (before != now).then(|| {
        format!(
            "the run that goes on was computed by {before} up to here, and is by {now} from now on: \
             its weights will agree with those of a run that was not stopped closely, but not to the \
             bit"
        )
    })
}
