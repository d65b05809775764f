//! Answers.

use super::{NoProp, TargetsOf};
use crate::{
    data::{Dataset, check_rows},
    device::{Backend, Real},
    error::Error,
    head::Head,
    infer::{Asked, InferenceRequest, InputRows},
    nn::Layer,
    report::AlongPoint,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// One prediction for each row: its class, or its numbers.
    ///
    /// For classes this is the most probable one by [`predict_proba`](Self::predict_proba).
    ///
    /// # Errors
    /// [`Error::Argument`] for an input that is not finite, [`Error::Integration`] for a solver
    /// that does not get to its end, [`Error::Device`] where memory does not suffice.
    pub fn predict(
        &self,
        rows: &[[E; X]],
    ) -> Result<Vec<<V::Head as Head<Z, E>>::Prediction>, Error> {
        let answers = self.infer("NoProp::predict", rows, InferenceRequest::Answer)?;
        Ok(V::Head::predictions(&answers))
    }

    /// A draw of the final latent z_T for each row, from noise that depends on `seed` and the row's
    /// place: a sample of the target's distribution given x.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    pub fn sample(&self, rows: &[[E; X]], seed: u64) -> Result<Vec<[E; Z]>, Error> {
        let latents = self.infer("NoProp::sample", rows, InferenceRequest::Sample(seed))?;
        Ok(latents.as_chunks().0.to_vec())
    }

    /// Inference for rows that come from outside.
    pub(super) fn infer(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        request: InferenceRequest,
    ) -> Result<Vec<E>, Error> {
        // A ReLU makes 0 of a NaN, so that one would go unnoticed.
        let finite = check_rows::<X, E>(operation, rows.as_flattened());
        self.ranks.report_to_ranks(finite)?;
        let asked = self.asked(rows.as_flattened());
        Ok(self.engine.answers(&asked, operation, request)?.values)
    }

    /// Predictions against the truth, over all rows: accuracy for classes, mean squared error for
    /// numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, and those of [`predict`](Self::predict).
    pub fn evaluate(
        &self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<<V::Head as Head<Z, E>>::Evaluation, Error> {
        let targets = V::Head::target_rows(data.targets());
        let asked = self.asked(data.inputs());
        let found = self.engine.evaluate(&asked, "NoProp::evaluate", &targets)?;
        let other =
            || Error::argument("NoProp::evaluate", "a report of the head's kind", "another");
        V::Head::evaluation(found).ok_or_else(other)
    }

    /// The answers on the way from noise to target against the truth: after each block in discrete
    /// time, at each step of the solver elsewhere. Empty for a solver whose steps depend on the
    /// rows, and for the SDE.
    ///
    /// # Errors
    /// Those of [`evaluate`](Self::evaluate).
    pub fn evaluate_along(
        &self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<Vec<AlongPoint>, Error> {
        let targets = V::Head::target_rows(data.targets());
        let asked = self.asked(data.inputs());
        self.engine.evaluate_along(&asked, "NoProp::evaluate_along", &targets)
    }

    /// The model, to be asked about some rows.
    pub(super) fn asked<'a>(&'a self, numbers: &'a [E]) -> Asked<'a, E, D> {
        let inputs = InputRows { numbers, width: X };
        Asked::new(&self.model, self.erased_blocks(), &self.ranks, inputs)
    }
}
