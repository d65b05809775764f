//! How sure the answers of classes are, and which classes may be the true one.

use super::{NoProp, TargetsOf};
use crate::{
    data::Dataset,
    device::{Backend, Real},
    error::Error,
    head::{HasClasses, Head},
    model::Conformal,
    nn::Layer,
    score,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    V::Head: HasClasses,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Measures the temperature T > 0 at which the probabilities p^(1/T), normalised, have the
    /// least negative log-likelihood on these rows, and answers with them from now on (Guo et al.
    /// 2017, *On calibration of modern neural networks*, section 4.2). The classes that are most
    /// probable stay the same. Give it rows that were not learned from: on others the model is too
    /// sure. Another run forgets T; [`save`](Self::save) and [`predictor`](Self::predictor) keep it.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let digits = data::digits()?;
    /// let split = digits.train.split_stratified(0.2, 0)?;
    /// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// model.fit(&split.train, &Fit { epochs: 4, ..Fit::default() })?;
    /// println!("T = {:.2}", model.calibrate(&split.test)?);
    /// model.conformal(&split.test, 0.05)?;
    /// let sets = model.predict_set(digits.test.samples())?;
    /// let inside = sets.iter().zip(digits.test.targets().as_slice());
    /// assert!(inside.filter(|(set, y)| set.contains(y)).count() > 330); // of 359
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, and those of [`predict`](Self::predict); the model
    /// is then as it was.
    pub fn calibrate(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<f64, Error> {
        let operation = "NoProp::calibrate";
        let before = std::mem::take(&mut self.model.calibration.temperature);
        let found = self.probabilities_of(operation, data).and_then(|(probabilities, classes)| {
            let log = |p: &E| p.as_f64().max(f64::MIN_POSITIVE).ln();
            let logits: Vec<f64> = probabilities.iter().map(log).collect();
            score::temperature(&logits, classes, V::Head::target_rows(data.targets()).labels())
        });
        let calibration = &mut self.model.calibration;
        match found {
            // The sets were measured at another temperature.
            Ok(temperature) => {
                (calibration.temperature, calibration.conformal) = (Some(temperature), None);
            }
            Err(_) => calibration.temperature = before,
        }
        found
    }

    /// The temperature that [`calibrate`](Self::calibrate) has measured; 1 before.
    pub fn temperature(&self) -> f64 {
        self.model.calibration.temperature.unwrap_or(1.0)
    }

    /// Measures which classes have to be in a set for the true one to be missing in a share of at
    /// most `alpha` of rows: those with 1 − p_c ≤ q, where q is the ⌈(n + 1)(1 − α)⌉-th smallest of
    /// 1 − p_y over these n rows (split-conformal prediction: Vovk, Gammerman, Shafer 2005; Sadinle,
    /// Lei, Wasserman 2019). The answer is q, 1 where all classes have to be. From then on there is
    /// [`predict_set`](Self::predict_set).
    ///
    /// It holds on average over rows that come from where these came from, whatever the model is:
    /// for n rows that were not learned from, and on which the model was not chosen, the true class
    /// is in the set with a probability from 1 − α to 1 − α + 1 / (n + 1). The rows of
    /// [`calibrate`](Self::calibrate) may be the same, since one number hardly fits them; where that
    /// matters take others.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows, or alpha is not between 0 and 1, and those of
    /// [`predict`](Self::predict).
    pub fn conformal(
        &mut self,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
        alpha: f64,
    ) -> Result<f64, Error> {
        let (probabilities, classes) = self.probabilities_of("NoProp::conformal", data)?;
        let targets = V::Head::target_rows(data.targets());
        let score = |(row, &y): (&[E], &u32)| 1.0 - row[y as usize].as_f64();
        let rows = probabilities.chunks_exact(classes).zip(targets.labels());
        let scores: Vec<f64> = rows.map(score).collect();
        let threshold = score::conformal_threshold(&scores, alpha)?.min(1.0);
        self.model.calibration.conformal = Some(Conformal { alpha, threshold });
        Ok(threshold)
    }

    /// For each row the classes that may be the true one, in order: with the probability that
    /// [`conformal`](Self::conformal) was asked for it is among them. A set may be empty, where no
    /// class is probable enough.
    ///
    /// # Errors
    /// [`Error::Argument`] before [`conformal`](Self::conformal), and those of
    /// [`predict`](Self::predict).
    pub fn predict_set(&self, rows: &[[E; X]]) -> Result<Vec<Vec<u32>>, Error> {
        let operation = "NoProp::predict_set";
        let calibration = &self.model.calibration;
        calibration.check_sets(operation)?;
        let answers = self.infer(operation, rows)?;
        let classes = V::Head::reading().outputs;
        calibration.sets(operation, classes, answers.iter().map(|p| p.as_f64()))
    }

    /// The probabilities of the classes for the rows of a data set, and how many classes there are.
    fn probabilities_of(
        &self,
        operation: &'static str,
        data: &Dataset<X, TargetsOf<V, Z, X, E, D>, E>,
    ) -> Result<(Vec<E>, usize), Error> {
        if data.rows() == 0 {
            return Err(Error::argument(operation, "at least one row", 0));
        }
        let answers = self.infer(operation, data.samples())?;
        Ok((answers, V::Head::reading().outputs))
    }
}
