//! Whether a run's products can have the precision that was asked for.

use super::Fit;
use crate::{
    block::Host, device::Real, error::Error, gradient::Estimator, kernel, number::Precision,
};

/// [`Error::Config`] where they can't.
pub(super) fn check_precision<E: Real, D: Host<E>>(
    fit: &Fit,
    estimator: &Estimator,
) -> Result<(), Error> {
    let setting = "Fit::precision";
    if fit.precision == Precision::F32 {
        return Ok(());
    }
    if D::products_in(Precision::F32).is_none() {
        let expected = "Precision::F32, since this model is not one of f32 on the processor";
        return Err(Error::config(setting, expected, "Bf16"));
    }
    match estimator {
        Estimator::Local => Ok(()),
        _ => {
            let expected = "Precision::F32, since an estimator without derivatives compares losses \
                            that lie closer than rounded products";
            Err(Error::config(setting, expected, "Bf16"))
        }
    }
}

/// What there is to say of it before the first step.
pub(super) fn slow_precision(fit: &Fit) -> Option<String> {
    let slow = fit.precision == Precision::Bf16 && !kernel::has_bfloat();
    slow.then(|| {
        "`Fit::precision` is `Bf16`, and this processor has no AVX-512 BF16: the numbers are the \
         same, but `Precision::F32` is faster"
            .to_owned()
    })
}
