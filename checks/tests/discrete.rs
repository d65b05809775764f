//! Discrete time: the formulas, the gradients, and what training promises.

mod common;

use common::{assert_close, blobs, golden, numbers};
use dfdx::{nn::BuildOnDevice, prelude::Rank2};
use dfdx_noprop::{
    block::{Borrowed, Inputs},
    nn::Takes,
    prelude::*,
    schedule::NoiseLevels,
};
use proptest::prelude::*;

// -- the schedule
// -------------------------------------------------------------------------------------------------

#[test]
fn schedule_agrees_with_the_golden_values() {
    let golden = golden();
    for case in golden["dt_schedule"].as_array().unwrap() {
        let blocks = case["T"].as_u64().unwrap() as usize;
        let given = Schedule::AlphaBar(numbers(&case["alpha_bar"]));
        let levels = given.levels(blocks).unwrap();
        let all = |f: &dyn Fn(usize) -> f64| (0..=blocks).map(f).collect::<Vec<_>>();
        let steps = |f: &dyn Fn(usize) -> f64| (1..=blocks).map(f).collect::<Vec<_>>();
        let check = |what: &str, found: Vec<f64>| {
            for (f, e) in found.iter().zip(numbers(&case[what])) {
                assert_close(what, &[*f], &[e], 1e-9);
            }
        };
        check("alpha", all(&|t| levels.alpha(t)));
        check("alpha_bar", all(&|t| levels.alpha_bar(t)));
        check("snr", all(&|t| levels.snr(t)));
        check("snr_increment", steps(&|t| levels.snr_increment(t)));
        check("a", steps(&|t| levels.a(t)));
        check("b", steps(&|t| levels.b(t)));
        check("c", steps(&|t| levels.c(t)));
        let u = numbers(&case["u"]);
        let squared: f64 = u.iter().map(|v| v * v).sum();
        check("kl_z0", vec![levels.kl(squared, u.len())]);
    }
}

/// The marginals that a posterior has to keep: of the mean, and of the variance.
fn assert_identities(levels: &NoiseLevels) {
    for t in 1..=levels.blocks() {
        let (a, b, c) = (levels.a(t), levels.b(t), levels.c(t));
        let mean = a + b * levels.alpha_bar(t - 1).sqrt();
        assert!((mean - levels.alpha_bar(t).sqrt()).abs() < 1e-12, "mean at {t}");
        let variance = b * b * (1.0 - levels.alpha_bar(t - 1)) + c;
        assert!((variance - (1.0 - levels.alpha_bar(t))).abs() < 1e-12, "variance at {t}");
        assert!(levels.snr_increment(t) >= 0.0 && c >= 0.0, "order at {t}");
    }
}

proptest! {
    #[test]
    fn identities_hold_for_any_schedule(mut given in prop::collection::vec(1e-4..0.9999f64, 2..40)) {
        given.sort_by(f64::total_cmp);
        let blocks = given.len() - 1;
        prop_assume!(given[blocks] > given[0]);
        assert_identities(&Schedule::AlphaBar(given).levels(blocks).unwrap());
    }
}

#[test]
fn identities_hold_for_the_named_schedules() {
    for blocks in [1, 2, 10, 100, 1000] {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let levels = schedule.levels(blocks).unwrap();
            assert_identities(&levels);
            assert!((levels.alpha_bar(0) - 0.001).abs() < 1e-12);
            assert!((levels.alpha_bar(blocks) - 0.999).abs() < 1e-12);
        }
    }
    // cos²(((1 − 5/10 + 0.008) / 1.008) π/2), by hand.
    let middle = Schedule::Cosine.levels(10).unwrap().alpha_bar(5);
    assert!((middle - 0.493_766_842_702_292_65).abs() < 1e-12, "{middle}");
}

#[test]
fn a_bad_schedule_says_what_is_wrong() {
    let message = |given: Vec<f64>| Schedule::AlphaBar(given).levels(2).unwrap_err().to_string();
    assert_eq!(
        message(vec![0.1, 0.9]),
        "Schedule::AlphaBar: expected 3 numbers, ᾱ_0 to ᾱ_T for T = 2 blocks, found 2"
    );
    assert_eq!(
        message(vec![0.1, 0.5, 0.4]),
        "Schedule::AlphaBar: expected numbers that never fall, found ᾱ_2 = 0.4 after 0.5"
    );
    assert_eq!(
        message(vec![0.1, f64::NAN, 0.4]),
        "Schedule::AlphaBar: expected numbers above 0 and below 1, found ᾱ_1 = NaN"
    );
    assert!(message(vec![0.4; 3]).contains("expected ᾱ_T above ᾱ_0"));
    assert!(Schedule::Cosine.levels(0).unwrap_err().to_string().contains("at least 1"));
}

// -- training
// -----------------------------------------------------------------------------------------------------

type Small = ConditionalResNetDt<3, 6, 16>;

fn small<H: Default>(seed: u64) -> DiscreteTime<H> {
    DiscreteTime { blocks: 5, seed, ..DiscreteTime::default() }
}

/// All weights of a model, block by block.
fn weights(model: &NoProp<DiscreteTime, Small, 3, 6>) -> Vec<Vec<f32>> {
    let flat = |b: &<Small as BuildOnDevice<AutoDevice, f32>>::Built| {
        [b.0.z.weight.as_vec(), b.0.x.weight.as_vec(), b.2.0.0.weight.as_vec(), b.3.bias.as_vec()]
            .concat()
    };
    model.blocks().iter().map(|block| flat(block.module())).collect()
}

#[test]
fn learns_what_can_be_learned() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(100, 1));
    let dev = AutoDevice::default();
    let mut model = NoProp::<_, Small, 3, 6>::new(&dev, small::<OneHot>(0)).unwrap();
    let before = model.evaluate(&test).unwrap();
    let reports = model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    let after = model.evaluate(&test).unwrap();
    assert!(after.accuracy > 0.97, "{} before, {} after", before.accuracy, after.accuracy);
    assert!(after.negative_log_likelihood < before.negative_log_likelihood / 4.0);
    assert!(reports[39].loss < reports[0].loss / 2.0);
    // The reports, against the model: the last block sees nearly clean targets.
    assert!(reports[39].blocks[4].accuracy > 0.97);
    let rows = &test.samples()[..5];
    for (class, probabilities) in
        model.predict(rows).unwrap().iter().zip(model.predict_proba(rows).unwrap())
    {
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(probabilities.iter().all(|p| *p <= probabilities[*class as usize]));
    }
}

#[test]
fn labels_do_not_leak_into_evaluation() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(600, 1));
    let mut model =
        NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(0)).unwrap();
    model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.97);
    // With the inputs shuffled among the rows 1/3 is chance: five standard deviations at 600 rows
    // are 0.096.
    let chance = model.evaluate(&test.shuffled_inputs(2)).unwrap().accuracy;
    assert!((chance - 1.0 / 3.0).abs() < 0.096, "{chance}");
}

#[test]
fn weights_do_not_depend_on_threads() {
    let train = blobs::<3, 6>(70, 0);
    let run = |threads| {
        let mut model =
            NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(3)).unwrap();
        let fit =
            Fit { epochs: 3, batch_size: 16, threads: Some(threads), seed: 5, ..Fit::default() };
        model.fit(&train, &fit).unwrap();
        weights(&model)
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
    assert_eq!(one, run(64));
}

/// On few threads inputs are gathered once for all blocks, for a few steps at a time; on many, by
/// each block for itself.
#[test]
fn weights_do_not_depend_on_who_gathers_the_inputs() {
    const WIDE: usize = 4096;
    type Block = ConditionalResNetDt<3, WIDE, 4>;
    let train = blobs::<3, WIDE>(950, 0);
    let run = |threads| {
        let mut model =
            NoProp::<_, Block, 3, WIDE>::new(&AutoDevice::default(), small::<OneHot>(3)).unwrap();
        let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
        let fit = Fit {
            epochs: 1,
            batch_size: 200,
            threads: Some(threads),
            learning_rate,
            ..Fit::default()
        };
        let report = model.fit(&train, &fit).unwrap();
        let weights = model.blocks().iter().map(|block| block.module().0.x.weight.as_vec());
        (weights.collect::<Vec<_>>(), format!("{:?}", report[0].blocks))
    };
    let one = run(1);
    for threads in [2, 5] {
        let other = run(threads);
        assert_eq!(one.1, other.1, "{threads} threads");
        assert!(one.0 == other.0, "{threads} threads");
    }
}

#[test]
fn a_learned_embedding_does_not_depend_on_threads() {
    let train = blobs::<3, 6>(70, 0);
    type Block = ConditionalResNetDt<8, 6, 16, 3>;
    let run = |threads| {
        let dev = AutoDevice::default();
        let mut model = NoProp::<_, Block, 8, 6>::new(&dev, small::<Learned<3>>(3)).unwrap();
        let start = model.embedding();
        let fit =
            Fit { epochs: 20, batch_size: 16, threads: Some(threads), seed: 5, ..Fit::default() };
        model.fit(&train, &fit).unwrap();
        assert_ne!(start, model.embedding());
        assert!(model.evaluate(&train).unwrap().accuracy > 0.9);
        model.embedding()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
}

#[test]
fn another_seed_gives_other_weights() {
    let train = blobs::<3, 6>(40, 0);
    let run = |weights_seed, fit_seed| {
        let mut model =
            NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(weights_seed))
                .unwrap();
        model.fit(&train, &Fit { epochs: 1, seed: fit_seed, ..Fit::default() }).unwrap();
        weights(&model)
    };
    let reference = run(0, 0);
    assert_eq!(reference, run(0, 0));
    assert_ne!(reference, run(1, 0));
    assert_ne!(reference, run(0, 1));
    // No two blocks are alike either.
    assert_ne!(reference[0], reference[1]);
}

#[test]
fn no_gradient_reaches_another_block() {
    let dev = AutoDevice::default();
    let mut model = NoProp::<DiscreteTime, Small, 3, 6>::new(&dev, small::<OneHot>(0)).unwrap();
    let z: Tensor<(usize, Const<3>), f32, _> = dev.sample_normal_like(&(4, Const));
    let x: Tensor<(usize, Const<6>), f32, _> = dev.sample_normal_like(&(4, Const));
    let blocks = model.blocks_mut();
    let mut plan = Small::lower(Borrowed::Mutable(blocks[2].module_mut())).unwrap();
    let inputs = Inputs {
        z: z.leaky_trace().reshape_like(&(4, 3)),
        x: x.clone().reshape_like(&(4, 6)),
        t: None,
    };
    let output = inputs.through(&mut plan);
    drop(plan);
    let mut gradients = output.unwrap().square().mean().backward();
    for (i, block) in blocks.iter().enumerate() {
        let layer = &block.module().0.x.weight;
        gradients.get_or_alloc_mut(layer).unwrap();
        let zero = gradients.get(layer).as_vec().iter().all(|g| *g == 0.0);
        assert_eq!(zero, i != 2, "block {}", i + 1);
    }
    // And a step of one block leaves the others as they are, bit for bit.
    let before = weights(&model);
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(0);
    model.train_step(3, (z, x), |output| output.try_square()?.try_mean(), &mut rng).unwrap();
    for (i, (before, after)) in before.iter().zip(weights(&model)).enumerate() {
        assert_eq!(before == &after, i != 2, "block {}", i + 1);
    }
}

#[test]
fn the_last_partial_batch_counts() {
    let train = blobs::<3, 6>(37, 0);
    let run = |data: &Dataset<6, Labels<3>>| {
        let mut model =
            NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(0)).unwrap();
        let reports = model.fit(data, &Fit { epochs: 1, batch_size: 9, ..Fit::default() }).unwrap();
        (reports[0].rows, reports[0].steps, model.evaluate(data).unwrap().rows, model.steps())
    };
    assert_eq!(run(&train), (37, 5, 37, 5));
    // More rows than inference takes at once, and not a multiple of them.
    let many = blobs::<3, 6>(600, 0);
    let model = NoProp::<DiscreteTime, Small, 3, 6>::new(&AutoDevice::default(), small(0)).unwrap();
    let together = model.predict_proba(many.samples()).unwrap();
    assert_eq!(together.len(), 600);
    let alone = model.predict_proba(&many.samples()[599..]).unwrap()[0];
    for (a, b) in together[599].iter().zip(alone) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn prototypes_of_the_data_can_be_targets() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(100, 1));
    let head = Prototypes::medoids(&train, 100).unwrap();
    // Each prototype is a row of its class.
    for (c, prototype) in head.rows().chunks(6).enumerate() {
        let is = |row: usize| train.input(row).iter().zip(prototype).all(|(a, b)| *a as f64 == *b);
        let row = (0..train.rows()).find(|&row| is(row)).unwrap();
        assert_eq!(train.targets().as_slice()[row] as usize, c);
    }
    type Block = ConditionalResNetDt<6, 6, 16, 3>;
    let variant = DiscreteTime {
        head,
        blocks: 5,
        eta: 0.1,
        schedule: Schedule::Cosine,
        cross_entropy: 1.0,
        preconditioned: true,
        sampler: Sampler::Deterministic,
        reverse_variance: ReverseVariance::Optimal,
        probabilities: Probabilities::Mean,
        optimizer: AdamW::default().into(),
        estimator: Estimator::Local,
        seed: 0,
    };
    let mut model = NoProp::<_, Block, 6, 6>::new(&AutoDevice::default(), variant).unwrap();
    model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.97);
    // A draw of the latent lies nearest to the prototype of the row's class.
    let draws = model.sample(&test.samples()[..50], 1, 3).unwrap().concat();
    let nearest = |z: &[f32; 6]| {
        let head = &model.variant().head;
        let distance =
            |p: &[f64]| -> f64 { z.iter().zip(p).map(|(a, b)| (*a as f64 - b).powi(2)).sum() };
        let distances: Vec<f64> = head.rows().chunks(6).map(distance).collect();
        (0..3).min_by(|a, b| distances[*a].total_cmp(&distances[*b])).unwrap() as u32
    };
    let right = draws.iter().zip(test.targets().as_slice()).filter(|(z, y)| nearest(z) == **y);
    assert!(right.count() >= 46);
}

#[test]
fn numbers_can_be_targets_in_f64() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    let x: Vec<f64> = (0..400).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let u: Vec<f64> = x.chunks(2).flat_map(|x| [x[0] - 0.5 * x[1], (2.0 * x[0]).sin()]).collect();
    let data = Dataset::<2, Values<2, f64>, f64>::new(x, Values::new(u).unwrap()).unwrap();
    type Block = ConditionalResNetDt<2, 2, 32>;
    let variant = DiscreteTime {
        blocks: 4,
        optimizer: AdamW { learning_rate: 1e-2, ..AdamW::default() }.into(),
        ..DiscreteTime::default()
    };
    let mut model =
        NoProp::<DiscreteTime<Regression>, Block, 2, 2, f64>::new(&AutoDevice::default(), variant)
            .unwrap();
    model.fit(&data, &Fit { epochs: 150, batch_size: 32, ..Fit::default() }).unwrap();
    let errors = model.evaluate(&data).unwrap();
    assert!(errors.r_squared > 0.97, "{errors:?}");
    // The report, against its definition.
    let predicted = model.predict(data.samples()).unwrap();
    let truth = data.targets().as_slice();
    let sum: f64 = predicted.as_flattened().iter().zip(truth).map(|(a, b)| (a - b).powi(2)).sum();
    assert!((errors.mean_squared_error - sum / 400.0).abs() < 1e-12);
}

#[test]
fn a_stochastic_sampler_averages_draws() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(200, 1));
    let sampler = Sampler::Stochastic { draws: 8, seed: 1 };
    let variant = DiscreteTime { sampler, ..small::<OneHot>(0) };
    let mut model = NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), variant).unwrap();
    let start = model.predict_proba(test.samples()).unwrap();
    assert_eq!(start, model.predict_proba(test.samples()).unwrap());
    let deterministic =
        NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(0)).unwrap();
    assert_ne!(start, deterministic.predict_proba(test.samples()).unwrap());
    model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.97);
}

/// û = W z + V x with weights of its own: a module written by hand, without any layer of the crate.
#[derive(Clone, Debug)]
struct HandBuilt<E: dfdx::prelude::Dtype, D: dfdx::prelude::Storage<E>> {
    w: Tensor<Rank2<3, 3>, E, D>,
    v: Tensor<Rank2<6, 3>, E, D>,
    b: Tensor<Rank1<3>, E, D>,
}

#[derive(Clone, Debug)]
struct Hand;

mod hand {
    use super::*;

    impl BuildOnDevice<AutoDevice, f32> for Hand {
        type Built = HandBuilt<f32, AutoDevice>;
    }

    impl<E: Dtype, D: Device<E>> TensorCollection<E, D> for HandBuilt<E, D> {
        type To<E2: Dtype, D2: Device<E2>> = HandBuilt<E2, D2>;

        fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
            visitor: &mut V,
        ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
            visitor.visit_fields(
                (
                    Self::tensor("w", |s| &s.w, |s| &mut s.w, TensorOptions::reset_to_zeros()),
                    Self::tensor("v", |s| &s.v, |s| &mut s.v, TensorOptions::reset_to_zeros()),
                    Self::tensor("b", |s| &s.b, |s| &mut s.b, TensorOptions::reset_to_zeros()),
                ),
                |(w, v, b)| HandBuilt { w, v, b },
            )
        }
    }

    impl NonMutableModule for HandBuilt<f32, AutoDevice> {}

    impl<T: Tape<f32, AutoDevice>>
        Module<(
            Tensor<(usize, Const<3>), f32, AutoDevice, T>,
            Tensor<(usize, Const<6>), f32, AutoDevice>,
        )> for HandBuilt<f32, AutoDevice>
    {
        type Output = Tensor<(usize, Const<3>), f32, AutoDevice, T>;
        type Error = <AutoDevice as HasErr>::Err;

        fn try_forward(
            &self,
            (z, x): (
                Tensor<(usize, Const<3>), f32, AutoDevice, T>,
                Tensor<(usize, Const<6>), f32, AutoDevice>,
            ),
        ) -> Result<Self::Output, <AutoDevice as HasErr>::Err> {
            let shape = *z.shape();
            let z = z.try_matmul(self.w.retaped::<T>())?;
            let x = x.put_tape(T::default()).try_matmul(self.v.retaped::<T>())?;
            z.try_add(x)?.try_add(self.b.retaped::<T>().try_broadcast_like(&shape)?)
        }
    }
}

#[test]
fn a_module_written_by_hand_trains() {
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(100, 1));
    type Block = Custom<Hand, Pair<3, 6>, Width<3>>;
    let variant = DiscreteTime {
        optimizer: Sgd { learning_rate: 0.05, ..Sgd::default() }.into(),
        ..small::<OneHot>(0)
    };
    let mut model = NoProp::<_, Block, 3, 6>::new(&AutoDevice::default(), variant).unwrap();
    assert_eq!(model.parameters(), 5 * (9 + 18 + 3));
    model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.97);
}

#[test]
fn several_hidden_widths_make_a_type() {
    type Block = dfdx_noprop::conditional_resnet_dt!(3, 6, [16, 24, 8]);
    let mut model =
        NoProp::<_, Block, 3, 6>::new(&AutoDevice::default(), small::<OneHot>(0)).unwrap();
    // Condition, three residual blocks, two layers between, the last layer.
    let dense = |i: usize, o: usize| (i + 1) * o;
    let expected = dense(3, 16)
        + dense(6, 16)
        + 2 * dense(16, 16)
        + dense(16, 24)
        + 2 * dense(24, 24)
        + dense(24, 8)
        + 2 * dense(8, 8)
        + dense(8, 3);
    assert_eq!(model.parameters(), 5 * expected);
    let (train, test) = (blobs::<3, 6>(300, 0), blobs::<3, 6>(100, 1));
    model.fit(&train, &Fit { epochs: 40, ..Fit::default() }).unwrap();
    assert!(model.evaluate(&test).unwrap().accuracy > 0.97);
}

// -- bad input
// ----------------------------------------------------------------------------------------------------

#[test]
fn bad_settings_say_what_is_wrong() {
    let message = |variant: DiscreteTime| {
        let result = NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), variant);
        result.err().map(|e: Error| e.to_string()).unwrap_or_default()
    };
    let base = DiscreteTime::default;
    assert_eq!(
        message(DiscreteTime { blocks: 0, ..base() }),
        "DiscreteTime::blocks: expected at least 1, found 0"
    );
    assert_eq!(
        message(DiscreteTime { eta: -1.0, ..base() }),
        "DiscreteTime::eta: expected a finite number, 0 or more, found -1"
    );
    assert!(message(DiscreteTime { eta: 0.0, cross_entropy: 0.0, ..base() }).contains("nothing"));
    let optimizer = AdamW { beta2: 1.0, ..AdamW::default() }.into();
    assert_eq!(
        message(DiscreteTime { optimizer, ..base() }),
        "AdamW::beta2: expected a number from 0 to below 1, found 1"
    );
    let optimizer = Sgd { learning_rate: f64::NAN, ..Sgd::default() }.into();
    assert!(message(DiscreteTime { optimizer, ..base() }).starts_with("Sgd::learning_rate"));
    let sampler = Sampler::Stochastic { draws: 0, seed: 0 };
    assert!(message(DiscreteTime { sampler, ..base() }).contains("draws"));
}

#[test]
fn bad_calls_say_what_is_wrong() {
    let dev = AutoDevice::default();
    let mut model = NoProp::<_, Small, 3, 6>::new(&dev, small::<OneHot>(0)).unwrap();
    let train = blobs::<3, 6>(10, 0);
    let fit = |model: &mut NoProp<DiscreteTime, Small, 3, 6>, data, fit: Fit| {
        model.fit(data, &fit).unwrap_err().to_string()
    };
    assert!(
        fit(&mut model, &train, Fit { batch_size: 0, ..Fit::default() }).contains("batch_size")
    );
    assert!(
        fit(&mut model, &train, Fit { threads: Some(0), ..Fit::default() }).contains("threads")
    );
    let empty = train.select(&[]);
    assert!(fit(&mut model, &empty, Fit::default()).contains("at least one row"));
    assert!(model.evaluate(&empty).unwrap_err().to_string().contains("at least one row"));
    assert!(model.predict(&[]).unwrap().is_empty());

    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(0);
    let z = |rows: usize| dev.sample_normal_like::<_>(&(rows, Const::<3>));
    let x = |rows: usize| dev.sample_normal_like::<_>(&(rows, Const::<6>));
    type Out = Tensor<(usize, Const<3>), f32, AutoDevice, OwnedTape<f32, AutoDevice>>;
    let loss = |output: Out| output.try_square()?.try_mean();
    let mut step = |t, z, x| model.train_step(t, (z, x), loss, &mut rng);
    let message = step(6, z(2), x(2)).unwrap_err().to_string();
    assert_eq!(message, "NoProp::train_step: expected a block from 1 to 5, found 6");
    assert!(step(0, z(2), x(2)).is_err());
    let message = step(1, z(2), x(3)).unwrap_err().to_string();
    assert!(message.ends_with("found 2 and 3"), "{message}");
    assert!(step(1, z(0), x(0)).is_err());
}

#[test]
fn a_loss_that_is_not_finite_ends_training_and_leaves_the_block() {
    let train = blobs::<3, 6>(40, 0);
    let optimizer = Sgd { learning_rate: 1e30, momentum: 0.0, ..Sgd::default() }.into();
    let variant = DiscreteTime { optimizer, ..small::<OneHot>(0) };
    let mut model = NoProp::<_, Small, 3, 6>::new(&AutoDevice::default(), variant).unwrap();
    let fit = Fit { epochs: 5, batch_size: 8, ..Fit::default() };
    let error = model.fit(&train, &fit).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 2.., .. }), "{error}");
    assert!(error.to_string().contains("smaller learning rate"));
}
