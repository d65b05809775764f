//! The networks that NoProp was published with (Li, Teh, Pascanu 2025, section 4 and figure 4), and
//! a smaller one.
//!
//! x goes through three convolutions with batch norm, ReLU, pooling and dropout to 256 numbers; z
//! through dense layers with a skip connection to as many; the two meet in a sum, which stands for
//! a dense layer on both, and dense layers lead to the answer.

use dfdx::prelude::{DropoutOneIn, ReLU, Residual};

use super::{BatchNorm, Conv2d, Flatten, MaxPool2d, Planes};
use crate::nn::{Condition, Dense, TimeEmbedding, TimedCondition};

/// A convolution that keeps the size, with batch norm and ReLU.
pub type ConvNormReLU<const IN: usize, const OUT: usize, const H: usize, const W: usize> =
    (Conv2d<IN, OUT, H, W>, BatchNorm<OUT>, ReLU);

/// x of 28 × 28 pixels and one channel (MNIST, Fashion-MNIST) to 256 numbers.
pub type PaperTrunk28 = (
    Planes<1, 28, 28>,
    (ConvNormReLU<1, 32, 28, 28>, MaxPool2d<14, 14>, DropoutOneIn<5>),
    ConvNormReLU<32, 64, 14, 14>,
    (ConvNormReLU<64, 128, 14, 14>, MaxPool2d<7, 7>, DropoutOneIn<5>),
    (Flatten<6272>, Dense<6272, 256>),
);

/// x of 32 × 32 pixels and three channels (CIFAR-10, CIFAR-100) to 256 numbers.
pub type PaperTrunk32 = (
    Planes<3, 32, 32>,
    (ConvNormReLU<3, 32, 32, 32>, MaxPool2d<16, 16>, DropoutOneIn<5>),
    ConvNormReLU<32, 64, 16, 16>,
    (ConvNormReLU<64, 128, 16, 16>, MaxPool2d<8, 8>, DropoutOneIn<5>),
    (Flatten<8192>, Dense<8192, 256>),
);

/// [`PaperTrunk28`] without batch norm and dropout, as the paper has it for continuous time.
pub type PlainTrunk28 = (
    Planes<1, 28, 28>,
    (Conv2d<1, 32, 28, 28>, ReLU, MaxPool2d<14, 14>),
    (Conv2d<32, 64, 14, 14>, ReLU),
    (Conv2d<64, 128, 14, 14>, ReLU, MaxPool2d<7, 7>),
    (Flatten<6272>, Dense<6272, 256>),
);

/// [`PaperTrunk32`] without batch norm and dropout.
pub type PlainTrunk32 = (
    Planes<3, 32, 32>,
    (Conv2d<3, 32, 32, 32>, ReLU, MaxPool2d<16, 16>),
    (Conv2d<32, 64, 16, 16>, ReLU),
    (Conv2d<64, 128, 16, 16>, ReLU, MaxPool2d<8, 8>),
    (Flatten<8192>, Dense<8192, 256>),
);

/// For a machine without a GPU: x of 28 × 28 pixels to 128 numbers by two convolutions.
pub type SmallTrunk28 = (
    Planes<1, 28, 28>,
    (ConvNormReLU<1, 16, 28, 28>, MaxPool2d<14, 14>),
    (ConvNormReLU<16, 32, 14, 14>, MaxPool2d<7, 7>),
    (Flatten<1568>, Dense<1568, 128>),
);

/// z to `H` numbers: dense layers with a skip connection.
pub type LatentTrunk<const Z: usize, const H: usize> =
    (Dense<Z, H>, Residual<(ReLU, Dense<H, H>, ReLU, Dense<H, H>)>);

/// `H` numbers to the answer, through half as many.
pub type Answers<const H: usize, const HALF: usize, const OUT: usize> =
    (ReLU, Dense<H, H>, ReLU, Dense<H, HALF>, ReLU, Dense<HALF, OUT>);

/// The paper's network for discrete time, on a trunk for x: [`PaperTrunk28`] if not said otherwise.
///
/// ```no_run
/// use dfdx_noprop::{nn::image::PaperNetDt, prelude::*};
///
/// let mnist = data::mnist("data/mnist")?;
/// type Model = NoProp<DiscreteTime, PaperNetDt<10>, 10, 784>;
/// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// model.fit(&mnist.train, &Fit { epochs: 100, ..Fit::default() })?;
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
pub type PaperNetDt<const Z: usize, X = PaperTrunk28, const OUT: usize = Z> =
    (Condition<LatentTrunk<Z, 256>, X>, Answers<256, 128, OUT>);

/// The paper's network for continuous time: as [`PaperNetDt`], with the time as a third input, by
/// an embedding 64 wide, and without batch norm. On [`PlainTrunk28`] if not said otherwise.
pub type PaperNetCt<const Z: usize, X = PlainTrunk28, const OUT: usize = Z> = (
    TimedCondition<
        LatentTrunk<Z, 256>,
        X,
        (TimeEmbedding<64>, Dense<64, 256>, Residual<(ReLU, Dense<256, 256>)>),
    >,
    Answers<256, 128, OUT>,
);

/// The paper's network for flow matching: the same as [`PaperNetCt`].
pub type PaperNetFm<const Z: usize, X = PlainTrunk28, const OUT: usize = Z> = PaperNetCt<Z, X, OUT>;

/// A network of two convolutions, for machines without a GPU, in discrete time.
pub type SmallNetDt<const Z: usize, const OUT: usize = Z> =
    (Condition<LatentTrunk<Z, 128>, SmallTrunk28>, Answers<128, 64, OUT>);

/// The same in continuous time.
pub type SmallNetCt<const Z: usize, const OUT: usize = Z> = (
    TimedCondition<LatentTrunk<Z, 128>, SmallTrunk28, (TimeEmbedding<64>, Dense<64, 128>)>,
    Answers<128, 64, OUT>,
);

/// The same for flow matching.
pub type SmallNetFm<const Z: usize, const OUT: usize = Z> = SmallNetCt<Z, OUT>;
