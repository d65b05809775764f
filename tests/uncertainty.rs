//! Answers that know how sure they are.

use dfdx_noprop::{EarlyAnswer, Error, Until, data::Split, prelude::*, score};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

type Digits = Split<64, Labels<10>>;
type Dt = NoProp<DiscreteTime, ConditionalResNetDt<10, 64, 64>, 10, 64>;
type Ct = NoProp<ContinuousTime, ConditionalResNetCt<10, 64, 64>, 10, 64>;
type Fm = NoProp<FlowMatching, ConditionalResNetFm<10, 64, 64>, 10, 64>;

fn device() -> AutoDevice {
    AutoDevice::default()
}

fn digits() -> Digits {
    data::digits().unwrap()
}

fn dt(variant: DiscreteTime, digits: &Digits) -> Dt {
    let mut model = Dt::new(&device(), variant).unwrap();
    model.fit(&digits.train, &Fit { epochs: 6, ..Fit::default() }).unwrap();
    model
}

fn close(a: &[[f32; 10]], b: &[[f32; 10]], tolerance: f32) {
    for (a, b) in a.as_flattened().iter().zip(b.as_flattened()) {
        assert!((a - b).abs() <= tolerance, "{a} {b}");
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

#[test]
fn the_mean_over_blocks_is_the_mean_of_what_each_says() {
    let digits = digits();
    let rows = &digits.test.samples()[..300];
    let mut last = DiscreteTime { probabilities: Probabilities::Last, ..DiscreteTime::default() };
    last.blocks = 5;
    let model = dt(last.clone(), &digits);
    let each = model.predictor().unwrap().predict_along(rows).unwrap();
    assert_eq!(each.last().unwrap().1, model.predict_proba(rows).unwrap());
    let mean = dt(DiscreteTime { probabilities: Probabilities::Mean, ..last }, &digits);
    let along = mean.predictor().unwrap().predict_along(rows).unwrap();
    let mut sum = vec![[0f32; 10]; rows.len()];
    for (k, ((_, said), (_, so_far))) in each.iter().zip(&along).enumerate() {
        for (sum, said) in sum.as_flattened_mut().iter_mut().zip(said.as_flattened()) {
            *sum += said;
        }
        let expected: Vec<[f32; 10]> =
            sum.iter().map(|row| row.map(|v| v / (k + 1) as f32)).collect();
        close(so_far, &expected, 1e-6);
    }
    assert_eq!(along.last().unwrap().1, mean.predict_proba(rows).unwrap());
}

#[test]
fn the_mean_over_calls_ends_where_the_answer_is() {
    let digits = digits();
    let rows = &digits.test.samples()[..50];
    for method in [Method::Heun, Method::Rk4, Method::DormandPrince] {
        let solver = Solver { method, steps: Steps::Fixed(4), save: Save::End };
        let inference = Inference::Ode(solver.clone());
        let model = Ct::new(&device(), ContinuousTime { inference, ..Default::default() }).unwrap();
        let along = model.predictor().unwrap().predict_along(rows).unwrap();
        assert_eq!(along.len(), 5);
        assert_eq!(along[4].1, model.predict_proba(rows).unwrap(), "{method:?}");
        let points = model.evaluate_along(&digits.test).unwrap();
        let calls = model.evaluate(&digits.test).unwrap().network_calls;
        assert_eq!((points[0].calls, points[4].calls), (1.0, calls), "{method:?}");
        let probabilities = Probabilities::Mean;
        let variant = FlowMatching { solver, probabilities, ..Default::default() };
        let model = Fm::new(&device(), variant).unwrap();
        let along = model.predictor().unwrap().predict_along(rows).unwrap();
        assert_eq!(along[4].1, model.predict_proba(rows).unwrap(), "{method:?}");
    }
}

#[test]
fn a_row_that_never_becomes_sure_has_the_answer_of_all_calls() {
    let digits = digits();
    let rows = digits.test.samples();
    let early = |answers: Vec<EarlyAnswer<[f32; 10]>>| -> (Vec<[f32; 10]>, Vec<usize>) {
        answers.into_iter().map(|answer| (answer.probabilities, answer.calls)).unzip()
    };
    for probabilities in [Probabilities::Last, Probabilities::Mean] {
        let model = dt(DiscreteTime { probabilities, ..Default::default() }, &digits);
        let (found, calls) = early(model.predict_until(rows, 1.1f64.min(1.0)).unwrap());
        let all = model.predict_proba(rows).unwrap();
        for ((found, all), calls) in found.iter().zip(&all).zip(&calls) {
            // Where a probability of 1 was reached before, the row was sure.
            assert!(*calls < 10 || found == all);
        }
        // After one call each is what the first block says.
        let (first, calls) = early(model.predict_until(rows, 0.0).unwrap());
        assert!(calls.iter().all(|calls| *calls == 1));
        assert_eq!(first, model.predictor().unwrap().predict_along(rows).unwrap()[0].1);

        let fit = Fit { epochs: 3, ..Fit::default() };
        let mut model =
            Ct::new(&device(), ContinuousTime { probabilities, ..Default::default() }).unwrap();
        model.fit(&digits.train, &fit).unwrap();
        let (found, calls) = early(model.predict_until(rows, 1.0).unwrap());
        let each = if probabilities == Probabilities::Last { 21 } else { 20 };
        assert!(calls.iter().filter(|calls| **calls == each).count() > 200);
        close(&found, &model.predict_proba(rows).unwrap(), 1e-4);

        let mut model =
            Fm::new(&device(), FlowMatching { probabilities, ..Default::default() }).unwrap();
        model.fit(&digits.train, &fit).unwrap();
        let (found, _) = early(model.predict_until(rows, 1.0).unwrap());
        close(&found, &model.predict_proba(rows).unwrap(), 1e-4);
    }
}

#[test]
fn rows_stop_where_they_are_sure_and_no_sooner() {
    let digits = digits();
    let rows = digits.test.samples();
    let model = dt(DiscreteTime::default(), &digits);
    let along = model.predictor().unwrap().predict_along(rows).unwrap();
    let most = |row: &[f32; 10]| row.iter().copied().fold(0.0, f32::max);
    for (i, answer) in model.predict_until(rows, 0.9).unwrap().into_iter().enumerate() {
        let sure = along.iter().position(|(_, said)| most(&said[i]) >= 0.9);
        assert_eq!(answer.calls, sure.map_or(10, |k| k + 1), "row {i}");
        assert_eq!(answer.probabilities, along[answer.calls - 1].1[i], "row {i}");
        let class = answer.probabilities.iter().position(|p| *p == most(&answer.probabilities));
        assert_eq!(Some(answer.class as usize), class);
    }
}

#[test]
fn a_budget_of_calls_goes_to_the_rows_that_are_least_sure() {
    let digits = digits();
    let rows = &digits.test.samples()[..100];
    let model = dt(DiscreteTime::default(), &digits);
    let answers = |calls| {
        let until = Until { calls: Some(calls), ..Until::from(1.0) };
        model.predict_until(rows, until).unwrap()
    };
    for calls in [100, 130, 250, 1000] {
        let spent: usize = answers(calls).iter().map(|answer| answer.calls).sum();
        assert!(spent <= calls && spent + 10 > calls.min(900), "{spent} of {calls}");
    }
    let first = model.predict_until(rows, 0.0).unwrap();
    let most = |answer: &EarlyAnswer<[f32; 10]>| {
        answer.probabilities.iter().copied().fold(0.0f32, f32::max)
    };
    let went_on = answers(130);
    let stopped = first.iter().zip(&went_on).filter(|(_, b)| b.calls == 1).map(|(a, _)| most(a));
    let going = first.iter().zip(&went_on).filter(|(_, b)| b.calls > 1).map(|(a, _)| most(a));
    assert!(going.fold(0.0, f32::max) <= stopped.fold(1.0, f32::min));
    let none = Until { time: Some(std::time::Duration::ZERO), ..Until::from(1.0) };
    let answers = model.predict_until(rows, none).unwrap();
    assert!(answers.iter().all(|answer| answer.calls == 1));
}

#[test]
fn what_early_exit_cannot_do_is_an_error_that_says_so() {
    let digits = digits();
    let rows = &digits.test.samples()[..3];
    let mut model = Dt::new(&device(), DiscreteTime::default()).unwrap();
    let error = |model: &Dt, until: Until| text(model.predict_until(rows, until).unwrap_err());
    assert!(error(&model, Until::from(1.5)).contains("a confidence from 0 to 1, found 1.5"));
    assert!(error(&model, Until::from(f64::NAN)).contains("NaN"));
    let few = Until { calls: Some(2), ..Until::from(0.9) };
    assert!(error(&model, few).contains("3 calls or more"));
    model.set_sampler(Sampler::Stochastic { draws: 1, seed: 0 }).unwrap();
    assert!(error(&model, Until::from(0.9)).contains("set_sampler"));
    let (method, steps) = (Method::Tsitouras, Steps::adaptive(1e-2, 1e-2));
    let solver = Solver { method, steps, save: Save::End };
    let inference = Inference::Ode(solver);
    let model = Ct::new(&device(), ContinuousTime { inference, ..Default::default() }).unwrap();
    assert!(text(model.predict_until(rows, 0.9).unwrap_err()).contains("Steps::Fixed"));
    let inference = Inference::Sde { steps: 3, draws: 1, seed: 0 };
    let model = Ct::new(&device(), ContinuousTime { inference, ..Default::default() }).unwrap();
    assert!(text(model.predict_until(rows, 0.9).unwrap_err()).contains("set_inference"));
    assert!(model.predict_until(&[], 0.9).unwrap().is_empty());
}

#[test]
fn a_temperature_is_measured_kept_and_forgotten() {
    let digits = digits();
    let parts = digits.train.split_stratified(0.3, 1).unwrap();
    let mut model = Dt::new(&device(), DiscreteTime::default()).unwrap();
    let fit = Fit { epochs: 12, ..Fit::default() };
    model.fit(&parts.train, &fit).unwrap();
    let rows = digits.test.samples();
    let before = model.predict_proba(rows).unwrap();
    let held_out = |model: &Dt| model.evaluate(&parts.test).unwrap().negative_log_likelihood;
    let loss = held_out(&model);
    let temperature = model.calibrate(&parts.test).unwrap();
    assert_eq!(temperature, model.temperature());
    assert!(held_out(&model) < loss);
    // p^(1/T), normalised.
    let after = model.predict_proba(rows).unwrap();
    for (before, after) in before.iter().zip(&after) {
        let powers = before.map(|p| (f64::from(p).ln() / temperature).exp());
        let sum: f64 = powers.iter().sum();
        for (p, after) in powers.iter().zip(after) {
            assert!((p / sum - f64::from(*after)).abs() < 1e-6);
        }
    }
    assert_eq!(model.predict(rows).unwrap(), {
        let most = |row: &[f32; 10]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        before.iter().map(|row| most(row) as u32).collect::<Vec<_>>()
    });
    // The same rows again give the same number: it is not measured on top of itself.
    assert_eq!(model.calibrate(&parts.test).unwrap(), temperature);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    let loaded = Dt::from_checkpoint(&device(), &path).unwrap();
    assert_eq!(loaded.temperature(), temperature);
    assert_eq!(loaded.predict_proba(rows).unwrap(), after);
    let bytes = model.predictor().unwrap().to_bytes().unwrap();
    let predictor = dfdx_noprop::Predictor::<10, 64>::from_bytes(&bytes).unwrap();
    assert_eq!(predictor.predict_proba(rows).unwrap(), after);
    model.fit(&parts.train, &Fit { epochs: 1, ..fit }).unwrap();
    assert_eq!(model.temperature(), 1.0);
    let empty = parts.test.select(&[]);
    assert!(text(model.calibrate(&empty).unwrap_err()).contains("at least one row"));
}

#[test]
fn conformal_sets_have_the_true_class_as_often_as_they_promise() {
    let digits = digits();
    let mut model = Dt::new(&device(), DiscreteTime::default()).unwrap();
    let parts = digits.train.split_stratified(0.4, 0).unwrap();
    model.fit(&parts.train, &Fit { epochs: 3, ..Fit::default() }).unwrap();
    let error = model.predict_set(digits.test.samples()).unwrap_err();
    assert!(text(error).contains("call `conformal`"));
    // All rows that were not learned from, split again and again.
    let mut held_out: Vec<([f32; 64], u32)> = Vec::new();
    for part in [&parts.test, &digits.test] {
        let labels = part.targets().as_slice();
        held_out.extend(part.samples().iter().copied().zip(labels.iter().copied()));
    }
    let mut rng = StdRng::seed_from_u64(5);
    for alpha in [0.05, 0.1, 0.3] {
        let (mut inside, mut all) = (0.0, 0.0);
        for _ in 0..20 {
            for i in (1..held_out.len()).rev() {
                held_out.swap(i, rng.gen_range(0..=i));
            }
            let (for_sets, test) = held_out.split_at(held_out.len() / 2);
            let inputs = for_sets.iter().flat_map(|(x, _)| *x).collect();
            let labels = Labels::new(for_sets.iter().map(|(_, y)| *y).collect()).unwrap();
            let threshold = model.conformal(&Dataset::new(inputs, labels).unwrap(), alpha).unwrap();
            assert!((0.0..=1.0).contains(&threshold));
            let rows: Vec<[f32; 64]> = test.iter().map(|(x, _)| *x).collect();
            let sets = model.predict_set(&rows).unwrap();
            let proba = model.predict_proba(&rows).unwrap();
            for ((set, (_, y)), p) in sets.iter().zip(test).zip(&proba) {
                let expected = (0..10u32).filter(|c| 1.0 - f64::from(p[*c as usize]) <= threshold);
                assert_eq!(*set, expected.collect::<Vec<_>>());
                inside += f64::from(u8::from(set.contains(y)));
                all += 1.0;
            }
        }
        let coverage = inside / all;
        // Rows come back, so that there are fewer than 20 × 460 independent ones.
        let error = 3.0 * (alpha * (1.0 - alpha) / held_out.len() as f64).sqrt();
        assert!((coverage - (1.0 - alpha)).abs() < error, "{coverage} for alpha {alpha}");
    }
    let one = model.conformal(&digits.test.select(&[0, 1]), 0.05).unwrap();
    assert_eq!(one, 1.0);
    let sets = model.predict_set(&digits.test.samples()[..4]).unwrap();
    assert!(sets.iter().all(|set| set.len() == 10));
    assert!(model.conformal(&digits.test, 1.5).is_err());
}

/// y = sin 3x + s(x) ε with s from 0.05 to 0.45, and what is known of it: (mean, deviation).
fn heteroscedastic(rows: usize, seed: u64) -> (Dataset<1, Values<1>>, Vec<[f64; 2]>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut inputs, mut targets, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let x: f32 = rng.gen_range(-1.0..1.0);
        let (mean, deviation) = ((3.0 * x).sin(), 0.05 + 0.2 * (x + 1.0));
        inputs.push(x);
        targets.push(mean + deviation * rng.sample::<f32, _>(StandardNormal));
        truth.push([f64::from(mean), f64::from(deviation)]);
    }
    (Dataset::new(inputs, Values::new(targets).unwrap()).unwrap(), truth)
}

/// The mean over rows of the deviation of draws, over that of the truth; and the R² of the
/// predictions with respect to the true means.
fn against_truth<V, M>(variant: V, epochs: usize) -> [f64; 2]
where
    V: Variant<1, 1, Head = Regression>,
    M: Suits<V, 1, 1>,
{
    let (train, _) = heteroscedastic(2000, 0);
    let (test, truth) = heteroscedastic(500, 1);
    let mut model = M::model(&device(), variant).unwrap();
    let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
    model.fit(&train, &Fit { epochs, batch_size: 64, learning_rate, ..Fit::default() }).unwrap();
    let draws = model.sample(test.samples(), 100, 3).unwrap();
    let (mut found, mut expected) = (0.0, 0.0);
    for (draws, [_, deviation]) in draws.iter().zip(&truth) {
        let values: Vec<f64> = draws.iter().map(|z| f64::from(z[0])).collect();
        let mean = values.iter().sum::<f64>() / 100.0;
        found += (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 99.0).sqrt();
        expected += deviation;
    }
    let predicted = model.predict(test.samples()).unwrap();
    assert_eq!(predicted, model.predict_mean(test.samples()).unwrap());
    let square: f64 =
        predicted.iter().zip(&truth).map(|(p, [m, _])| (f64::from(p[0]) - m).powi(2)).sum();
    let spread: f64 = truth.iter().map(|[m, _]| m * m).sum();
    [found / expected, 1.0 - square / spread]
}

#[test]
fn draws_of_blocks_are_as_wide_as_the_truth_where_the_variance_is_measured() {
    type Block = ConditionalResNetDt<1, 1, 32>;
    let variant = |reverse_variance| DiscreteTime::<Regression> {
        reverse_variance,
        ..DiscreteTime::default()
    };
    let [optimal, r_squared] = against_truth::<_, Block>(variant(ReverseVariance::Optimal), 60);
    assert!((optimal - 1.0).abs() < 0.1, "{optimal}");
    assert!(r_squared > 0.97, "{r_squared}");
    let [posterior, _] = against_truth::<_, Block>(variant(ReverseVariance::Posterior), 20);
    assert!(posterior < 0.85, "{posterior}");
}

#[test]
fn draws_along_the_flow_are_as_wide_as_the_truth_and_their_mean_is_the_prediction() {
    type Block = ConditionalResNetFm<1, 1, 32>;
    let [width, r_squared] =
        against_truth::<FlowMatching<Regression>, Block>(FlowMatching::default(), 150);
    assert!((width - 1.0).abs() < 0.12, "{width}");
    assert!(r_squared > 0.95, "{r_squared}");
}

#[test]
fn quantiles_and_intervals_are_those_of_the_draws() {
    let (train, _) = heteroscedastic(200, 0);
    type Model = NoProp<DiscreteTime<Regression>, ConditionalResNetDt<1, 1, 8>, 1, 1>;
    let mut model = Model::new(&device(), DiscreteTime::default()).unwrap();
    model.fit(&train, &Fit { epochs: 2, ..Fit::default() }).unwrap();
    let rows = &train.samples()[..7];
    let draws = model.sample(rows, 200, 0).unwrap();
    let quantiles = model.predict_quantiles(rows, &[0.05, 0.5, 0.95]).unwrap();
    let intervals = model.predict_interval(rows, 0.9).unwrap();
    let predictor = model.predictor().unwrap();
    assert_eq!(predictor.predict_quantiles(rows, &[0.05, 0.5, 0.95]).unwrap(), quantiles);
    assert_eq!(predictor.predict_interval(rows, 0.9).unwrap(), intervals);
    for ((draws, quantiles), interval) in draws.iter().zip(&quantiles).zip(&intervals) {
        let mut sorted: Vec<f64> = draws.iter().map(|z| f64::from(z[0])).collect();
        sorted.sort_by(f64::total_cmp);
        for (level, found) in [0.05, 0.5, 0.95].into_iter().zip(quantiles) {
            assert_eq!(found[0], score::quantile(&sorted, level).unwrap() as f32);
        }
        assert_eq!([interval[0], interval[1]], [quantiles[0], quantiles[2]]);
    }
    // The draws of a row do not depend on how many are made.
    let fewer = model.sample(rows, 3, 0).unwrap();
    assert!(fewer.iter().zip(&draws).all(|(fewer, draws)| fewer[..] == draws[..3]));
    assert!(text(model.sample(rows, 0, 0).unwrap_err()).contains("at least one draw"));
    assert!(text(model.predict_interval(rows, 1.0).unwrap_err()).contains("between 0 and 1"));
    assert!(text(model.predict_quantiles(rows, &[2.0]).unwrap_err()).contains("from 0 to 1"));
}

#[test]
fn the_variance_is_kept_with_the_model() {
    let (train, _) = heteroscedastic(300, 0);
    type Model = NoProp<DiscreteTime<Regression>, ConditionalResNetDt<1, 1, 8>, 1, 1>;
    let mut model = Model::new(&device(), DiscreteTime::default()).unwrap();
    model.fit(&train, &Fit { epochs: 2, ..Fit::default() }).unwrap();
    let rows = &train.samples()[..5];
    let draws = model.sample(rows, 2, 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    assert_eq!(
        Model::from_checkpoint(&device(), &path).unwrap().sample(rows, 2, 1).unwrap(),
        draws
    );
    assert_eq!(model.predictor().unwrap().sample(rows, 2, 1).unwrap(), draws);
    // Weights alone say nothing of it.
    let mut weights = Model::new(&device(), DiscreteTime::default()).unwrap();
    weights.load_weights(&path).unwrap();
    assert_ne!(weights.sample(rows, 2, 1).unwrap(), draws);
}
