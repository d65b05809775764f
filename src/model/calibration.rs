//! What is measured of a trained model, so that its answers know how sure they are.

use crate::error::Error;

/// What was measured after training.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Calibration {
    /// s_t² = E‖û_t − u‖² / Z of block t, that of block 1 first; empty where it was not measured.
    pub(crate) estimate_variances: Vec<f64>,
    /// Probabilities are p^(1/T), normalised; `None` for 1.
    pub(crate) temperature: Option<f64>,
    /// Of sets of classes.
    pub(crate) conformal: Option<Conformal>,
}

/// Which classes are in a set: those with 1 − p_c at most `threshold`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct Conformal {
    /// How often the true class may be missing.
    pub(crate) alpha: f64,
    /// From 0 to 1; at 1 all classes are in.
    pub(crate) threshold: f64,
}

impl Calibration {
    /// Whether its numbers can be those of a model of so many blocks: what was expected, and what
    /// is there.
    #[cfg(feature = "inference")]
    pub(crate) fn check(&self, blocks: usize) -> Result<(), [String; 2]> {
        let variances = &self.estimate_variances;
        if !variances.is_empty() && variances.len() != blocks {
            let expected = format!("the variance of the estimates of {blocks} blocks");
            return Err([expected, variances.len().to_string()]);
        }
        let is_width = |v: &&f64| !(v.is_finite() && **v >= 0.0);
        if let Some(bad) = variances.iter().find(is_width) {
            return Err(["variances of 0 or more".to_owned(), bad.to_string()]);
        }
        // Far beyond what is ever measured, and near enough for every power to be a number.
        if let Some(bad) = self.temperature.filter(|t| !(1e-6..=1e6).contains(t)) {
            return Err(["a temperature from 1e-6 to 1e6".to_owned(), bad.to_string()]);
        }
        let Some(Conformal { alpha, threshold }) = self.conformal else { return Ok(()) };
        if !(alpha > 0.0 && alpha < 1.0 && (0.0..=1.0).contains(&threshold)) {
            let expected = "an alpha between 0 and 1 and a threshold from 0 to 1";
            return Err([expected.to_owned(), format!("{alpha} and {threshold}")]);
        }
        Ok(())
    }

    /// [`Error::Argument`] where no threshold was measured.
    pub(crate) fn check_sets(&self, operation: &'static str) -> Result<Conformal, Error> {
        let expected = "a model that sets were measured for: call `conformal` with rows that were \
                        not learned from";
        self.conformal.ok_or_else(|| Error::argument(operation, expected, "one without"))
    }

    /// The classes of each set, from probabilities, `[rows, classes]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where no threshold was measured.
    pub(crate) fn sets(
        &self,
        operation: &'static str,
        classes: usize,
        probabilities: impl Iterator<Item = f64>,
    ) -> Result<Vec<Vec<u32>>, Error> {
        let Conformal { threshold, .. } = self.check_sets(operation)?;
        let probabilities: Vec<f64> = probabilities.collect();
        let set = |row: &[f64]| {
            let inside = (0u32..).zip(row).filter(|(_, p)| 1.0 - **p <= threshold);
            inside.map(|(class, _)| class).collect()
        };
        Ok(probabilities.chunks_exact(classes.max(1)).map(set).collect())
    }
}
