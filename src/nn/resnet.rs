//! The conditional ResNets.

use dfdx::prelude::{ReLU, Residual};

use super::{Condition, Dense, TimeEmbedding, TimedCondition};

/// û(z, x) for discrete time: the smallest conditional ResNet, with one hidden width.
///
/// z (`Z` wide) and x (`X` wide) meet in a layer of width `H`; a residual block of two layers
/// follows; the last layer gives `OUT` numbers: logits over the classes, or the target itself. The
/// parameters are (Z + X + 2) H + 2 (H² + H) + (H + 1) OUT in number.
///
/// For several hidden widths see [`conditional_resnet_dt!`](crate::conditional_resnet_dt).
pub type ConditionalResNetDt<
    const Z: usize,
    const X: usize,
    const H: usize = 64,
    const OUT: usize = Z,
> = (
    Condition<Dense<Z, H>, Dense<X, H>>,
    ReLU,
    Residual<(Dense<H, H>, ReLU, Dense<H, H>)>,
    Dense<H, OUT>,
);

/// û(z, x, t) for continuous time: [`ConditionalResNetDt`] with the time t as a third input of its
/// first layer, by a sinusoidal embedding `TIME` wide.
pub type ConditionalResNetCt<
    const Z: usize,
    const X: usize,
    const H: usize = 64,
    const OUT: usize = Z,
    const TIME: usize = 64,
> = (
    TimedCondition<Dense<Z, H>, Dense<X, H>, (TimeEmbedding<TIME>, Dense<TIME, H>)>,
    ReLU,
    Residual<(Dense<H, H>, ReLU, Dense<H, H>)>,
    Dense<H, OUT>,
);

/// v(z, x, t) for flow matching: the same network as [`ConditionalResNetCt`].
pub type ConditionalResNetFm<
    const Z: usize,
    const X: usize,
    const H: usize = 64,
    const OUT: usize = Z,
    const TIME: usize = 64,
> = ConditionalResNetCt<Z, X, H, OUT, TIME>;

/// A [`ConditionalResNetDt`](crate::nn::ConditionalResNetDt) with several hidden widths, as a type.
///
/// `conditional_resnet_dt!(Z, X, [H1, H2, …])` ends Z wide,
/// `conditional_resnet_dt!(Z, X, [H1, H2, …] => OUT)` ends OUT wide. Each hidden width has a
/// residual block; a dense layer with ReLU leads to the next.
///
/// ```
/// use dfdx_noprop::prelude::*;
///
/// type Block = dfdx_noprop::conditional_resnet_dt!(10, 64, [64, 128]);
/// type Model = NoProp<DiscreteTime, Block, 10, 64>;
/// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// # model.predict(&[[0f32; 64]])?;
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[macro_export]
macro_rules! conditional_resnet_dt {
    ($z:expr, $x:expr, [$h:expr $(, $more:expr)* $(,)?]) => {
        $crate::conditional_resnet_dt!($z, $x, [$h $(, $more)*] => $z)
    };
    ($z:expr, $x:expr, [$h:expr $(, $more:expr)* $(,)?] => $out:expr) => {
        (
            $crate::nn::Condition<$crate::nn::Dense<{ $z }, { $h }>, $crate::nn::Dense<{ $x }, { $h }>>,
            $crate::prelude::ReLU,
            $crate::hidden_layers!([$h $(, $more)*] => $out),
        )
    };
}

/// A [`ConditionalResNetCt`](crate::nn::ConditionalResNetCt) or
/// [`ConditionalResNetFm`](crate::nn::ConditionalResNetFm) with several hidden widths, as a type.
///
/// As [`conditional_resnet_dt!`], with the time t by a sinusoidal embedding 64 wide.
///
/// ```
/// use dfdx_noprop::prelude::*;
///
/// type Block = dfdx_noprop::conditional_resnet_ct!(10, 64, [64, 128]);
/// type Model = NoProp<ContinuousTime, Block, 10, 64>;
/// let model = Model::new(&AutoDevice::default(), ContinuousTime::default())?;
/// # model.predict(&[[0f32; 64]])?;
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[macro_export]
macro_rules! conditional_resnet_ct {
    ($z:expr, $x:expr, [$h:expr $(, $more:expr)* $(,)?]) => {
        $crate::conditional_resnet_ct!($z, $x, [$h $(, $more)*] => $z)
    };
    ($z:expr, $x:expr, [$h:expr $(, $more:expr)* $(,)?] => $out:expr) => {
        (
            $crate::nn::TimedCondition<
                $crate::nn::Dense<{ $z }, { $h }>,
                $crate::nn::Dense<{ $x }, { $h }>,
                ($crate::nn::TimeEmbedding<64>, $crate::nn::Dense<64, { $h }>),
            >,
            $crate::prelude::ReLU,
            $crate::hidden_layers!([$h $(, $more)*] => $out),
        )
    };
}

/// The rest of a network after its condition: a residual block for each width, and the last layer.
#[doc(hidden)]
#[macro_export]
macro_rules! hidden_layers {
    ([$h:expr] => $out:expr) => {
        (
            $crate::prelude::Residual<(
                $crate::nn::Dense<{ $h }, { $h }>,
                $crate::prelude::ReLU,
                $crate::nn::Dense<{ $h }, { $h }>,
            )>,
            $crate::nn::Dense<{ $h }, { $out }>,
        )
    };
    ([$h:expr, $next:expr $(, $more:expr)*] => $out:expr) => {
        (
            $crate::prelude::Residual<(
                $crate::nn::Dense<{ $h }, { $h }>,
                $crate::prelude::ReLU,
                $crate::nn::Dense<{ $h }, { $h }>,
            )>,
            $crate::nn::Dense<{ $h }, { $next }>,
            $crate::prelude::ReLU,
            $crate::hidden_layers!([$next $(, $more)*] => $out),
        )
    };
}
