//! Answers.

use super::{NoProp, TargetsOf};
use crate::{
    data::{Dataset, check_rows},
    device::{Backend, Real},
    error::Error,
    head::{HasClasses, Head},
    infer::{Asked, EarlyAnswer, InferenceRequest, InputRows, Until, check_draws},
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
    /// One prediction for each row: the most probable class by
    /// [`predict_proba`](Self::predict_proba), or the mean of its numbers given x, by
    /// [`predict_mean`](Self::predict_mean).
    ///
    /// # Errors
    /// [`Error::Argument`] for an input that is not finite, [`Error::Integration`] for a solver
    /// that does not get to its end, [`Error::Device`] where memory does not suffice.
    pub fn predict(
        &self,
        rows: &[[E; X]],
    ) -> Result<Vec<<V::Head as Head<Z, E>>::Prediction>, Error> {
        let answers = self.infer("NoProp::predict", rows)?;
        Ok(V::Head::predictions(&answers))
    }

    /// `draws` draws of the final latent z_T for each row, from noise that depends on `seed`, the
    /// row's place and the draw's number: samples of the target's distribution given x.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 draws, and those of [`predict`](Self::predict).
    pub fn sample(
        &self,
        rows: &[[E; X]],
        draws: usize,
        seed: u64,
    ) -> Result<Vec<Vec<[E; Z]>>, Error> {
        let latents = self.draws("NoProp::sample", rows, draws, seed)?;
        Ok(latents.as_chunks().0.chunks(draws).map(<[[E; Z]]>::to_vec).collect())
    }

    /// `[rows, draws, Z]`.
    pub(super) fn draws(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        draws: usize,
        seed: u64,
    ) -> Result<Vec<E>, Error> {
        self.ranks.report_to_ranks(check_draws(operation, draws))?;
        self.ask(operation, rows, draws, InferenceRequest::Sample(seed))
    }

    /// The most probable class of each row as soon as it is probable enough: after each block, or
    /// before each step of the solver, the rows that are sure stop, and the others are packed
    /// together and go on, so that the time falls with the calls. Their probabilities are those of
    /// [`predict_proba`](Self::predict_proba) with the calls that were made, at the temperature of
    /// [`calibrate`](Self::calibrate): a row that never becomes sure has the same answer.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let digits = data::digits()?;
    /// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// model.fit(&digits.train, &Fit { epochs: 20, ..Fit::default() })?;
    /// let answers = model.predict_until(digits.test.samples(), 0.9)?;
    /// let calls: usize = answers.iter().map(|answer| answer.calls).sum();
    /// assert!(calls < 5 * answers.len()); // of 10 blocks each
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a confidence that is not from 0 to 1, fewer calls than rows, a
    /// solver whose steps depend on the rows, noise in inference, or one rank's part of a
    /// distributed trainer; and those of [`predict`](Self::predict).
    pub fn predict_until(
        &self,
        rows: &[[E; X]],
        until: impl Into<Until>,
    ) -> Result<Vec<EarlyAnswer<<V::Head as Head<Z, E>>::Row>>, Error>
    where
        V::Head: HasClasses,
    {
        let operation = "NoProp::predict_until";
        check_rows::<X, E>(operation, rows.as_flattened())?;
        let asked = self.asked(rows.as_flattened());
        let found = self.engine.answers_until(&asked, operation, until.into())?;
        Ok(EarlyAnswer::all::<V::Head, Z, E>(found))
    }

    /// Inference for rows that come from outside.
    pub(super) fn infer(&self, operation: &'static str, rows: &[[E; X]]) -> Result<Vec<E>, Error> {
        self.ask(operation, rows, 1, InferenceRequest::Answer)
    }

    /// The same with each row as often as there are draws.
    fn ask(
        &self,
        operation: &'static str,
        rows: &[[E; X]],
        draws: usize,
        request: InferenceRequest,
    ) -> Result<Vec<E>, Error> {
        // A ReLU makes 0 of a NaN, so that one would go unnoticed.
        let finite = check_rows::<X, E>(operation, rows.as_flattened());
        self.ranks.report_to_ranks(finite)?;
        let mut asked = self.asked(rows.as_flattened());
        asked.inputs.draws = draws;
        Ok(self.engine.answers(&asked, operation, request)?.values)
    }

    /// Predictions against the truth, over all rows: for classes accuracy, negative log-likelihood
    /// and calibration; for numbers the squared error of their mean, and by 200 draws for up to
    /// 4,096 of the rows (fewer where Z is above 20) the CRPS, and how often the 90 % interval has
    /// the truth in it ([`DistributionScores`](crate::head::DistributionScores)).
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
        let inputs = InputRows::new(numbers, X);
        Asked::new(&self.model, self.erased_blocks(), &self.ranks, inputs)
    }
}
