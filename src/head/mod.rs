//! What a target is: a class with its embedding u_y, or numbers.

mod classes;
mod distribution;
mod learned;
mod one_hot;
mod prototypes;
mod reading;
mod regression;
mod report;
mod velocity;

pub(crate) use classes::predictions as most_probable;
pub use distribution::DistributionScores;
pub use learned::Learned;
pub use one_hot::OneHot;
pub use prototypes::Prototypes;
pub use reading::Reading;
pub use regression::Regression;
pub use report::{Classification, Confusion, Errors, Evaluation};
pub use velocity::Velocity;

use dfdx::prelude::*;

use crate::{
    Config,
    data::{TargetRows, Targets},
    device::{Backend, Real},
    error::Error,
    nn::{Signal, Width},
};

/// A latent's target: how it is embedded in a latent `Z` wide, and how a block's output is read.
///
/// The block's output o is `Out` wide. For classes it holds logits, and û = softmax(o) W with the
/// embedding W: `[C, Z]`; for real-valued targets û = o.
pub trait Head<const Z: usize, E: Real>:
    sealed::Sealed + Reads<Z> + Config + Clone + Default + std::fmt::Debug + Send + Sync + 'static
{
    /// The targets of a data set for this head.
    type Targets: Targets;
    /// One row of the model's answer: `[E; C]` probabilities, or `[E; Z]` numbers.
    type Row: Send;
    /// What `predict` answers for one row: a class, or `[E; Z]` numbers.
    type Prediction: Send;
    /// What `predict_array` answers for all rows: `Array1<u32>`, or `Array2<E>`.
    #[cfg(feature = "ndarray")]
    type Predictions;
    /// What `evaluate` answers.
    type Evaluation: Into<Evaluation>;
    /// Whether the embedding is trained.
    const LEARNED: bool;
    /// Whether the targets are classes.
    const CLASSES: bool;

    /// The embedding to start from, row-major, `[C, Z]`; for numbers one row of zeros, which nothing
    /// reads.
    ///
    /// # Errors
    /// [`Error::Config`] if the head's settings are out of range.
    fn table(&self, seed: u64) -> Result<Vec<E>, Error>;

    /// How outputs are read, and targets embedded.
    #[doc(hidden)]
    fn reading() -> Reading;

    /// The targets without their type.
    #[doc(hidden)]
    fn target_rows(targets: &Self::Targets) -> TargetRows<'_, E>;

    /// Answers as rows.
    fn rows(answers: &[E]) -> Vec<Self::Row>;

    /// Answers as predictions.
    fn predictions(answers: &[E]) -> Vec<Self::Prediction>;

    /// The same as an array.
    #[cfg(feature = "ndarray")]
    #[doc(hidden)]
    fn prediction_array(answers: &[E]) -> Self::Predictions;

    /// What the engine has found, as this head reports it.
    #[doc(hidden)]
    fn evaluation(evaluation: Evaluation) -> Option<Self::Evaluation>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::OneHot {}
    impl<const C: usize> Sealed for super::Learned<C> {}
    impl<const C: usize, const Z: usize> Sealed for super::Prototypes<C, Z> {}
    impl Sealed for super::Regression {}
}

/// A head without settings as data: an empty table, since not every format can say "nothing".
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// The conversions that serde needs for a head without settings.
#[cfg(feature = "serde")]
macro_rules! no_settings {
    ($($head:ident)*) => {$(
        impl From<NoSettings> for $head {
            fn from(_: NoSettings) -> Self {
                Self
            }
        }

        impl From<$head> for NoSettings {
            fn from(_: $head) -> Self {
                Self {}
            }
        }
    )*};
}

#[cfg(feature = "serde")]
no_settings!(OneHot Regression);

/// How wide a block's output is for its reader: a head, or a predictor such as
/// [`Velocity`].
pub trait Reads<const Z: usize> {
    /// `Const<C>` for logits, `Const<Z>` for an estimate of the target or a velocity.
    type Out: ConstDim;
}

/// A head whose targets are classes.
#[diagnostic::on_unimplemented(
    message = "the head `{Self}` has no classes",
    label = "probabilities are for heads with classes",
    note = "`OneHot`, `Learned<C>` and `Prototypes<C, Z>` have classes; `Regression` predicts numbers, by `predict`"
)]
pub trait HasClasses {}

/// A block's output signal that suits the head `H` on a latent `Z` wide.
#[diagnostic::on_unimplemented(
    message = "the last layer gives a `{Self}`, which the head `{H}` on a latent of width {Z} does not take",
    label = "a `{Self}` arrives at `{H}`",
    note = "`OneHot` (as many classes as the latent is wide), `Regression` and `Velocity` take `Width<Z>`; `Learned<C>` and `Prototypes<C, Z>` take `Width<C>`"
)]
pub trait SuitsHead<H: Reads<Z>, const Z: usize, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
}

// By hand and not by a macro, so that the compiler's messages point here.
#[diagnostic::do_not_recommend]
impl<const Z: usize, E: Real, D: Backend<E>> SuitsHead<OneHot, Z, E, D> for Width<Z> {}

#[diagnostic::do_not_recommend]
impl<const Z: usize, E: Real, D: Backend<E>> SuitsHead<Regression, Z, E, D> for Width<Z> {}

#[diagnostic::do_not_recommend]
impl<const C: usize, const Z: usize, E: Real, D: Backend<E>> SuitsHead<Learned<C>, Z, E, D>
    for Width<C>
{
}

#[diagnostic::do_not_recommend]
impl<const C: usize, const Z: usize, E: Real, D: Backend<E>> SuitsHead<Prototypes<C, Z>, Z, E, D>
    for Width<C>
{
}

#[diagnostic::do_not_recommend]
impl<const Z: usize, E: Real, D: Backend<E>> SuitsHead<Velocity, Z, E, D> for Width<Z> {}
