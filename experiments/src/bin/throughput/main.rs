//! How fast training and inference are, beside what the processor can do.
//!
//! ```text
//! cargo run --release -p experiments --bin throughput -- --variant dt --batch 128 --json
//! ```

mod limits;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use dfdx_noprop::{
    nn::image::{PaperNetCt, PaperNetDt, PlainTrunk28, SmallNetCt, SmallNetDt},
    prelude::*,
    train::{Observer, StepReport},
};
use experiments::{Classifies, peak_rss_mb};
use limits::{By, Product};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    /// Discrete time
    Dt,
    /// Continuous time
    Ct,
    /// Flow matching
    Fm,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Isa {
    /// AVX2 and FMA
    Avx2,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Net {
    /// The conditional ResNet: one hidden width
    Mlp,
    /// Two convolutions, with batch norm
    Small,
    /// The paper's network, without batch norm and dropout
    Paper,
}

/// Measures training steps and inference on random data shaped like MNIST
#[derive(Parser)]
struct Options {
    /// Which mathematics
    #[arg(long, value_enum, default_value_t = Kind::Dt)]
    variant: Kind,
    /// Which network
    #[arg(long, value_enum, default_value_t = Net::Mlp)]
    model: Net,
    /// Rows a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Steps a round, in whole epochs of 8; five rounds are timed, after one that is not
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Threads; all of the processor's if not given
    #[arg(long)]
    threads: Option<usize>,
    /// The hidden width: 64, 128, 256, 512 or 1024
    #[arg(long, default_value_t = 256)]
    width: usize,
    /// T, the number of blocks (discrete time)
    #[arg(long, default_value_t = 10)]
    blocks: usize,
    /// Round the operands of the training's large products to bfloat16
    #[arg(long)]
    bf16: bool,
    /// Which of the processor's instructions; the widest that it has if not given
    #[arg(long, value_enum)]
    isa: Option<Isa>,
    /// Leave inference out, which takes minutes with a thousand blocks
    #[arg(long)]
    no_inference: bool,
    /// Print one JSON object, and nothing else on stdout
    #[arg(long)]
    json: bool,
}

const X: usize = 784;
const Z: usize = 10;
/// Steps of an epoch.
const EPOCH: usize = 8;
/// The width of the time embedding.
const TIME: usize = 64;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    if options.isa == Some(Isa::Avx2) {
        dfdx_noprop::device::Instructions::Avx2.limit()?;
    }
    match options.model {
        Net::Mlp => {}
        Net::Small => return networks::<SmallNetDt<Z>, SmallNetCt<Z>>(&options),
        Net::Paper => return networks::<PaperNetDt<Z, PlainTrunk28>, PaperNetCt<Z>>(&options),
    }
    match options.width {
        64 => run::<64>(&options),
        128 => run::<128>(&options),
        256 => run::<256>(&options),
        512 => run::<512>(&options),
        1024 => run::<1024>(&options),
        other => Err(Error::Config {
            setting: "--width",
            expected: "64, 128, 256, 512 or 1024".to_owned(),
            found: other.to_string(),
        }),
    }
}

fn run<const H: usize>(options: &Options) -> Result<(), Error> {
    networks::<ConditionalResNetDt<Z, X, H>, ConditionalResNetCt<Z, X, H>>(options)
}

fn networks<Untimed, InTime>(options: &Options) -> Result<(), Error>
where
    Untimed: Suits<DiscreteTime, 10, 784>,
    InTime: Suits<ContinuousTime, 10, 784> + Suits<FlowMatching, 10, 784>,
{
    match options.variant {
        Kind::Dt => {
            let variant = DiscreteTime { blocks: options.blocks, ..DiscreteTime::default() };
            measure::<DiscreteTime, Untimed>(variant, options, options.blocks)
        }
        // Inference by 40 steps of Heun's method.
        Kind::Ct => {
            let inference = Inference::Ode(heun());
            let variant = ContinuousTime { inference, ..ContinuousTime::default() };
            measure::<ContinuousTime, InTime>(variant, options, 1)
        }
        Kind::Fm => {
            let variant = FlowMatching { solver: heun(), ..FlowMatching::default() };
            measure::<FlowMatching, InTime>(variant, options, 1)
        }
    }
}

fn heun() -> Solver {
    Solver { method: Method::Heun, steps: Steps::Fixed(40), save: Save::End }
}

/// The products of a step of one block: forward, and back to weights and (but for inputs) to
/// activations.
fn products(options: &Options) -> Vec<Product> {
    let rows = options.batch;
    let mut all: Vec<Product> = Vec::new();
    let mut layer = |rows: usize, from: usize, to: usize, back: bool| {
        let mut products = vec![[rows, from, to], [to, rows, from]];
        products.extend(back.then_some([rows, to, from]));
        all.extend(products.into_iter().map(|[m, k, n]| Product { m, k, n }));
    };
    let timed = options.variant != Kind::Dt;
    let h = match options.model {
        Net::Mlp => options.width,
        Net::Small => 128,
        Net::Paper => 256,
    };
    match options.model {
        Net::Mlp => {
            layer(rows, X, h, false);
            layer(rows, h, h, true);
            layer(rows, h, h, true);
            layer(rows, h, Z, true);
        }
        // A convolution is a product of as many rows as there are windows.
        Net::Small => {
            layer(784 * rows, 9, 16, false);
            layer(196 * rows, 144, 32, true);
            layer(rows, 1568, h, true);
        }
        Net::Paper => {
            layer(784 * rows, 9, 32, false);
            layer(196 * rows, 288, 64, true);
            layer(196 * rows, 576, 128, true);
            layer(rows, 6272, h, true);
        }
    }
    layer(rows, Z, h, false);
    if timed {
        layer(rows, TIME, h, false);
    }
    if options.model != Net::Mlp {
        (0..3).for_each(|_| layer(rows, h, h, true));
        layer(rows, h, h / 2, true);
        layer(rows, h / 2, Z, true);
    }
    if timed && options.model == Net::Paper {
        layer(rows, h, h, true);
    }
    all
}

/// Notes when the first step is done, and ends a run.
struct First {
    start: Instant,
    took: Option<Duration>,
}

impl Observer for First {
    fn step(&mut self, _step: &StepReport) -> Result<ControlFlow<()>, Error> {
        self.took.get_or_insert(self.start.elapsed());
        Ok(ControlFlow::Continue(()))
    }
}

fn measure<V, M>(variant: V, options: &Options, blocks: usize) -> Result<(), Error>
where
    V: Classifies<X>,
    M: Suits<V, Z, X>,
{
    let mut first = First { start: Instant::now(), took: None };
    let mut model = M::model(&AutoDevice::default(), variant)?;
    let data = random(options.batch * EPOCH, 0)?;
    // Whole epochs: what ends between two may go on, and has a checksum of all rows for that.
    let epochs = options.steps.div_ceil(EPOCH);
    let fit = Fit {
        epochs,
        batch_size: options.batch,
        threads: options.threads,
        precision: if options.bf16 { Precision::Bf16 } else { Precision::F32 },
        ..Fit::default()
    };
    let one = Fit { step_limit: Some(1), ..fit.clone() };
    model.training(&one).observer(&mut first).run(&data)?;
    model.fit(&data, &fit)?;
    let mut rates = [0.0; 5];
    for rate in &mut rates {
        let start = Instant::now();
        model.fit(&data, &fit)?;
        *rate = (epochs * EPOCH) as f64 / start.elapsed().as_secs_f64();
    }
    rates.sort_by(f64::total_cmp);
    let [min, _, median, _, max] = rates;
    let training_rss = peak_rss_mb();

    let products = products(options);
    let flop = blocks as f64 * products.iter().map(Product::flop).sum::<f64>();
    let threads = fit.thread_count();
    let gemm = limits::products(&products, threads);
    let by = match (options.isa, options.bf16) {
        (Some(Isa::Avx2), _) => By::Avx2,
        (None, true) => By::Bf16,
        (None, false) => By::Widest,
    };
    let peak = limits::multiply_adds(threads, by);
    let stream = limits::streamed(model.parameters(), threads);
    // What no step can do without: its products, and each weight and its moments once.
    let least = flop / peak / 1e9 + 24.0 * model.parameters() as f64 / stream / 1e9;
    let inference = if options.no_inference { None } else { Some(inference(&model)?) };
    let (rows_per_s, latency) = inference.unzip();
    let gflops = median * flop / 1e9;
    let result = json!({
        "variant": format!("{:?}", options.variant).to_lowercase(),
        "model": format!("{:?}", options.model).to_lowercase(),
        "precision": if options.bf16 { "bf16" } else { "f32" },
        "instructions": options.isa.map_or("widest", |_| "avx2"),
        "batch": options.batch,
        "width": options.width,
        "blocks": blocks,
        "threads": threads,
        "parameters": model.parameters(),
        "steps_per_s": median,
        "min": min,
        "max": max,
        "gflops": gflops,
        "gemm_gflops": gemm,
        "fma_peak_gflops": peak,
        "stream_gb_per_s": stream,
        "share_of_limit": median * least,
        "first_step_s": first.took.map(|took| took.as_secs_f64()),
        "peak_rss_mb": training_rss,
        "infer_rows_per_s": rows_per_s,
        "latency_us_p50": latency.map(|[p50, _]| p50),
        "latency_us_p99": latency.map(|[_, p99]| p99),
        "read_weights_us": limits::read_once(model.parameters()),
    });
    if options.json {
        println!("{result}");
    } else {
        show(&result);
    }
    Ok(())
}

/// Each number with its name and its unit.
fn show(result: &serde_json::Value) {
    let lines = [
        ("variant", "variant", ""),
        ("model", "network", ""),
        ("precision", "operands of large products", ""),
        ("batch", "rows a step", ""),
        ("width", "hidden width", ""),
        ("blocks", "blocks", ""),
        ("threads", "threads", ""),
        ("parameters", "trained numbers", ""),
        ("steps_per_s", "training, median of five rounds", "steps/s"),
        ("min", "training, slowest round", "steps/s"),
        ("max", "training, fastest round", "steps/s"),
        ("gflops", "matrix products of training", "GFLOP/s"),
        ("gemm_gflops", "the same products alone, by gemm", "GFLOP/s"),
        ("fma_peak_gflops", "the processor's limit of multiply-adds", "GFLOP/s"),
        ("stream_gb_per_s", "weights and moments alone", "GB/s"),
        ("share_of_limit", "of the steps that both limits allow", ""),
        ("first_step_s", "first step done after", "s"),
        ("peak_rss_mb", "most memory in training", "MB"),
        ("infer_rows_per_s", "answers in batches of 4,096", "rows/s"),
        ("latency_us_p50", "answer to one row, median", "µs"),
        ("latency_us_p99", "answer to one row, 99th percentile", "µs"),
        ("read_weights_us", "reading all weights once", "µs"),
    ];
    for (key, name, unit) in lines {
        let value = match &result[key] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "not measured".to_owned(),
            whole if whole.is_u64() => whole.to_string(),
            number => format!("{:.3}", number.as_f64().unwrap_or(f64::NAN)),
        };
        println!("{name:<40} {value:>14} {unit}");
    }
}

/// Rows a second in large batches, and microseconds for a single row: median and 99th percentile.
fn inference<V, M>(model: &NoProp<V, M, Z, X>) -> Result<(f64, [f64; 2]), Error>
where
    V: Classifies<X>,
    M: dfdx::nn::BuildOnDevice<AutoDevice, f32>,
{
    let data = random(4096, 1)?;
    model.predict(data.samples())?;
    let mut rates: Vec<f64> = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        model.predict(data.samples())?;
        rates.push(data.rows() as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let mut times: Vec<f64> = Vec::new();
    for row in data.samples().iter().take(500) {
        let start = Instant::now();
        model.predict(std::slice::from_ref(row))?;
        times.push(1e6 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((rates[2], [times[times.len() / 2], times[times.len() * 99 / 100]]))
}

fn random(rows: usize, seed: u64) -> Result<Dataset<X, Labels<Z>>, Error> {
    let mut rng = StdRng::seed_from_u64(seed);
    let inputs = (0..rows * X).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let labels = (0..rows).map(|_| rng.gen_range(0..Z as u32)).collect();
    Dataset::new(inputs, Labels::new(labels)?)
}
