//! Folders of checkpoints, and what may go on from a file.
#![cfg(feature = "checkpoint")]

mod common;

use std::{fs, path::Path};

use common::blobs;
use dfdx_noprop::{
    checkpoint::Contents,
    prelude::*,
    train::{Checkpoints, Ended, Every},
};

type Block = ConditionalResNetDt<3, 4, 8>;
type Dt = NoProp<DiscreteTime, Block, 3, 4>;

fn variant() -> DiscreteTime {
    DiscreteTime { blocks: 2, ..DiscreteTime::default() }
}

fn model() -> Dt {
    Dt::new(&AutoDevice::default(), variant()).unwrap()
}

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder, Every::Steps(2), 3).unwrap()
}

fn fit() -> Fit {
    Fit { epochs: 2, batch_size: 10, step_limit: Some(5), ..Fit::default() }
}

/// A run of 8 steps that was stopped after 5.
fn stopped(folder: &Path) -> Dt {
    let (mut model, mut saved) = (model(), checkpoints(folder));
    model.training(&fit()).checkpoints(&mut saved).run(&blobs(40, 1)).unwrap();
    model
}

#[test]
fn a_new_run_does_not_take_the_folder_of_another() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path());
    let files = || {
        let all = fs::read_dir(folder.path()).unwrap();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let (mut other, before) = (model(), files());
    let mut saved = checkpoints(folder.path());
    let run = |model: &mut Dt, saved: &mut Checkpoints| {
        model.training(&fit()).checkpoints(saved).run(&blobs(40, 1))
    };
    let text = run(&mut other, &mut saved).unwrap_err().to_string();
    for advice in ["step 5", "Checkpoints::resume", "Checkpoints::clear"] {
        assert!(text.contains(advice), "{text}");
    }
    assert_eq!((other.steps(), files()), (0, before));

    // One way on: with the other run.
    assert!(saved.resume(&mut other).unwrap());
    run(&mut other, &mut saved).unwrap();
    assert_eq!(other.steps(), 8);
    // The other way: anew, with the same object too.
    let mut other = model();
    assert!(run(&mut other, &mut saved).is_err());
    saved.clear().unwrap();
    run(&mut other, &mut saved).unwrap();
    assert_eq!(other.steps(), 5);
    // And by the file itself.
    let mut other = model();
    other.load(folder.path().join("step-000000005.safetensors")).unwrap();
    run(&mut other, &mut checkpoints(folder.path())).unwrap();
    assert_eq!(other.steps(), 8);
}

#[test]
fn a_trainer_that_has_taken_as_many_steps_is_told_from_the_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mut same = stopped(folder.path());
    let mut other = model();
    other.fit(&blobs(40, 1), &Fit { seed: 7, ..fit() }).unwrap();
    assert_eq!(other.steps(), same.steps());
    let run = |model: &mut Dt, fit: &Fit| {
        model.training(fit).checkpoints(&mut checkpoints(folder.path())).run(&blobs(40, 1))
    };
    let text = run(&mut other, &Fit { seed: 7, ..fit() }).unwrap_err().to_string();
    assert!(text.contains("another run"), "{text}");
    run(&mut same, &fit()).unwrap();
    assert_eq!(same.steps(), 8);
}

#[test]
fn a_finished_run_that_is_resumed_takes_no_step() {
    let folder = tempfile::tempdir().unwrap();
    // The lines of the guide, whatever was there before.
    let start = || {
        let (mut model, mut saved) = (model(), checkpoints(folder.path()));
        saved.resume(&mut model).unwrap();
        let outcome = model.training(&fit()).checkpoints(&mut saved).run(&blobs(40, 1)).unwrap();
        (model, outcome.ended)
    };
    assert_eq!(start().1, Ended::OutOfSteps);
    let (model, ended) = start();
    assert_eq!((model.steps(), ended), (8, Ended::Finished));
    for _ in 0..2 {
        let (again, ended) = start();
        assert_eq!((again.steps(), ended), (8, Ended::Finished));
        assert_eq!(
            again.predict_proba(&[[0.5; 4]]).unwrap(),
            model.predict_proba(&[[0.5; 4]]).unwrap()
        );
    }
    // Another folder, for those who want more.
    let mut more = model.clone();
    let other = tempfile::tempdir().unwrap();
    more.training(&fit()).checkpoints(&mut checkpoints(other.path())).run(&blobs(40, 1)).unwrap();
    assert_eq!(more.steps(), 13);
}

#[test]
fn a_run_that_goes_on_by_other_instructions_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path());
    let path = folder.path().join("step-000000005.safetensors");
    let mut contents = Contents::read(&path).unwrap();
    let progress = contents.metadata.get_mut("progress").unwrap();
    let mut value: serde_json::Value = serde_json::from_str(progress).unwrap();
    assert!(value["position"]["processor"].is_string(), "{value}");
    value["position"]["processor"] = "an abacus".into();
    *progress = value.to_string();
    contents.write(&path).unwrap();
    let mut model = model();
    model.load(&path).unwrap();
    let outcome = model.training(&fit()).run(&blobs(40, 1)).unwrap();
    assert!(outcome.warnings.iter().any(|warning| warning.contains("an abacus")), "{outcome:?}");
}

#[test]
fn a_second_writer_is_refused_and_a_reader_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut saved) = (model(), checkpoints(folder.path()));
    let (data, fit) = (blobs(40, 1), fit());
    let unfinished = folder.path().join(".unfinished-live");
    let mut seen = 0;
    let looking = |_: &Dt, _: &_| {
        // A file that somebody is writing, as a second process sees it.
        let writer = fs::File::create(&unfinished).unwrap();
        writer.lock().unwrap();
        let mut reader = checkpoints(folder.path());
        let mut second = model();
        assert!(reader.resume(&mut second).unwrap());
        let text = second.training(&fit).checkpoints(&mut reader).run(&data);
        let text = text.unwrap_err().to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(unfinished.exists());
        seen += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    };
    first.training(&fit).each_epoch(looking).checkpoints(&mut saved).run(&data).unwrap();
    assert_eq!(seen, 1);
    // The lock goes with the run.
    let mut second = model();
    let mut reader = checkpoints(folder.path());
    reader.resume(&mut second).unwrap();
    second.training(&fit).checkpoints(&mut reader).run(&data).unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn a_run_goes_on_with_its_own_rows_and_settings_only() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path());
    let goes_on = |fit: Fit, data: &Dataset<4, Labels<3>>| {
        let (mut model, mut saved) = (model(), checkpoints(folder.path()));
        saved.resume(&mut model).unwrap();
        model.training(&fit).run(data).map(|_| model.steps())
    };
    let rate = LearningRate { warm_up: 3, ..LearningRate::default() };
    let refused = [
        ("Fit::clip", Fit { clip: Some(1.0), ..fit() }),
        ("Fit::average", Fit { average: Some(0.9), ..fit() }),
        ("Fit::learning_rate", Fit { learning_rate: rate, ..fit() }),
        ("Fit::class_weights", Fit { class_weights: Some(vec![1.0; 3]), ..fit() }),
        ("Fit::seed", Fit { seed: 1, ..fit() }),
        ("Fit::batch_size", Fit { batch_size: 5, ..fit() }),
    ];
    for (name, fit) in refused {
        let text = goes_on(fit, &blobs(40, 1)).unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("forget_run"), "{text}");
    }
    let text = goes_on(fit(), &blobs(40, 2)).unwrap_err().to_string();
    assert!(text.contains("rows"), "{text}");
    assert_eq!(goes_on(fit(), &blobs(40, 1)).unwrap(), 8);
}

#[test]
fn the_same_state_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let model = stopped(folder.path());
    let bytes = |name: &str| {
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        fs::read(path).unwrap()
    };
    let first = bytes("first");
    for again in 0..20 {
        assert!(bytes("again") == first, "the {again}th time");
    }
}

#[test]
fn a_smaller_rate_after_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-000000005.safetensors");
    stopped(folder.path());
    let small = AdamW { learning_rate: 1e-5, ..AdamW::default() };
    let mut other =
        Dt::new(&AutoDevice::default(), DiscreteTime { optimizer: small.into(), ..variant() })
            .unwrap();
    let text = other.load(&path).unwrap_err().to_string();
    assert!(text.contains("learning_rate") && text.contains("set_optimizer"), "{text}");
    let mut same = model();
    same.load(&path).unwrap();
    same.set_optimizer(small).unwrap();
    same.fit(&blobs(40, 1), &fit()).unwrap();
    assert_eq!(same.steps(), 8);
}

#[test]
fn weights_alone_are_told_from_a_checkpoint_and_taken_by_a_call_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rows) = (folder.path().join("weights.safetensors"), [[0.3f32; 4]; 5]);
    let trained = stopped(folder.path());
    trained.export(&path).unwrap();
    let mut other = model();
    for error in
        [other.load(&path).unwrap_err(), Dt::from_checkpoint(&Cpu::default(), &path).unwrap_err()]
    {
        let text = error.to_string();
        assert!(text.contains("weights alone") && text.contains("load_weights"), "{text}");
    }
    let expected = trained.predict_proba(&rows).unwrap();
    assert_ne!(other.predict_proba(&rows).unwrap(), expected);
    other.load_weights(&path).unwrap();
    assert_eq!(other.predict_proba(&rows).unwrap(), expected);
    assert_eq!((other.steps(), other.is_unfinished()), (0, false));
    // A checkpoint holds weights too.
    let mut third = model();
    third.load_weights(folder.path().join("step-000000005.safetensors")).unwrap();
    assert_eq!(third.predict_proba(&rows).unwrap(), expected);
}

/// An edited file whose checksum was made good again.
#[test]
fn a_checkpoint_takes_no_more_memory_than_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-000000005.safetensors");
    stopped(folder.path());
    for blocks in ["18446744073709551615", "1000000000", "3"] {
        let mut contents = Contents::read(&path).unwrap();
        let settings = contents.metadata.get_mut("settings").unwrap();
        *settings = settings.replace("\"blocks\":2", &format!("\"blocks\":{blocks}"));
        let edited = folder.path().join("edited.safetensors");
        contents.write(&edited).unwrap();
        let text = Dt::from_checkpoint(&Cpu::default(), &edited).unwrap_err().to_string();
        assert!(text.contains(blocks) && text.contains("those of 2"), "{text}");
    }
}

#[test]
fn what_training_cannot_have_left_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-000000005.safetensors");
    stopped(folder.path());
    let refused = |edit: &dyn Fn(&mut Contents), words: &str| {
        let mut contents = Contents::read(&path).unwrap();
        edit(&mut contents);
        let edited = folder.path().join("edited.safetensors");
        contents.write(&edited).unwrap();
        let text = model().load(&edited).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    };
    let bytes = |contents: &mut Contents, name: &str, value: f32| {
        let tensor = contents.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        tensor.bytes[..4].copy_from_slice(&value.to_le_bytes());
    };
    let second = "optimizer.second.block.1.0.z.weight";
    refused(&|contents| bytes(contents, second, -1.0), "means of squares");
    refused(&|contents| bytes(contents, second, f32::INFINITY), "finite");
    for kind in ["optimizer.first", "optimizer.second"] {
        let without = |contents: &mut Contents| {
            contents.tensors.retain(|tensor| !tensor.name.starts_with(&format!("{kind}.block.2")));
        };
        refused(&without, &format!("{kind}.block.2"));
    }
    let mut other = model();
    other.load(&path).unwrap();
    let fewer = Fit { epochs: 1, ..fit() };
    let text = other.fit(&blobs(40, 1), &fewer).unwrap_err().to_string();
    assert!(text.contains("Fit::epochs"), "{text}");
}
