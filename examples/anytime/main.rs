//! Answers as early as they are sure enough: each row stops after the block after which its most
//! probable class has the probability τ, and the rows that go on are packed together.
//!
//! ```text
//! cargo run --release --example anytime
//! cargo run --release --example anytime -- --data DIR   # MNIST
//! ```

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod picture;

use std::{path::PathBuf, time::Instant};

use clap::Parser;
use dfdx_noprop::{head::Classification, prelude::*, score::Reliability};

/// Trains NoProp (discrete time), and answers with the blocks that each row needs
#[derive(Parser)]
struct Options {
    /// A folder with MNIST's four files; the digits that the crate carries without
    #[arg(long)]
    data: Option<PathBuf>,
    /// How often each image is learned from: 40 for the digits, 5 for MNIST if not given
    #[arg(long)]
    epochs: Option<usize>,
    /// T, the number of blocks
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// τ, the confidence at which a row stops, of the answers that are summed up at the end
    #[arg(long, default_value_t = 0.8)]
    confidence: f64,
    /// The seed of all that is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train with this many seeds, from --seed on, and give the means
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// Where the picture goes
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

/// What answers at one confidence have come to.
#[derive(Clone, Copy, Default)]
struct Point {
    confidence: f64,
    accuracy: f64,
    negative_log_likelihood: f64,
    calibration_error: f64,
    calls_per_row: f64,
    rows_per_second: f64,
}

/// The confidences of the table; that of [`Options::confidence`] is added.
const CONFIDENCES: [f64; 9] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];

/// How many rows are answered while the clock runs, at least: those of the test over and over.
const TIMED_ROWS: usize = 8192;

type Data<const X: usize> = data::Split<X, Labels<10>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    match &options.data {
        Some(folder) => {
            let data = data::mnist(folder)?;
            run::<784, ConditionalResNetDt<10, 784, 256>>(&options, 5, |_| Ok(data.clone()))
        }
        None => run::<64, ConditionalResNetDt<10, 64, 128>>(&options, 40, |seed| {
            data::digits_with_seed(seed)
        }),
    }
}

fn run<const X: usize, M>(
    options: &Options,
    epochs: usize,
    data: impl Fn(u64) -> Result<Data<X>, Error>,
) -> Result<(), Box<dyn std::error::Error>>
where
    M: Suits<DiscreteTime, 10, X>,
{
    let epochs = options.epochs.unwrap_or(epochs);
    let mut confidences = CONFIDENCES.to_vec();
    confidences.push(options.confidence);
    confidences.sort_by(f64::total_cmp);
    confidences.dedup();
    let mut points = vec![Point::default(); confidences.len()];
    let (mut all, mut rows) = (Point::default(), 0);
    let share = 1.0 / options.repeats as f64;
    for seed in options.seed..options.seed + options.repeats {
        let data = data(seed)?;
        let variant = DiscreteTime { blocks: options.blocks, seed, ..DiscreteTime::default() };
        let mut model = M::model(&AutoDevice::seed_from_u64(seed), variant)?;
        let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
        let fit = Fit { epochs, seed, learning_rate, ..Fit::default() };
        model.training(&fit).run(&data.train)?;
        println!("seed {seed}: trained for {epochs} epochs on {} images", data.train.rows());
        let test = &data.test;
        rows = test.rows();
        let report = model.evaluate(test)?;
        // As many rows for the clock that all cores have work, however few rows go on.
        let count = rows.max(TIMED_ROWS);
        let timed: Vec<[f32; X]> = test.samples().iter().copied().cycle().take(count).collect();
        let share_of_rows = rows as f64 / count as f64;
        let seconds = share_of_rows * fastest(|| model.predict_proba(&timed).map(|_| ()))?;
        all.add(share, &of_report(&report, seconds));
        for (point, &confidence) in points.iter_mut().zip(&confidences) {
            let answers = model.predict_until(test.samples(), confidence)?;
            let until = || model.predict_until(&timed, confidence).map(|_| ());
            let seconds = share_of_rows * fastest(until)?;
            let found = judge(&answers, test.targets().as_slice(), confidence, seconds)?;
            point.add(share, &found);
        }
    }
    println!("\n   τ    accuracy %    NLL     ECE    blocks a row    rows/s    (times all blocks)");
    for point in &points {
        line(&format!("{:5.2}", point.confidence), point, &all);
    }
    line("  all", &all, &all);
    if let Some(path) = &options.svg {
        picture::draw(path, &points, &all)?;
        println!("the picture is {}", path.display());
    }
    let chosen = points.iter().find(|point| (point.confidence - options.confidence).abs() < 1e-9);
    if let (true, Some(point)) = (options.json, chosen) {
        let result = serde_json::json!({
            "variant": "dt",
            "dataset": if options.data.is_some() { "mnist" } else { "digits" },
            "test_rows": rows,
            "confidence": options.confidence,
            "test_accuracy": point.accuracy,
            "test_accuracy_all_calls": all.accuracy,
            "calls_per_row": point.calls_per_row,
            "negative_log_likelihood": point.negative_log_likelihood,
            "negative_log_likelihood_all_calls": all.negative_log_likelihood,
            "calibration_error": point.calibration_error,
            "rows_per_second": point.rows_per_second,
            "rows_per_second_all_calls": all.rows_per_second,
            "epochs": epochs,
            "seed": options.seed,
            "repeats": options.repeats,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}

fn line(name: &str, point: &Point, all: &Point) {
    println!(
        "{name}   {:9.2}   {:7.4}  {:6.4}   {:9.2}     {:9.0}    {:.1}",
        100.0 * point.accuracy,
        point.negative_log_likelihood,
        point.calibration_error,
        point.calls_per_row,
        point.rows_per_second,
        point.rows_per_second / all.rows_per_second,
    );
}

/// The least seconds of five times.
fn fastest(mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

fn of_report(report: &Classification, seconds: f64) -> Point {
    Point {
        confidence: 1.0,
        accuracy: report.accuracy,
        negative_log_likelihood: report.negative_log_likelihood,
        calibration_error: report.calibration_error,
        calls_per_row: report.network_calls,
        rows_per_second: report.rows as f64 / seconds,
    }
}

fn judge(
    answers: &[dfdx_noprop::EarlyAnswer<[f32; 10]>],
    labels: &[u32],
    confidence: f64,
    seconds: f64,
) -> Result<Point, Error> {
    let rows = answers.len() as f64;
    let (mut likelihood, mut calls) = (0.0, 0);
    let (mut confidences, mut right) = (Vec::new(), Vec::new());
    for (answer, &label) in answers.iter().zip(labels) {
        likelihood -= f64::from(answer.probabilities[label as usize].max(f32::MIN_POSITIVE)).ln();
        calls += answer.calls;
        confidences.push(f64::from(answer.probabilities[answer.class as usize]));
        right.push(answer.class == label);
    }
    Ok(Point {
        confidence,
        accuracy: right.iter().filter(|right| **right).count() as f64 / rows,
        negative_log_likelihood: likelihood / rows,
        calibration_error: Reliability::new(&confidences, &right)?.calibration_error(),
        calls_per_row: calls as f64 / rows,
        rows_per_second: rows / seconds,
    })
}

impl Point {
    /// Adds a share of another one's numbers.
    fn add(&mut self, share: f64, other: &Self) {
        self.confidence = other.confidence;
        self.accuracy += share * other.accuracy;
        self.negative_log_likelihood += share * other.negative_log_likelihood;
        self.calibration_error += share * other.calibration_error;
        self.calls_per_row += share * other.calls_per_row;
        self.rows_per_second += share * other.rows_per_second;
    }
}
