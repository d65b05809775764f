//! Ctrl-C ends a run cleanly, also where the process was told to ignore it.
#![cfg(all(feature = "observe", feature = "checkpoint", unix))]

mod common;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::blobs;
use dfdx_noprop::{
    observe::ctrl_c,
    prelude::*,
    train::{Checkpoints, Ended, Every},
};

type Model = NoProp<DiscreteTime, ConditionalResNetDt<4, 5, 8>, 4, 5>;

#[test]
fn ctrl_c_saves_and_returns() {
    for ignored in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let trap = if ignored { "trap '' INT; " } else { "" };
        let child = Command::new("bash")
            .args(["-c", &format!("{trap}exec \"$0\" --ignored --exact trains --nocapture")])
            .arg(std::env::current_exe().unwrap())
            .env("NOPROP_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it trains there is a checkpoint.
        wait_for(|| folder.path().join("step-000000007.safetensors").exists());
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("ended: interrupted"), "{text}");
        let mut model = model();
        let mut saving = Checkpoints::new(folder.path(), Every::Epochs(1), 9).unwrap();
        assert!(saving.resume(&mut model).unwrap() && model.is_unfinished());
    }
}

fn wait_for(there: impl Fn() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(60), "the child process does not train");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn model() -> Model {
    Model::new(&AutoDevice::default(), DiscreteTime { blocks: 2, ..Default::default() }).unwrap()
}

#[test]
#[ignore = "the child process of another test"]
fn trains() {
    let Ok(folder) = std::env::var("NOPROP_FOLDER") else { return };
    // The first checkpoint stays, so that the parent sees it.
    let mut saving = Checkpoints::new(Path::new(&folder), Every::Epochs(1), usize::MAX).unwrap();
    let fit = Fit { epochs: 1_000_000, batch_size: 8, time_limit: Some(60.0), ..Fit::default() };
    let data = blobs::<4, 5>(50, 1);
    let mut model = model();
    let training = model.training(&fit).checkpoints(&mut saving).interrupt(ctrl_c().unwrap());
    let ended = training.run(&data).unwrap().ended;
    println!("ended: {ended}");
    assert_eq!(ended, Ended::Interrupted);
}
