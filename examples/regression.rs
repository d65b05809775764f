//! Targets that are numbers: the way of a thrown ball, from how it was thrown.
//!
//! ```text
//! cargo run --release --example regression
//! ```

use clap::Parser;
use dfdx_noprop::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Two targets (how far, how high) from three inputs (speed, angle, height of the hand).
type Block = ConditionalResNetDt<2, 3, 64>;
type Model = NoProp<DiscreteTime<Regression>, Block, 2, 3>;

/// Trains NoProp (discrete time) on real-valued targets
#[derive(Parser)]
struct Options {
    /// How many throws there are to learn from and to test with, together
    #[arg(long, default_value_t = 2500)]
    rows: usize,
    /// How often each throw is learned from
    #[arg(long, default_value_t = 100)]
    epochs: usize,
}

/// Range and apex of a throw without drag, in metres: speed v in m/s, angle a in radians, hand at h
/// metres.
fn throw(v: f32, a: f32, h: f32) -> [f32; 2] {
    const G: f32 = 9.81;
    let up = v * a.sin();
    let time = (up + (up * up + 2.0 * G * h).sqrt()) / G;
    [v * a.cos() * time, h + up * up / (2.0 * G)]
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut rng = StdRng::seed_from_u64(0);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..options.rows {
        let (v, a, h) =
            (rng.gen_range(5.0..25.0), rng.gen_range(0.1..1.4), rng.gen_range(0.0..2.0));
        inputs.extend([v, a, h]);
        targets.extend(throw(v, a, h));
    }
    let data = Dataset::<3, Values<2>>::new(inputs, Values::new(targets)?)?;
    let split = data.split(0.2, 0)?.standardised_per_column()?;
    // The noise that the blocks remove has variance 1, so the targets get that too.
    let (split, metres) = split.standardised_targets()?;

    let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    let fit = Fit { epochs: options.epochs, ..Fit::default() };
    model.fit(&split.train, &fit)?;
    let errors = model.evaluate(&split.test)?;
    println!("R² {:.4} on {} throws that it has not seen", errors.r_squared, errors.rows);

    let shown = split.test.rows().min(5);
    let mut predicted = model.predict(&split.test.samples()[..shown])?;
    let mut truth = split.test.targets().as_slice()[..2 * shown].to_vec();
    metres.invert(predicted.as_flattened_mut())?;
    metres.invert(&mut truth)?;
    for (predicted, truth) in predicted.iter().zip(truth.as_chunks::<2>().0) {
        println!(
            "range {:6.2} m, predicted {:6.2} m    apex {:5.2} m, predicted {:5.2} m",
            truth[0], predicted[0], truth[1], predicted[1]
        );
    }
    Ok(())
}
