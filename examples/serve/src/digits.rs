//! A model to begin with: the handwritten digits that the crate carries.

use dfdx_noprop::{AnyPredictor, data::Standardiser, prelude::*};

type Block = ConditionalResNetDt<10, 64>; // z: 10 classes, x: 8 × 8 pixels

/// A model of the digits, which takes pixels from 0 to 16, and its accuracy on those it has not
/// seen.
///
/// # Errors
/// Those of training.
pub fn train(epochs: usize) -> Result<(AnyPredictor, f64), Error> {
    let raw = data::digits_rows()?.split_stratified(0.2, 0)?;
    let standardiser = Standardiser::overall(&raw.train)?;
    let digits = raw.standardised(&standardiser)?;

    let variant = DiscreteTime::default();
    let mut model = NoProp::<DiscreteTime, Block, 10, 64>::new(&AutoDevice::default(), variant)?;
    model.fit(&digits.train, &Fit { epochs, ..Fit::default() })?;
    let accuracy = model.evaluate(&digits.test)?.accuracy;

    let names = (0..10).map(|digit| digit.to_string());
    let predictor = model.predictor()?.with_inputs(&standardiser)?.with_class_names(names)?;
    Ok((predictor.into(), accuracy))
}
