//! Continuous time or flow matching on the handwritten digits: one network on (z, x, t).
//!
//! ```text
//! cargo run --release --example time -- --variant ct
//! cargo run --release --example time -- --variant fm
//! ```

mod common;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    head::{Classification, Head, SuitsHead},
    nn::Denoises,
    prelude::*,
    variant::Variant,
};
use serde_json::json;

type Block = ConditionalResNetCt<10, 64, 128>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Continuous time
    Ct,
    /// Flow matching
    Fm,
}

/// Trains NoProp (continuous time or flow matching) on the 1,797 handwritten digits that the crate carries
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    training: common::Training,
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Ct)]
    variant: Kind,
    /// How many Heun steps take noise to target in inference: two calls of the network each
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Train with this many seeds, from --seed on, and give the mean of the accuracies
    #[arg(long, default_value_t = 1)]
    repeats: u64,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let solver =
        Solver { method: Method::Heun, steps: Steps::Fixed(options.steps), save: Save::End };
    let mut reports = Vec::new();
    for seed in (options.training.seed..).take(options.repeats.max(1) as usize) {
        let optimizer = options.training.optimizer();
        reports.push(match options.variant {
            Kind::Ct => {
                let inference = Inference::Ode(solver.clone());
                let variant = ContinuousTime { inference, optimizer, seed, ..Default::default() };
                train::<ContinuousTime>(variant, &options, seed)?
            }
            Kind::Fm => {
                let solver = solver.clone();
                let variant = FlowMatching { solver, optimizer, seed, ..Default::default() };
                train::<FlowMatching>(variant, &options, seed)?
            }
        });
    }
    let mean = reports.iter().map(|(r, _)| r.accuracy).sum::<f64>() / reports.len() as f64;
    println!("mean of {} seeds: {:.2} %", reports.len(), 100.0 * mean);
    if let (true, Some((report, parameters))) = (options.training.json, reports.last()) {
        let result = json!({
            "variant": format!("{:?}", options.variant).to_lowercase(),
            "dataset": "digits",
            "train_rows": 1797 - report.rows,
            "test_rows": report.rows,
            "test_accuracy": mean,
            "epochs": options.training.fit(60).epochs,
            "parameters": parameters,
            "seed": options.training.seed,
            "network_calls": report.network_calls,
            "solver": "heun",
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}

/// The test report and the number of parameters.
fn train<V>(variant: V, options: &Options, seed: u64) -> Result<(Classification, usize), Error>
where
    V: Variant<10, 64, f32, AutoDevice>,
    V::Head: Head<10, f32, Targets = Labels<10>, Evaluation = Classification>,
    Block: Denoises<V::Input>,
    <Block as Denoises<V::Input>>::Gives: SuitsHead<V::Reader, 10>,
{
    let digits = data::digits_with_seed(seed)?;
    let mut model = NoProp::<V, Block, 10, 64>::new(&AutoDevice::default(), variant)?;
    let fit = Fit { seed, ..options.training.fit(60) };
    model.fit_with(&digits.train, &fit, |model, report| {
        let accuracy = 100.0 * model.evaluate(&digits.test)?.accuracy;
        common::show(report, &format!("test accuracy {accuracy:6.2} %"))
    })?;
    let report = model.evaluate(&digits.test)?;
    println!("seed {seed}: {:.2} % of {} test digits", 100.0 * report.accuracy, report.rows);
    Ok((report, model.parameters()))
}
