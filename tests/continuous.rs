//! Continuous time and flow matching: the formulas, the learned schedule, sampling, and what
//! training promises.

mod common;

use common::{assert_close, blobs, golden, numbers};
use dfdx::nn::BuildOnDevice;
use dfdx_noprop::{
    head::Velocity, nn::BuiltDense, prelude::*, schedule::GammaPoint, variant::TimedRows,
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

// -- schedules
// ----------------------------------------------------------------------------------------------------

fn golden_schedule(case: &Value) -> GammaSchedule {
    let eight = |what: &str| -> [f64; 8] { numbers(&case[what]).try_into().unwrap() };
    let number = |what: &str| case[what].as_f64().unwrap();
    GammaSchedule {
        gamma_0: number("g0"),
        gamma_1: number("g1"),
        path: Path::Learned(MonotoneNetwork {
            v0: number("v0"),
            v1: eight("v1"),
            v2: eight("v2"),
            c1: eight("c1"),
        }),
    }
}

#[test]
fn schedule_and_drift_agree_with_the_golden_values() {
    let case = &golden()["ct"][0];
    let schedule = golden_schedule(&case["schedule"]);
    let grid = &case["grid"];
    let points: Vec<GammaPoint> = numbers(&grid["t"]).iter().map(|&t| schedule.at(t)).collect();
    for (i, point) in points.iter().enumerate() {
        let at = |what: &str| [numbers(&grid[what])[i]];
        assert_close("gamma", &[point.gamma], &at("gamma"), 1e-9);
        assert_close("alpha_bar", &[point.alpha_bar()], &at("alpha_bar"), 1e-9);
        assert_close("d_snr", &[point.snr_slope()], &at("d_snr"), 1e-9);
    }
    let drift = &case["drift"];
    let (u, z) = (numbers(&drift["u_hat"]), numbers(&drift["z"]));
    for (t, expected) in
        numbers(&drift["t"]).iter().zip(drift["probability_flow"].as_array().unwrap())
    {
        let (a, b) = schedule.at(*t).probability_flow();
        let found: Vec<f64> = u.iter().zip(&z).map(|(u, z)| a * u + b * z).collect();
        assert_close("probability_flow", &found, &numbers(expected), 1e-9);
    }
}

fn paths() -> [Path; 5] {
    [
        Path::Linear,
        Path::Cosine,
        Path::Logit,
        Path::Sigmoid,
        Path::Learned(MonotoneNetwork::default()),
    ]
}

#[test]
fn schedules_rise_from_end_to_end_and_have_exact_slopes() {
    for path in paths() {
        let schedule = GammaSchedule { gamma_0: -5.0, gamma_1: 4.0, path: path.clone() };
        assert!((schedule.at(0.0).gamma - 4.0).abs() < 1e-12, "{path:?}");
        assert!((schedule.at(1.0).gamma + 5.0).abs() < 1e-12, "{path:?}");
        for i in 1..100 {
            let t = i as f64 / 100.0;
            let (point, h) = (schedule.at(t), 1e-5);
            let (before, after) = (schedule.at(t - h), schedule.at(t + h));
            assert!(before.gamma > point.gamma && point.gamma > after.gamma, "{path:?} at {t}");
            let slope = |f: fn(&GammaPoint) -> f64| (f(&after) - f(&before)) / (2.0 * h);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.abs().max(1.0);
            assert!(close(point.slope, slope(|p| p.gamma)), "{path:?} γ′ at {t}");
            assert!(close(point.alpha_bar_slope(), slope(GammaPoint::alpha_bar)), "{path:?} ᾱ′");
            assert!(close(point.snr_slope(), slope(GammaPoint::snr)), "{path:?} SNR′ at {t}");
            // The coefficients of the design, with the divisions that the code does without.
            let (a, da) = (point.alpha_bar(), point.alpha_bar_slope());
            let (flow, sde) = (point.probability_flow(), point.sde());
            assert!(close(flow.0, da / (2.0 * a.sqrt() * (1.0 - a))), "{path:?} at {t}");
            assert!(close(flow.1, -da / (2.0 * (1.0 - a))), "{path:?} at {t}");
            assert!(close(sde.0, da / (a.sqrt() * (1.0 - a))), "{path:?} at {t}");
            assert!(close(sde.1, -da * (1.0 + a) / (2.0 * a * (1.0 - a))), "{path:?} at {t}");
            assert!(close(sde.2, (da / a).sqrt()), "{path:?} at {t}");
        }
    }
}

// -- networks
// -----------------------------------------------------------------------------------------------------

/// The golden network, which does not look at the time: the block of discrete time behind a signal
/// with time.
#[derive(Clone, Debug)]
struct Timeless;

#[derive(Clone, Debug)]
struct BuiltTimeless<M>(M);

mod timeless {
    use super::*;
    use dfdx::nn::{ModuleVisitor, TensorCollection};

    type Inner = ConditionalResNetDt<4, 6, 5>;
    type D = AutoDevice;

    impl BuildOnDevice<D, f64> for Timeless {
        type Built = BuiltTimeless<<Inner as BuildOnDevice<D, f64>>::Built>;
    }

    impl<M: TensorCollection<E, D2>, E: Dtype, D2: Device<E>> TensorCollection<E, D2>
        for BuiltTimeless<M>
    {
        type To<E3: Dtype, D3: Device<E3>> = BuiltTimeless<M::To<E3, D3>>;

        fn iter_tensors<V: ModuleVisitor<Self, E, D2>>(
            visitor: &mut V,
        ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
            visitor.visit_fields(Self::module("0", |s| &s.0, |s| &mut s.0), BuiltTimeless)
        }
    }

    type Built = <Inner as BuildOnDevice<D, f64>>::Built;
    type Rows<const N: usize, T = NoneTape> = Tensor<(usize, Const<N>), f64, D, T>;
    type Times = Tensor<(usize,), f64, D>;

    impl Module<(Rows<4>, Rows<6>, Times)> for BuiltTimeless<Built> {
        type Output = Rows<4>;
        type Error = <D as HasErr>::Err;

        fn try_forward(
            &self,
            (z, x, _): (Rows<4>, Rows<6>, Times),
        ) -> Result<Rows<4>, Self::Error> {
            self.0.try_forward((z, x))
        }
    }

    impl ModuleMut<(Rows<4, OwnedTape<f64, D>>, Rows<6>, Times)> for BuiltTimeless<Built> {
        type Output = Rows<4, OwnedTape<f64, D>>;
        type Error = <D as HasErr>::Err;

        fn try_forward_mut(
            &mut self,
            (z, x, _): (Rows<4, OwnedTape<f64, D>>, Rows<6>, Times),
        ) -> Result<Self::Output, Self::Error> {
            self.0.try_forward_mut((z, x.put_tape(OwnedTape::default())))
        }
    }

    pub type Block = Custom<Timeless, Timed<4, 6>, Width<4>>;

    pub fn set_all(built: &mut BuiltTimeless<Built>, params: &Value) {
        let m = &mut built.0;
        set(&mut m.0.z, &params["wz"], &params["bz"]);
        set(&mut m.0.x, &params["wx"], &params["bx"]);
        set(&mut m.2.0.0, &params["w1"], &params["b1"]);
        set(&mut m.2.0.2, &params["w2"], &params["b2"]);
        set(&mut m.3, &params["wo"], &params["bo"]);
    }

    fn set<const I: usize, const O: usize>(
        dense: &mut BuiltDense<I, O, f64, D>,
        weight: &Value,
        bias: &Value,
    ) {
        dense.weight.copy_from(&numbers(weight));
        dense.bias.copy_from(&numbers(bias));
    }
}

fn rows<const N: usize>(value: &Value) -> Tensor<(usize, Const<N>), f64, AutoDevice> {
    let values = numbers(value);
    let count = values.len() / N;
    AutoDevice::default().tensor_from_vec(values, (count, Const))
}

fn column(values: Vec<f64>) -> Tensor<(usize,), f64, AutoDevice> {
    let count = values.len();
    AutoDevice::default().tensor_from_vec(values, (count,))
}

type GoldenFlow = NoProp<FlowMatching<Regression>, timeless::Block, 4, 6, f64>;

/// The golden network of flow matching; what a weight loses in a step is its gradient.
fn golden_flow(predictor: Velocity) -> GoldenFlow {
    let optimizer = Sgd { learning_rate: 1.0, momentum: 0.0, ..Sgd::default() }.into();
    let solver = Solver { method: Method::Rk4, steps: Steps::Fixed(50), save: Save::Steps };
    let variant = FlowMatching { predictor, optimizer, solver, ..FlowMatching::default() };
    let mut model = GoldenFlow::new(&AutoDevice::default(), variant).unwrap();
    timeless::set_all(model.blocks_mut()[0].module_mut(), &golden()["fm"][0]["params"]);
    model
}

#[test]
fn the_preconditioned_velocity_is_what_z_says_and_what_the_network_adds() {
    let case = &golden()["fm"][0];
    let (z0, z1, t) = (numbers(&case["z0"]), numbers(&case["z1"]), numbers(&case["t"]));
    let moved = |bias: f64| {
        let mut model = golden_flow(Velocity::default());
        assert!(model.variant().predictor.preconditioned);
        let last = &mut model.blocks_mut()[0].module_mut().0.3.bias;
        let mut values = last.as_vec();
        values[0] += bias;
        *last = AutoDevice::default().tensor(<[f64; 4]>::try_from(values).unwrap());
        model
    };
    let loss = |model: &mut GoldenFlow| {
        let input = (rows(&case["z0"]), rows(&case["z1"]), column(t.clone()));
        model.train_step(input, rows(&case["x"]), &mut StdRng::seed_from_u64(0)).unwrap()
    };
    // The loss, written out once more.
    let mut model = moved(0.0);
    let of = |i: usize| {
        let z = t[i / 4] * z1[i] + (1.0 - t[i / 4]) * z0[i];
        let s2 = t[i / 4].powi(2) + (1.0 - t[i / 4]).powi(2);
        (z, (2.0 * t[i / 4] - 1.0) / s2 * z, s2.sqrt().recip())
    };
    let z: Vec<f64> = (0..z0.len()).map(|i| of(i).0).collect();
    let z = AutoDevice::default().tensor_from_vec(z, (t.len(), Const));
    let o = model.blocks()[0].module().forward((z, rows(&case["x"]), column(t.clone()))).as_vec();
    let squared = |i: usize| (of(i).1 + of(i).2 * o[i] - (z1[i] - z0[i])).powi(2);
    let expected = (0..o.len()).map(squared).sum::<f64>() / t.len() as f64;
    let bias = |model: &GoldenFlow| model.blocks()[0].module().0.3.bias.as_vec()[0];
    let before = bias(&model);
    assert_close("loss", &[loss(&mut model)], &[expected], 1e-12);
    // Its gradient, by a finite difference.
    let slope = (loss(&mut moved(1e-5)) - loss(&mut moved(-1e-5))) / 2e-5;
    assert_close("gradient", &[before - bias(&model)], &[slope], 1e-8);

    // A network that adds nothing takes targets for N(0, I): z_t = z_0 √(t² + (1 − t)²).
    let mut model = moved(0.0);
    let last = &mut model.blocks_mut()[0].module_mut().0.3;
    last.weight = AutoDevice::default().zeros();
    last.bias = AutoDevice::default().zeros();
    let way = model.integrate_trajectory(rows(&case["z0"]), rows(&case["x"]), 0.0, 1.0).unwrap();
    for (t, z) in way.times.iter().zip(&way.states) {
        let expected: Vec<f64> = z0.iter().map(|z| z * t.hypot(1.0 - t)).collect();
        assert_close("z", &z.as_vec(), &expected, 1e-7);
    }
}

#[test]
fn flow_matching_agrees_with_the_golden_values() {
    let case = &golden()["fm"][0];
    let mut model = golden_flow(Velocity { preconditioned: false, ..Velocity::default() });
    let before = model.blocks()[0].module().clone();
    let input = (rows(&case["z0"]), rows(&case["z1"]), column(numbers(&case["t"])));
    let mut rng = StdRng::seed_from_u64(0);
    let loss = model.train_step(input, rows(&case["x"]), &mut rng).unwrap();
    assert_close("loss", &[loss], &[case["loss"].as_f64().unwrap()], 1e-9);
    // With a step of size 1, what a weight has lost is its gradient.
    let after = model.blocks()[0].module();
    let check = |what: &str, before: Vec<f64>, after: Vec<f64>| {
        let found: Vec<f64> = before.iter().zip(after).map(|(b, a)| b - a).collect();
        assert_close(what, &found, &numbers(&case["grad_params"][what]), 1e-9);
    };
    let (b, a) = (&before.0, &after.0);
    check("wz", b.0.z.weight.as_vec(), a.0.z.weight.as_vec());
    check("bz", b.0.z.bias.as_vec(), a.0.z.bias.as_vec());
    check("wx", b.0.x.weight.as_vec(), a.0.x.weight.as_vec());
    check("bx", b.0.x.bias.as_vec(), a.0.x.bias.as_vec());
    check("w1", b.2.0.0.weight.as_vec(), a.2.0.0.weight.as_vec());
    check("b1", b.2.0.0.bias.as_vec(), a.2.0.0.bias.as_vec());
    check("w2", b.2.0.2.weight.as_vec(), a.2.0.2.weight.as_vec());
    check("b2", b.2.0.2.bias.as_vec(), a.2.0.2.bias.as_vec());
    check("wo", b.3.weight.as_vec(), a.3.weight.as_vec());
    check("bo", b.3.bias.as_vec(), a.3.bias.as_vec());
}

#[test]
fn time_embedding_agrees_with_the_golden_values() {
    let case = &golden()["time_embedding"];
    assert_eq!(case["dim"], 8);
    let found = TimeEmbedding::<8>::embed(column(numbers(&case["t"]))).unwrap();
    assert_close("value", &found.as_vec(), &numbers(&case["value"]), 1e-9);
    let single: Tensor<(usize,), f32, _> =
        AutoDevice::default().tensor_from_vec(vec![0.0, 0.25, 1.0], (3,));
    let found = TimeEmbedding::<8>::embed(single).unwrap().as_vec();
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    assert_close("value in f32", &found, &numbers(&case["value"]), 1e-6);
    // The smallest one: one sine, one cosine.
    let two = TimeEmbedding::<2>::embed(column(vec![0.5])).unwrap().as_vec();
    assert_close("two", &two, &[0.5f64.sin(), 0.5f64.cos()], 1e-12);
}

// -- with a perfect estimate, the target's distribution comes out
// ---------------------------------------------------

/// A mixture of two Gaussians in the plane: weights, means, and one variance.
const WEIGHTS: [f64; 2] = [0.3, 0.7];
const MEANS: [[f64; 2]; 2] = [[-1.0, 0.5], [1.5, -0.5]];
const VARIANCE: f64 = 0.04;

/// E[u | z] for z = √ᾱ u + √(1 − ᾱ) ε, and u from the mixture.
fn posterior_mean(z: [f64; 2], alpha_bar: f64) -> [f64; 2] {
    let (share, spread) = (alpha_bar.sqrt(), alpha_bar * VARIANCE + 1.0 - alpha_bar);
    let logs: Vec<f64> = (0..2)
        .map(|k| {
            let d: f64 = (0..2).map(|i| (z[i] - share * MEANS[k][i]).powi(2)).sum();
            WEIGHTS[k].ln() - d / (2.0 * spread)
        })
        .collect();
    let most = logs[0].max(logs[1]);
    let weights: Vec<f64> = logs.iter().map(|l| (l - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    std::array::from_fn(|i| {
        let given = |k: usize| {
            let residual = z[i] - share * MEANS[k][i];
            MEANS[k][i] + share * VARIANCE / spread * residual
        };
        (weights[0] * given(0) + weights[1] * given(1)) / total
    })
}

fn normals(count: usize, seed: u64) -> Vec<f64> {
    use rand::Rng;
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.sample(rand_distr::StandardNormal)).collect()
}

/// Mean and covariance of samples [n, 2], against the mixture's, within five standard errors of n
/// samples.
fn assert_mixture(what: &str, samples: &[f64], bias: f64) {
    let n = samples.len() as f64 / 2.0;
    let moment = |f: &dyn Fn(&[f64]) -> f64| samples.chunks(2).map(f).sum::<f64>() / n;
    let mean: [f64; 2] = std::array::from_fn(|i| moment(&|s| s[i]));
    let true_mean: [f64; 2] =
        std::array::from_fn(|i| WEIGHTS[0] * MEANS[0][i] + WEIGHTS[1] * MEANS[1][i]);
    for i in 0..2 {
        let true_variance = |i: usize| {
            let second: f64 = (0..2).map(|k| WEIGHTS[k] * MEANS[k][i].powi(2)).sum();
            VARIANCE + second - true_mean[i].powi(2)
        };
        let error = (mean[i] - true_mean[i]).abs();
        let allowed = 5.0 * (true_variance(i) / n).sqrt() + bias;
        assert!(error < allowed, "{what}: mean[{i}] {} and not {}", mean[i], true_mean[i]);
        for j in 0..2 {
            let covariance = moment(&|s| (s[i] - mean[i]) * (s[j] - mean[j]));
            let cross: f64 = (0..2).map(|k| WEIGHTS[k] * MEANS[k][i] * MEANS[k][j]).sum();
            let truth = cross - true_mean[i] * true_mean[j] + if i == j { VARIANCE } else { 0.0 };
            let allowed = 5.0 * (2.0 * true_variance(i) * true_variance(j) / n).sqrt() + bias;
            assert!(
                (covariance - truth).abs() < allowed,
                "{what}: covariance[{i}][{j}] {covariance} and not {truth}"
            );
        }
    }
}

#[test]
fn with_a_perfect_estimate_ode_and_sde_give_the_target() {
    use dfdx_noprop::solver::EulerMaruyama;
    const N: usize = 4000;
    let schedule = GammaSchedule { gamma_0: -8.0, gamma_1: 6.0, path: Path::Linear };
    // Where noise is not quite gone at t = 1 and not quite all at t = 0, σ(−8) and √σ(−6) of an
    // error stay.
    let bias = 0.03;
    let estimates = |t: f64, z: &[f64]| -> Vec<f64> {
        let alpha_bar = schedule.at(t).alpha_bar();
        z.chunks(2).flat_map(|z| posterior_mean([z[0], z[1]], alpha_bar)).collect()
    };
    let combine = |u: Vec<f64>, z: &[f64], a: f64, b: f64| -> Vec<f64> {
        u.iter().zip(z).map(|(u, z)| a * u + b * z).collect()
    };
    let solver = Solver { method: Method::Rk4, steps: Steps::Fixed(60), save: Save::End };
    let ode = solver.integrate(
        |t, z: &Vec<f64>| {
            let (a, b) = schedule.at(t).probability_flow();
            Ok(combine(estimates(t, z), z, a, b))
        },
        normals(2 * N, 0),
        0.0,
        1.0,
    );
    assert_mixture("ODE", ode.unwrap().last().unwrap(), bias);

    let mut seed = 1;
    let sde = EulerMaruyama { steps: 800, save: Save::End }.integrate(
        |t, z: &Vec<f64>| {
            let (a, b, _) = schedule.at(t).sde();
            Ok(combine(estimates(t, z), z, a, b))
        },
        |t| schedule.at(t).sde().2,
        |z: &Vec<f64>| {
            seed += 1;
            Ok(normals(z.len(), seed))
        },
        normals(2 * N, 1),
        0.0,
        1.0,
    );
    assert_mixture("SDE", sde.unwrap().last().unwrap(), bias);

    // Flow matching: z_t = t u + (1 − t) ε is the same posterior at ᾱ = t² / (t² + (1 − t)²), with
    // z scaled.
    let flow = solver.integrate(
        |t, z: &Vec<f64>| {
            let norm = (t * t + (1.0 - t) * (1.0 - t)).sqrt();
            let alpha_bar = (t / norm).powi(2);
            let v = z.chunks(2).flat_map(|z| {
                let u = posterior_mean([z[0] / norm, z[1] / norm], alpha_bar);
                // v = E[u − ε | z], and ε = (z − t u) / (1 − t).
                let left = 1.0 - t;
                [0, 1].map(|i| if left > 1e-9 { (u[i] - z[i]) / left } else { 0.0 })
            });
            Ok(v.collect())
        },
        normals(2 * N, 2),
        0.0,
        0.999,
    );
    assert_mixture("flow", flow.unwrap().last().unwrap(), bias);
}

// -- training
// -----------------------------------------------------------------------------------------------------

type Small = ConditionalResNetCt<3, 6, 16>;
type Ct<H = OneHot> = NoProp<ContinuousTime<H>, Small, 3, 6>;
type Fm<P = Velocity> = NoProp<FlowMatching<OneHot, P>, Small, 3, 6>;

fn ct() -> ContinuousTime {
    ContinuousTime {
        optimizer: AdamW { learning_rate: 3e-3, ..AdamW::default() }.into(),
        ..ContinuousTime::default()
    }
}

fn fm<P: Default>() -> FlowMatching<OneHot, P> {
    FlowMatching {
        optimizer: AdamW { learning_rate: 3e-3, ..AdamW::default() }.into(),
        ..FlowMatching::default()
    }
}

fn fit() -> Fit {
    Fit { epochs: 60, batch_size: 32, ..Fit::default() }
}

macro_rules! learns_and_does_not_leak {
    ($model:expr) => {{
        let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(600, 1));
        let mut model = $model.unwrap();
        let reports = model.fit(&train, &fit()).unwrap();
        assert!(reports[59].loss < reports[0].loss);
        let after = model.evaluate(&test).unwrap();
        assert!(after.accuracy > 0.96, "{after:?}");
        // With the inputs shuffled among the rows 1/3 is chance: five standard deviations are
        // 0.096.
        let chance = model.evaluate(&test.shuffled_inputs(2)).unwrap().accuracy;
        assert!((chance - 1.0 / 3.0).abs() < 0.096, "{chance}");
        (model, after)
    }};
}

#[test]
fn continuous_time_learns_and_does_not_leak() {
    let dev = AutoDevice::default();
    let (mut model, after) = learns_and_does_not_leak!(Ct::new(&dev, ct()));
    // Ten Heun steps.
    assert_eq!(after.network_calls, 20.0);
    // The same weights, read off in another way.
    let solver = Solver { method: Method::Euler, steps: Steps::Fixed(5), save: Save::End };
    model.set_inference(Inference::Ode(solver)).unwrap();
    let cheaper = model.evaluate(&blobs::<3, 6>(600, 1)).unwrap();
    assert_eq!(cheaper.network_calls, 5.0);
    assert!(cheaper.accuracy > 0.96, "{cheaper:?}");
    assert!(model.set_inference(Inference::Sde { steps: 1, draws: 0, seed: 0 }).is_err());
    let inference = Inference::Sde { steps: 30, draws: 4, seed: 1 };
    let (_, after) = learns_and_does_not_leak!(Ct::new(&dev, ContinuousTime { inference, ..ct() }));
    assert_eq!(after.network_calls, 4.0 * 30.0);
    let weighting = Weighting::SnrSlope;
    learns_and_does_not_leak!(Ct::new(&dev, ContinuousTime { weighting, ..ct() }));
}

#[test]
fn flow_matching_learns_and_does_not_leak() {
    let dev = AutoDevice::default();
    let (_, after) = learns_and_does_not_leak!(Fm::<Velocity>::new(&dev, fm()));
    assert_eq!(after.network_calls, 20.0);
    learns_and_does_not_leak!(Fm::<Estimate>::new(&dev, fm()));
    let predictor = Estimate { weighting: EstimateWeighting::Velocity };
    learns_and_does_not_leak!(Fm::<Estimate>::new(&dev, FlowMatching { predictor, ..fm() }));
}

#[test]
fn a_learned_schedule_moves_and_stays_a_schedule() {
    let dev = AutoDevice::default();
    let schedule =
        GammaSchedule { path: Path::Learned(MonotoneNetwork::default()), ..Default::default() };
    let variant = ContinuousTime { schedule: schedule.clone(), ..ct() };
    let (model, _) = learns_and_does_not_leak!(Ct::new(&dev, variant));
    let learned = model.schedule();
    assert_ne!(learned, schedule);
    let gammas: Vec<f64> = (0..=50).map(|i| learned.at(i as f64 / 50.0).gamma).collect();
    assert!(gammas.windows(2).all(|pair| pair[1] < pair[0]), "{gammas:?}");
    let cosine = GammaSchedule { path: Path::Cosine, ..GammaSchedule::default() };
    assert_eq!(Ct::new(&dev, ct()).unwrap().schedule(), cosine);
}

#[test]
fn embeddings_of_every_kind_train() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(300, 1));
    let dev = AutoDevice::default();
    type Logits = ConditionalResNetCt<6, 6, 16, 3>;
    type Speeds = ConditionalResNetFm<6, 6, 16>;
    let optimizer = || Optimizer::from(AdamW { learning_rate: 3e-3, ..AdamW::default() });

    let variant = ContinuousTime { optimizer: optimizer(), ..Default::default() };
    let mut model = NoProp::<ContinuousTime<Learned<3>>, Logits, 6, 6>::new(&dev, variant).unwrap();
    let start = model.embedding();
    model.fit(&train, &fit()).unwrap();
    assert_ne!(model.embedding(), start);
    assert!(model.evaluate(&test).unwrap().accuracy > 0.96);

    let variant = FlowMatching { optimizer: optimizer(), ..Default::default() };
    let mut model = NoProp::<FlowMatching<Learned<3>>, Speeds, 6, 6>::new(&dev, variant).unwrap();
    let start = model.embedding();
    model.fit(&train, &fit()).unwrap();
    assert_ne!(model.embedding(), start);
    assert!(model.evaluate(&test).unwrap().accuracy > 0.96);

    let variant = FlowMatching::<_, Estimate> {
        head: Prototypes::medoids(&train, 100).unwrap(),
        probabilities: Probabilities::Last,
        optimizer: optimizer(),
        predictor: Estimate::default(),
        cross_entropy: 1.0,
        times: TimeSampling::Antithetic,
        solver: Solver {
            method: Method::Tsitouras,
            steps: Steps::adaptive(1e-3, 1e-3),
            save: Save::End,
        },
        estimator: Estimator::Local,
        seed: 0,
    };
    let mut model = NoProp::<_, Logits, 6, 6>::new(&dev, variant).unwrap();
    model.fit(&train, &fit()).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.96);
}

#[test]
fn numbers_are_sampled_given_x() {
    // Given x = ±1, u is normal around ±1 with deviation 0.3: a network has to learn both.
    let n = 2000;
    let noise = normals(n, 5);
    let x: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let u: Vec<f32> = x.iter().zip(&noise).map(|(x, e)| x + 0.3 * *e as f32).collect();
    let data = Dataset::<1, Values<1>>::new(x, Values::new(u).unwrap()).unwrap();
    type Block = ConditionalResNetFm<1, 1, 32>;
    let optimizer = AdamW { learning_rate: 3e-3, ..AdamW::default() }.into();
    let variant = FlowMatching { optimizer, ..FlowMatching::default() };
    let mut model =
        NoProp::<FlowMatching<Regression>, Block, 1, 1>::new(&AutoDevice::default(), variant)
            .unwrap();
    // The last steps are small, so that the network is not where the last batch left it.
    let learning_rate = LearningRate { decay: Decay::Cosine { floor: 0.0 }, ..Default::default() };
    model.fit(&data, &Fit { epochs: 60, learning_rate, ..Fit::default() }).unwrap();
    for given in [1.0f32, -1.0] {
        let draws = model.sample(&[[given]], 2000, 7).unwrap().concat();
        let mean = draws.iter().map(|d| d[0]).sum::<f32>() / 2000.0;
        let deviation = (draws.iter().map(|d| (d[0] - mean).powi(2)).sum::<f32>() / 2000.0).sqrt();
        assert!((mean - given).abs() < 0.05, "mean {mean} given {given}");
        assert!((deviation - 0.3).abs() < 0.05, "deviation {deviation} given {given}");
    }
    // The same seed, the same draws; another seed, others.
    let draw = |seed| model.sample(&[[1.0]], 3, seed).unwrap();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn trajectories_have_their_points_and_lead_back() {
    let dev = AutoDevice::default();
    let inference = |steps| {
        Inference::Ode(Solver {
            method: Method::Rk4,
            steps: Steps::Fixed(steps),
            save: Save::Steps,
        })
    };
    let train = blobs::<3, 6>(300, 0);
    let variant = ContinuousTime { inference: inference(40), ..ct() };
    let mut model = Ct::new(&dev, variant).unwrap();
    model.fit(&train, &fit()).unwrap();
    let z0: Tensor<(usize, Const<3>), f32, _> = dev.sample_normal_like(&(5, Const));
    let x: Tensor<(usize, Const<6>), f32, _> = dev.sample_normal_like(&(5, Const));
    let there = model.integrate_trajectory(z0.clone(), x.clone(), 0.0, 1.0).unwrap();
    assert_eq!((there.times.len(), there.states.len()), (41, 41));
    assert_eq!(there.states[0].as_vec(), z0.as_vec());
    assert_eq!(there.calls, 160);
    let end = there.into_last().unwrap();
    let back = model.integrate_trajectory(end, x.clone(), 1.0, 0.0).unwrap();
    for (a, b) in back.into_last().unwrap().as_vec().iter().zip(z0.as_vec()) {
        assert!((a - b).abs() < 1e-2, "{a} and not {b}");
    }
    let three: Tensor<(usize, Const<6>), f32, _> = dev.sample_normal_like(&(3, Const));
    let error = model.integrate_trajectory(z0, three, 0.0, 1.0).unwrap_err().to_string();
    assert!(error.contains("found 5 and 3"), "{error}");
}

#[test]
fn seeds_decide() {
    let train = blobs::<3, 6>(70, 0);
    let run = |weights, order| {
        let mut model =
            Fm::<Velocity>::new(&AutoDevice::default(), FlowMatching { seed: weights, ..fm() })
                .unwrap();
        model.fit(&train, &Fit { epochs: 2, seed: order, ..Fit::default() }).unwrap();
        model.predict_proba(&train.samples()[..3]).unwrap()
    };
    assert_eq!(run(0, 0), run(0, 0));
    assert_ne!(run(0, 0), run(1, 0));
    assert_ne!(run(0, 0), run(0, 1));
}

#[test]
fn times_are_uniform_and_spread() {
    let mut rng = StdRng::seed_from_u64(0);
    for sampling in [TimeSampling::Uniform, TimeSampling::Antithetic, TimeSampling::LowDiscrepancy]
    {
        let (mut means, mut all) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let times = sampling.draw(25, &mut rng);
            assert_eq!(times.len(), 25);
            assert!(times.iter().all(|t| *t > 0.0 && *t < 1.0));
            means.push(times.iter().sum::<f64>() / 25.0);
            all.extend(times);
        }
        // 10,000 draws in ten cells: 1,000 in each, give or take five standard deviations.
        for cell in 0..10 {
            let count = all.iter().filter(|t| (**t * 10.0) as usize == cell).count();
            assert!((850..=1150).contains(&count), "{sampling:?}: {count} in cell {cell}");
        }
        let mean = means.iter().sum::<f64>() / 400.0;
        let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / 400.0;
        // The variance of the mean of 25: 1/300 for independent draws, far less for the others.
        let most = match sampling {
            TimeSampling::Uniform => 0.005,
            TimeSampling::Antithetic => 0.0004,
            _ => 0.0003,
        };
        assert!(variance < most, "{sampling:?}: {variance}");
        assert!(sampling != TimeSampling::Uniform || variance > 0.002);
    }
}

#[test]
fn one_step_with_a_loss_of_ones_own() {
    let dev = AutoDevice::default();
    let mut model = Ct::<OneHot>::new(&dev, ct()).unwrap();
    let input = |rows: usize| -> TimedRows<3, 6, f32, AutoDevice> {
        (
            dev.sample_normal_like(&(rows, Const)),
            dev.sample_normal_like(&(rows, Const)),
            dev.sample_uniform_like(&(rows,)),
        )
    };
    let batch = input(8);
    let mut rng = StdRng::seed_from_u64(0);
    let mut step = |model: &mut Ct, batch: TimedRows<3, 6, f32, AutoDevice>| {
        model.train_step(batch, |output| output.try_square()?.try_mean(), &mut rng)
    };
    let first = step(&mut model, batch.clone()).unwrap();
    let last = (0..100).map(|_| step(&mut model, batch.clone()).unwrap()).last().unwrap();
    assert!(last < first / 10.0, "{first} {last}");
    let (z, x, _) = input(8);
    let error = step(&mut model, (z, x, input(3).2)).unwrap_err().to_string();
    assert!(error.contains("found 8 and 8 and 3"), "{error}");
}

// -- bad input
// ----------------------------------------------------------------------------------------------------

#[test]
fn bad_settings_say_what_is_wrong() {
    let dev = AutoDevice::default();
    let message = |variant| Ct::new(&dev, variant).err().map(|e: Error| e.to_string()).unwrap();
    let schedule = GammaSchedule { gamma_0: 3.0, gamma_1: 3.0, path: Path::Linear };
    assert_eq!(
        message(ContinuousTime { schedule, ..ct() }),
        "GammaSchedule: expected finite ends with gamma_0 below gamma_1, found 3 and 3"
    );
    assert!(message(ContinuousTime { eta: f64::NAN, ..ct() }).starts_with("ContinuousTime::eta"));
    let inference = Inference::Sde { steps: 0, draws: 1, seed: 0 };
    assert!(message(ContinuousTime { inference, ..ct() }).starts_with("Inference::Sde::steps"));
    let variant =
        FlowMatching { predictor: Velocity { sharpness: 0.0, ..Velocity::default() }, ..fm() };
    let error = Fm::<Velocity>::new(&dev, variant).err().unwrap().to_string();
    assert_eq!(error, "Velocity::sharpness: expected a finite number above 0, found 0");

    // A solver that cannot work is refused where it is set, whatever sets it.
    let solver = Solver { steps: Steps::Fixed(0), ..Solver::default() };
    let variant = FlowMatching { solver: solver.clone(), ..fm() };
    let error = Fm::<Velocity>::new(&dev, variant).err().unwrap().to_string();
    assert_eq!(error, "Steps::Fixed: expected at least 1, found 0");
    let inference = Inference::Ode(solver);
    assert_eq!(message(ContinuousTime { inference, ..ct() }), error);
    let steps = Steps::adaptive(1e-3, 0.0);
    let solver = Solver { method: Method::Tsitouras, steps, save: Save::End };
    let inference = Inference::Ode(solver);
    assert!(message(ContinuousTime { inference, ..ct() }).starts_with("Steps::Adaptive::atol"));
    // One that does not get to its end says so, and so does an input that is not a number.
    let steps =
        Steps::Adaptive { rtol: 1e-9, atol: 1e-9, first_step: None, min_step: 0.0, max_steps: 2 };
    let solver = Solver { method: Method::Tsitouras, steps, save: Save::End };
    let model = Fm::<Velocity>::new(&dev, FlowMatching { solver, ..fm() }).unwrap();
    let error = model.predict(&[[0.0; 6]]).unwrap_err().to_string();
    assert!(error.starts_with("inference: expected the solver to reach t = 1"), "{error}");
    let mut model = Fm::<Velocity>::new(&dev, fm()).unwrap();
    let error = model.predict(&[[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0]]).unwrap_err().to_string();
    let expected = "NoProp::predict: expected finite values, found NaN in row 0, column 2";
    assert_eq!(error, expected);
    let z = || dev.sample_normal_like(&(2, Const));
    let t: Tensor<(usize,), f32, _> = dev.tensor_from_vec(vec![0.5, 1.5], (2,));
    let mut rng = StdRng::seed_from_u64(0);
    let error = model.train_step((z(), z(), t), dev.zeros_like(&(2, Const)), &mut rng);
    assert!(error.unwrap_err().to_string().ends_with("times from 0 to 1, found 1.5"));
}

type Logits3 = ConditionalResNetCt<3, 6, 16>;

#[test]
fn a_large_batch_is_learned_in_pieces_whose_sum_is_that_of_the_whole() {
    let data = blobs::<3, 6>(600, 0);
    let run = |threads, batch_size| {
        let mut model = NoProp::<ContinuousTime, Logits3, 3, 6>::new(
            &AutoDevice::default(),
            ContinuousTime::default(),
        )
        .unwrap();
        let fit = Fit { epochs: 3, batch_size, threads: Some(threads), ..Fit::default() };
        let reports = model.fit(&data, &fit).unwrap();
        (model.blocks()[0].module().3.weight.as_vec(), reports)
    };
    // 600 rows are four pieces of 150: the same weights on any number of threads.
    let (one, reports) = run(1, 600);
    for threads in [2, 3, 16] {
        assert_eq!(run(threads, 600).0, one);
    }
    assert_eq!(reports[0].rows, 600);

    // Loss and gradient of the first step are those of the whole batch.
    type Normed = (
        TimedCondition<Dense<3, 8>, Dense<6, 8>, (TimeEmbedding<4>, Dense<4, 8>)>,
        ReLU,
        Dense<8, 3>,
    );
    let whole = |cut: bool| {
        let schedule = GammaSchedule {
            // A learned schedule is trained on whole batches; here it starts where the fixed one
            // is.
            path: if cut { Path::Linear } else { Path::Learned(straight()) },
            ..GammaSchedule::default()
        };
        let variant = ContinuousTime::<OneHot> { schedule, ..ContinuousTime::default() };
        let mut model =
            NoProp::<_, Normed, 3, 6, f64>::new(&AutoDevice::default(), variant).unwrap();
        let fit = Fit { epochs: 1, batch_size: 600, ..Fit::default() };
        let report = model.fit(&data.to_dtype(), &fit).unwrap().remove(0);
        (report.blocks[0].denoising, report.blocks[0].cross_entropy, report.blocks[0].gradient_norm)
    };
    let (cut, whole) = (whole(true), whole(false));
    for (a, b) in [(cut.0, whole.0), (cut.1, whole.1), (cut.2, whole.2)] {
        assert!((a - b).abs() < 1e-6 * b.abs(), "{cut:?} {whole:?}");
    }
}

/// A monotone network that is a straight line: all its bends weigh next to nothing.
fn straight() -> MonotoneNetwork {
    MonotoneNetwork { v0: 1.0, v2: [-40.0; 8], ..MonotoneNetwork::default() }
}
