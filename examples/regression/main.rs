//! Targets that are numbers, and how sure the model is of them: a known distribution of y given x,
//! whose width depends on x, and which has one peak or two. With two, the mean and the median of y
//! lie where no y does, and only the draws show it.
//!
//! ```text
//! cargo run --release --example regression -- --svg regression.svg
//! cargo run --release --example regression -- --peaks 2 --variant fm
//! ```

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod picture;
mod truth;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::{Split, Standardiser},
    head::{DistributionScores, Errors, Head},
    prelude::*,
    score,
};
use picture::Quantiles;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use truth::Truth;

/// One target from one input.
type Untimed = ConditionalResNetDt<1, 1, 64>;
type InTime = ConditionalResNetCt<1, 1, 64>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Discrete time
    Dt,
    /// Continuous time, along the ODE
    Ct,
    /// Continuous time, along the SDE
    CtSde,
    /// Flow matching
    Fm,
}

/// Trains NoProp on real-valued targets, and holds its draws against the distribution that they are
/// from
#[derive(Parser)]
struct Options {
    /// Which variant
    #[arg(long, value_enum, default_value = "dt")]
    variant: Kind,
    /// How many peaks y has, given x: 1 or 2
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    peaks: u8,
    /// How many rows there are to learn from; a quarter as many are held out
    #[arg(long, default_value_t = 4000)]
    rows: usize,
    /// How often each row is learned from
    #[arg(long, default_value_t = 250)]
    epochs: usize,
    /// How many draws there are for each row that is held out
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..))]
    draws: u16,
    /// The seed of the rows, of the weights, and of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where a picture goes: points, and the band of quantiles
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    let seed = options.seed;
    match options.variant {
        Kind::Dt => {
            let variant = DiscreteTime::<Regression> { seed, ..DiscreteTime::default() };
            run::<_, Untimed>(variant, &options)
        }
        Kind::Ct => {
            let variant = ContinuousTime::<Regression> { seed, ..ContinuousTime::default() };
            run::<_, InTime>(variant, &options)
        }
        Kind::CtSde => {
            let inference = Inference::Sde { steps: 50, draws: 16, seed };
            let variant =
                ContinuousTime::<Regression> { inference, seed, ..ContinuousTime::default() };
            run::<_, InTime>(variant, &options)
        }
        Kind::Fm => {
            let variant = FlowMatching::<Regression> { seed, ..FlowMatching::default() };
            run::<_, InTime>(variant, &options)
        }
    }
}

fn run<V, M>(variant: V, options: &Options) -> Result<(), Box<dyn std::error::Error>>
where
    V: Variant<1, 1>,
    V::Head: Head<1, f32, Targets = Values<1>, Evaluation = Errors>,
    M: Suits<V, 1, 1>,
{
    let (truth, seed) = (Truth { peaks: options.peaks }, options.seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let train = truth.rows(options.rows, &mut rng)?;
    let held_out = truth.rows((options.rows / 4).max(1), &mut rng)?;
    // The noise that the blocks remove has variance 1, so the targets get that too.
    let (split, scale) = Split { train, test: held_out.clone() }.standardised_targets()?;

    let mut model = M::model(&AutoDevice::seed_from_u64(seed), variant)?;
    let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
    let fit = Fit { epochs: options.epochs, seed, learning_rate, ..Fit::default() };
    let reports = model.fit(&split.train, &fit)?;
    let errors = model.evaluate(&split.test)?;
    println!("R² {:.4} on {} rows that it has not seen", errors.r_squared, errors.rows);

    let (x, y) = (held_out.samples(), held_out.targets().as_slice());
    let draws = sample_draws(&model, &scale, x, options)?;
    let of_truth = truth.draws(x, options.draws.into(), &mut rng);
    let deviations = [&draws, &of_truth].map(|all| mean_deviation(all, options.draws));
    let [deviation, true_deviation] = deviations;
    let found = DistributionScores::new(&draws, y, 1)?;
    let best = DistributionScores::new(&of_truth, y, 1)?;
    let title = format!("of {} draws for each row", found.draws);
    println!("{title:36} {:>7}   {:>7}", "model", "truth");
    let line = |what: &str, model: f64, truth: f64| println!("{what:36} {model:7.4}   {truth:7.4}");
    line("within the 90 % interval", found.coverage_90, best.coverage_90);
    line("its width", found.interval_width_90, best.interval_width_90);
    line("standard deviation", deviation, true_deviation);
    line("CRPS", found.crps, best.crps);

    if let Some(path) = &options.svg {
        let grid: Vec<[f32; 1]> = (0..=100).map(|i| [i as f32 / 50.0 - 1.0]).collect();
        let draws = sample_draws(&model, &scale, &grid, options)?;
        let of_rows = draws.chunks_exact(options.draws.into());
        let quantiles = grid.iter().zip(of_rows).map(|([x], own)| quantiles(*x, own));
        let quantiles = quantiles.collect::<Result<Vec<_>, _>>()?;
        let points = x.iter().zip(y).map(|([x], y)| ((*x).into(), (*y).into()));
        picture::draw(path, &points.collect::<Vec<_>>(), &quantiles)?;
        println!("the picture is {}", path.display());
    }
    if options.json {
        let seconds: f64 = reports.iter().map(|report| report.seconds).sum();
        let result = json!({
            "variant": options.variant.to_possible_value().map(|value| value.get_name().to_owned()),
            "dataset": truth.name(),
            "train_rows": split.train.rows(),
            "test_rows": split.test.rows(),
            "epochs": fit.epochs,
            "train_seconds": seconds,
            "parameters": model.parameters(),
            "seed": seed,
            "draws": found.draws,
            "r_squared": errors.r_squared,
            "coverage_90": found.coverage_90,
            "coverage_90_of_the_truth": best.coverage_90,
            "interval_width_90": found.interval_width_90,
            "interval_width_90_of_the_truth": best.interval_width_90,
            "standard_deviation": deviation,
            "standard_deviation_of_the_truth": true_deviation,
            "crps": found.crps,
            "crps_of_the_truth": best.crps,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}

/// Draws for each row, in the unit of y, `[rows, draws]`.
fn sample_draws<V, M>(
    model: &NoProp<V, M, 1, 1>,
    scale: &Standardiser<1>,
    rows: &[[f32; 1]],
    options: &Options,
) -> Result<Vec<f32>, Error>
where
    V: Variant<1, 1>,
    V::Head: Head<1, f32, Targets = Values<1>, Evaluation = Errors>,
    M: Suits<V, 1, 1>,
{
    let draws = model.sample(rows, options.draws.into(), options.seed)?;
    let mut all = draws.concat().into_flattened();
    scale.invert(&mut all)?;
    Ok(all)
}

fn quantiles(x: f32, draws: &[f32]) -> Result<Quantiles, Error> {
    let mut draws: Vec<f64> = draws.iter().copied().map(f64::from).collect();
    draws.sort_unstable_by(f64::total_cmp);
    let [low, high] = score::interval(&draws, 0.9)?;
    Ok(Quantiles { x: x.into(), low, median: score::quantile(&draws, 0.5)?, high })
}

/// The standard deviation of the draws of a row, mean over the rows.
fn mean_deviation(all: &[f32], draws: u16) -> f64 {
    let count = f64::from(draws);
    let deviation = |own: &[f32]| {
        let mean = own.iter().copied().map(f64::from).sum::<f64>() / count;
        let squares: f64 = own.iter().map(|y| (f64::from(*y) - mean).powi(2)).sum();
        (squares / (count - 1.0)).sqrt()
    };
    let rows = all.chunks_exact(draws.into());
    rows.clone().map(deviation).sum::<f64>() / rows.len() as f64
}
