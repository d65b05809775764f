//! Answers against the truth.

use super::{Asked, InferenceOutput, InferenceRequest, PointOutput};
use crate::{
    block::Host, data::TargetRows, device::Real, error::Error, head::Evaluation, report::AlongPoint,
};

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// The answers to all rows, on all ranks; `operation` is what the user has called.
    pub(crate) fn answers(
        &self,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error> {
        let inputs = self.inputs;
        self.ranks
            .collective_on_rows(operation, inputs.rows(), inputs.numbers, || self.infer(request))
    }

    /// The answers to all rows against the truth.
    pub(crate) fn evaluate(
        &self,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Evaluation, Error> {
        self.check(operation, targets)?;
        let output = self.answers(operation, InferenceRequest::Answer)?;
        Ok(self.judge(&output, targets))
    }

    /// The answers on the way from noise to target against the truth.
    pub(crate) fn evaluate_along(
        &self,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Vec<AlongPoint>, Error> {
        self.check(operation, targets)?;
        let inputs = self.inputs;
        let points =
            self.ranks
                .collective_on_rows(operation, inputs.rows(), inputs.numbers, || self.along())?;
        let point = |PointOutput { t, output }| {
            let calls = self.calls(&output);
            AlongPoint { t, calls, evaluation: self.judge(&output, targets) }
        };
        Ok(points.into_iter().map(point).collect())
    }

    fn check(&self, operation: &'static str, targets: &TargetRows<'_, E>) -> Result<(), Error> {
        match targets.len() {
            0 => Err(Error::argument(operation, "at least one row", 0)),
            _ => Ok(()),
        }
    }

    /// How often a network was called for a row.
    fn calls(&self, output: &InferenceOutput<E>) -> f64 {
        output.calls as f64 / self.inputs.rows() as f64
    }

    fn judge(&self, output: &InferenceOutput<E>, targets: &TargetRows<'_, E>) -> Evaluation {
        let reading = self.model.objective.reading();
        reading.evaluate(&output.values, targets, self.calls(output))
    }
}
