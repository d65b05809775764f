//! The mathematics of blocks by noise level, against values that something else computed.

use dfdx::{
    nn::{BuildOnDevice, ZeroGrads},
    prelude::*,
};
use serde_json::Value;

use super::*;
use crate::{
    device::Matrix,
    head::{Learned, Regression},
    nn::{Pair, Takes},
    plan::Inputs,
    schedule::NoiseParts,
    variant::{
        Draw, Objective, ReverseProcess, Target, TracedForward, Transition,
        draw::Times,
        golden::{
            Built, Network, assert_close, assert_gradients, golden_blocks, network, numbers,
            operations, target,
        },
    },
};

/// The mathematics of settings, for a latent of width `Z`.
fn mathematics<H: Head<Z, E>, const Z: usize, E: Real>(
    variant: DiffusionBlocks<H>,
) -> Box<NoiseBlocks>
where
    Cpu: Backend<E>,
{
    match Variant::<Z, 6, E, Cpu>::mathematics(&variant).unwrap() {
        Mathematics::Blocks(blocks) => blocks,
        _ => panic!("of another variant"),
    }
}

fn golden_parts(case: &Value) -> NoiseParts {
    let number = |what: &str| case[what].as_f64().unwrap();
    let variant = DiffusionBlocks::<Regression> {
        blocks: case["blocks"].as_u64().unwrap() as usize,
        noise: NoiseDistribution {
            p_mean: number("p_mean"),
            p_std: number("p_std"),
            sigma_min: number("sigma_min"),
            sigma_max: number("sigma_max"),
        },
        overlap: number("overlap"),
        ..Default::default()
    };
    mathematics::<_, 4, f64>(variant).parts
}

#[test]
fn parts_and_draws_agree_with_golden_blocks() {
    for case in golden_blocks()["partition"].as_array().unwrap() {
        let parts = golden_parts(case);
        assert_close("edges", parts.edges(), &case["edges"], 1e-9);
        // The file counts from the least noise, blocks from the most.
        let spans: Vec<f64> = (1..=parts.blocks()).rev().flat_map(|t| parts.span(t)).collect();
        assert_close("spans", &spans, &case["spans"], 1e-9);
        for (draws, t) in case["draws"].as_array().unwrap().iter().rev().zip(1..) {
            let uniform: Vec<f64> = numbers(&draws["uniform"]);
            let found: Vec<f64> = uniform.into_iter().map(|u| parts.sigma(t, u)).collect();
            assert_close("sigma", &found, &draws["sigma"], 1e-9);
        }
    }
}

#[test]
fn each_edge_and_draw_of_golden_blocks_is_right_relative_to_itself() {
    for case in golden_blocks()["partition"].as_array().unwrap() {
        let parts = golden_parts(case);
        for (found, expected) in parts.edges().iter().zip(numbers::<f64>(&case["edges"])) {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} and not {expected}");
        }
        for (draws, t) in case["draws"].as_array().unwrap().iter().rev().zip(1..) {
            let expected: Vec<f64> = numbers(&draws["sigma"]);
            for (u, expected) in numbers::<f64>(&draws["uniform"]).into_iter().zip(expected) {
                let found = parts.sigma(t, u);
                assert!((found / expected - 1.0).abs() < 1e-9, "{found} and not {expected}");
            }
        }
    }
}

#[test]
fn scales_agree_with_golden_blocks() {
    for case in golden_blocks()["preconditioning"].as_array().unwrap() {
        let sigma_data = case["sigma_data"].as_f64().unwrap();
        for row in case["rows"].as_array().unwrap() {
            let found = Preconditioning::new(sigma_data, row["sigma"].as_f64().unwrap());
            for (what, found) in [
                ("skip", found.skip),
                ("out", found.out),
                ("into", found.into),
                ("noise", found.time),
                ("weight", found.out.powi(-2)),
            ] {
                assert_close(what, &[found], &row[what], 1e-9);
            }
        }
    }
}

#[test]
fn a_step_agrees_with_golden_blocks() {
    let case = &golden_blocks()["step"];
    let number = |what: &str| case[what].as_f64().unwrap();
    let variant = DiffusionBlocks::<Regression> {
        blocks: 1,
        noise: NoiseDistribution {
            sigma_min: number("sigma_next"),
            sigma_max: number("sigma"),
            ..Default::default()
        },
        ..Default::default()
    };
    let (z, estimate): (Vec<f64>, Vec<f64>) = (numbers(&case["z"]), numbers(&case["estimate"]));
    for method in Method::ALL {
        let solver = Solver { method, ..variant.solver.clone() };
        let blocks = mathematics::<_, 4, f64>(DiffusionBlocks { solver, ..variant.clone() });
        let mut calls = 0;
        let found = blocks.denoiser.pass(1, z.clone(), |_, _| {
            calls += 1;
            Ok(estimate.clone())
        });
        assert_close("z", &found.unwrap(), &case["z_next"], 1e-9);
        assert_eq!(calls, blocks.denoiser.calls(), "{method:?}");
    }
}

/// The loss and its gradients.
fn golden_case<H: Head<4, E>, E: Real>(case: &Value, target: Target<'_, E, Cpu>, tolerance: f64)
where
    Cpu: Backend<E>,
    Network<4>: Takes<Pair<4, 6>, E, Cpu> + BuildOnDevice<Cpu, E, Built = Built<4, E>>,
{
    let dev = Cpu::default();
    let sigma_data = case["sigma_data"].as_f64();
    let blocks = mathematics::<_, 4, E>(DiffusionBlocks::<H> { sigma_data, ..Default::default() });
    let host: Vec<f64> =
        numbers::<f64>(&case["sigma"]).into_iter().map(Preconditioning::time_of).collect();
    let rows = host.len();
    let times = host.iter().map(|&t| E::of(t)).collect();
    let draw = Draw {
        target,
        noise: dev.tensor_from_vec(numbers(&case["eps"]), (rows, 4)),
        end_noise: None,
        times: Some(Times { device: dev.tensor_from_vec(times, (rows,)), host }),
    };
    let x: Matrix<E, Cpu> = dev.tensor_from_vec(numbers(&case["x"]), (rows, 6));
    let mut built = network::<4, E>(&case["params"]);
    let gradients = built.alloc_grads();
    let loss = {
        let mut plan = operations(&mut built);
        let forward: TracedForward<'_, E, Cpu> =
            &mut |z| Inputs { z, x: x.clone(), t: None }.through(&mut plan);
        blocks.loss(1, draw, None, gradients, forward).unwrap()
    };
    let terms = loss.terms();
    assert_close("loss", &[E::of(terms[0] + terms[1])], &case["loss"], tolerance);
    assert_close("total", &loss.total.as_vec(), &case["loss"], tolerance);
    let gradients = loss.total.backward();
    assert_gradients(&built, &gradients, &case["grad_params"], tolerance);
}

fn golden_loss<E: Real>(tolerance: f64)
where
    Cpu: Backend<E>,
    Network<4>: Takes<Pair<4, 6>, E, Cpu> + BuildOnDevice<Cpu, E, Built = Built<4, E>>,
{
    let dev = Cpu::default();
    for case in golden_blocks()["block"].as_array().unwrap() {
        if case["classes"].as_bool().unwrap() {
            let embedding = dev.tensor_from_vec(numbers(&case["embedding"]), (4, 4));
            let target = target::<4, E>(&case["labels"], &embedding);
            golden_case::<Learned<4>, E>(case, target, tolerance);
        } else {
            let embedding: Matrix<E, Cpu> = dev.zeros_like(&(1, 4));
            let u: Vec<E> = numbers(&case["u"]);
            let u = dev.tensor_from_vec(u.clone(), (u.len() / 4, 4));
            let target = Target { u, one_hot: None, embedding: &embedding, weights: None };
            golden_case::<Regression, E>(case, target, tolerance);
        }
    }
}

#[test]
fn losses_and_gradients_agree_with_golden_blocks() {
    golden_loss::<f64>(1e-9);
    golden_loss::<f32>(1e-4);
}

#[test]
fn what_an_output_stands_for_is_what_the_loss_compares() {
    // ‖D − u‖² / c_out² by D of inference, row by row, with a weight of its own for each row.
    let dev = Cpu::seed_from_u64(3);
    let blocks = mathematics::<_, 4, f64>(DiffusionBlocks::<Regression>::default());
    let sigmas = [0.01, 0.4, 30.0];
    let host: Vec<f64> = sigmas.iter().map(|s| 0.25 * f64::ln(*s)).collect();
    let [u, noise, output] = [(); 3].map(|()| dev.sample_normal_like(&(3, 4)));
    let embedding: Matrix<f64, Cpu> = dev.zeros_like(&(1, 4));
    let weights = dev.tensor_from_vec(vec![1.0, 0.5, 2.0], (3,));
    let target =
        Target { u: u.clone(), one_hot: None, embedding: &embedding, weights: Some(weights) };
    let times = Some(Times { device: dev.tensor_from_vec(host.clone(), (3,)), host });
    let draw = Draw { target, noise: noise.clone(), end_noise: None, times };
    let forward: TracedForward<'_, f64, Cpu> = &mut |z| {
        let (_, tape) = z.split_tape();
        Ok(output.clone().put_tape(tape))
    };
    let loss = blocks.loss(1, draw, None, Gradients::leaky(), forward).unwrap();
    for (i, (sigma, weight)) in sigmas.into_iter().zip([1.0, 0.5, 2.0]).enumerate() {
        let row = |of: &Matrix<f64, Cpu>| {
            dev.tensor_from_vec(of.as_vec()[4 * i..4 * i + 4].to_vec(), (1, 4))
        };
        let z = row(&u) + row(&noise) * sigma;
        let [answer, estimate] =
            blocks.denoiser.estimate(sigma, &z, row(&output), &embedding).unwrap();
        assert_eq!(answer.as_vec(), estimate.as_vec());
        let out = blocks.denoiser.at(sigma).out;
        let error: f64 = (estimate - row(&u)).square().sum::<Rank0, _>().as_vec()[0];
        let (found, expected) = (loss.rows.as_vec()[i], weight * error / (out * out));
        assert!((found / expected - 1.0).abs() < 1e-9, "{sigma}: {found} and not {expected}");
    }
}

#[test]
fn a_perfect_denoiser_lands_on_the_distribution_at_the_next_level() {
    use rand::{Rng, SeedableRng};
    // u is −1, 0.5 or 2, with these probabilities and a spread of 0.1.
    const MIXTURE: [(f64, f64); 3] = [(-1.0, 0.2), (0.5, 0.5), (2.0, 0.3)];
    const SPREAD: f64 = 0.1;
    let variant = DiffusionBlocks::<Regression> {
        blocks: 2,
        noise: NoiseDistribution { sigma_min: 0.3, sigma_max: 2.0, ..Default::default() },
        solver: Solver { method: Method::Heun, steps: Steps::Fixed(40), save: Save::End },
        ..Default::default()
    };
    let blocks = mathematics::<_, 1, f64>(variant);
    let mean = |sigma: f64, z: f64| {
        let variance = sigma * sigma + SPREAD * SPREAD;
        let (mut weight, mut sum) = (0.0, 0.0);
        for (center, prior) in MIXTURE {
            let density = prior * (-(z - center).powi(2) / (2.0 * variance)).exp();
            weight += density;
            sum += density * (center + SPREAD * SPREAD / variance * (z - center));
        }
        sum / weight
    };
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    const N: usize = 20_000;
    let draw = |_| {
        let at: f64 = rng.r#gen();
        let center = if at < 0.2 {
            -1.0
        } else if at < 0.7 {
            0.5
        } else {
            2.0
        };
        let [a, b]: [f64; 2] = [(); 2].map(|()| rng.sample(rand_distr::StandardNormal));
        center + SPREAD * a + 2.0 * b
    };
    let mut z: Vec<f64> = (0..N).map(draw).collect();
    for t in [1, 2] {
        let estimate =
            |sigma: f64, z: &Vec<f64>| Ok(z.iter().map(|&z| mean(sigma, z)).collect::<Vec<f64>>());
        z = blocks.denoiser.pass(t, z, estimate).unwrap();
        // The largest distance between the distribution functions (Kolmogorov, Smirnov): above
        // 1.95/√n in one of 1,000 samples.
        let spread = blocks.parts.part(t)[0].hypot(SPREAD);
        let below = |z: f64| -> f64 {
            let one = |(center, prior): (f64, f64)| {
                prior * 0.5 * libm::erfc((center - z) / (spread * 2f64.sqrt()))
            };
            MIXTURE.into_iter().map(one).sum()
        };
        z.sort_by(f64::total_cmp);
        let gap = |(i, z): (usize, &f64)| (below(*z) - i as f64 / N as f64).abs();
        let largest = z.iter().enumerate().map(gap).fold(0.0, f64::max);
        assert!(largest < 1.95 / (N as f64).sqrt(), "after block {t}: {largest}");
    }
}

#[test]
fn sigma_data_follows_from_the_embedding() {
    let of_one_hot = mathematics::<_, 10, f64>(DiffusionBlocks::<OneHot>::default());
    assert!((of_one_hot.denoiser.sigma_data() - 0.1f64.sqrt()).abs() < 1e-15);
    let of_numbers = mathematics::<_, 4, f64>(DiffusionBlocks::<Regression>::default());
    assert_eq!(of_numbers.denoiser.sigma_data(), 1.0);
    let learned =
        DiffusionBlocks::<Learned<20>> { head: Learned { scale: 3.0 }, ..Default::default() };
    let learned = mathematics::<_, 50, f64>(learned);
    assert!((learned.denoiser.sigma_data() - 3.0).abs() < 0.2);
}

#[test]
fn rows_of_a_block_have_the_noise_of_its_span() {
    let blocks = mathematics::<_, 10, f64>(DiffusionBlocks::<OneHot>::default());
    for t in 1..=3 {
        let [lo, hi] = blocks.parts.span(t);
        let times = [1e-9, 0.5, 1.0 - 1e-9].map(|u| Objective::<f64, Cpu>::time(&*blocks, t, u));
        let [least, _, most] = times.map(|time| (4.0 * time).exp());
        assert!((least / lo - 1.0).abs() < 1e-3 && (most / hi - 1.0).abs() < 1e-2, "{t}");
    }
    let Transition::Denoiser(_) = ReverseProcess::<f64, Cpu>::transition(&*blocks) else {
        panic!("another transition");
    };
}

#[test]
fn settings_out_of_range_are_named() {
    let default = DiffusionBlocks::<OneHot>::default;
    let solver = |steps| Solver { steps, ..default().solver };
    let cases = [
        (DiffusionBlocks { blocks: 0, ..default() }, "DiffusionBlocks::blocks"),
        (DiffusionBlocks { overlap: 1.5, ..default() }, "DiffusionBlocks::overlap"),
        (DiffusionBlocks { sigma_data: Some(0.0), ..default() }, "DiffusionBlocks::sigma_data"),
        (
            DiffusionBlocks { sigma_data: Some(f64::NAN), ..default() },
            "DiffusionBlocks::sigma_data",
        ),
        (DiffusionBlocks { solver: solver(Steps::Fixed(0)), ..default() }, "Steps::Fixed"),
        (
            DiffusionBlocks { solver: solver(Steps::adaptive(1e-3, 1e-3)), ..default() },
            "DiffusionBlocks::solver",
        ),
        (
            DiffusionBlocks { sampler: Sampler::Stochastic { draws: 0, seed: 0 }, ..default() },
            "Sampler::Stochastic::draws",
        ),
    ];
    for (variant, setting) in cases {
        let error = Variant::<10, 6, f32, Cpu>::mathematics(&variant).err().unwrap().to_string();
        assert!(error.contains(setting), "{error} and not of {setting}");
    }
}
