//! Targets that are numbers: the way of a thrown ball, from how it was thrown.
//!
//! ```text
//! cargo run --release --example regression
//! ```

mod common;

use clap::Parser;
use dfdx_noprop::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Two targets (how far, how high) from three inputs (speed, angle, height of the hand).
type Block = ConditionalResNetDt<2, 3, 64>;
type Model = NoProp<DiscreteTime<Regression>, Block, 2, 3>;

/// Trains NoProp (discrete time) on real-valued targets
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// How many throws there are to learn from and to test with, together
    #[arg(long, default_value_t = 2500)]
    rows: usize,
}

/// Range and apex of a throw without drag, in metres: speed v in m/s, angle a in radians, hand at h metres.
fn throw(v: f32, a: f32, h: f32) -> [f32; 2] {
    const G: f32 = 9.81;
    let up = v * a.sin();
    let time = (up + (up * up + 2.0 * G * h).sqrt()) / G;
    [v * a.cos() * time, h + up * up / (2.0 * G)]
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut rng = StdRng::seed_from_u64(options.training.seed);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..options.rows {
        let (v, a, h) =
            (rng.gen_range(5.0..25.0), rng.gen_range(0.1..1.4), rng.gen_range(0.0..2.0));
        inputs.extend([v, a, h]);
        targets.extend(throw(v, a, h));
    }
    let data = Dataset::<3, Values<2>>::new(inputs, Values::new(targets)?)?;
    let split = data.split(0.2, options.training.seed)?.standardised_per_column()?;
    // The noise that the blocks remove has variance 1, so the targets get that too.
    let (split, metres) = split.standardised_targets()?;

    let variant = DiscreteTime {
        optimizer: options.training.optimizer(),
        seed: options.training.seed,
        ..DiscreteTime::default()
    };
    let mut model = Model::new(&AutoDevice::seed_from_u64(options.training.seed), variant)?;
    model.fit_with(&split.train, &options.training.fit(100), |model, report| {
        let r_squared = model.evaluate(&split.test)?.r_squared;
        common::show(report, &format!("test R² {r_squared:.4}"))
    })?;
    let errors = model.evaluate(&split.test)?;
    println!("R² {:.4} on {} throws that it has not seen", errors.r_squared, errors.rows);

    let mut predicted = model.predict(&split.test.samples()[..5])?;
    let mut truth = split.test.targets().as_slice()[..10].to_vec();
    metres.invert(predicted.as_flattened_mut())?;
    metres.invert(&mut truth)?;
    for (predicted, truth) in predicted.iter().zip(truth.as_chunks::<2>().0) {
        println!(
            "range {:6.2} m, predicted {:6.2} m    apex {:5.2} m, predicted {:5.2} m",
            truth[0], predicted[0], truth[1], predicted[1]
        );
    }
    if options.training.json {
        let result = serde_json::json!({
            "variant": "dt",
            "dataset": "throws",
            "train_rows": split.train.rows(),
            "test_rows": errors.rows,
            "test_r_squared": errors.r_squared,
            "seed": options.training.seed,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}
