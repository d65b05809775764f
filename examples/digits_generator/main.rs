//! Handwritten digits, drawn by their names: the input is a class, the targets are 64 pixels, and an
//! answer is a draw of the distribution. A network that has learned to read real digits judges them.
//!
//! ```text
//! cargo run --release --example digits_generator
//! cargo run --release --example digits_generator -- --variant blocks,fm,ct,dt
//! ```

#[path = "../common/mod.rs"]
mod common;
mod generator;
mod judge;
mod picture;
mod pixels;
mod scores;

use std::path::PathBuf;

use clap::Parser;
use dfdx_noprop::prelude::*;
use generator::{Kind, Made};
use judge::Judge;
use scores::Scores;
use serde_json::{Value, json};

/// Trains generators of handwritten digits, draws each digit by its name, and has the draws judged
#[derive(Parser)]
struct Options {
    /// Which variants, with commas between: all but the first are for comparison
    #[arg(long, value_enum, value_delimiter = ',', default_value = "blocks")]
    variant: Vec<Kind>,
    /// B, the number of blocks by noise level; discrete time has ten
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    blocks: u16,
    /// How many Heun steps take noise to a picture, shared out among the blocks; discrete time has
    /// one step for each block
    #[arg(long, default_value_t = 36, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// By how many grey levels black and full pixels are put further out than they are
    #[arg(long, default_value_t = 3.0)]
    margin: f32,
    /// How often each digit is learned from
    #[arg(long, default_value_t = 600)]
    epochs: usize,
    /// How often the judge learns from each digit
    #[arg(long, default_value_t = 60)]
    judge_epochs: usize,
    /// How many pictures there are of each digit
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..))]
    draws: u16,
    /// The seed of the weights, of the noise, and of the choice of the digits for the test
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the picture goes: real digits, and those that were drawn
    #[arg(long, default_value = "digits_generator.svg")]
    svg: PathBuf,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    let digits = data::digits_rows()?.split_stratified(0.2, options.seed)?;
    let [learned, test] = [&digits.train, &digits.test].map(pixels::by_class);
    let judge = Judge::new(&digits, options.judge_epochs, options.seed)?;
    println!(
        "the judge reads {:.2} % of {} test digits right",
        100.0 * judge.test_accuracy,
        digits.test.rows()
    );
    let mut found = Vec::new();
    for &kind in &options.variant {
        let made = generator::made(kind, &options, &digits.train)?;
        println!("{}: trained in {:.0} seconds", kind.name(), made.train_seconds);
        let scores = Scores::new(&made.pictures, &learned, &test, &judge)?;
        found.push((kind, made, scores));
    }

    println!(
        "\n{:12} {:>9}   {:^22}   {:>7}   {:>5}",
        "", "asked for", "spread", "novelty", "calls"
    );
    line("test digits", &Scores::new(&test, &learned, &test, &judge)?, "");
    for (kind, made, scores) in &found {
        let verdict = if scores.is_good() { "good" } else { "falls short" };
        line(kind.name(), scores, &format!("{:5}   {verdict}", made.network_calls));
    }
    println!(
        "
asked for: the share of the {} pictures of each digit that the judge reads as that digit
spread:    the root of the trace of the covariance within a class, as a share of that of the digits
           learned from: mean over the classes, least and most
novelty:   the mean distance to the nearest digit learned from, as a share of the test digits'
calls:     how often a network is called for a picture
good:      99 % or more are what was asked for, and no spread is more than 10 % off",
        options.draws
    );
    let mut panels = vec![("real digits", &test)];
    panels.extend(found.iter().map(|(kind, made, _)| (kind.name(), &made.pictures)));
    picture::draw(&options.svg, &panels)?;
    println!("the picture is {}", options.svg.display());
    if options.json {
        println!("{}", report(&options, &digits, &judge, &found));
    }
    Ok(())
}

fn line(name: &str, scores: &Scores, rest: &str) {
    let ends = format!("({:.3} to {:.3})", scores.least_spread(), scores.most_spread());
    println!(
        "{name:12} {:7.2} %   {:.3} {ends:>16}   {:7.3}   {rest}",
        100.0 * scores.asked_for,
        scores.mean_spread(),
        scores.novelty
    );
}

/// What was found for the first variant, with the others beside it.
fn report(
    options: &Options,
    digits: &data::Split<64, Labels<10>>,
    judge: &Judge,
    found: &[(Kind, Made, Scores)],
) -> Value {
    let mut each = found.iter().map(|(kind, made, scores)| {
        json!({
            "variant": kind.name(),
            "asked_for": scores.asked_for,
            "spread_ratio": {
                "mean": scores.mean_spread(),
                "min": scores.least_spread(),
                "max": scores.most_spread(),
                "by_class": scores.spread,
            },
            "novelty": scores.novelty,
            "good": scores.is_good(),
            "network_calls": made.network_calls,
            "parameters": made.parameters,
            "train_seconds": made.train_seconds,
        })
    });
    let mut result = each.next().unwrap_or_default();
    let shared = json!({
        "dataset": "digits",
        "train_rows": digits.train.rows(),
        "test_rows": digits.test.rows(),
        "judge_test_accuracy": judge.test_accuracy,
        "draws_per_class": options.draws,
        "epochs": options.epochs,
        "steps": options.steps,
        "margin": options.margin,
        "seed": options.seed,
        "beside": each.collect::<Vec<_>>(),
        "peak_rss_mb": common::peak_rss_mb(),
    });
    if let (Value::Object(result), Value::Object(shared)) = (&mut result, shared) {
        result.extend(shared);
    }
    result
}
