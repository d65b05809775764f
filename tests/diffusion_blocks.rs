//! Blocks by noise level: what training promises, and what answers promise.

mod common;

use common::{blobs, weights};
use dfdx_noprop::{
    distributed::{Communicator, Settings},
    gradient::{ActivityNoise, WeightNoise},
    prelude::*,
    solver::Steps,
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

type Block = ConditionalResNetCt<3, 4, 16>;
type Model<H = OneHot> = NoProp<DiffusionBlocks<H>, Block, 3, 4>;
type Digits = NoProp<DiffusionBlocks, ConditionalResNetCt<10, 64, 128>, 10, 64>;

fn device() -> AutoDevice {
    AutoDevice::default()
}

fn model(variant: DiffusionBlocks) -> Model {
    Model::new(&device(), variant).unwrap()
}

fn fit(epochs: usize) -> Fit {
    Fit { epochs, batch_size: 32, ..Fit::default() }
}

#[test]
fn three_blocks_learn_the_digits() {
    let digits = data::digits().unwrap();
    let mut model = Digits::new(&device(), DiffusionBlocks::default()).unwrap();
    model.fit(&digits.train, &Fit { epochs: 30, ..Fit::default() }).unwrap();
    let report = model.evaluate(&digits.test).unwrap();
    assert!(report.accuracy >= 0.97, "{}", report.accuracy);
    assert_eq!(report.network_calls, 3.0);
    let along = model.evaluate_along(&digits.test).unwrap();
    let times: Vec<f64> = along.iter().map(|point| point.t).collect();
    assert_eq!(times, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    assert_eq!(along.iter().map(|point| point.calls).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    // What a noised target says of the class alone is not learned by heart: x decides.
    let mut rows: Vec<[f32; 64]> = digits.test.samples().to_vec();
    rows.shuffle(&mut StdRng::seed_from_u64(1));
    let labels = digits.test.targets().as_slice();
    let right = model.predict(&rows).unwrap().iter().zip(labels).filter(|(a, b)| a == b).count();
    let share = right as f64 / labels.len() as f64;
    assert!((share - 0.1).abs() < 0.06, "{share} with the inputs of others");
}

#[test]
fn the_steps_of_a_block_touch_no_other() {
    // Blocks are trained on the same rows in the same order, so a model of which one block has
    // another learning problem (its own part of the noise) differs in that block alone.
    let data = blobs::<3, 4>(120, 1);
    let edges = |first: f64| DiffusionBlocks {
        partition: Partition::Edges(vec![first, 0.6]),
        overlap: 0.0,
        ..DiffusionBlocks::default()
    };
    let trained = |variant| {
        let mut model = model(variant);
        model.fit(&data, &fit(3)).unwrap();
        let blocks = model.blocks().iter();
        blocks.map(|block| weights(block.module())).collect::<Vec<Vec<f32>>>()
    };
    let (a, b) = (trained(edges(0.2)), trained(edges(0.3)));
    assert_eq!(a[0], b[0], "the block with the most noise");
    assert!(a[1] != b[1] && a[2] != b[2]);
}

#[test]
fn any_number_of_threads_and_ranks_gives_the_same_bits() {
    let data = blobs::<3, 4>(150, 1);
    let variant = DiffusionBlocks {
        solver: Solver { method: Method::Heun, steps: Steps::Fixed(2), save: Save::End },
        ..DiffusionBlocks::default()
    };
    let run = |threads| {
        let mut model = model(variant.clone());
        model.fit(&data, &Fit { threads: Some(threads), ..fit(2) }).unwrap();
        model
    };
    let one = run(1);
    let of = |model: &Model| -> Vec<Vec<f32>> {
        model.blocks().iter().map(|block| weights(block.module())).collect()
    };
    assert_eq!(of(&one), of(&run(3)));
    let expected = (one.predict_proba(data.samples()).unwrap(), one.sample(data.samples(), 5));
    let ranks = Communicator::threads(2, Settings::default()).unwrap();
    std::thread::scope(|scope| {
        let rank = |communicator: Communicator| {
            let (data, variant) = (&data, variant.clone());
            scope.spawn(move || {
                let mut model =
                    Model::distributed(&Cpu::default(), variant, &communicator).unwrap();
                model.fit(data, &Fit { threads: Some(1), ..fit(2) }).unwrap();
                let rows = data.samples();
                let along = model.evaluate_along(data).unwrap();
                (model.predict_proba(rows).unwrap(), model.sample(rows, 5), along)
            })
        };
        let threads: Vec<_> = ranks.into_iter().map(rank).collect();
        for thread in threads {
            let (answers, samples, along) = thread.join().unwrap();
            assert_eq!(answers, expected.0);
            assert_eq!(samples.unwrap(), *expected.1.as_ref().unwrap());
            assert_eq!(along, one.evaluate_along(&data).unwrap());
            assert_eq!(along.last().unwrap().calls, 12.0);
        }
    });
}

#[test]
fn stacked_blocks_have_the_weights_of_blocks_one_by_one() {
    let data = blobs::<3, 4>(150, 1).to_dtype::<f64>();
    type Double = NoProp<DiffusionBlocks, Block, 3, 4, f64>;
    let run = |stacked, late| {
        let mut model = Double::new(&device(), DiffusionBlocks::default()).unwrap();
        model.set_stacked(stacked);
        model.set_late_reports(late);
        model.fit(&data, &fit(3)).unwrap();
        assert_eq!(model.is_stacked(), stacked);
        let blocks = model.blocks().iter();
        blocks.flat_map(|block| weights(block.module())).collect::<Vec<f64>>()
    };
    let one_by_one = run(false, false);
    common::assert_close("stacked", &run(true, false), &one_by_one, 1e-9);
    common::assert_close("late", &run(false, true), &one_by_one, 1e-9);
}

#[test]
fn a_learned_embedding_moves_and_prototypes_do_not() {
    let data = blobs::<3, 4>(200, 1);
    let mut learned = Model::<Learned<3>>::new(
        &device(),
        DiffusionBlocks::default().with_head(Learned::default()),
    )
    .unwrap();
    let before = learned.embedding();
    learned.fit(&data, &fit(20)).unwrap();
    assert_ne!(learned.embedding(), before);
    assert!(learned.evaluate(&data).unwrap().accuracy > 0.95);
    let rows = [[1f32, 0.0, 0.5], [0.0, 2.0, 0.0], [0.3, 0.0, 1.0]];
    let head = Prototypes::new(&rows.map(|row| row.map(f64::from))).unwrap();
    let variant = DiffusionBlocks::default().with_head(head);
    let mut given = Model::<Prototypes<3, 3>>::new(&device(), variant).unwrap();
    given.fit(&data, &fit(20)).unwrap();
    assert_eq!(given.embedding(), rows.as_flattened());
    assert!(given.evaluate(&data).unwrap().accuracy > 0.95);
    // Where z ends is near an embedding.
    let ends = given.sample(&data.samples()[..50], 3).unwrap();
    let near = |end: &[f32; 3]| {
        let far = |row: &[f32; 3]| row.iter().zip(end).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        rows.iter().map(far).fold(f32::MAX, f32::min).sqrt()
    };
    let mean = ends.iter().map(near).sum::<f32>() / 50.0;
    assert!(mean < 0.1, "{mean}");
}

#[test]
fn numbers_are_predicted_and_one_block_is_enough() {
    // y = (x₀ x₁, x₀ − x₂, 0.5 x₃) of standard normal x, about standardised.
    use rand::Rng;
    let mut rng = StdRng::seed_from_u64(2);
    let x: Vec<[f32; 4]> =
        (0..2000).map(|_| [(); 4].map(|()| rng.sample(rand_distr::StandardNormal))).collect();
    let y = x.iter().flat_map(|x| [x[0] * x[1], 0.7 * (x[0] - x[2]), x[3]]).collect();
    let data = Dataset::new(x.concat(), Values::<3>::new(y).unwrap()).unwrap();
    // One step alone would call the one block at σ_max, where it was hardly trained.
    for (blocks, steps) in [(1, 4), (3, 1)] {
        let solver = Solver { method: Method::Euler, steps: Steps::Fixed(steps), save: Save::End };
        let variant = DiffusionBlocks { blocks, solver, ..DiffusionBlocks::default() };
        let variant = variant.with_head(Regression);
        type Net = ConditionalResNetCt<3, 4, 64>;
        let mut model = NoProp::<_, Net, 3, 4>::new(&device(), variant).unwrap();
        model.fit(&data, &Fit { epochs: 60, ..fit(0) }).unwrap();
        let report = model.evaluate(&data).unwrap();
        assert!(report.r_squared > 0.98, "{blocks}: {}", report.r_squared);
        let predictor = model.predictor().unwrap();
        let rows = &data.samples()[..9];
        assert_eq!(predictor.predict(rows).unwrap(), model.predict(rows).unwrap());
    }
}

#[test]
fn estimators_without_derivatives_learn() {
    let data = blobs::<3, 4>(300, 1);
    let estimators: [Estimator; 2] = [
        WeightNoise { directions: 8, ..WeightNoise::default() }.into(),
        ActivityNoise { directions: 4, ..ActivityNoise::default() }.into(),
    ];
    for estimator in estimators {
        let mut model = model(DiffusionBlocks { estimator, ..DiffusionBlocks::default() });
        let before = model.evaluate(&data).unwrap().accuracy;
        model.set_optimizer(AdamW { learning_rate: 5e-3, ..AdamW::default() }).unwrap();
        model.fit(&data, &fit(30)).unwrap();
        let after = model.evaluate(&data).unwrap().accuracy;
        assert!(after > 0.9 && after > before, "{estimator:?}: {before} and then {after}");
    }
}

#[test]
fn more_steps_change_little_and_noise_needs_its_seed() {
    let data = blobs::<3, 4>(300, 1);
    let mut model = model(DiffusionBlocks::default());
    model.fit(&data, &fit(20)).unwrap();
    let plain = model.evaluate(&data).unwrap();
    for (method, steps, calls) in [(Method::Euler, 4, 12.0), (Method::Heun, 3, 18.0)] {
        let solver = Solver { method, steps: Steps::Fixed(steps), save: Save::End };
        model.set_solver(solver).unwrap();
        let report = model.evaluate(&data).unwrap();
        assert_eq!(report.network_calls, calls);
        assert!((report.accuracy - plain.accuracy).abs() < 0.02, "{}", report.accuracy);
    }
    let rows = data.samples();
    model.set_sampler(Sampler::Stochastic { draws: 2, seed: 1 }).unwrap();
    let noisy = model.predict_proba(rows).unwrap();
    assert_eq!(model.evaluate(&data).unwrap().network_calls, 36.0);
    assert_eq!(noisy, model.predict_proba(rows).unwrap());
    model.set_sampler(Sampler::Stochastic { draws: 2, seed: 2 }).unwrap();
    assert_ne!(noisy, model.predict_proba(rows).unwrap());
    let solver = Solver { steps: Steps::adaptive(1e-2, 1e-2), ..Solver::default() };
    let error = model.set_solver(solver).unwrap_err().to_string();
    assert!(error.contains("DiffusionBlocks::solver"), "{error}");
    assert_eq!(model.variant().solver.steps, Steps::Fixed(3));
}

#[test]
fn a_partition_by_information_is_that_of_the_embedding() {
    let model = model(DiffusionBlocks {
        blocks: 4,
        partition: Partition::EqualInformation,
        ..DiffusionBlocks::default()
    });
    let embedding = model.embedding();
    let shares = model.noise_parts().information(embedding.as_chunks::<3>().0).unwrap();
    for (i, share) in shares.iter().enumerate() {
        assert!((share - (1.0 - i as f64 / 4.0)).abs() < 0.01, "{i}: {share}");
    }
    let error = NoProp::<DiffusionBlocks<Regression>, Block, 3, 4>::new(
        &device(),
        DiffusionBlocks { partition: Partition::EqualInformation, ..DiffusionBlocks::default() },
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("DiffusionBlocks::partition"), "{error}");
}

#[cfg(feature = "checkpoint")]
#[test]
fn a_stopped_run_goes_on_from_its_checkpoint_bit_for_bit() {
    let (data, folder) = (blobs::<3, 4>(100, 1), tempfile::tempdir().unwrap());
    let path = folder.path().join("blocks.safetensors");
    let variant = DiffusionBlocks {
        partition: Partition::EqualInformation,
        sigma_data: Some(0.4),
        ..DiffusionBlocks::default()
    };
    let mut whole = model(variant.clone());
    whole.fit(&data, &fit(4)).unwrap();
    let mut first = model(variant.clone());
    first.fit(&data, &Fit { step_limit: Some(7), ..fit(4) }).unwrap();
    first.save(&path).unwrap();
    let mut second = Model::from_checkpoint(&device(), &path).unwrap();
    assert_eq!(*second.variant(), variant);
    second.fit(&data, &fit(4)).unwrap();
    for (a, b) in whole.blocks().iter().zip(second.blocks()) {
        assert_eq!(weights(a.module()), weights(b.module()));
    }
    // Another partition is another loss; another solver is another way to answer.
    let other = DiffusionBlocks { partition: Partition::EqualProbability, ..variant.clone() };
    let error = model(other).load(&path).unwrap_err().to_string();
    assert!(error.contains("partition"), "{error}");
    model(DiffusionBlocks { solver: Solver::default(), ..variant }).load(&path).unwrap();
}
