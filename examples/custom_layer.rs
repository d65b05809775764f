//! A layer of your own: any dfdx module with weights, put between this crate's layers by `Custom`.
//!
//! ```text
//! cargo run --release --example custom_layer
//! ```

use clap::Parser;
use dfdx::{
    nn::{ModuleVisitor, TensorCollection, modules},
    prelude::WithEmptyTape,
};
use dfdx_noprop::{
    device::{Real, Rows},
    prelude::*,
};

/// Numbers that decide how much of each other passes: y = (A h + a) ⊙ σ(B h + b), from and to N of
/// them.
struct Gated<const N: usize>;

/// What it builds: its weights, in two of dfdx's layers.
#[derive(Clone, Debug)]
struct BuiltGated<const N: usize, E: Dtype, D: Storage<E>> {
    value: modules::Linear<N, N, E, D>,
    gate: modules::Linear<N, N, E, D>,
}

/// What dfdx has to know of a module: what it builds, ...
impl<const N: usize, E: Real, D: Device<E>> BuildOnDevice<D, E> for Gated<N> {
    type Built = BuiltGated<N, E, D>;
}

/// ... which weights it has, by name, so that they are initialised, trained and saved, ...
impl<const N: usize, E: Real, D: Device<E>> TensorCollection<E, D> for BuiltGated<N, E, D> {
    type To<E2: Dtype, D2: Device<E2>> = BuiltGated<N, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::module("value", |s| &s.value, |s| &mut s.value),
                Self::module("gate", |s| &s.gate, |s| &mut s.gate),
            ),
            |(value, gate)| BuiltGated { value, gate },
        )
    }
}

/// ... and what it computes, with a tape and without, and the same in training as in inference.
impl<const N: usize, T: Tape<f32, AutoDevice>> Module<Rows<Const<N>, f32, AutoDevice, T>>
    for BuiltGated<N, f32, AutoDevice>
{
    type Output = Rows<Const<N>, f32, AutoDevice, T>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(
        &self,
        h: Rows<Const<N>, f32, AutoDevice, T>,
    ) -> Result<Self::Output, Self::Error> {
        let gate = self.gate.try_forward(h.with_empty_tape())?.try_sigmoid()?;
        self.value.try_forward(h)?.try_mul(gate)
    }
}

impl<const N: usize> NonMutableModule for BuiltGated<N, f32, AutoDevice> {}

/// Its place in a block: 64 numbers arrive, and 64 go on.
type Layer = Custom<Gated<64>, Width<64>, Width<64>>;
/// z has 10 classes, x has 8 × 8 pixels.
type Block = (Condition<Dense<10, 64>, Dense<64, 64>>, ReLU, Layer, Dense<64, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;

/// Trains blocks with a layer that is written here on the handwritten digits
#[derive(Parser)]
struct Options {
    /// How often each digit is learned from
    #[arg(long, default_value_t = 20)]
    epochs: usize,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let digits = data::digits()?;
    let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    model.fit(&digits.train, &Fit { epochs: options.epochs, ..Fit::default() })?;
    let report = model.evaluate(&digits.test)?;
    println!("accuracy {:.2} % on {} test digits", 100.0 * report.accuracy, report.rows);
    Ok(())
}
