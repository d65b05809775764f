//! Solvers against closed forms, against `golden.json`, and against the theory of their orders.

mod common;

use std::cell::Cell;

use dfdx::nn::builders::{Linear, Tanh};
use dfdx::nn::{DeviceBuildExt, Module};
use dfdx::prelude::{AsArray, BroadcastTo, Const, Cpu, HasShape, SampleTensor, Tensor, TensorFrom};
use dfdx_noprop::Error;
use dfdx_noprop::solver::{EulerMaruyama, Method, Save, Solution, Solver, State, Status, Steps};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const ADAPTIVE: [Method; 2] = [Method::DormandPrince, Method::Tsitouras];

fn fixed(method: Method, steps: usize) -> Solver {
    Solver { method, steps: Steps::Fixed(steps), save: Save::End }
}

fn adaptive(method: Method, tolerance: f64) -> Solver {
    Solver { method, steps: Steps::adaptive(tolerance, tolerance), save: Save::End }
}

/// dz/dt = −2 t z², z(0) = 1: z = 1 / (1 + t²).
fn bell(t: f64, z: &[f64; 1]) -> Result<[f64; 1], Error> {
    Ok([-2.0 * t * z[0] * z[0]])
}

fn bell_at(t: f64) -> f64 {
    1.0 / (1.0 + t * t)
}

fn distance<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn last<S: Clone>(solution: &Solution<S>) -> S {
    assert_eq!(solution.status, Status::Done);
    solution.last().unwrap().clone()
}

// -- golden values ------------------------------------------------------------------------------

struct Oscillator {
    a: [[f64; 2]; 2],
    b: [f64; 2],
    z0: [f64; 2],
    exact: [f64; 2],
    fixed: serde_json::Value,
}

fn pair(value: &serde_json::Value) -> [f64; 2] {
    [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()]
}

impl Oscillator {
    fn golden() -> Self {
        let golden = common::golden();
        let ode = &golden["ode"];
        Self {
            a: [pair(&ode["A"][0]), pair(&ode["A"][1])],
            b: pair(&ode["b"]),
            z0: pair(&ode["z0"]),
            exact: pair(&ode["exact"]),
            fixed: ode["fixed"].clone(),
        }
    }

    fn drift(&self, t: f64, z: &[f64; 2]) -> Result<[f64; 2], Error> {
        let drive = (3.0 * t).sin();
        Ok([0, 1].map(|i| self.a[i][0] * z[0] + self.a[i][1] * z[1] + drive * self.b[i]))
    }
}

#[test]
fn fixed_steps_give_the_golden_values() {
    let golden = Oscillator::golden();
    for (method, name) in [(Method::Euler, "euler"), (Method::Heun, "heun"), (Method::Rk4, "rk4")] {
        for steps in [10, 20, 40] {
            let solver = fixed(method, steps);
            let z = solver.integrate(|t, z: &_| golden.drift(t, z), golden.z0, 0.0, 1.0).unwrap();
            let expected = pair(&golden.fixed[name][steps.to_string()]);
            assert!(distance(&last(&z), &expected) < 1e-12, "{name} {steps}: {z:?} {expected:?}");
        }
    }
}

#[test]
fn adaptive_steps_meet_the_tolerance_on_the_golden_problem() {
    let golden = Oscillator::golden();
    for method in ADAPTIVE {
        let mut calls = 0;
        for tolerance in [1e-3, 1e-5, 1e-7, 1e-9, 1e-11] {
            let solver = adaptive(method, tolerance);
            let z = solver.integrate(|t, z: &_| golden.drift(t, z), golden.z0, 0.0, 1.0).unwrap();
            let error = distance(&last(&z), &golden.exact);
            assert!(error < 10.0 * tolerance, "{method:?} {tolerance:e}: {error:e}");
            assert!(z.calls > calls, "a smaller tolerance costs more calls: {z:?}");
            calls = z.calls;
        }
        assert!(calls < 1000, "{calls} calls");
    }
}

// -- the tableaux -------------------------------------------------------------------------------

fn times(a: &[&[f64]], v: &[f64]) -> Vec<f64> {
    a.iter().map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect()
}

fn product(u: &[f64], v: &[f64]) -> Vec<f64> {
    u.iter().zip(v).map(|(u, v)| u * v).collect()
}

/// Φ(tree) and γ(tree) of the 17 rooted trees up to order 5, with the order.
fn trees(a: &[&[f64]], c: &[f64]) -> Vec<(usize, Vec<f64>, f64)> {
    let c2 = product(c, c);
    let c3 = product(c, &c2);
    let ac = times(a, c);
    let ac2 = times(a, &c2);
    let aac = times(a, &ac);
    vec![
        (1, vec![1.0; c.len()], 1.0),
        (2, c.to_vec(), 2.0),
        (3, c2.clone(), 3.0),
        (3, ac.clone(), 6.0),
        (4, c3.clone(), 4.0),
        (4, product(c, &ac), 8.0),
        (4, ac2.clone(), 12.0),
        (4, aac.clone(), 24.0),
        (5, product(c, &c3), 5.0),
        (5, product(&c2, &ac), 10.0),
        (5, product(&ac, &ac), 20.0),
        (5, product(c, &ac2), 15.0),
        (5, product(c, &aac), 30.0),
        (5, times(a, &c3), 20.0),
        (5, times(a, &product(c, &ac)), 40.0),
        (5, times(a, &ac2), 60.0),
        (5, times(a, &aac), 120.0),
    ]
}

#[test]
fn tableaux_satisfy_the_order_conditions() {
    let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>();
    for method in Method::ALL {
        let tableau = method.tableau();
        let near = |found: f64, expected: f64, what: &str| {
            assert!((found - expected).abs() < 4e-14, "{}, {what}: {found}", tableau.name);
        };
        assert_eq!((tableau.a.len(), tableau.b.len()), (tableau.c.len(), tableau.c.len()));
        for (i, (row, &c)) in tableau.a.iter().zip(tableau.c).enumerate() {
            assert_eq!(row.len(), i, "{}: explicit", tableau.name);
            near(row.iter().sum(), c, "row sum");
        }
        let trees = trees(tableau.a, tableau.c);
        for (order, phi, gamma) in trees.iter().filter(|tree| tree.0 <= tableau.order) {
            near(dot(tableau.b, phi), 1.0 / gamma, &format!("order {order}, γ = {gamma}"));
        }
        // A method of a higher order than it claims would be a wrong claim too.
        let above = |(order, phi, gamma): &(usize, Vec<f64>, f64)| {
            *order == tableau.order + 1 && (dot(tableau.b, phi) - 1.0 / gamma).abs() > 1e-3
        };
        assert!(tableau.order == 5 || trees.iter().any(above), "{}", tableau.name);
        // The embedded method has order p − 1, so its difference from b is 0 up to there, not
        // beyond.
        if let Some(error) = tableau.b_error {
            assert_eq!(error.len(), tableau.b.len());
            for (order, phi, _) in trees.iter().filter(|tree| tree.0 < tableau.order) {
                near(dot(error, phi), 0.0, &format!("embedded, order {order}"));
            }
            assert!(trees.iter().any(|(_, phi, _)| dot(error, phi).abs() > 1e-5));
        }
        // Σ bᵢ(θ) Φᵢ = θ^q / γ for q ≤ 4: what Hermite lacks of θ⁴ is θ² (1 − θ)².
        if let Some(dense) = tableau.dense {
            assert_eq!(dense.len(), tableau.b.len());
            for (order, phi, gamma) in trees.iter().filter(|tree| tree.0 <= 4) {
                let lacks = if *order == 4 { 1.0 / gamma } else { 0.0 };
                near(dot(dense, phi), lacks, &format!("dense, order {order}, γ = {gamma}"));
            }
        }
        if tableau.fsal {
            assert_eq!(tableau.a.last().copied(), tableau.b.get(..tableau.b.len() - 1));
            assert_eq!((tableau.b.last(), tableau.c.last()), (Some(&0.0), Some(&1.0)));
        }
    }
}

// -- orders -------------------------------------------------------------------------------------

/// log₂ of the ratio of the errors with n and 2 n steps.
fn measured_order(error: impl Fn(usize) -> f64, steps: usize) -> f64 {
    (error(steps) / error(2 * steps)).log2()
}

#[test]
fn every_method_has_its_order() {
    let golden = Oscillator::golden();
    for method in Method::ALL {
        let order = method.tableau().order;
        let steps = [0, 2560, 640, 0, 80, 32][order];
        let nonlinear = |n| {
            let z = fixed(method, n).integrate(bell, [1.0], 0.0, 1.0).unwrap();
            (last(&z)[0] - bell_at(1.0)).abs()
        };
        let linear = |n| {
            let drift = |t, z: &_| golden.drift(t, z);
            let z = fixed(method, n).integrate(drift, golden.z0, 0.0, 1.0).unwrap();
            distance(&last(&z), &golden.exact)
        };
        // The golden value is exact to 1e-12 or so: few steps for it.
        let linear_steps = if order == 5 { 8 } else { steps };
        for (name, measured) in [
            ("nonlinear", measured_order(nonlinear, steps)),
            ("linear", measured_order(linear, linear_steps)),
        ] {
            println!("{method:?} {name}: {measured:.3}");
            assert!((measured - order as f64).abs() < 0.2, "{method:?} {name}: {measured}");
        }
    }
}

#[test]
fn values_inside_the_steps_have_the_order_of_the_method() {
    let inside: Vec<f64> = (0..100).map(|i| 0.015 * (i as f64 + 0.37)).collect();
    for method in Method::ALL {
        let order = method.tableau().order;
        let error = |n| {
            let solver = Solver { save: Save::Times(inside.clone()), ..fixed(method, n) };
            let z = solver.integrate(bell, [1.0], 0.0, 1.5).unwrap();
            assert_eq!(z.times, inside);
            let errors = z.times.iter().zip(&z.states).map(|(&t, z)| (z[0] - bell_at(t)).abs());
            errors.fold(0.0, f64::max)
        };
        let measured = measured_order(error, [0, 640, 320, 0, 40, 30][order]);
        println!("{method:?} inside: {measured:.3}");
        assert!((measured - order as f64).abs() < 0.3, "{method:?}: {measured}");
    }
}

// -- step control -------------------------------------------------------------------------------

#[test]
fn adaptive_steps_reject_on_a_stiff_problem_and_still_meet_the_tolerance() {
    // Prothero and Robinson: dz/dt = −λ (z − cos t) − sin t has z = cos t.
    let prothero = |t: f64, z: &[f64; 1]| Ok([-500.0 * (z[0] - t.cos()) - t.sin()]);
    for method in ADAPTIVE {
        for tolerance in [1e-4, 1e-6, 1e-8] {
            // Fifty times longer than what is stable.
            let steps = Steps::Adaptive {
                rtol: tolerance,
                atol: tolerance,
                first_step: Some(0.3),
                min_step: 0.0,
                max_steps: 10_000,
            };
            let solver = Solver { method, steps, save: Save::End };
            let z = solver.integrate(prothero, [1.0], 0.0, 2.0).unwrap();
            let error = (last(&z)[0] - 2.0_f64.cos()).abs();
            assert!(error < 10.0 * tolerance, "{method:?} {tolerance:e}: {error:e}");
            assert!(z.rejected >= 1, "{method:?} {tolerance:e}: {z:?}");
            assert_eq!(
                z.calls,
                1 + 6 * (z.accepted + z.rejected),
                "a rejected step keeps its slope"
            );
        }
    }
}

#[test]
fn adaptive_steps_follow_van_der_pol() {
    // Over one fast jump, against 200,000 fixed steps.
    let van_der_pol = |_: f64, z: &[f64; 2]| Ok([z[1], 10.0 * (1.0 - z[0] * z[0]) * z[1] - z[0]]);
    let start = [2.0, 0.0];
    let fine = fixed(Method::Rk4, 200_000).integrate(van_der_pol, start, 0.0, 12.0).unwrap();
    let fine = last(&fine);
    for method in ADAPTIVE {
        let z = adaptive(method, 1e-8).integrate(van_der_pol, start, 0.0, 12.0).unwrap();
        let error = distance(&last(&z), &fine);
        assert!(error < 1e-7 * (1.0 + fine[0].abs().max(fine[1].abs())), "{method:?}: {error:e}");
        assert!(z.rejected >= 1 && z.accepted > 100 && z.accepted < 3000, "{z:?}");
    }
}

#[test]
fn the_first_step_is_the_one_asked_for() {
    let steps = Steps::Adaptive {
        rtol: 1e-3,
        atol: 1e-3,
        first_step: Some(0.01),
        min_step: 0.0,
        max_steps: 100,
    };
    let solver = Solver { method: Method::Tsitouras, steps, save: Save::Steps };
    let z = solver.integrate(bell, [1.0], 0.0, 1.0).unwrap();
    assert_eq!(z.times[1], 0.01);
    assert_eq!(z.calls, 1 + 6 * (z.accepted + z.rejected), "no call to guess");
    assert_eq!((z.times.len(), z.times.last()), (z.accepted + 1, Some(&1.0)));
}

#[test]
fn the_controller_predicts_well_and_leaves_no_crumbs() {
    let golden = Oscillator::golden();
    for method in ADAPTIVE {
        let drift = |t: f64, z: &[f64; 2]| golden.drift(t, z);
        let z = adaptive(method, 1e-8).integrate(drift, golden.z0, 0.0, 50.0).unwrap();
        assert!(z.accepted > 300 && z.rejected < z.accepted / 20, "{z:?}");

        // The step that is asked for ends just short of the end, or a third of it is left.
        for (first, accepted) in [(1.0 - 1e-15, 1), (0.75, 2)] {
            let steps = Steps::Adaptive {
                rtol: 1e-3,
                atol: 1e-300,
                first_step: Some(first),
                min_step: 0.0,
                max_steps: 10,
            };
            let solver = Solver { method, steps, save: Save::End };
            let z = solver.integrate(|_, z: &[f64; 1]| Ok(*z), [0.0], 0.0, 1.0).unwrap();
            assert_eq!((z.status, z.accepted), (Status::Done, accepted));
            // At rest at 0, with an atol that f32 does not have.
            let rest = Cpu::default().tensor([0.0_f32]);
            let z = solver.integrate(|_, z: &Tensor<_, f32, _>| Ok(z.clone()), rest, 0.0, 1.0);
            assert_eq!(z.unwrap().status, Status::Done);
        }
    }
}

#[test]
fn a_blow_up_ends_with_a_step_too_small() {
    // dz/dt = z², z(0) = 1: z = 1 / (1 − t).
    let square = |_: f64, z: &[f64; 1]| Ok([z[0] * z[0]]);
    for method in ADAPTIVE {
        let z = adaptive(method, 1e-6).integrate(square, [1.0], 0.0, 2.0).unwrap();
        let Status::StepTooSmall { time, step } = z.status else { panic!("{z:?}") };
        assert!((time - 1.0).abs() < 1e-3 && step < 1e-12, "{z:?}");
        assert_eq!(z.times, [time]);

        let steps = Steps::Adaptive {
            rtol: 1e-6,
            atol: 1e-6,
            first_step: None,
            min_step: 1e-3,
            max_steps: 10_000,
        };
        let z =
            Solver { method, steps, save: Save::Steps }.integrate(square, [1.0], 0.0, 2.0).unwrap();
        let Status::StepTooSmall { time, step } = z.status else { panic!("{z:?}") };
        assert!(time < 1.0 && (step - 1e-3).abs() < 1e-12, "{z:?}");
        assert!(z.times.windows(2).all(|t| t[1] - t[0] > 0.999e-3));
        assert!((last_state(&z) - 1.0 / (1.0 - time)).abs() < 1e-3 / (1.0 - time).powi(2));
    }
}

fn last_state(solution: &Solution<[f64; 1]>) -> f64 {
    solution.last().unwrap()[0]
}

#[test]
fn too_many_steps() {
    let steps =
        Steps::Adaptive { rtol: 1e-9, atol: 1e-9, first_step: None, min_step: 0.0, max_steps: 7 };
    let solver = Solver { method: Method::Tsitouras, steps, save: Save::Steps };
    let z = solver.integrate(bell, [1.0], 0.0, 100.0).unwrap();
    let Status::TooManySteps { time } = z.status else { panic!("{z:?}") };
    assert_eq!(z.accepted + z.rejected, 7);
    assert_eq!((z.times.len(), z.times.last()), (z.accepted + 1, Some(&time)));
    assert!((last_state(&z) - bell_at(time)).abs() < 1e-8);
}

// -- numbers that are not finite ----------------------------------------------------------------

#[test]
fn a_drift_that_is_not_finite_ends_with_the_results_so_far() {
    for bad in [f64::NAN, f64::INFINITY] {
        let drift = |t: f64, z: &[f64; 1]| Ok([if t < 0.52 { -z[0] } else { bad }]);
        for method in Method::ALL {
            let solver = Solver { save: Save::Steps, ..fixed(method, 10) };
            let z = solver.integrate(drift, [1.0], 0.0, 1.0).unwrap();
            let Status::NotFinite { time } = z.status else { panic!("{method:?}: {z:?}") };
            assert!((0.499..0.61).contains(&time), "{method:?}: {time}");
            assert_eq!((z.times.len(), z.times.last()), (z.accepted + 1, Some(&time)));
            assert!(z.states.iter().all(|z| z[0].is_finite()));

            let save = Save::Times(vec![0.25, 0.55, 0.75]);
            let z = Solver { save, ..solver }.integrate(drift, [1.0], 0.0, 1.0).unwrap();
            assert!(matches!(z.status, Status::NotFinite { .. }));
            assert!(z.states.iter().all(|z| z[0].is_finite()) && z.times[0] == 0.25);
        }
        for method in ADAPTIVE {
            let z = adaptive(method, 1e-6).integrate(drift, [1.0], 0.0, 1.0).unwrap();
            let Status::NotFinite { time } = z.status else { panic!("{method:?}: {z:?}") };
            assert!(time < 0.52 && time > 0.52 - 1e-9, "shorter steps come closer: {time}");
            assert!((last_state(&z) - (-time).exp()).abs() < 1e-5);
            assert!(z.rejected > 0 && z.calls < 5000, "{z:?}");
            // From the first call on.
            let z = adaptive(method, 1e-6).integrate(|_, _| Ok([bad]), [1.0], 0.0, 1.0).unwrap();
            assert_eq!((z.status, z.accepted), (Status::NotFinite { time: 0.0 }, 0));
            assert!(z.calls < 20 && z.states == [[1.0]], "{z:?}");
        }
    }
}

#[test]
fn a_start_that_is_not_finite() {
    for solver in [fixed(Method::Heun, 3), adaptive(Method::Tsitouras, 1e-3)] {
        let z = solver.integrate(bell, [f64::NAN], 0.0, 1.0).unwrap();
        assert_eq!((z.status, z.calls), (Status::NotFinite { time: 0.0 }, 0));
    }
}

#[test]
fn an_error_of_the_drift_is_passed_on() {
    let failing = |_: f64, _: &[f64; 1]| {
        Err(Error::Device { operation: "the drift", message: "no memory".into() })
    };
    let error = Solver::default().integrate(failing, [1.0], 0.0, 1.0).unwrap_err();
    assert!(error.to_string().contains("no memory"), "{error}");
}

// -- saving, direction, calls -------------------------------------------------------------------

#[test]
fn n_steps_have_n_plus_one_points() {
    for method in Method::ALL {
        for (steps, t0, t1) in [(1, 0.0, 1.0), (7, 0.0, 1.0), (10, 2.0, -1.0)] {
            let solver = Solver { save: Save::Steps, ..fixed(method, steps) };
            let z = solver.integrate(bell, [0.2], t0, t1).unwrap();
            assert_eq!((z.times.len(), z.states.len(), z.accepted), (steps + 1, steps + 1, steps));
            assert_eq!((z.times[0], z.times[steps], z.states[0]), (t0, t1, [0.2]));
            for (i, t) in z.times.iter().enumerate() {
                assert!((t - (t0 + (t1 - t0) * i as f64 / steps as f64)).abs() < 1e-14);
            }
        }
    }
}

#[test]
fn the_network_is_called_as_often_as_the_method_needs() {
    let calls = |solver: &Solver| {
        let counted = Cell::new(0);
        let drift = |t: f64, z: &[f64; 1]| {
            counted.set(counted.get() + 1);
            bell(t, z)
        };
        let z = solver.integrate(drift, [1.0], 0.0, 1.0).unwrap();
        assert_eq!(z.calls, counted.get());
        z.calls
    };
    let per_step = [1, 2, 2, 4, 6, 6];
    for (method, per_step) in Method::ALL.into_iter().zip(per_step) {
        let fsal = usize::from(method.tableau().fsal);
        assert_eq!(calls(&fixed(method, 10)), 10 * per_step + fsal, "{method:?}");
        // A time inside the last step needs the slope at the end; one inside the others does not.
        for (time, extra) in [(0.55, 0), (0.95, 1)] {
            let save = Save::Times(vec![time, 1.0]);
            let expected = 10 * per_step + fsal.max(extra);
            assert_eq!(calls(&Solver { save, ..fixed(method, 10) }), expected, "{method:?}");
        }
    }
    assert_eq!(calls(&Solver::default()), 40);
}

#[test]
fn given_times_are_saved() {
    let forwards = vec![0.0, 0.1, 0.3, 0.3, 0.77, 1.0];
    let backwards: Vec<f64> = forwards.iter().rev().copied().collect();
    for method in ADAPTIVE {
        for (times, t0, t1) in [(&forwards, 0.0, 1.0), (&backwards, 1.0, 0.0)] {
            for solver in [fixed(method, 40), adaptive(method, 1e-8)] {
                let solver = Solver { save: Save::Times(times.clone()), ..solver };
                let z = solver.integrate(bell, [bell_at(t0)], t0, t1).unwrap();
                assert_eq!(
                    (z.status, &z.times, z.states.len()),
                    (Status::Done, times, times.len())
                );
                for (&t, z) in z.times.iter().zip(&z.states) {
                    assert!((z[0] - bell_at(t)).abs() < 1e-7, "{method:?} {t}: {z:?}");
                }
            }
        }
    }
}

#[test]
fn backwards_then_forwards_returns_to_the_start() {
    let golden = Oscillator::golden();
    let drift = |t: f64, z: &[f64; 2]| golden.drift(t, z);
    for solver in
        [fixed(Method::Rk4, 200), fixed(Method::Heun, 20_000), adaptive(Method::Tsitouras, 1e-10)]
    {
        let back = solver.integrate(drift, golden.z0, 0.7, -0.4).unwrap();
        let moved = last(&back);
        assert!(distance(&moved, &golden.z0) > 0.1);
        let forth = solver.integrate(drift, moved, -0.4, 0.7).unwrap();
        assert!(distance(&last(&forth), &golden.z0) < 1e-8, "{forth:?}");
    }
    // Against the closed form, not only against itself.
    let z = fixed(Method::Rk4, 200).integrate(bell, [bell_at(2.0)], 2.0, -1.0).unwrap();
    assert!((last(&z)[0] - bell_at(-1.0)).abs() < 1e-8);
}

#[test]
fn the_drift_is_never_asked_outside_of_the_interval() {
    for (t0, t1) in [(0.1, 0.7), (0.7, 0.1)] {
        for method in Method::ALL {
            let drift = |t: f64, z: &[f64; 1]| {
                assert!((0.1..=0.7).contains(&t), "{method:?}: {t}");
                bell(t, z)
            };
            fixed(method, 13).integrate(drift, [1.0], t0, t1).unwrap();
            if method.tableau().b_error.is_some() {
                adaptive(method, 1e-5).integrate(drift, [1.0], t0, t1).unwrap();
            }
        }
    }
}

#[test]
fn an_empty_interval_is_done_without_a_call() {
    for (save, points) in [(Save::End, 1), (Save::Steps, 1), (Save::Times(vec![2.0, 2.0]), 2)] {
        for solver in [fixed(Method::Heun, 5), adaptive(Method::DormandPrince, 1e-3)] {
            let solver = Solver { save: save.clone(), ..solver };
            let z = solver.integrate(bell, [3.0], 2.0, 2.0).unwrap();
            assert_eq!((z.status, z.calls, z.accepted), (Status::Done, 0, 0));
            assert_eq!((z.times, z.states), (vec![2.0; points], vec![[3.0]; points]));
        }
    }
}

#[test]
fn impossible_settings_are_errors_that_name_them() {
    let good = (1e-3, 1e-3, None, 0.0, 10);
    let steps = |(rtol, atol, first_step, min_step, max_steps)| Steps::Adaptive {
        rtol,
        atol,
        first_step,
        min_step,
        max_steps,
    };
    let solver = |steps| Solver { method: Method::Tsitouras, steps, save: Save::End };
    let save = |times: &[f64]| Solver { save: Save::Times(times.into()), ..Solver::default() };
    let refused = |solver: &Solver, (t0, t1), word: &str| {
        let calls = Cell::new(0);
        let drift = |_: f64, z: &[f64; 1]| {
            calls.set(calls.get() + 1);
            Ok(*z)
        };
        let error = solver.integrate(drift, [1.0], t0, t1).unwrap_err();
        assert!(matches!(error, Error::Config { .. } | Error::Argument { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(calls.get(), 0);
    };
    assert!(solver(steps(good)).integrate(bell, [1.0], 0.0, 1.0).is_ok());
    for bad in [0.0, -1e-3, f64::NAN, f64::INFINITY] {
        refused(&solver(steps((bad, 1e-3, None, 0.0, 10))), (0.0, 1.0), "rtol");
        refused(&solver(steps((1e-3, bad, None, 0.0, 10))), (0.0, 1.0), "atol");
        refused(&solver(steps((1e-3, 1e-3, Some(bad), 0.0, 10))), (0.0, 1.0), "first_step");
    }
    for bad in [-1e-3, f64::NAN, f64::INFINITY] {
        refused(&solver(steps((1e-3, 1e-3, None, bad, 10))), (0.0, 1.0), "min_step");
    }
    refused(&solver(steps((1e-3, 1e-3, None, 0.0, 0))), (0.0, 1.0), "max_steps");
    refused(&fixed(Method::Euler, 0), (0.0, 1.0), "Steps::Fixed");
    for method in [Method::Euler, Method::Midpoint, Method::Heun, Method::Rk4] {
        refused(&adaptive(method, 1e-3), (0.0, 1.0), method.tableau().name);
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(&Solver::default(), (bad, 1.0), "finite times");
        refused(&Solver::default(), (0.0, bad), "finite times");
        refused(&save(&[bad]), (0.0, 1.0), "Save::Times");
    }
    for times in [&[][..], &[-0.1], &[1.1], &[0.5, 0.4]] {
        refused(&save(times), (0.0, 1.0), "Save::Times");
    }
    refused(&save(&[0.4, 0.5]), (1.0, 0.0), "Save::Times");

    let run = |em: EulerMaruyama, t1| {
        em.integrate(bell, |_| 1.0, |_: &[f64; 1]| Ok([0.0]), [1.0], 0.0, t1)
            .unwrap_err()
            .to_string()
    };
    assert!(run(EulerMaruyama { steps: 0, save: Save::End }, 1.0).contains("steps"));
    assert!(run(EulerMaruyama::default(), f64::NAN).contains("finite times"));
    assert!(run(EulerMaruyama { steps: 1, save: Save::Times(vec![2.0]) }, 1.0).contains("Times"));
}

// -- states -------------------------------------------------------------------------------------

#[test]
fn a_vector_and_a_tensor_step_as_an_array_does() {
    let golden = Oscillator::golden();
    let device = Cpu::default();
    let array = |t: f64, z: &[f64; 2]| golden.drift(t, z);
    let vector = |t: f64, z: &Vec<f64>| Ok(golden.drift(t, &[z[0], z[1]])?.to_vec());
    let tensor = |t: f64, z: &Tensor<_, f64, Cpu>| Ok(device.tensor(golden.drift(t, &z.array())?));
    for solver in [
        fixed(Method::Heun, 15),
        fixed(Method::Tsitouras, 5),
        adaptive(Method::DormandPrince, 1e-7),
    ] {
        let solver = Solver { save: Save::Times(vec![0.0, 0.33, 1.0]), ..solver };
        let a = solver.integrate(array, golden.z0, 0.0, 1.0).unwrap();
        let v = solver.integrate(vector, golden.z0.to_vec(), 0.0, 1.0).unwrap();
        let t = solver.integrate(tensor, device.tensor(golden.z0), 0.0, 1.0).unwrap();
        assert_eq!(a.states.len(), 3);
        assert_eq!((a.accepted, a.rejected, a.calls), (t.accepted, t.rejected, t.calls));
        for ((a, v), t) in a.states.iter().zip(&v.states).zip(&t.states) {
            assert_eq!(a.as_slice(), v.as_slice());
            assert!(distance(a, &t.array()) < 1e-14);
        }
    }
}

#[test]
fn a_batch_with_a_network_as_drift() {
    let device = Cpu::default();
    let network = device.build_module::<(Linear<3, 8>, Tanh, Linear<8, 3>), f64>();
    let z0: Tensor<(usize, Const<3>), f64, _> = device.sample_normal_like(&(5, Const));
    // The same network, by hand, a row at a time.
    let (w1, b1) = (network.0.weight.array(), network.0.bias.array());
    let (w2, b2) = (network.2.weight.array(), network.2.bias.array());
    let by_hand = |_: f64, z: &[f64; 3]| {
        let dot = |w: &[f64], v: &[f64]| w.iter().zip(v).map(|(w, v)| w * v).sum::<f64>();
        let hidden: Vec<f64> = w1.iter().zip(b1).map(|(w, b)| (dot(w, z) + b).tanh()).collect();
        Ok([0, 1, 2].map(|i| dot(&w2[i], &hidden) + b2[i]))
    };
    let drift = |_: f64, z: &Tensor<(usize, Const<3>), f64, Cpu>| Ok(network.forward(z.clone()));
    let rows = z0.as_vec();
    for method in Method::ALL {
        let z = fixed(method, 6).integrate(drift, z0.clone(), 0.0, 2.0).unwrap();
        for (row, end) in rows.chunks(3).zip(last(&z).as_vec().chunks(3)) {
            let start = [row[0], row[1], row[2]];
            let expected = fixed(method, 6).integrate(by_hand, start, 0.0, 2.0).unwrap();
            assert!(distance(&last(&expected), &[end[0], end[1], end[2]]) < 1e-12);
        }
    }
    assert_eq!(z0.as_vec(), rows, "the start stays as it was");
}

#[test]
fn single_precision_tensors() {
    let golden = Oscillator::golden();
    let device = Cpu::default();
    let drift = |t: f64, z: &Tensor<_, f32, Cpu>| {
        let z: [f32; 2] = z.array();
        Ok(device.tensor(golden.drift(t, &z.map(f64::from))?.map(|v| v as f32)))
    };
    let start = || device.tensor(golden.z0.map(|v| v as f32));
    for solver in [fixed(Method::Rk4, 20), adaptive(Method::Tsitouras, 1e-5)] {
        let z = solver.integrate(drift, start(), 0.0, 1.0).unwrap();
        assert!(distance(&last(&z).array().map(f64::from), &golden.exact) < 1e-5, "{z:?}");
    }
    // Tolerances that f32 cannot hold still end.
    let z = adaptive(Method::Tsitouras, 1e-300).integrate(drift, start(), 0.0, 1.0).unwrap();
    assert!(!z.status.is_done());
}

#[test]
fn norms_agree_with_their_definition() {
    let device = Cpu::default();
    let (error, a, b) = ([1e-3, -2e-3, 0.0], [1.0, -2.0, 0.5], [-1.5, 1.0, 0.25]);
    let (rtol, atol) = (1e-3, 1e-4);
    let scales = [1e-4 + 1.5e-3, 1e-4 + 2e-3, 1e-4 + 0.5e-3];
    let expected =
        (error.iter().zip(scales).map(|(e, s): (&f64, f64)| (e / s).powi(2)).sum::<f64>() / 3.0)
            .sqrt();
    let array = error.error_norm(&a, &b, rtol, atol).unwrap();
    let vector = error.to_vec().error_norm(&a.to_vec(), &b.to_vec(), rtol, atol).unwrap();
    let tensors = [error, a, b].map(|v| device.tensor(v));
    let tensor = tensors[0].error_norm(&tensors[1], &tensors[2], rtol, atol).unwrap();
    for norm in [array, vector, tensor] {
        assert!((norm - expected).abs() < 1e-12, "{norm} {expected}");
    }
    for (bad, finite) in [(f64::NAN, false), (f64::NEG_INFINITY, false), (f64::MAX, true)] {
        assert_eq!([bad, 1.0].is_finite().unwrap(), finite);
        assert_eq!(vec![1.0, bad].is_finite().unwrap(), finite);
        assert_eq!(device.tensor([bad, bad]).is_finite().unwrap(), finite);
    }
}

#[test]
fn shapes_that_differ_are_errors_and_strides_may() {
    let grow = |_: f64, z: &Vec<f64>| Ok([z.as_slice(), &[1.0]].concat());
    let error = Solver::default().integrate(grow, vec![1.0], 0.0, 1.0).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");

    type Batch = Tensor<(usize, Const<2>), f64, Cpu>;
    let device = Cpu::default();
    let z0: Batch = device.sample_normal_like(&(4, Const));
    let short = |_: f64, _: &Batch| Ok(device.sample_normal_like(&(3, Const)));
    let error = Solver::default().integrate(short, z0.clone(), 0.0, 1.0).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");

    // A drift, and a start, that are one row, broadcast: exactly linear in t.
    let row = device.tensor([2.0, -3.0]);
    let broadcast = || row.clone().broadcast_like(&(4, Const::<2>));
    for method in Method::ALL {
        let drift = |_: f64, _: &Batch| Ok(broadcast());
        let z = fixed(method, 3).integrate(drift, broadcast(), 0.0, 0.5).unwrap();
        for value in last(&z).as_vec().chunks(2) {
            assert!(distance(&[value[0], value[1]], &[3.0, -4.5]) < 1e-13);
        }
    }
    let z =
        adaptive(Method::Tsitouras, 1e-3).integrate(|_, _| Ok(broadcast()), broadcast(), 0.0, 0.5);
    assert!((last(&z.unwrap()).as_vec()[7] + 4.5).abs() < 1e-13);

    // A batch of no rows.
    let none: Batch = device.sample_normal_like(&(0, Const));
    for solver in [fixed(Method::Heun, 3), adaptive(Method::Tsitouras, 1e-3)] {
        let z = solver.integrate(|_, z: &Batch| Ok(z.clone()), none.clone(), 0.0, 1.0).unwrap();
        assert_eq!((last(&z).shape().0, z.accepted > 0), (0, true));
    }
    assert!(
        last(&Solver::default().integrate(|_, z: &[f64; 0]| Ok(*z), [], 0.0, 1.0).unwrap())
            .is_empty()
    );
}

#[test]
fn the_states_of_a_solution_have_gradients_of_their_own() {
    use dfdx::prelude::{Backward, SumTo, Trace};
    let device = Cpu::default();
    let z0 = device.tensor([1.0_f64, 2.0]);
    let solver = Solver { save: Save::Steps, ..fixed(Method::Heun, 2) };
    let z = solver.integrate(|_, z: &Tensor<_, f64, _>| Ok(z.clone()), z0, 0.0, 1.0).unwrap();
    // Were the ids shared, this would be the gradient of the sum with respect to both: 3.
    let (first, second) = (z.states[1].leaky_trace(), z.states[2].clone());
    let gradients = (first * 2.0 + second).sum().backward();
    assert_eq!(gradients.get(&z.states[1]).array(), [2.0, 2.0]);
}

// -- Euler–Maruyama -----------------------------------------------------------------------------

#[test]
fn ornstein_uhlenbeck_has_its_mean_and_variance() {
    // dz = −θ z dt + σ dW: mean z₀ e^(−θt), variance σ² (1 − e^(−2θt)) / 2θ; backwards in time with
    // the sign of the drift turned, the same.
    let (theta, sigma, paths) = (1.3, 0.8, 20_000);
    let save = Save::Times(vec![0.25, 0.701, 1.0]);
    for backwards in [false, true] {
        let (sign, t0, t1) = if backwards { (-1.0, 1.0, 0.0) } else { (1.0, 0.0, 1.0) };
        let save = match &save {
            Save::Times(times) if backwards => Save::Times(times.iter().map(|t| 1.0 - t).collect()),
            save => save.clone(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let z = EulerMaruyama { steps: 200, save }
            .integrate(
                |_, z: &Vec<f64>| z.scaled(-sign * theta),
                |_| sigma,
                |z| Ok(z.iter().map(|_| rng.sample(StandardNormal)).collect()),
                vec![2.0; paths],
                t0,
                t1,
            )
            .unwrap();
        assert_eq!((z.status, z.accepted, z.calls, z.states.len()), (Status::Done, 201, 201, 3));
        for (time, states) in z.times.iter().zip(&z.states) {
            let elapsed = (time - t0).abs();
            let n = paths as f64;
            let mean = states.iter().sum::<f64>() / n;
            let variance = states.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let exact_mean = 2.0 * (-theta * elapsed).exp();
            let exact_variance =
                sigma * sigma * (1.0 - (-2.0 * theta * elapsed).exp()) / (2.0 * theta);
            // Four standard errors, and the method's own O(h) error: at most θ² h z₀ t e^(−θt) / 2
            // of the mean and θ h of the variance, relative.
            let mean_bound =
                4.0 * (exact_variance / n).sqrt() + 0.5 * theta * theta * 0.005 * exact_mean;
            let variance_bound = exact_variance * (4.0 * (2.0 / n).sqrt() + theta * 0.005);
            assert!((mean - exact_mean).abs() < mean_bound, "{time}: {mean} {exact_mean}");
            assert!(
                (variance - exact_variance).abs() < variance_bound,
                "{time}: {variance} {exact_variance}"
            );
        }
    }
}

#[test]
fn the_diffusion_may_depend_on_time() {
    // dz = t dW: variance t³ / 3.
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let paths = 20_000;
    let z = EulerMaruyama { steps: 400, save: Save::Steps }
        .integrate(
            |_, z: &Vec<f64>| z.scaled(0.0),
            |t| t,
            |z| Ok(z.iter().map(|_| rng.sample(StandardNormal)).collect()),
            vec![0.0; paths],
            0.0,
            2.0,
        )
        .unwrap();
    assert_eq!(z.times.len(), 401);
    let variance = last(&z).iter().map(|z| z * z).sum::<f64>() / paths as f64;
    let exact = 8.0 / 3.0;
    // Four standard errors, and the left-point rule's t² h / 2.
    let bound = exact * 4.0 * (2.0 / paths as f64).sqrt() + 0.01;
    assert!((variance - exact).abs() < bound, "{variance}");
}

#[test]
fn euler_maruyama_without_noise_is_euler() {
    for (t0, t1) in [(0.0, 1.0), (1.0, -0.5)] {
        let euler = Solver { save: Save::Steps, ..fixed(Method::Euler, 9) };
        let expected = euler.integrate(bell, [0.7], t0, t1).unwrap();
        let found = EulerMaruyama { steps: 9, save: Save::Steps }
            .integrate(bell, |_| 0.0, |_| Ok([1.0]), [0.7], t0, t1)
            .unwrap();
        assert_eq!(found, expected);
    }
    // Itô: the diffusion is that of the step's start.
    let z = EulerMaruyama { steps: 1, save: Save::End }
        .integrate(bell, |t| 3.0 + t, |_| Ok([2.0]), [0.0], 1.0, 1.25)
        .unwrap();
    assert_eq!(last(&z), [4.0 * 0.5 * 2.0]);
}

#[test]
fn euler_maruyama_ends_where_it_is_not_finite_or_has_nowhere_to_go() {
    let bad = |t: f64, z: &[f64; 1]| Ok([if t < 0.5 { z[0] } else { f64::NAN }]);
    let z = EulerMaruyama { steps: 4, save: Save::Steps }
        .integrate(bad, |_| 1.0, |_| Ok([0.1]), [1.0], 0.0, 1.0)
        .unwrap();
    assert_eq!((z.status, z.calls), (Status::NotFinite { time: 0.5 }, 3));
    assert_eq!(z.times, [0.0, 0.25, 0.5]);
    let z =
        EulerMaruyama::default().integrate(bad, |_| 1.0, |_| Ok([0.1]), [1.0], 3.0, 3.0).unwrap();
    assert_eq!((z.status, z.calls, z.states), (Status::Done, 0, vec![[1.0]]));
}
