use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{Lanes, PRIMES, factors};
use crate::{
    device::Backend,
    random::{Purpose, stream},
};

fn streams(seed: u64, blocks: std::ops::Range<u64>, step: u64) -> Vec<ChaCha8Rng> {
    blocks.map(|block| stream(seed, Purpose::Noise, block, step)).collect()
}

/// Normals of some blocks at one step, one block's after the other's.
fn draw(seed: u64, blocks: std::ops::Range<u64>, step: u64, each: usize) -> Vec<f64> {
    let mut kept = None;
    draw_with(seed, &mut kept, blocks, step, each)
}

fn draw_with(
    seed: u64,
    kept: &mut Option<Lanes<Cpu>>,
    blocks: std::ops::Range<u64>,
    step: u64,
    each: usize,
) -> Vec<f64> {
    let mut streams = streams(seed, blocks, step);
    let shape = (streams.len(), each);
    let all: Tensor<_, f64, Cpu> = Cpu::default().normals(seed, kept, &mut streams, shape).unwrap();
    all.as_vec()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Of two sequences of standard normals that have nothing to do with each other this is one itself,
/// nearly.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    mean(a[..n].iter().zip(&b[..n]).map(|(a, b)| a * b)) * (n as f64).sqrt()
}

/// The share of a standard normal below x, by the error function's series and its continued
/// fraction (Abramowitz, Stegun, 7.1.5 and 7.1.14).
fn normal_cdf(x: f64) -> f64 {
    let y = x.abs() / std::f64::consts::SQRT_2;
    let tail = if y < 2.5 {
        let (mut term, mut sum) = (y, y);
        for n in 1..80 {
            term *= -y * y / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum
    } else {
        let fraction = (1..80).rev().fold(y, |below, n| y + 0.5 * f64::from(n) / below);
        (-y * y).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    if x > 0.0 { 1.0 - tail / 2.0 } else { tail / 2.0 }
}

#[test]
fn the_primes_are_primes() {
    for prime in PRIMES {
        assert!((2..=8192).all(|d| prime % d != 0 && prime < 1 << 26));
    }
}

#[test]
fn residues_are_those_of_integers() {
    let (seed, lanes) = (3, 10_000);
    let kept = Lanes::new(&Cpu::default(), seed, lanes).unwrap();
    let found = kept.residues(&mut streams(seed, 1..4, 9), lanes).unwrap().as_vec();
    let starts = kept.starts.as_vec();
    let all: Vec<[f64; 4]> = streams(seed, 1..4, 9).iter_mut().map(factors).collect();
    for (i, residue) in found.into_iter().enumerate() {
        let (block, row, lane) = (i / (4 * lanes), i / lanes % 4, i % lanes);
        let prime = u64::from(PRIMES[row / 2]);
        let expected = (starts[row * lanes + lane] as u64 * all[block][row] as u64) % prime;
        assert_eq!((residue as i64).rem_euclid(prime as i64), expected as i64);
        assert!(residue == residue.trunc() && residue.abs() <= prime as f64 / 2.0 + 1.0);
    }
}

#[test]
fn the_largest_products_are_exact_too() {
    let mut lanes = Lanes::new(&Cpu::default(), 0, 1).unwrap();
    // Odd, so that their squares need all of their bits.
    let last = PRIMES.map(|prime| f64::from(prime - 2));
    lanes.starts.copy_from(&[last[0], last[0], last[1], last[1]]);
    let whole = lanes.starts.clone().try_mul(lanes.starts.clone()).unwrap().as_vec();
    for (product, prime) in whole.into_iter().zip([PRIMES[0], PRIMES[0], PRIMES[1], PRIMES[1]]) {
        assert_eq!(product as u64, u64::from(prime - 2).pow(2));
    }
    let numbers = [0.3, -0.7, 67_108_857.4, 67_108_858.6, -67_108_858.49, 2f64.powi(50) + 0.75];
    let rounded = super::rounded(Cpu::default().tensor(numbers)).unwrap().as_vec();
    assert_eq!(rounded, numbers.map(f64::round));
}

#[test]
fn moments_and_tails_are_those_of_the_normal_distribution() {
    let all = draw(1, 1..11, 1, 100_000);
    let n = all.len() as f64;
    assert_eq!(n, 1e6);
    // How far each is from what is expected, in its standard deviations.
    let of = |power: i32| mean(all.iter().map(|x| x.powi(power)));
    let moments = [
        of(1) * n.sqrt(),
        (of(2) - 1.0) * (n / 2.0).sqrt(),
        of(3) * (n / 15.0).sqrt(),
        (of(4) - 3.0) * (n / 96.0).sqrt(),
        (of(6) - 15.0) * (n / 10_170.0).sqrt(),
    ];
    assert!(moments.iter().all(|m| m.abs() < 4.0), "{moments:?}");
    for least in [1.0, 2.0, 3.0, 4.0, 4.5] {
        for sign in [1.0, -1.0] {
            let share = 1.0 - normal_cdf(least);
            let beyond = all.iter().filter(|&&x| sign * x > least).count() as f64;
            let off = (beyond - n * share) / (n * share * (1.0 - share)).sqrt();
            assert!(off.abs() < 4.0, "{beyond} beyond {least}, {off} standard deviations off");
        }
    }
    assert!(all.iter().all(|x| x.abs() < 7.0));
}

#[test]
fn the_distribution_is_normal_throughout() {
    assert!((normal_cdf(1.959_963_984_540_054) - 0.975).abs() < 1e-12);
    assert!((normal_cdf(-4.0) - 3.167_124_183_311_992e-5).abs() < 1e-15);
    // Over the lanes of a step, and over the steps of a lane: Kolmogorov and Smirnov's distance,
    // beyond which one in 10,000 lies.
    let distance = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let off = values.iter().enumerate().map(|(i, &x)| {
            let below = normal_cdf(x);
            (below - i as f64 / n).abs().max(((i + 1) as f64 / n - below).abs())
        });
        off.fold(0.0, f64::max) * n.sqrt()
    };
    assert!(distance(draw(2, 1..11, 5, 20_000)) < 2.23);
    let mut kept = None;
    let steps: Vec<_> = (0..4000).map(|k| draw_with(2, &mut kept, 1..2, k, 4)).collect();
    for lane in 0..4 {
        assert!(distance(steps.iter().map(|step| step[lane]).collect()) < 2.23);
    }
}

#[test]
fn lanes_are_independent() {
    let all = draw(4, 1..2, 1, 400_000);
    let squares: Vec<_> = all.iter().map(|x| (x * x - 1.0) / 2f64.sqrt()).collect();
    for lag in (1..65).chain([100, 1000, 1024, 10_000, 100_000]) {
        assert!(correlation(&all, &all[lag..]).abs() < 4.5, "lag {lag}");
        assert!(correlation(&squares, &squares[lag..]).abs() < 4.5, "squares, lag {lag}");
        assert!(correlation(&all, &squares[lag..]).abs() < 4.5, "one square, lag {lag}");
    }
    // Both normals of a pair fill the plane: χ² over 16 × 16 fields, which has a mean of 255 and a
    // deviation of √510.
    let mut counts = [0u32; 256];
    for pair in all.as_chunks::<2>().0 {
        let [i, j] = pair.map(|x| (normal_cdf(x) * 16.0) as usize);
        counts[16 * i + j] += 1;
    }
    let expected = all.len() as f64 / 2.0 / 256.0;
    let chi2: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    assert!((chi2 - 255.0).abs() < 4.5 * 510f64.sqrt(), "{chi2}");
}

#[test]
fn steps_and_blocks_are_independent() {
    let each = 20_000;
    let mut kept = None;
    let mut steps: Vec<_> = (1..33).map(|k| draw_with(5, &mut kept, 1..2, k, each)).collect();
    // Other blocks at the first step.
    let blocks = draw_with(5, &mut kept, 2..34, 1, each);
    steps.extend(blocks.chunks(each).map(<[f64]>::to_vec));
    let squares: Vec<Vec<_>> =
        steps.iter().map(|s| s.iter().map(|x| (x * x - 1.0) / 2f64.sqrt()).collect()).collect();
    for i in 0..steps.len() {
        for j in 0..i {
            assert!(correlation(&steps[i], &steps[j]).abs() < 5.0, "{i} and {j}");
            assert!(correlation(&squares[i], &squares[j]).abs() < 5.0, "squares, {i} and {j}");
            // The same lanes later, and products of two lanes at two steps.
            assert!(correlation(&steps[i], &steps[j][2..]).abs() < 5.0, "{i} and {j}, shifted");
            let product = |s: &[f64]| s.windows(2).map(|w| w[0] * w[1]).collect::<Vec<_>>();
            let (a, b) = (product(&steps[i]), product(&steps[j]));
            assert!(correlation(&a, &b).abs() < 5.0, "products, {i} and {j}");
        }
    }
}

#[test]
fn two_lanes_are_independent_over_the_steps() {
    let (lanes, count) = (64, 4096);
    let mut kept = None;
    let steps: Vec<_> = (0..count).map(|k| draw_with(6, &mut kept, 1..2, k, lanes)).collect();
    let of_lane = |lane: usize| steps.iter().map(|step| step[lane]).collect::<Vec<_>>();
    let all: Vec<_> = (0..lanes).map(of_lane).collect();
    let mut sum = 0.0;
    for i in 0..lanes {
        for j in 0..i {
            let r = correlation(&all[i], &all[j]);
            assert!(r.abs() < 5.0, "{i} and {j}: {r}");
            sum += r * r;
        }
        for lag in 1..33 {
            assert!(correlation(&all[i], &all[i][lag..]).abs() < 5.0, "{i}, lag {lag}");
        }
    }
    let pairs = (lanes * (lanes - 1) / 2) as f64;
    // χ² with so many degrees.
    assert!(((sum - pairs) / (2.0 * pairs).sqrt()).abs() < 4.0, "{sum} of {pairs}");
}

#[test]
fn seed_block_step_and_lane_alone_decide() {
    let each = 101;
    let all = draw(7, 1..5, 3, each);
    // By itself, with fewer rows, and with lanes kept from a larger draw or another seed.
    for block in 1..5 {
        let own = &all[(block as usize - 1) * each..][..each];
        assert_eq!(draw(7, block..block + 1, 3, each), own);
        assert_eq!(draw(7, block..block + 1, 3, 40), own[..40]);
        let mut kept = None;
        draw_with(8, &mut kept, 1..3, 1, 500);
        assert_eq!(draw_with(7, &mut kept, block..block + 1, 3, each), own);
        draw_with(7, &mut kept, 1..2, 1, 500);
        assert_eq!(draw_with(7, &mut kept, block..block + 1, 3, each), own);
    }
    for other in [draw(8, 1..5, 3, each), draw(7, 2..6, 3, each), draw(7, 1..5, 4, each)] {
        assert!(all.iter().zip(&other).all(|(a, b)| a != b));
    }
}

#[test]
fn single_precision_has_the_same_numbers() {
    let double = draw(9, 1..3, 1, 5000);
    let mut kept = None;
    let mut streams = streams(9, 1..3, 1);
    let single: Tensor<(usize, usize), f32, Cpu> =
        Cpu::default().normals(9, &mut kept, &mut streams, (1, 10_000)).unwrap();
    assert!(single.as_vec().into_iter().zip(double).all(|(s, d)| s == d as f32));
}
