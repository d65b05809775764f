//! The scores against values that a script made, and against what their definitions say, slowly.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;
use serde_json::Value;

use super::*;

/// The reference values: `tests/golden/golden_blocks.json`, or the file that `NOPROP_GOLDEN_BLOCKS`
/// names.
fn golden() -> Value {
    let path = std::env::var("NOPROP_GOLDEN_BLOCKS").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/golden_blocks.json").to_string()
    });
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{found} and not {expected}, {error:e} relative");
}

fn normal(rng: &mut StdRng, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.sample(StandardNormal)).collect()
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

#[test]
fn golden_blocks_distribution() {
    let golden = &golden()["distribution"];
    let samples = rows(&golden["samples"]);
    let (truth, crps_of_row) = (numbers(&golden["truth"]), numbers(&golden["crps"]));
    let (lower, upper) = (numbers(&golden["lower_90"]), numbers(&golden["upper_90"]));
    let (mut covered, mut width) = (0, 0.0);
    for (i, draws) in samples.iter().enumerate() {
        assert_close(crps(draws, truth[i]).unwrap(), crps_of_row[i], 1e-9);
        let [low, high] = interval(&sorted(draws.clone()), 0.9).unwrap();
        assert_close(low, lower[i], 1e-9);
        assert_close(high, upper[i], 1e-9);
        covered += usize::from((low..=high).contains(&truth[i]));
        width += high - low;
    }
    let rows = truth.len() as f64;
    let (coverage_90, width_90) =
        (golden["coverage_90"].as_f64().unwrap(), golden["mean_width_90"].as_f64().unwrap());
    assert_close(covered as f64 / rows, coverage_90, 1e-9);
    assert_close(width / rows, width_90, 1e-9);
    // The same as a report.
    let report = crate::head::DistributionScores::new(&samples.concat(), &truth, 1).unwrap();
    assert_close(report.crps, crps_of_row.iter().sum::<f64>() / rows, 1e-9);
    assert_close(report.coverage_90, coverage_90, 1e-9);
    assert_close(report.interval_width_90, width_90, 1e-9);
}

/// Logits, row-major, how wide they are, and labels.
fn golden_logits(golden: &Value) -> (Vec<f64>, usize, Vec<u32>) {
    let logits = rows(&golden["logits"]);
    let labels = numbers(&golden["labels"]).into_iter().map(|y| y as u32).collect();
    let classes = logits[0].len();
    (logits.concat(), classes, labels)
}

fn softmax(logits: &[f64], classes: usize, temperature: f64) -> Vec<f64> {
    let rows = logits.chunks_exact(classes).flat_map(|row| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let p: Vec<f64> = row.iter().map(|l| ((l - most) / temperature).exp()).collect();
        let sum: f64 = p.iter().sum();
        p.into_iter().map(move |p| p / sum)
    });
    rows.collect()
}

fn nll(logits: &[f64], classes: usize, labels: &[u32], temperature: f64) -> f64 {
    let p = softmax(logits, classes, temperature);
    let of_row = |(row, y): (&[f64], &u32)| -row[*y as usize].ln();
    p.chunks_exact(classes).zip(labels).map(of_row).sum::<f64>() / labels.len() as f64
}

#[test]
fn golden_blocks_temperature() {
    let golden = &golden()["probabilities"];
    let (logits, classes, labels) = golden_logits(golden);
    let found = temperature(&logits, classes, &labels).unwrap();
    assert_close(found, golden["temperature"].as_f64().unwrap(), 1e-6);
    let least = golden["nll_at_temperature"].as_f64().unwrap();
    assert_close(nll(&logits, classes, &labels, found), least, 1e-9);
}

#[test]
fn golden_blocks_calibration_error() {
    let golden = &golden()["probabilities"];
    let (logits, classes, labels) = golden_logits(golden);
    let p = softmax(&logits, classes, 1.0);
    let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
    let confidences: Vec<f64> = p.chunks_exact(classes).map(largest).collect();
    let right =
        p.chunks_exact(classes).zip(&labels).map(|(row, y)| row[*y as usize] == largest(row));
    let right: Vec<bool> = right.collect();
    let reliability = Reliability::new(&confidences, &right).unwrap();
    assert_close(
        reliability.calibration_error(),
        golden["calibration_error"].as_f64().unwrap(),
        1e-9,
    );
}

#[test]
fn golden_blocks_conformal() {
    let golden = &golden()["probabilities"];
    let (logits, classes, labels) = golden_logits(golden);
    let p = softmax(&logits, classes, 1.0);
    let scores = p.chunks_exact(classes).zip(&labels).map(|(row, y)| 1.0 - row[*y as usize]);
    let scores: Vec<f64> = scores.collect();
    let conformal = &golden["conformal"];
    let found = conformal_threshold(&scores, conformal["alpha"].as_f64().unwrap()).unwrap();
    assert_close(found, conformal["threshold"].as_f64().unwrap(), 1e-9);
    let size = |row: &[f64]| row.iter().filter(|p| 1.0 - **p <= found).count() as f64;
    let sizes: Vec<f64> = p.chunks_exact(classes).map(size).collect();
    assert_eq!(sizes, numbers(&conformal["set_sizes"]));
}

#[test]
fn crps_is_what_its_definition_says() {
    let mut rng = StdRng::seed_from_u64(1);
    for n in 2..40 {
        // Far from 0, and with draws that are equal.
        let mut draws: Vec<f64> = normal(&mut rng, n).iter().map(|s| 1e4 + s).collect();
        draws[n - 1] = draws[0];
        let truth = 1e4 + rng.sample::<f64, _>(StandardNormal);
        let count = n as f64;
        let error: f64 = draws.iter().map(|s| (s - truth).abs()).sum::<f64>() / count;
        let pairs: f64 = draws.iter().flat_map(|a| draws.iter().map(move |b| (a - b).abs())).sum();
        let expected = error - 0.5 * pairs / (count * count);
        assert!((crps(&draws, truth).unwrap() - expected).abs() < 1e-10);
        let expected = error - 0.5 * pairs / (count * (count - 1.0));
        assert!((fair_crps(&draws, truth).unwrap() - expected).abs() < 1e-10);
    }
}

#[test]
fn crps_of_one_draw_is_its_error_and_of_the_truth_nothing() {
    assert_eq!(crps(&[3.0], 1.0).unwrap(), 2.0);
    assert_eq!(crps(&[1.0; 7], 1.0).unwrap(), 0.0);
    // Two draws at the distance d of each other, the truth at one: d/2 − d/4.
    assert_eq!(crps(&[0.0, 4.0], 0.0).unwrap(), 1.0);
    assert_eq!(fair_crps(&[0.0, 4.0], 0.0).unwrap(), 0.0);
}

/// Of a normal distribution with deviation σ and its own draws as truths both come to σ/√π, the
/// empirical one with σ/(n √π) on top.
#[test]
fn the_fair_score_does_not_depend_on_how_many_draws_there_are() {
    let mut rng = StdRng::seed_from_u64(2);
    let rounds = 40_000;
    let (mut fair, mut empirical) = (0.0, 0.0);
    for _ in 0..rounds {
        let (draws, truth) = (normal(&mut rng, 4), rng.sample(StandardNormal));
        fair += fair_crps(&draws, truth).unwrap() / f64::from(rounds);
        empirical += crps(&draws, truth).unwrap() / f64::from(rounds);
    }
    let expected = 1.0 / std::f64::consts::PI.sqrt();
    assert!((fair - expected).abs() < 0.01, "{fair} and not {expected}");
    assert!((empirical - 1.25 * expected).abs() < 0.01, "{empirical} and not {}", 1.25 * expected);
}

#[test]
fn quantiles_lie_between_their_neighbours() {
    let four = [1.0, 2.0, 4.0, 8.0];
    for (level, expected) in
        [(0.0, 1.0), (1.0 / 3.0, 2.0), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0), (0.05, 1.15)]
    {
        assert_close(quantile(&four, level).unwrap(), expected, 1e-14);
    }
    assert_eq!(quantile(&[5.0], 0.3).unwrap(), 5.0);
    assert_eq!(interval(&four, 1.0).unwrap(), [1.0, 8.0]);
    assert_eq!(interval(&four, 0.0).unwrap(), [3.0, 3.0]);
    let mut rng = StdRng::seed_from_u64(3);
    for n in 1..30 {
        let draws = sorted(normal(&mut rng, n));
        let mut last = f64::NEG_INFINITY;
        for level in (0..=1000).map(|i| f64::from(i) / 1000.0) {
            let found = quantile(&draws, level).unwrap();
            assert!((draws[0]..=draws[n - 1]).contains(&found) && found >= last);
            last = found;
        }
    }
}

#[test]
fn the_temperature_is_where_the_likelihood_is_largest() {
    let mut rng = StdRng::seed_from_u64(4);
    for classes in [2, 3, 10] {
        for scale in [0.05, 1.0, 20.0] {
            let labels: Vec<u32> = (0..200).map(|_| rng.gen_range(0..classes as u32)).collect();
            let mut logits = normal(&mut rng, 200 * classes);
            logits
                .chunks_exact_mut(classes)
                .zip(&labels)
                .for_each(|(row, y)| row[*y as usize] += 1.0);
            logits.iter_mut().for_each(|l| *l *= scale);
            let found = temperature(&logits, classes, &labels).unwrap();
            let at = |factor: f64| nll(&logits, classes, &labels, factor * found);
            assert!(at(1.0) <= at(1.001) && at(1.0) <= at(0.999), "{classes} × {scale}: {found}");
            // In units of the logits it is the same.
            let halves: Vec<f64> = logits.iter().map(|l| 0.5 * l).collect();
            assert_close(2.0 * temperature(&halves, classes, &labels).unwrap() / found, 1.0, 1e-9);
        }
    }
}

/// Draws labels from softmax(logits / T) itself.
#[test]
fn the_temperature_that_labels_were_drawn_with_is_found() {
    let mut rng = StdRng::seed_from_u64(5);
    let (rows, classes) = (40_000, 4);
    let logits: Vec<f64> = normal(&mut rng, rows * classes).iter().map(|l| 6.0 * l).collect();
    let p = softmax(&logits, classes, 2.5);
    let labels = p.chunks_exact(classes).map(|row| {
        let mut left: f64 = rng.gen_range(0.0..1.0);
        let first = row.iter().position(|p| {
            left -= p;
            left <= 0.0
        });
        first.unwrap_or(classes - 1) as u32
    });
    let labels: Vec<u32> = labels.collect();
    let found = temperature(&logits, classes, &labels).unwrap();
    assert!((found - 2.5).abs() < 0.05, "{found}");
}

#[test]
fn the_temperature_of_logits_that_say_too_much_or_nothing() {
    let none = f64::NEG_INFINITY;
    // All rows are right: the surer, the better.
    assert_eq!(temperature(&[2.0, 0.0, 0.0, 1.0], 2, &[0, 1]).unwrap(), 1e-3);
    assert_eq!(temperature(&[0.0, none, none, 0.0], 2, &[0, 1]).unwrap(), 1e-3);
    // All rows are wrong: the less sure, the better.
    assert_eq!(temperature(&[2.0, 0.0, 0.0, 1.0], 2, &[1, 0]).unwrap(), 1e3);
    // Nothing changes anything.
    assert_eq!(temperature(&[3.0, 3.0, -1.0, -1.0], 2, &[1, 0]).unwrap(), 1.0);
    assert_eq!(temperature(&[0.3, -7.0], 1, &[0, 0]).unwrap(), 1.0);
    // One row whose truth underflowed, among rows that are right.
    let mut logits = [0.0, -4.0].repeat(99);
    logits.extend([none, 0.0]);
    let found = temperature(&logits, 2, &[0; 100]).unwrap();
    assert!((1.0..1e3).contains(&found), "{found}");
    // Numbers as large as there are.
    for (logits, labels) in [
        ([f64::MAX, f64::MIN, 0.0, f64::MIN], [0, 1]),
        ([f64::MIN, f64::MAX, f64::MIN, f64::MAX], [0, 1]),
        ([1e-300, 0.0, 0.0, 1e-300], [0, 1]),
        ([-1e5, none, -1e5, none], [0, 1]),
    ] {
        let found = temperature(&logits, 2, &labels).unwrap();
        assert!((1e-3..=1e3).contains(&found), "{logits:?}: {found}");
    }
}

/// By exact arithmetic in hundredths.
#[test]
fn the_conformal_rank_is_exact() {
    for n in 1..400_usize {
        let scores: Vec<f64> = (1..=n).rev().map(|k| k as f64).collect();
        for hundredths in 1..100_usize {
            let rank = ((n + 1) * (100 - hundredths)).div_ceil(100);
            let expected = if rank > n { f64::INFINITY } else { rank as f64 };
            let found = conformal_threshold(&scores, hundredths as f64 / 100.0).unwrap();
            assert_eq!(found, expected, "{n} scores, α = 0.{hundredths:02}");
        }
    }
    assert_eq!(conformal_threshold(&[1.0; 9], 1e-300).unwrap(), f64::INFINITY);
    assert_eq!(conformal_threshold(&[2.0, 1.0], 1.0 - f64::EPSILON / 2.0).unwrap(), 1.0);
    assert_eq!(conformal_threshold(&[1.0, f64::INFINITY], 0.4).unwrap(), f64::INFINITY);
}

/// A new row is covered with a probability from 1 − α to 1 − α + 1/(n + 1).
#[test]
fn conformal_sets_cover() {
    let mut rng = StdRng::seed_from_u64(6);
    let (rounds, n, alpha) = (20_000, 24, 0.1);
    let covered = (0..rounds).filter(|_| {
        let scores = normal(&mut rng, n + 1);
        scores[n] <= conformal_threshold(&scores[..n], alpha).unwrap()
    });
    let share = covered.count() as f64 / f64::from(rounds);
    // ⌈22.5⌉ of 25 places.
    assert!((share - 0.92).abs() < 0.008, "{share}");
}

#[test]
fn the_bins_hold_each_row_once() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut confidences: Vec<f64> = (0..500).map(|_| rng.gen_range(0.0..1.0)).collect();
    confidences.extend([0.0, 1.0, 1.0, 1.0 / 15.0, 14.0 / 15.0]);
    let right: Vec<bool> = confidences.iter().map(|p| rng.gen_bool(*p)).collect();
    let reliability = Reliability::new(&confidences, &right).unwrap();
    let mut error = 0.0;
    for bin in reliability.bins() {
        let last = bin.to == 1.0;
        let inside = |p: &f64| bin.from <= *p && (*p < bin.to || last);
        let own: Vec<_> = confidences.iter().zip(&right).filter(|(p, _)| inside(p)).collect();
        let count = own.len() as f64;
        assert_eq!(bin.count, own.len());
        assert_close(bin.confidence, own.iter().map(|(p, _)| **p).sum::<f64>() / count, 1e-12);
        let correct = own.iter().filter(|(_, right)| **right).count();
        assert_close(bin.accuracy, correct as f64 / count, 1e-12);
        error += count / right.len() as f64 * (bin.accuracy - bin.confidence).abs();
    }
    assert_eq!(reliability.bins().iter().map(|bin| bin.count).sum::<usize>(), right.len());
    assert_close(reliability.calibration_error(), error, 1e-12);
    assert!(Reliability::default().calibration_error().is_nan());
    // Bins without rows are not there.
    let two = Reliability::new(&[0.5, 1.0], &[true, false]).unwrap();
    assert_eq!(two.bins().len(), 2);
    assert_close(two.calibration_error(), 0.75, 1e-12);
}

#[test]
fn what_cannot_be_scored_is_an_error() {
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    let some = [0.5, 0.75];
    let wrong: Vec<(&str, Result<f64, Error>)> = vec![
        ("none", crps(&[], 0.0)),
        ("NaN at index 1", crps(&[0.0, nan], 0.0)),
        ("NaN at index 0", crps(&some, nan)),
        ("inf at index 0", crps(&some, infinite)),
        ("two draws or more, found 1", fair_crps(&[1.0], 0.0)),
        ("NaN at index 1", fair_crps(&[0.0, nan], 0.0)),
        ("none", quantile(&[], 0.5)),
        ("NaN at index 0", quantile(&[nan], 0.5)),
        ("0.75 before 0.5", quantile(&[0.75, 0.5], 0.5)),
        ("a level from 0 to 1, found 1.5", quantile(&some, 1.5)),
        ("found NaN", quantile(&some, nan)),
        ("a coverage from 0 to 1, found -0.5", interval(&some, -0.5).map(|[low, _]| low)),
        ("0 rows of 2 classes", temperature(&[], 2, &[])),
        ("1 rows of 0 classes", temperature(&[], 0, &[0])),
        ("2 logits for each of 2 labels, found 3", temperature(&[0.0; 3], 2, &[0, 1])),
        ("labels below 2, found 2", temperature(&[0.0; 4], 2, &[0, 2])),
        ("NaN in row 1", temperature(&[0.0, 0.0, 0.0, nan], 2, &[0, 1])),
        ("inf in row 0", temperature(&[0.0, infinite, 0.0, 0.0], 2, &[0, 1])),
        ("none in row 0", temperature(&[-infinite, -infinite, 0.0, 0.0], 2, &[0, 1])),
        ("one score or more, found 0", conformal_threshold(&[], 0.1)),
        ("NaN at index 1", conformal_threshold(&[0.0, nan], 0.1)),
        ("between 0 and 1, found 0", conformal_threshold(&some, 0.0)),
        ("between 0 and 1, found 1", conformal_threshold(&some, 1.0)),
        ("between 0 and 1, found NaN", conformal_threshold(&some, nan)),
        ("none", Reliability::new(&[], &[]).map(|_| 0.0)),
        ("NaN at index 0", Reliability::new(&[nan], &[true]).map(|_| 0.0)),
        (
            "2 rows, as there are confidences, found 1",
            Reliability::new(&some, &[true]).map(|_| 0.0),
        ),
        ("from 0 to 1, found 1.5", Reliability::new(&[1.5], &[true]).map(|_| 0.0)),
    ];
    for (text, result) in wrong {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
        assert!(error.to_string().contains(text), "`{text}` is not in `{error}`");
    }
}
