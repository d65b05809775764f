//! Answers against the truth.

use super::{
    Asked, DRAWS, DRAWS_SEED, InferenceOutput, InferenceRequest, InputRows, PointOutput, spread,
};
use crate::{
    block::{AnyBlock, Host, held},
    data::TargetRows,
    device::Real,
    error::Error,
    head::{DistributionScores, Evaluation},
    report::AlongPoint,
};

/// For how many rows draws are made at most: the share of them within a 90 % interval is then known
/// to half a percent.
const MOST_ROWS: usize = 4096;

/// How many numbers these draws have at most: 64 MB in single precision. Wide targets have fewer
/// rows, and as much to say with each.
const MOST_NUMBERS: usize = 1 << 24;

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// The answers to all rows, on all ranks; `operation` is what the user has called.
    pub(crate) fn answers(
        &self,
        operation: &'static str,
        request: InferenceRequest,
    ) -> Result<InferenceOutput<E>, Error> {
        let inputs = self.inputs;
        self.ranks.collective_on_rows(operation, inputs.rows(), inputs.numbers, || {
            let output = self.infer(request)?;
            self.check_finite(operation, &output)?;
            Ok(output)
        })
    }

    /// Whether all answers are finite: if not, the message names the weight that is to blame.
    pub(super) fn check_finite(
        &self,
        operation: &'static str,
        output: &InferenceOutput<E>,
    ) -> Result<(), Error> {
        let Some(i) = output.values.iter().position(|v| !v.is_finite()) else { return Ok(()) };
        let width = output.values.len() / self.inputs.rows().max(1);
        let why = match self.bad_weight()? {
            Some(name) => format!("the weights `{name}` are not finite: load an older checkpoint"),
            None => "all weights are finite, so numbers grew too large on the way: use normalised \
                     inputs, or f64"
                .to_owned(),
        };
        let found = format!("{} for row {}; {why}", output.values[i], i / width.max(1));
        Err(Error::not_finite(operation, "finite answers", found))
    }

    /// The first of this rank's tensors of weights that holds a number that is not finite.
    fn bad_weight(&self) -> Result<Option<String>, Error> {
        for block in &self.blocks {
            let block = held::<E, D>(block)?;
            let named = block.tensors().named().map_err(Error::device("reading the weights"))?;
            let bad = named.iter().find(|w| w.values.as_vec().iter().any(|v| !v.is_finite()));
            if let Some(bad) = bad {
                return Ok(Some(format!("block.{}.{}", block.state().t, bad.path)));
            }
        }
        let embedding = self.embedding.numbers();
        Ok(embedding.iter().any(|v| !v.is_finite()).then(|| "embedding".to_owned()))
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

    /// The same, with draws of numbers against the truth.
    pub(crate) fn evaluate_distribution(
        &self,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Evaluation, Error> {
        let mut evaluation = self.evaluate(operation, targets)?;
        if let (Evaluation::Numbers(errors), TargetRows::Values(values, z)) =
            (&mut evaluation, targets)
        {
            errors.distribution = Some(self.distribution(operation, values, *z)?);
        }
        Ok(evaluation)
    }

    /// Draws for some of the rows, evenly spread, against the truth.
    fn distribution(
        &self,
        operation: &'static str,
        values: &[E],
        z: usize,
    ) -> Result<DistributionScores, Error> {
        let InputRows { numbers, width, .. } = self.inputs;
        let rows = self.inputs.rows();
        let fit = MOST_NUMBERS / DRAWS.saturating_mul(z.max(1));
        let count = rows.min(MOST_ROWS).min(fit.max(1));
        let picked = spread(rows, count);
        let numbers = crate::data::select_wide(numbers, width, &picked);
        let inputs = InputRows { numbers: &numbers, width, draws: DRAWS };
        let asked = Asked { inputs, blocks: self.blocks.clone(), ..*self };
        let draws = asked.answers(operation, InferenceRequest::Sample(DRAWS_SEED))?;
        DistributionScores::new(&draws.values, &crate::data::select_wide(values, z, &picked), z)
    }

    /// The answers on the way from noise to target against the truth.
    pub(crate) fn evaluate_along(
        &self,
        operation: &'static str,
        targets: &TargetRows<'_, E>,
    ) -> Result<Vec<AlongPoint>, Error> {
        self.check(operation, targets)?;
        let points = self.answers_along(operation)?;
        let point = |PointOutput { t, output }| {
            let calls = self.calls(&output);
            AlongPoint { t, calls, evaluation: self.judge(&output, targets) }
        };
        Ok(points.into_iter().map(point).collect())
    }

    /// The answers on the way from noise to target, on all ranks.
    pub(crate) fn answers_along(
        &self,
        operation: &'static str,
    ) -> Result<Vec<PointOutput<E>>, Error> {
        let inputs = self.inputs;
        self.ranks.collective_on_rows(operation, inputs.rows(), inputs.numbers, || {
            let points = self.along()?;
            points.iter().try_for_each(|point| self.check_finite(operation, &point.output))?;
            Ok(points)
        })
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
        let reading = self.process.reading();
        reading.evaluate(&output.values, targets, self.calls(output))
    }
}
