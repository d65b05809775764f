//! Blocks on several ranks: the same weights as in one process, nothing sent in vain, and no rank
//! waits for ever.
#![cfg(feature = "checkpoint")]

mod common;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use common::{blobs, weights};
use dfdx_noprop::{
    checkpoint::Contents,
    distributed::{self, Communicator, Settings},
    head::{Head, SuitsHead},
    nn::Denoises,
    prelude::*,
    train::{Checkpoints, Ended, Every},
    variant::Variant,
};

const PATIENT: Settings =
    Settings { time_out: Duration::from_secs(60), rows: distributed::Rows::All };

/// What each of `n` ranks answers.
fn ranks<T: Send>(n: usize, settings: Settings, work: impl Fn(Communicator) -> T + Sync) -> Vec<T> {
    let all = Communicator::threads(n, settings).unwrap();
    std::thread::scope(|scope| {
        let start = |one| scope.spawn(|| work(one));
        let threads: Vec<_> = all.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

type Block = ConditionalResNetDt<3, 4, 8>;
type Dt<H = OneHot, E = f32> = NoProp<DiscreteTime<H>, Block, 3, 4, E, Cpu>;

fn dt<H: Default>(blocks: usize) -> DiscreteTime<H> {
    DiscreteTime { blocks, ..DiscreteTime::default() }
}

fn two_epochs() -> Fit {
    Fit { epochs: 2, batch_size: 16, threads: Some(2), average: Some(0.9), ..Fit::default() }
}

fn rows() -> Dataset<4, Labels<3>> {
    // No whole number of batches, and of jobs of inference.
    blobs(301, 1)
}

/// All that a model says of some rows.
type Answers = (Vec<u32>, Vec<[f32; 3]>, Vec<Vec<[f32; 3]>>, f64, Vec<(f64, f64)>);

fn answers(model: &Dt, data: &Dataset<4, Labels<3>>) -> Answers {
    let samples = data.samples();
    let along = model.evaluate_along(data).unwrap();
    (
        model.predict(samples).unwrap(),
        model.predict_proba(samples).unwrap(),
        model.sample(samples, 2, 5).unwrap(),
        model.evaluate(data).unwrap().negative_log_likelihood,
        along.iter().map(|point| (point.calls, point.evaluation.loss())).collect(),
    )
}

#[test]
fn blocks_on_any_number_of_ranks_are_those_of_one_process() {
    let (data, test) = (rows(), blobs(2_500, 2));
    let mut alone = Dt::<OneHot>::new(&Cpu::default(), dt(5)).unwrap();
    let epochs = alone.fit(&data, &two_epochs()).unwrap();
    let expected = answers(&alone, &test);
    alone.set_sampler(Sampler::Stochastic { draws: 3, seed: 7 }).unwrap();
    let noisy = alone.predict_proba(test.samples()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    alone.save(folder.path().join("alone")).unwrap();
    alone.export(folder.path().join("weights alone")).unwrap();
    for n in 1..=5 {
        let all = ranks(n, PATIENT, |communicator| {
            let dev = Cpu::default();
            let mut model = Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap();
            let reports = model.fit(&data, &two_epochs()).unwrap();
            assert_eq!(communicator.traffic().training, 0, "bytes between blocks");
            assert_eq!(communicator.traffic().evaluation, 0);
            assert_eq!(reports.len(), 2);
            for (report, expected) in reports.iter().zip(&epochs) {
                assert_eq!(report.blocks, expected.blocks, "{n} ranks");
                assert_eq!((report.loss, report.rows), (expected.loss, expected.rows));
            }
            for block in model.blocks() {
                let same = weights(alone.blocks()[block.t() - 1].module());
                assert_eq!(weights(block.module()), same, "block {} on {n} ranks", block.t());
            }
            assert_eq!(answers(&model, &test), expected, "{n} ranks");
            model.set_sampler(Sampler::Stochastic { draws: 3, seed: 7 }).unwrap();
            assert_eq!(model.predict_proba(test.samples()).unwrap(), noisy, "{n} ranks");
            model.save(folder.path().join(n.to_string())).unwrap();
            model.export(folder.path().join(format!("weights {n}"))).unwrap();
            model.blocks().len()
        });
        assert_eq!(all.iter().sum::<usize>(), 5, "{n} ranks");
        assert!(all.iter().all(|&own| own <= 5usize.div_ceil(n)), "memory falls as 1/n: {all:?}");
        for (found, expected) in
            [(n.to_string(), "alone"), (format!("weights {n}"), "weights alone")]
        {
            let read = |name: &str| Contents::read(&folder.path().join(name)).unwrap();
            let (mut found, mut expected) = (read(&found), read(expected));
            // A long double's last bit apart, the text is the same too; tensors are, to the bit.
            found.metadata.remove("settings");
            expected.metadata.remove("settings");
            assert_eq!(found, expected, "{n} ranks");
        }
    }
}

#[test]
fn a_learned_embedding_is_that_of_one_process() {
    let data = rows();
    let mut alone = Dt::<Learned<3>>::new(&Cpu::default(), dt(3)).unwrap();
    alone.fit(&data, &two_epochs()).unwrap();
    for n in [2, 3] {
        ranks(n, PATIENT, |communicator| {
            let dev = Cpu::default();
            let mut model = Dt::<Learned<3>>::distributed(&dev, dt(3), &communicator).unwrap();
            model.fit(&data, &two_epochs()).unwrap();
            assert_eq!(model.embedding(), alone.embedding(), "{n} ranks");
            for block in model.blocks() {
                assert_eq!(
                    weights(block.module()),
                    weights(alone.blocks()[block.t() - 1].module())
                );
            }
            assert!(communicator.traffic().training > 0);
        });
    }
}

/// Trains `V` in one process and on each number of ranks, where blocks have replicas; the weights
/// agree within rounding, and those of replicas to the bit.
fn replicas<V, M>(variant: V, data: &Dataset<4, Labels<3>, f64>, numbers: &[usize])
where
    V: Variant<3, 4, f64, Cpu>,
    V::Head: Head<3, f64, Targets = Labels<3>>,
    M: Denoises<V::Input, f64, Cpu>,
    M::Gives: SuitsHead<V::Reader, 3, f64, Cpu>,
    Cpu: Runs<V, M, 3, 4, f64>,
{
    let dev = Cpu::default();
    let fit = Fit {
        clip: Some(0.5),
        class_weights: V::Head::CLASSES.then(|| vec![1.0, 0.5, 2.0]),
        ..two_epochs()
    };
    let train = |mut model: NoProp<V, M, 3, 4, f64, Cpu>| {
        // What is done to a batch is the same for all of it, whoever learns from it.
        let hook = |batch: &mut dfdx_noprop::train::Batch<V, 3, 4, f64, _>, rng: &mut _| {
            let by: f64 = rand::Rng::r#gen(rng);
            batch.inputs_mut().iter_mut().for_each(|row| row[0] += 0.1 * by);
        };
        let outcome = model.training(&fit).each_batch(hook).run(data).unwrap();
        let report = outcome.epochs[1].clone();
        let sums: Vec<f64> =
            report.blocks.iter().flat_map(|b| [b.denoising, b.gradient_norm, b.accuracy]).collect();
        let blocks: Vec<_> =
            model.blocks().iter().map(|block| (block.t(), weights(block.module()))).collect();
        let probabilities = model.predict(data.samples()).unwrap().len();
        assert_eq!(probabilities, data.rows());
        (blocks, model.embedding(), [sums, vec![report.loss]].concat())
    };
    let (alone, embedding, report) = train(NoProp::new(&dev, variant.clone()).unwrap());
    for &n in numbers {
        let all = ranks(n, PATIENT, |communicator| {
            let dev = Cpu::default();
            train(NoProp::distributed(&dev, variant.clone(), &communicator).unwrap())
        });
        for (rank, (blocks, table, sums)) in all.iter().enumerate() {
            common::assert_close("the report", sums, &report, 1e-9);
            common::assert_close("the embedding", table, &embedding, 1e-9);
            for (t, found) in blocks {
                let what = format!("block {t} on rank {rank} of {n}");
                common::assert_close(&what, found, &alone[t - 1].1, 1e-8);
                let first = all.iter().find_map(|(blocks, _, _)| {
                    blocks.iter().find(|(other, _)| other == t).map(|(_, weights)| weights)
                });
                assert_eq!(Some(found), first, "{what}: replicas differ");
            }
        }
    }
}

fn doubles() -> Dataset<4, Labels<3>, f64> {
    // 16 rows in a batch, and one in the last.
    blobs(65, 1).to_dtype()
}

#[test]
fn replicas_of_a_block_learn_what_one_learns() {
    type Wide = ConditionalResNetDt<3, 4, 8>;
    replicas::<DiscreteTime, Wide>(dt(2), &doubles(), &[3, 4, 5]);
    replicas::<DiscreteTime<Learned<3>>, Wide>(dt(2), &doubles(), &[4]);
    replicas::<DiscreteTime, Wide>(dt(1), &doubles(), &[3]);
}

#[test]
fn replicas_of_the_one_network_learn_what_it_learns() {
    type Ct = ConditionalResNetCt<3, 4, 8>;
    let learned: ContinuousTime<Learned<3>> = ContinuousTime {
        schedule: GammaSchedule {
            path: Path::Learned(MonotoneNetwork::default()),
            ..GammaSchedule::default()
        },
        ..ContinuousTime::default()
    };
    replicas::<ContinuousTime, Ct>(ContinuousTime::default(), &doubles(), &[2, 3]);
    replicas::<ContinuousTime<Learned<3>>, Ct>(learned, &doubles(), &[2]);
    replicas::<FlowMatching, ConditionalResNetFm<3, 4, 8>>(
        FlowMatching::default(),
        &doubles(),
        &[2, 20],
    );
}

#[test]
fn replicas_share_their_running_statistics() {
    type Block =
        (Condition<Dense<3, 6>, (Dense<4, 6>, BatchNorm<6>)>, BatchNorm<6>, ReLU, Dense<6, 3>);
    type Model = NoProp<DiscreteTime, Block, 3, 4, f64, Cpu>;
    let (data, dev) = (doubles(), Cpu::default());
    let fit = Fit { epochs: 1, batch_size: 64, step_limit: Some(1), ..Fit::default() };
    // With steps of no size the layers stay as they are, and only the statistics move.
    let still = AdamW { learning_rate: 0.0, ..AdamW::default() };
    let variant = || DiscreteTime { optimizer: still.into(), ..dt(1) };
    let mut alone = Model::new(&dev, variant()).unwrap();
    let fresh = weights(alone.blocks()[0].module());
    alone.fit(&data, &fit).unwrap();
    let expected = weights(alone.blocks()[0].module());
    let all = ranks(3, PATIENT, |communicator| {
        let mut model = Model::distributed(&dev, variant(), &communicator).unwrap();
        model.fit(&data, &fit).unwrap();
        weights(model.blocks()[0].module())
    });
    assert!(all.iter().all(|one| *one == all[0]), "replicas differ");
    // The mean of the parts' means is that of the batch; their variances are another thing.
    let moved = |i: &usize| fresh[*i] != expected[*i];
    let same = |i: &usize| (all[0][*i] - expected[*i]).abs() < 1e-12;
    let moving: Vec<usize> = (0..fresh.len()).filter(moved).collect();
    assert_eq!(moving.len(), 4 * 6);
    assert_eq!(moving.iter().filter(|i| same(i)).count(), 2 * 6);
}

// -- faults
// -------------------------------------------------------------------------------------------------------

const HASTY: Settings = Settings { time_out: Duration::from_secs(2), rows: distributed::Rows::All };

/// The ranks and the text of an error about ranks.
fn about(error: Error) -> (Vec<usize>, String) {
    let text = error.to_string();
    match error {
        Error::Rank { ranks, .. } => (ranks, text),
        other => panic!("another error: {other}"),
    }
}

#[test]
fn a_rank_that_dies_is_named_by_all_others_and_the_run_goes_on_from_its_checkpoint() {
    let (data, dev) = (rows(), Cpu::default());
    let mut undisturbed = Dt::<OneHot>::new(&dev, dt(5)).unwrap();
    undisturbed.fit(&data, &Fit { epochs: 4, ..two_epochs() }).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let fit = Fit { epochs: 4, ..two_epochs() };
    let saving = || Checkpoints::new(folder.path(), Every::Epochs(1), 2).unwrap();
    let ends = ranks(4, HASTY, |communicator| {
        let rank = communicator.rank();
        let mut model = Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap();
        drop(communicator);
        // Rank 2 dies in the third epoch, without a word to the others.
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut saving = saving();
            let mut steps = 0;
            let hook = |_: &mut dfdx_noprop::train::Batch<_, 3, 4, f32, _>, _: &mut _| {
                steps += 1;
                if rank == 2 && steps == 45 {
                    std::panic::panic_any("killed");
                }
            };
            model.training(&fit).checkpoints(&mut saving).each_batch(hook).run(&data)
        }));
        let begin = Instant::now();
        died.ok().map(|ended| (about(ended.unwrap_err()), begin.elapsed()))
    });
    for (rank, end) in ends.into_iter().enumerate() {
        let Some(((ranks, text), _)) = end else {
            assert_eq!(rank, 2);
            continue;
        };
        assert_eq!(ranks, [2], "rank {rank}: {text}");
        assert!(text.contains("the report of an epoch") && text.contains("within 2 s"), "{text}");
        assert!(text.contains("step-000000038.safetensors"), "the last checkpoint: {text}");
    }

    // On another number of ranks, and in one process.
    for n in [3, 1] {
        ranks(n, PATIENT, |communicator| {
            let mut model = match n {
                1 => Dt::<OneHot>::new(&dev, dt(5)).unwrap(),
                _ => Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap(),
            };
            let path = folder.path().join("step-000000038.safetensors");
            model.load(path).unwrap();
            assert!(model.is_unfinished());
            model.fit(&data, &fit).unwrap();
            for block in model.blocks() {
                let same = weights(undisturbed.blocks()[block.t() - 1].module());
                assert_eq!(weights(block.module()), same, "{n} ranks");
            }
        });
    }
}

#[test]
fn a_run_stopped_within_an_epoch_goes_on_with_its_report_on_other_ranks() {
    let (data, dev) = (rows(), Cpu::default());
    let mut alone = Dt::<OneHot>::new(&dev, dt(5)).unwrap();
    let expected = alone.fit(&data, &two_epochs()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saving = || Checkpoints::new(folder.path(), Every::Steps(7), 9).unwrap();
    ranks(2, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap();
        let fit = Fit { step_limit: Some(25), ..two_epochs() };
        let outcome = model.training(&fit).checkpoints(&mut saving()).run(&data).unwrap();
        assert_eq!(outcome.ended, Ended::OutOfSteps);
    });
    ranks(3, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap();
        let mut saving = saving();
        assert!(saving.resume(&mut model).unwrap());
        assert_eq!(model.steps(), 25);
        let outcome = model.training(&two_epochs()).checkpoints(&mut saving).run(&data).unwrap();
        assert_eq!(outcome.epochs[0].blocks, expected[1].blocks);
        assert_eq!(outcome.epochs[0].loss, expected[1].loss);
    });
    // A folder without checkpoints is none for all.
    let empty = tempfile::tempdir().unwrap();
    ranks(3, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(5), &communicator).unwrap();
        let mut saving = Checkpoints::new(empty.path(), Every::Epochs(1), 1).unwrap();
        assert!(!saving.resume(&mut model).unwrap());
    });
}

#[test]
fn ranks_that_were_started_differently_say_so_before_the_first_step() {
    let (data, dev) = (rows(), Cpu::default());
    let other = blobs(301, 9);
    type Change<'a> = Box<dyn Fn(&mut DiscreteTime, &mut Fit) -> bool + Sync + 'a>;
    let cases: [(&str, Change<'_>); 5] = [
        (
            "settings: eta: 0.1, as rank 0 has it, found eta: 0.2",
            Box::new(|dt, _| {
                dt.eta = 0.2;
                false
            }),
        ),
        (
            "settings: batch_size: 16, as rank 0 has it, found batch_size: 8",
            Box::new(|_, fit| {
                fit.batch_size = 8;
                false
            }),
        ),
        ("fingerprint of the rows", Box::new(|_, _| true)),
        (
            "settings: clip: None, as rank 0 has it, found clip: Some(",
            Box::new(|_, fit| {
                fit.clip = Some(1.0);
                false
            }),
        ),
        (
            "settings: seed: 0, as rank 0 has it, found seed: 1",
            Box::new(|_, fit| {
                fit.seed = 1;
                false
            }),
        ),
    ];
    for (expected, change) in &cases {
        let ends = ranks(3, PATIENT, |communicator| {
            let (mut variant, mut fit, mut another) = (dt(3), two_epochs(), false);
            if communicator.rank() == 1 {
                another = change(&mut variant, &mut fit);
            }
            let mut model = Dt::<OneHot>::distributed(&dev, variant, &communicator).unwrap();
            let error = model.fit(if another { &other } else { &data }, &fit).unwrap_err();
            assert_eq!(model.steps(), 0, "before the first step");
            about(error)
        });
        for (ranks, text) in ends {
            assert_eq!(ranks, [1], "{text}");
            assert!(text.contains(expected), "{text} without {expected}");
        }
    }
    // Threads are a rank's own affair.
    ranks(2, PATIENT, |communicator| {
        let fit = Fit { threads: Some(1 + communicator.rank()), epochs: 1, ..two_epochs() };
        let mut model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        model.fit(&data, &fit).unwrap();
    });
}

#[test]
fn a_rank_that_fails_tells_the_others_why_at_once() {
    let (data, dev) = (rows(), Cpu::default());
    let begin = Instant::now();
    let ends = ranks(3, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        let rank = communicator.rank();
        let spoil = |batch: &mut dfdx_noprop::train::Batch<_, 3, 4, f32, _>, _: &mut _| {
            if rank == 1 {
                // Finite, but its square is not.
                batch.inputs_mut()[0] = [1e30; 4];
            }
        };
        let first = model.training(&two_epochs()).each_batch(spoil).run(&data).unwrap_err();
        // And the trainer is of no use any more, but does not hang.
        let second = model.evaluate(&data).unwrap_err();
        (first, second)
    });
    for (rank, (first, second)) in ends.into_iter().enumerate() {
        if rank == 1 {
            assert!(matches!(first, Error::Diverged { block: 2, .. }), "{first}");
        } else {
            let (ranks, text) = about(first);
            assert_eq!(ranks, [1]);
            assert!(text.contains("block 2, step 1: expected a finite"), "{text}");
        }
        assert!(matches!(second, Error::Rank { .. }), "{second}");
    }
    assert!(begin.elapsed() < PATIENT.time_out / 2, "nobody waited for the time-out");
}

#[test]
fn ranks_that_make_different_calls_are_told_so() {
    let (data, dev) = (rows(), Cpu::default());
    let ends = ranks(2, HASTY, |communicator| {
        let model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        match communicator.rank() {
            0 => model.evaluate(&data).map(|_| ()),
            _ => model.predict(data.samples()).map(|_| ()),
        }
        .map_err(about)
    });
    for end in ends {
        let (ranks, text) = end.unwrap_err();
        assert_eq!(ranks, [1], "{text}");
        assert!(text.contains("NoProp::evaluate") && text.contains("NoProp::predict"), "{text}");
    }
    // One saves and the other does not: each waits for something else, or is gone.
    let folder = tempfile::tempdir().unwrap();
    let ends = ranks(2, HASTY, |communicator| {
        let model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        match communicator.rank() {
            0 => model.save(folder.path().join("file")).map_err(about),
            _ => model.evaluate(&data).map(|_| ()).map_err(about),
        }
    });
    for end in ends {
        let (_, text) = end.unwrap_err();
        assert!(text.contains("the same calls on all ranks"), "{text}");
    }
}

#[test]
fn all_ranks_end_where_one_wants_to() {
    let (data, dev) = (rows(), Cpu::default());
    let ends = ranks(3, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        let stop = communicator.rank() == 2;
        let fit = Fit { epochs: 9, ..two_epochs() };
        let look = |_: &Dt, report: &dfdx_noprop::train::EpochReport| {
            Ok(if stop && report.epoch == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        };
        let by_look = model.training(&fit).each_epoch(look).run(&data).unwrap();
        let flag = std::sync::atomic::AtomicBool::new(communicator.rank() == 1);
        let by_flag = model.training(&fit).interrupt(&flag).run(&data).unwrap();
        let late = Fit { time_limit: (communicator.rank() == 0).then_some(1e-9), ..fit.clone() };
        // Settings are compared; a limit of time is one of them.
        let by_time = model.fit(&data, &late).map(|_| ());
        ((by_look.ended, by_look.epochs.len()), (by_flag.ended, by_flag.epochs.len()), by_time)
    });
    for (by_look, by_flag, by_time) in ends {
        assert_eq!(by_look, (Ended::Observer, 2));
        assert_eq!(by_flag, (Ended::Interrupted, 1));
        assert!(about(by_time.unwrap_err()).1.contains("time_limit"));
    }
    let ends = ranks(2, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        let fit = Fit { time_limit: Some(1e-9), ..two_epochs() };
        let outcome = model.training(&fit).validation(&data).run(&data).unwrap();
        assert!(outcome.epochs[0].validation.is_some());
        (outcome.ended, outcome.epochs.len())
    });
    assert_eq!(ends, [(Ended::OutOfTime, 1), (Ended::OutOfTime, 1)]);
}

// -- rows of one's own
// --------------------------------------------------------------------------------------------

const OWN: Settings = Settings { rows: distributed::Rows::Own, ..PATIENT };

#[test]
fn blocks_learn_from_the_rows_of_their_rank_alone() {
    let (data, dev) = (rows(), Cpu::default());
    let fit = Fit { epochs: 60, ..two_epochs() };
    let all = ranks(2, OWN, |communicator| {
        let part = data.part(communicator.rank(), 2).unwrap();
        assert_eq!(part.rows(), 150);
        let mut model = Dt::<OneHot>::distributed(&dev, dt(3), &communicator).unwrap();
        model.fit(&part, &fit).unwrap();
        assert_eq!(communicator.traffic().training, 0);
        let mut alone = Dt::<OneHot>::new(&dev, dt(3)).unwrap();
        alone.fit(&part, &fit).unwrap();
        for block in model.blocks() {
            assert_eq!(weights(block.module()), weights(alone.blocks()[block.t() - 1].module()));
        }
        model.evaluate(&data).unwrap().accuracy
    });
    assert!(all[0] > 0.8 && all[0] == all[1], "{all:?}");
}

#[test]
fn replicas_learn_from_the_rows_of_all_of_them() {
    type Model = NoProp<FlowMatching, ConditionalResNetFm<3, 4, 8>, 3, 4, f64, Cpu>;
    let (data, dev) = (rows().to_dtype::<f64>(), Cpu::default());
    // One step on all of the rows: the batch is the same, but for the order.
    let fit = Fit {
        epochs: 1,
        batch_size: 300,
        learning_rate: LearningRate::default(),
        ..Fit::default()
    };
    let parts: Vec<_> = (0..3).map(|rank| data.part(rank, 3).unwrap()).collect();
    let all = ranks(3, OWN, |communicator| {
        let mut model = Model::distributed(&dev, FlowMatching::default(), &communicator).unwrap();
        let reports = model.fit(&parts[communicator.rank()], &fit).unwrap();
        assert_eq!(reports[0].rows, 300);
        (weights(model.blocks()[0].module()), reports[0].loss)
    });
    assert!(all.iter().all(|one| *one == all[0]), "replicas differ");
    // What the others have matters: with other rows on rank 2 the weights are others.
    let other = ranks(3, OWN, |communicator| {
        let mut model = Model::distributed(&dev, FlowMatching::default(), &communicator).unwrap();
        let part = if communicator.rank() == 2 { &parts[0] } else { &parts[communicator.rank()] };
        model.fit(part, &fit).unwrap();
        weights(model.blocks()[0].module())
    });
    assert_ne!(other[0], all[0].0);
}

#[test]
fn what_cannot_be_shared_out_is_refused() {
    let (data, dev) = (rows(), Cpu::default());
    let refusal = |n: usize, settings: Settings, variant: DiscreteTime, batch_size: usize| {
        let ends = ranks(n, settings, |communicator| {
            let mut model =
                Dt::<OneHot>::distributed(&dev, variant.clone(), &communicator).unwrap();
            let fit = Fit { batch_size, ..two_epochs() };
            model.fit(&data, &fit).unwrap_err().to_string()
        });
        ends[0].clone()
    };
    let noise = DiscreteTime { estimator: WeightNoise::default().into(), ..dt(1) };
    assert!(refusal(2, PATIENT, noise, 16).contains("Estimator: expected Local"));
    assert!(refusal(3, OWN, dt(2), 16).contains("Settings::rows: expected Rows::All"));
    assert!(refusal(3, OWN, dt(1), 16).contains("Fit::batch_size: expected a multiple of the 3"));
    let ends = ranks(2, OWN, |communicator| {
        let mut model = Dt::<Learned<3>>::distributed(&dev, dt(2), &communicator).unwrap();
        model.fit(&data, &two_epochs()).unwrap_err().to_string()
    });
    assert!(ends[0].contains("the embedding is learned from all rows"), "{ends:?}");

    let no_time = Settings { time_out: Duration::ZERO, ..PATIENT };
    assert!(Communicator::threads(1, no_time).is_err());
    assert!(Communicator::threads(0, PATIENT).is_err());
    assert!(data.part(2, 2).is_err() && data.part(0, 0).is_err());
    ranks(2, PATIENT, |communicator| {
        let mut model = Dt::<OneHot>::distributed(&dev, dt(4), &communicator).unwrap();
        let other = 2 - communicator.rank();
        let error = model.export_block(other, "nowhere").unwrap_err().to_string();
        assert!(error.contains("which has"), "{error}");
        let (z, x) = (dev.sample_normal_like(&(2, Const)), dev.sample_normal_like(&(2, Const)));
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(0);
        let step = model.train_step(other, (z, x), |o| o.try_square()?.try_mean(), &mut rng);
        assert!(step.is_err());
    });
}

#[test]
fn gradients_that_need_no_derivative_are_those_of_one_process() {
    let (data, dev) = (rows(), Cpu::default());
    for estimator in [
        WeightNoise { directions: 2, ..WeightNoise::default() }.into(),
        ActivityNoise { directions: 2, ..ActivityNoise::default() }.into(),
    ] {
        let variant = || DiscreteTime { estimator, ..dt(3) };
        let mut alone = Dt::<OneHot>::new(&dev, variant()).unwrap();
        alone.fit(&data, &two_epochs()).unwrap();
        ranks(2, PATIENT, |communicator| {
            let mut model = Dt::<OneHot>::distributed(&dev, variant(), &communicator).unwrap();
            model.fit(&data, &two_epochs()).unwrap();
            for block in model.blocks() {
                assert_eq!(
                    weights(block.module()),
                    weights(alone.blocks()[block.t() - 1].module())
                );
            }
        });
    }
}
