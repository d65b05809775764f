//! What may stand in a model.

use dfdx::{
    nn::BuildOnDevice,
    prelude::{Device, Dtype},
};

/// A declaration that builds a layer: dfdx's [`BuildOnDevice`], with a message of this crate's own.
///
/// Everything that dfdx can build has it. Whether a layer suits its neighbours is
/// [`Takes`](super::Takes).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare a layer",
    label = "not a layer's declaration",
    note = "a tuple has at most six layers: `layers![A, B, …]` nests any number of them",
    note = "a layer's declaration is `Linear<3, 4>` or `Dense<3, 4>`, and not what these build",
    note = "a struct of your own is one by `impl dfdx::nn::ZeroSizedModule`, or by dfdx's `BuildOnDevice` if it has weights, and goes into a model as `Custom<M, In, Out>`",
    note = "a type parameter is one by the bound `M: Suits<V, Z, X>`, with which `M::model(&device, variant)` makes a model"
)]
pub trait Layer<D: Device<E>, E: Dtype>: BuildOnDevice<D, E> {}

#[diagnostic::do_not_recommend]
impl<M: BuildOnDevice<D, E>, D: Device<E>, E: Dtype> Layer<D, E> for M {}

/// A tuple of layers of any length, as a type: tuples of six, each the last layer of the one before.
///
/// ```
/// use dfdx_noprop::{layers, prelude::*};
///
/// type Block = layers![
///     Condition<Dense<10, 128>, Dense<64, 128>>,
///     ReLU,
///     Dense<128, 64>,
///     ReLU,
///     Dense<64, 32>,
///     ReLU,
///     Dense<32, 10>,
/// ];
/// type Model = NoProp<DiscreteTime, Block, 10, 64>;
///
/// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// assert_eq!(model.predict(&[[0.0; 64]])?.len(), 1);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[macro_export]
macro_rules! layers {
    ($a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty, $($rest:ty),+ $(,)?) => {
        ($a, $b, $c, $d, $e, $crate::layers![$f, $($rest),+])
    };
    ($($layer:ty),+ $(,)?) => { ($($layer,)+) };
}
