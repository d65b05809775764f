//! What reverse mode cannot do: weights of a few bits, trained as they are used.
//!
//! ```text
//! cargo run --release -p experiments --bin no_derivative
//! cargo run --release -p experiments --bin no_derivative -- --estimator local
//! ```
//!
//! Every dense layer rounds its weights to one of 2ᴮ levels whenever it is used, so that the loss
//! is constant almost everywhere as a function of the weights, and its derivative is 0. Weight
//! noise does not mind: it sees the loss averaged over weights around these.

use clap::{Parser, ValueEnum};
use dfdx::{
    nn::{BuildOnDevice, ModuleVisitor, TensorCollection},
    prelude::*,
};
use dfdx_noprop::{
    device::{Real, Rows, TracedRows},
    nn::{BuiltDense, Input},
    prelude::*,
};
use experiments::{Training, learn, result};

/// How many bits a weight has.
const BITS: u32 = 4;
/// The levels go from −LARGEST to LARGEST.
const LARGEST: f32 = 0.5;

/// A dense layer with weights of [`BITS`] bits.
struct FewBits<const I: usize, const O: usize>;

/// What it builds: the weights before they are rounded.
#[derive(Clone, Debug)]
struct BuiltFewBits<const I: usize, const O: usize, E: Dtype, D: Storage<E>>(
    BuiltDense<I, O, E, D>,
);

impl<const I: usize, const O: usize, E: Real, D: Device<E>> BuildOnDevice<D, E> for FewBits<I, O> {
    type Built = BuiltFewBits<I, O, E, D>;
}

impl<const I: usize, const O: usize, E: Real, D: Device<E>> TensorCollection<E, D>
    for BuiltFewBits<I, O, E, D>
{
    type To<E2: Dtype, D2: Device<E2>> = BuiltFewBits<I, O, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(Self::module("dense", |s| &s.0, |s| &mut s.0), BuiltFewBits)
    }
}

impl<const I: usize, const O: usize> BuiltFewBits<I, O, f32, AutoDevice> {
    fn on<T: Tape<f32, AutoDevice>>(
        &self,
        x: Rows<Const<I>, f32, AutoDevice, T>,
    ) -> Result<Rows<Const<O>, f32, AutoDevice, T>, <AutoDevice as HasErr>::Err> {
        let step = 2.0 * LARGEST / (2u32.pow(BITS) - 1) as f32;
        // Half a step off 0, so that there are as many levels on either side.
        let level = |w: f32| ((w / step - 0.5).round() + 0.5) * step;
        let rounded = |w: f32| level(w.clamp(-LARGEST, LARGEST));
        let weight = self.0.weight.as_vec().into_iter().map(rounded).collect();
        let weight = self.0.weight.device().try_tensor_from_vec(weight, Default::default())?;
        let rounded = BuiltDense { weight, bias: self.0.bias.clone() };
        rounded.try_forward(x)
    }
}

/// In inference, on activations and on the input alike.
impl<const I: usize, const O: usize> Module<Rows<Const<I>, f32, AutoDevice>>
    for BuiltFewBits<I, O, f32, AutoDevice>
{
    type Output = Rows<Const<O>, f32, AutoDevice>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(&self, x: Rows<Const<I>, f32, AutoDevice>) -> Result<Self::Output, Self::Error> {
        self.on(x)
    }
}

/// In training, on the input.
impl<const I: usize, const O: usize> ModuleMut<Rows<Const<I>, f32, AutoDevice>>
    for BuiltFewBits<I, O, f32, AutoDevice>
{
    type Output = TracedRows<Const<O>, f32, AutoDevice>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward_mut(
        &mut self,
        x: Rows<Const<I>, f32, AutoDevice>,
    ) -> Result<Self::Output, Self::Error> {
        self.on(x.put_tape(OwnedTape::default()))
    }
}

/// In training, on activations.
impl<const I: usize, const O: usize> ModuleMut<TracedRows<Const<I>, f32, AutoDevice>>
    for BuiltFewBits<I, O, f32, AutoDevice>
{
    type Output = TracedRows<Const<O>, f32, AutoDevice>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward_mut(
        &mut self,
        x: TracedRows<Const<I>, f32, AutoDevice>,
    ) -> Result<Self::Output, Self::Error> {
        self.on(x)
    }
}

/// From activations.
type Hidden<const I: usize, const O: usize> = Custom<FewBits<I, O>, Width<I>, Width<O>>;
/// From the input x.
type FromInput<const I: usize, const O: usize> = Custom<FewBits<I, O>, Width<I, Input>, Width<O>>;

/// The conditional ResNet with all its weights rounded.
type Block = (
    Condition<Hidden<10, 64>, FromInput<64, 64>>,
    ReLU,
    Residual<(Hidden<64, 64>, ReLU, Hidden<64, 64>)>,
    Hidden<64, 10>,
);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Reverse mode inside each block: what it can do here
    Local,
    /// Noise on all weights at once
    Weight,
}

/// Trains NoProp (discrete time) with weights of 4 bits on the digits
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: Training,
    /// How often each row is learned from
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// The step size of AdamW, at the start
    #[arg(long, default_value_t = 5e-3)]
    learning_rate: f64,
    /// How blocks get their gradient
    #[arg(long, value_enum, default_value_t = Kind::Weight)]
    estimator: Kind,
    /// σ, the size of the noise: about half the distance of two levels, which is 0.067
    #[arg(long, default_value_t = 0.03)]
    noise_scale: f64,
    /// How many directions are tried in a step, each both ways
    #[arg(long, default_value_t = 16)]
    directions: usize,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let (training, first) = (&options.training, options.training.seed);
    let fit = training.fit(options.epochs);
    let mut sum = 0.0;
    for round in 1..=options.repeats {
        let seed = first + round - 1;
        let variant = DiscreteTime {
            optimizer: training.optimizer(options.learning_rate),
            estimator: match options.estimator {
                Kind::Local => Estimator::Local,
                Kind::Weight => WeightNoise {
                    noise_scale: options.noise_scale,
                    directions: options.directions,
                    ..WeightNoise::default()
                }
                .into(),
            },
            seed,
            ..DiscreteTime::default()
        };
        let digits = data::digits_with_seed(seed)?;
        let learned =
            learn::<DiscreteTime, Block, 64, 10>(variant, &digits, &Fit { seed, ..fit.clone() })?;
        let report = &learned.report;
        println!(
            "seed {seed}: accuracy {:.2} % on {} test digits",
            100.0 * report.accuracy,
            report.rows
        );
        sum += report.accuracy;
        if round == options.repeats {
            let mean = sum / options.repeats as f64;
            if round > 1 {
                println!("mean of {round} seeds: accuracy {:.2} %", 100.0 * mean);
            }
            if training.json {
                println!("{}", result(["dt", "digits"], &digits, &learned, mean, &fit));
            }
        }
    }
    Ok(())
}
