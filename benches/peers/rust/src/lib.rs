//! What the peers share: options, the schedule, the timing, and the result as one JSON object.

use std::time::Instant;

use clap::Parser;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

pub const T: usize = 10;
pub const Z: usize = 10;
pub const X: usize = 784;
pub const H: usize = 256;

/// Discrete time: ten blocks of the conditional ResNet, AdamW, on random data shaped like MNIST
#[derive(Parser)]
pub struct Options {
    /// Rows a step
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Steps a round; five rounds are timed, after one that is not
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
}

/// ᾱ_0 … ᾱ_T of the cosine schedule.
pub fn alpha_bars() -> Vec<f64> {
    let at = |t: usize| {
        let left = (1.0 - t as f64 / T as f64 + 0.008) / 1.008;
        (left * std::f64::consts::FRAC_PI_2).cos().powi(2).clamp(0.001, 0.999)
    };
    (0..=T).map(at).collect()
}

/// The weight of the squared error of block t, counted from 0: (T/2) η (SNR(t + 1) − SNR(t)).
pub fn weight(t: usize) -> f64 {
    let snr: Vec<f64> = alpha_bars().iter().map(|a| a / (1.0 - a)).collect();
    T as f64 / 2.0 * 0.1 * (snr[t + 1] - snr[t])
}

/// A batch: inputs, and one-hot labels.
pub fn data(batch: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = StdRng::seed_from_u64(0);
    let x = (0..batch * X).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let mut one_hot = vec![0.0; batch * Z];
    for row in one_hot.chunks_mut(Z) {
        row[rng.gen_range(0..Z)] = 1.0;
    }
    (x, one_hot)
}

/// One for each core, but no more than there are blocks.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(T)
}

/// A step of each block, the blocks shared out evenly among some threads; the sum of their losses.
pub fn side_by_side<B: Send, E: Send>(
    blocks: &mut [B],
    threads: usize,
    step: impl Fn(usize, &mut B) -> Result<f32, E> + Sync,
) -> Result<f32, E> {
    let each = blocks.len().div_ceil(threads);
    let share = |first: usize, blocks: &mut [B]| {
        let steps = blocks.iter_mut().enumerate().map(|(i, block)| step(first + i, block));
        steps.sum::<Result<f32, E>>()
    };
    let share = &share;
    std::thread::scope(|scope| {
        let shares = blocks.chunks_mut(each).enumerate();
        let workers: Vec<_> =
            shares.map(|(i, blocks)| scope.spawn(move || share(i * each, blocks))).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|loss| loss.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

/// Times `step`, and prints the result.
pub fn measure(
    peer: &str,
    start: Instant,
    options: &Options,
    mut step: impl FnMut() -> Result<f32, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let loss_first = step()?;
    let first = start.elapsed().as_secs_f64();
    for _ in 0..options.steps {
        step()?;
    }
    let (mut rates, mut loss) = ([0.0; 5], 0.0);
    for rate in &mut rates {
        let start = Instant::now();
        for _ in 0..options.steps {
            loss = step()?;
        }
        *rate = options.steps as f64 / start.elapsed().as_secs_f64();
    }
    rates.sort_by(f64::total_cmp);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: Option<f64> = peak
        .and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<f64>().ok())
        .map(|kb| kb / 1024.0);
    println!(
        "{}",
        json!({
            "peer": peer, "variant": "dt", "batch": options.batch, "width": H,
            "steps_per_s": rates[2], "min": rates[0], "max": rates[4],
            "first_step_s": first, "peak_rss_mb": peak,
            "loss_first": loss_first, "loss_last": loss,
        })
    );
    Ok(())
}
