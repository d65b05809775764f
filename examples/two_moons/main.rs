//! A distribution is learned: two moons in the plane, as a whole or each by its name, by flow matching
//! or by blocks that each have a part of the noise.
//!
//! ```text
//! cargo run --release --example two_moons
//! cargo run --release --example two_moons -- --given-class
//! cargo run --release --example two_moons -- --variant blocks
//! ```

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod energy;
mod picture;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    data::{Split, Standardiser},
    observe::Progress,
    prelude::*,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rand_distr::StandardNormal;
use serde_json::json;

/// On points z in the plane, what is given, and the time.
type Block<const X: usize> = dfdx_noprop::conditional_resnet_ct!(2, X, [128, 128]);
type Flow<const X: usize> = NoProp<FlowMatching<Regression>, Block<X>, 2, X>;
type Blocks<const X: usize> = NoProp<DiffusionBlocks<Regression>, Block<X>, 2, X>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Flow matching
    Fm,
    /// Blocks by noise level
    Blocks,
}

/// Learns two moons, and draws samples beside held-out points
#[derive(Parser)]
struct Options {
    /// Which variant
    #[arg(long, value_enum, default_value = "fm")]
    variant: Kind,
    /// B, the number of blocks by noise level; flow matching has one network
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    blocks: u16,
    /// How many points there are to learn from; a quarter as many are held out
    #[arg(long, default_value_t = 8000)]
    rows: usize,
    /// Tell the network which moon a point is from; else it learns both as one
    #[arg(long)]
    given_class: bool,
    /// How many Heun steps take noise to a sample, shared out among the blocks
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Where the picture goes
    #[arg(long, default_value = "two_moons.svg")]
    svg: PathBuf,
    /// How often each point is learned from
    #[arg(long, default_value_t = 150)]
    epochs: usize,
    /// The seed of the points, of the weights, and of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::quiet::when_stdout_closes();
    let options = Options::parse();
    if options.given_class {
        // x names the moon: (1, 0) or (0, 1).
        run(&options, |moon| if moon == 0 { [1.0, 0.0] } else { [0.0, 1.0] })
    } else {
        // Nothing is given, so x is a zero.
        run(&options, |_| [0.0])
    }
}

/// Points to learn from and others held out, and the way back to their unit.
struct Points<const X: usize> {
    split: Split<X, Values<2>>,
    scale: Standardiser<2>,
}

/// What a model has made of them.
struct Made {
    samples: Vec<[f32; 2]>,
    network_calls: usize,
    parameters: usize,
    seconds: f64,
}

type Paths = Vec<Vec<[f32; 2]>>;

fn run<const X: usize>(
    options: &Options,
    given: impl Fn(usize) -> [f32; X],
) -> Result<(), Box<dyn std::error::Error>> {
    let seed = options.seed;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut set = |rows: usize| -> Result<Dataset<X, Values<2>>, Error> {
        let points: Vec<_> = (0..rows).map(|i| (given(i % 2), moon(i % 2, &mut rng))).collect();
        let (x, u): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        Dataset::new(x.into_flattened(), Values::new(u.into_flattened())?)
    };
    let split = Split { train: set(options.rows)?, test: set(options.rows / 4)? };
    let (split, scale) = split.standardised_targets()?;
    let points = Points { split, scale };

    let device = AutoDevice::seed_from_u64(seed);
    let optimizer = AdamW { learning_rate: 3e-3, ..AdamW::default() }.into();
    let heun = |steps| Solver { method: Method::Heun, steps: Steps::Fixed(steps), save: Save::End };
    match options.variant {
        Kind::Fm => {
            let solver = heun(options.steps);
            let variant = FlowMatching { solver, optimizer, seed, ..FlowMatching::default() };
            let mut model = Flow::<X>::new(&device, variant)?;
            let made = learn(&mut model, options, &points, 2 * options.steps)?;
            let given = points.split.test.samples();
            show(options, &points, made, &mut rng, |rng| trajectories(&mut model, given, rng))
        }
        Kind::Blocks => {
            let blocks = options.blocks.into();
            let steps = options.steps.div_ceil(blocks);
            let (solver, calls) = (heun(steps), 2 * steps * blocks);
            let variant =
                DiffusionBlocks { blocks, solver, optimizer, seed, ..DiffusionBlocks::default() };
            let mut model = Blocks::<X>::new(&device, variant)?;
            let made = learn(&mut model, options, &points, calls)?;
            show(options, &points, made, &mut rng, |_| Ok(Paths::new()))
        }
    }
}

fn learn<V, M, const X: usize>(
    model: &mut NoProp<V, M, 2, X>,
    options: &Options,
    points: &Points<X>,
    network_calls: usize,
) -> Result<Made, Error>
where
    V: Variant<2, X, Head = Regression>,
    M: Suits<V, 2, X>,
{
    let fit = Fit {
        epochs: options.epochs,
        seed: options.seed,
        learning_rate: LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.0 } },
        ..Fit::default()
    };
    let Points { split, .. } = points;
    let reports = model.training(&fit).observer(&mut Progress::plain()).run(&split.train)?.epochs;
    Ok(Made {
        samples: model.sample(split.test.samples(), 1, options.seed)?.concat(),
        network_calls,
        parameters: model.parameters(),
        seconds: reports.iter().map(|report| report.seconds).sum(),
    })
}

fn show<const X: usize>(
    options: &Options,
    points: &Points<X>,
    made: Made,
    rng: &mut StdRng,
    paths: impl FnOnce(&mut StdRng) -> Result<Paths, Error>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (Points { split, scale }, samples) = (points, &made.samples);
    let test = split.test.targets().as_slice().as_chunks().0;
    let noise: Vec<[f32; 2]> = (0..samples.len())
        .map(|_| [rng.sample(StandardNormal), rng.sample(StandardNormal)])
        .collect();
    let found = energy::Comparison::new(samples, &noise, test, rng);
    println!("{found}");
    if X == 2 {
        let right = samples.iter().enumerate().filter(|(i, z)| nearest(z, test) % 2 == i % 2);
        let share = 100.0 * right.count() as f64 / samples.len() as f64;
        println!(
            "{share:.1} % of the samples are nearest to a point of the moon they were asked for"
        );
    }
    let back = |points: &[[f32; 2]]| -> Result<Vec<(f64, f64)>, Error> {
        let mut points = points.as_flattened().to_vec();
        scale.invert(&mut points)?;
        Ok(points.chunks_exact(2).map(|p| (p[0].into(), p[1].into())).collect())
    };
    let paths = paths(rng)?.iter().map(|path| back(path)).collect::<Result<Vec<_>, _>>()?;
    picture::draw(&options.svg, [&back(test)?, &back(samples)?], &paths)?;
    println!("the picture is {}", options.svg.display());
    if options.json {
        let result = json!({
            "variant": format!("{:?}", options.variant).to_lowercase(),
            "dataset": "two_moons",
            "given_class": X == 2,
            "train_rows": split.train.rows(),
            "test_rows": split.test.rows(),
            "epochs": options.epochs,
            "train_seconds": made.seconds,
            "parameters": made.parameters,
            "seed": options.seed,
            "network_calls": made.network_calls,
            "solver": "heun",
            "energy_distance": found.samples,
            "energy_distance_of_halves": found.halves,
            "energy_distance_of_noise": found.noise,
            "peak_rss_mb": common::peak_rss_mb(),
        });
        println!("{result}");
    }
    Ok(())
}

/// A point of the upper (0) or lower (1) half circle, with noise of deviation 0.1.
fn moon(which: usize, rng: &mut StdRng) -> [f32; 2] {
    let angle = rng.gen_range(0.0..std::f32::consts::PI);
    let [x, y] = match which {
        0 => [angle.cos(), angle.sin()],
        _ => [1.0 - angle.cos(), 0.5 - angle.sin()],
    };
    let mut noisy = |value: f32| value + 0.1 * rng.sample::<f32, _>(StandardNormal);
    [noisy(x), noisy(y)]
}

/// The index of the point nearest to z.
fn nearest(z: &[f32; 2], points: &[[f32; 2]]) -> usize {
    let distance = |p: &[f32; 2]| (p[0] - z[0]).hypot(p[1] - z[1]);
    let by_distance =
        |a: &usize, b: &usize| distance(&points[*a]).total_cmp(&distance(&points[*b]));
    (0..points.len()).min_by(by_distance).unwrap_or(0)
}

/// Where the flow takes some points of noise, step by step.
fn trajectories<const X: usize>(
    model: &mut Flow<X>,
    given: &[[f32; X]],
    rng: &mut StdRng,
) -> Result<Paths, Error> {
    const PATHS: usize = 60;
    let x: Vec<[f32; X]> = given.choose_multiple(rng, PATHS).copied().collect();
    let solver = Solver { save: Save::Steps, ..model.variant().solver.clone() };
    model.set_solver(solver)?;
    let device = AutoDevice::default();
    let noise = (0..2 * x.len()).map(|_| rng.sample(StandardNormal)).collect();
    let z0 = device.tensor_from_vec(noise, (x.len(), Const::<2>));
    let x = device.tensor_from_vec(x.into_flattened(), (PATHS.min(given.len()), Const::<X>));
    let path = model.integrate_trajectory(z0, x, 0.0, 1.0)?;
    let states: Vec<Vec<[f32; 2]>> =
        path.states.iter().map(|state| state.as_vec().as_chunks().0.to_vec()).collect();
    let rows = states.first().map_or(0, Vec::len);
    Ok((0..rows).map(|row| states.iter().map(|state| state[row]).collect()).collect())
}
