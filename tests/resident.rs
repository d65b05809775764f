//! Blocks that lie in a file while it is not their turn: the same weights, whatever is asked.
#![cfg(feature = "checkpoint")]

mod common;
use std::path::Path;

use common::*;
use dfdx::nn::builders::{BatchNorm1D, DropoutOneIn};
use dfdx_noprop::{
    checkpoint::{Contents, Folder},
    prelude::*,
    train::{Checkpoints, Every},
};

type Dt = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;

fn variant() -> DiscreteTime {
    DiscreteTime { blocks: 6, ..DiscreteTime::default() }
}

fn fit(resident: Option<usize>) -> Fit {
    Fit { epochs: 2, resident, ..Fit::default() }
}

fn digits() -> data::Split<64, data::Labels<10>> {
    data::digits().unwrap()
}

fn model() -> Dt {
    Dt::new(&AutoDevice::default(), variant()).unwrap()
}

fn trained(fit: &Fit) -> Dt {
    let mut model = model();
    model.fit(&digits().train, fit).unwrap();
    model
}

fn all(model: &Dt) -> Vec<Vec<f32>> {
    model.blocks().iter().map(|block| weights(block.module())).collect()
}

/// All that a checkpoint holds, but for the words on where blocks lie.
fn saved(path: &Path) -> Contents {
    let mut contents = Contents::read(path).unwrap();
    contents.metadata.remove("blocks");
    contents.metadata.remove("fit");
    contents
}

#[test]
fn weights_and_answers_are_the_same_to_the_bit() {
    let digits = digits();
    let (rows, folder) = (digits.test.samples(), tempfile::tempdir().unwrap());
    let whole = trained(&fit(None));
    let paths = ["whole", "streamed"].map(|name| folder.path().join(name));
    whole.save(&paths[0]).unwrap();
    for (resident, threads) in [(1, None), (2, Some(1)), (2, Some(2)), (4, Some(2)), (6, None)] {
        let streamed = trained(&Fit { threads, ..fit(Some(resident)) });
        assert!(streamed.predict_proba(rows).unwrap() == whole.predict_proba(rows).unwrap());
        assert!(streamed.sample(rows, 3, 1).unwrap() == whole.sample(rows, 3, 1).unwrap());
        let until = |model: &Dt| model.predict_until(rows, 0.9).unwrap();
        assert!(until(&streamed) == until(&whole));
        let along = |model: &Dt| format!("{:?}", model.evaluate_along(&digits.test).unwrap());
        assert!(along(&streamed) == along(&whole));
        let predictor = streamed.predictor().unwrap();
        assert!(predictor.predict_proba(rows).unwrap() == whole.predict_proba(rows).unwrap());
        streamed.save(&paths[1]).unwrap();
        assert!(saved(&paths[1]) == saved(&paths[0]), "{resident} in memory, {threads:?} threads");
        let copy = streamed.clone();
        drop(streamed);
        assert!(all(&copy) == all(&whole));
    }
}

#[test]
fn a_run_goes_on_with_any_number_in_memory() {
    let (digits, folder) = (digits(), tempfile::tempdir().unwrap());
    let all_at_once = trained(&Fit { epochs: 4, ..fit(None) });
    for [first, then] in [[Some(2), None], [None, Some(1)], [Some(1), Some(3)]] {
        let mut model = model();
        let run = |resident, step_limit| Fit { epochs: 4, step_limit, ..fit(resident) };
        model.fit(&digits.train, &run(first, Some(17))).unwrap();
        let path = folder.path().join("model");
        model.save(&path).unwrap();
        let mut loaded = Dt::from_checkpoint(&AutoDevice::default(), &path).unwrap();
        for mut model in [model, loaded.clone()] {
            model.fit(&digits.train, &run(then, None)).unwrap();
            assert!(all(&model) == all(&all_at_once), "{first:?}, then {then:?}");
        }
        // Into one that has blocks of its own in a file.
        let mut other = trained(&fit(Some(2)));
        other.load(&path).unwrap();
        assert!(all(&other) == all(&loaded));
        other.load_weights(&path).unwrap();
        assert!(all(&other) == all(&loaded));
        loaded.blocks_mut()[3].module_mut();
    }
}

#[test]
fn another_kind_of_optimiser_starts_with_nothing() {
    let digits = digits();
    let run = |resident| {
        let mut model = trained(&fit(resident));
        model.set_optimizer(Sgd { learning_rate: 0.01, ..Sgd::default() }).unwrap();
        let path = tempfile::tempdir().unwrap().path().join("model");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        model.save(&path).unwrap();
        let loaded = saved(&path);
        model.fit(&digits.train, &fit(resident)).unwrap();
        (loaded, all(&model))
    };
    assert!(run(None) == run(Some(2)));
}

#[test]
fn averages_are_what_validation_and_answers_see() {
    let digits = digits();
    let run = |resident| {
        let mut model = model();
        let fit = Fit { average: Some(0.9), ..fit(resident) };
        let outcome = model.training(&fit).validation(&digits.test).run(&digits.train).unwrap();
        let losses = outcome.epochs.iter().map(|e| e.validation.as_ref().unwrap().loss());
        let averaged = model.averaged().unwrap();
        (losses.collect::<Vec<_>>(), all(&averaged), averaged.predict(digits.test.samples()))
    };
    let [whole, streamed] = [None, Some(2)].map(run);
    assert!(whole.0 == streamed.0 && whole.1 == streamed.1);
    assert!(whole.2.unwrap() == streamed.2.unwrap());
}

#[test]
fn what_layers_draw_and_what_they_keep_are_the_same() {
    type Block = (
        Condition<Dense<10, 32>, Dense<64, 32>>,
        DropoutOneIn<3>,
        BatchNorm1D<32>,
        ReLU,
        Dense<32, 10>,
    );
    let digits = digits();
    let run = |resident| {
        type Model = NoProp<DiscreteTime, Block, 10, 64>;
        let mut model = Model::new(&AutoDevice::default(), variant()).unwrap();
        model
            .training(&fit(resident))
            .each_batch(|batch, _| batch.inputs_mut()[0][0] += 0.5)
            .run(&digits.train)
            .unwrap();
        let all = model.blocks().iter().map(|block| weights(block.module()));
        (model.predict_proba(digits.test.samples()).unwrap(), all.collect::<Vec<_>>())
    };
    assert!(run(None) == run(Some(2)));
}

#[test]
fn blocks_by_noise_level_too() {
    type Model = NoProp<DiffusionBlocks, ConditionalResNetCt<10, 64>, 10, 64>;
    let digits = digits();
    let run = |resident| {
        let variant = DiffusionBlocks { blocks: 3, ..DiffusionBlocks::default() };
        let mut model = Model::new(&AutoDevice::default(), variant).unwrap();
        model.fit(&digits.train, &fit(resident)).unwrap();
        let rows = digits.test.samples();
        let all = model.blocks().iter().map(|block| weights(block.module())).collect::<Vec<_>>();
        (model.predict_proba(rows).unwrap(), model.sample(rows, 2, 0).unwrap(), all)
    };
    assert!(run(None) == run(Some(1)));
}

#[test]
fn checkpoints_of_a_run_are_gone_on_with() {
    let (digits, folder) = (digits(), tempfile::tempdir().unwrap());
    let whole = trained(&Fit { epochs: 3, ..fit(None) });
    let run = Fit { epochs: 3, ..fit(Some(2)) };
    for limit in [Some(5), Some(30), None] {
        let mut checkpoints = Checkpoints::new(folder.path(), Every::Steps(7), 2).unwrap();
        let mut model = model();
        checkpoints.resume(&mut model).unwrap();
        let part = Fit { step_limit: limit, ..run.clone() };
        model.training(&part).checkpoints(&mut checkpoints).run(&digits.train).unwrap();
        if limit.is_none() {
            assert!(all(&model) == all(&whole));
        }
    }
    // What lies in the folder is for everybody.
    let (_, contents) = Folder::open(folder.path(), 2).unwrap().latest().unwrap().unwrap();
    assert_eq!(contents.metadata["blocks"], "one by one");
}

#[test]
fn what_it_cannot_do_is_refused_by_name() {
    let digits = digits();
    let message = |error: Error| error.to_string();
    let zero = model().fit(&digits.train, &fit(Some(0))).unwrap_err();
    assert!(message(zero).contains("Fit::resident"));
    let learned = DiscreteTime { blocks: 4, ..DiscreteTime::default() }
        .with_head(Learned::<10> { scale: 1.0 });
    let mut model =
        NoProp::<_, ConditionalResNetDt<10, 64>, 10, 64>::new(&AutoDevice::default(), learned)
            .unwrap();
    let error = message(model.fit(&digits.train, &fit(Some(2))).unwrap_err());
    assert!(error.contains("Fit::resident") && error.contains("learned"), "{error}");
    type Fm = NoProp<FlowMatching, ConditionalResNetCt<10, 64>, 10, 64>;
    let mut model = Fm::new(&AutoDevice::default(), FlowMatching::default()).unwrap();
    let error = message(model.fit(&digits.train, &fit(Some(2))).unwrap_err());
    assert!(error.contains("one network"), "{error}");
}
