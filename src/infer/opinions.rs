//! What the estimates on the way from noise to target have to say, and which of them is the answer.

use super::{InferenceOutput, InferenceRequest};
use crate::{
    device::{Backend, Real},
    variant::{Probabilities, ReverseProcess, Transition},
};

/// Which estimates on the way make up an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combination {
    /// The first, from noise alone: the mean of numbers given x, by the one block that has learned
    /// nothing else.
    First,
    /// The mean of the last ones from several starts, which stand for all.
    Starts,
    /// The last.
    Last,
    /// The mean of all.
    Mean,
    /// Each of them.
    Each,
    /// At each of them the mean of all up to there.
    Means,
}

impl Combination {
    /// What a request asks for.
    pub(crate) fn of<E: Real, D: Backend<E>>(
        process: &dyn ReverseProcess<E, D>,
        request: InferenceRequest,
    ) -> Self {
        let setup = process.setup();
        let takes_mean = setup.reading.has_classes() && setup.probabilities == Probabilities::Mean;
        match request {
            InferenceRequest::Along if takes_mean => Self::Means,
            InferenceRequest::Along => Self::Each,
            InferenceRequest::Sample(_) => Self::Last,
            _ if takes_mean => Self::Mean,
            _ if setup.reading.has_classes() => Self::Last,
            _ => match process.transition() {
                Transition::Blocks(_) => Self::First,
                // A network for many noise levels is least sure of what it says at their ends.
                Transition::Denoiser(_) | Transition::Field(_) => Self::Starts,
            },
        }
    }

    /// Whether an estimate is of use.
    pub(crate) fn takes(self, is_first: bool, is_last: bool) -> bool {
        match self {
            Self::First => is_first,
            Self::Last | Self::Starts => is_last,
            Self::Mean | Self::Each | Self::Means => true,
        }
    }

    /// The answer that estimates which it [takes](Self::takes) make up, in their order.
    pub(super) fn combined<E: Real>(self, estimates: impl IntoIterator<Item = Vec<E>>) -> Vec<E> {
        let mut combined = Combined::new(self);
        estimates.into_iter().for_each(|estimate| combined.add(&estimate));
        combined.values()
    }
}

/// What the estimates so far make up.
pub(super) struct Combined<E> {
    combination: Combination,
    mean: RunningMean<E>,
    all: Vec<E>,
}

impl<E: Real> Combined<E> {
    pub(super) fn new(combination: Combination) -> Self {
        Self { combination, mean: RunningMean::default(), all: Vec::new() }
    }

    /// One more estimate, which the combination [takes](Combination::takes).
    pub(super) fn add(&mut self, estimate: &[E]) {
        match self.combination {
            Combination::First | Combination::Last | Combination::Starts | Combination::Each => {
                self.all.extend_from_slice(estimate);
            }
            Combination::Mean => self.mean.add(estimate),
            Combination::Means => {
                self.mean.add(estimate);
                self.all.extend_from_slice(&self.mean.values);
            }
        }
    }

    pub(super) fn values(self) -> Vec<E> {
        if self.combination == Combination::Mean { self.mean.values } else { self.all }
    }
}

/// The mean of `count` numbers, from that of the others and the last of them.
pub(super) fn mean_with<E: Real>(mean: E, count: usize, last: E) -> E {
    mean + E::of(1.0 / count as f64) * (last - mean)
}

/// The mean of what was added so far.
pub(super) struct RunningMean<E> {
    pub(super) values: Vec<E>,
    count: usize,
}

impl<E> Default for RunningMean<E> {
    fn default() -> Self {
        Self { values: Vec::new(), count: 0 }
    }
}

impl<E: Real> RunningMean<E> {
    pub(super) fn add(&mut self, values: &[E]) {
        self.count += 1;
        if self.count == 1 {
            self.values = values.to_vec();
            return;
        }
        let means = self.values.iter_mut().zip(values);
        means.for_each(|(mean, v)| *mean = mean_with(*mean, self.count, *v));
    }
}

impl<E: Real> InferenceOutput<E> {
    /// Probabilities at temperature T: p^(1/T) of each class, normalised.
    pub(super) fn at_temperature(&mut self, classes: usize, temperature: f64) {
        for row in self.values.chunks_exact_mut(classes.max(1)) {
            let log = |p: E| p.as_f64().max(f64::MIN_POSITIVE).ln() / temperature;
            let most = row.iter().map(|p| log(*p)).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|p| (log(*p) - most).exp()).sum();
            row.iter_mut().for_each(|p| *p = E::of((log(*p) - most).exp() / sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_what_their_names_say() {
        let estimates = || [vec![1.0, 2.0], vec![3.0, 0.0], vec![8.0, 4.0]];
        assert_eq!(Combination::Mean.combined(estimates()), [4.0, 2.0]);
        assert_eq!(Combination::Means.combined(estimates()), [1.0, 2.0, 2.0, 1.0, 4.0, 2.0]);
        assert_eq!(Combination::Each.combined(estimates()), [1.0, 2.0, 3.0, 0.0, 8.0, 4.0]);
    }

    #[test]
    fn a_temperature_flattens_or_sharpens_probabilities() {
        // softmax of logits 0, 1, 2 at temperature 2 is softmax(0, ½, 1).
        let softmax = |logits: [f64; 3]| {
            let sum: f64 = logits.iter().map(|o| o.exp()).sum();
            logits.map(|o| o.exp() / sum)
        };
        let values = softmax([0.0, 1.0, 2.0]).to_vec();
        let mut output = InferenceOutput { values, calls: 0 };
        output.at_temperature(3, 2.0);
        for (found, expected) in output.values.iter().zip(softmax([0.0, 0.5, 1.0])) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
        let mut sure = InferenceOutput { values: vec![0.0f32, 1.0], calls: 0 };
        sure.at_temperature(2, 0.01);
        assert_eq!(sure.values, [0.0, 1.0]);
    }
}
