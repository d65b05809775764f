//! Ctrl-C ends a run cleanly, also where the process was told to ignore it.
#![cfg(all(feature = "observe", feature = "checkpoint", unix))]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::blobs;
use dfdx_noprop::{
    observe::{ctrl_c, exit_status},
    prelude::*,
    train::{Checkpoints, Ended, Every},
};

type Model = NoProp<DiscreteTime, ConditionalResNetDt<4, 5, 8>, 4, 5>;

#[test]
fn ctrl_c_saves_and_returns() {
    for (signal, status, ignored) in [("INT", 130, false), ("INT", 130, true), ("TERM", 143, false)]
    {
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
        let signal = format!("-{signal}");
        assert!(Command::new("kill").args([&signal, &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("ended: interrupted"), "{text}");
        assert!(text.contains(&format!("exit status: Some({status})")), "{text}");
        let mut model = model();
        let mut saving = Checkpoints::new(folder.path(), Every::Epochs(1), 9).unwrap();
        assert!(saving.resume(&mut model).unwrap() && model.is_unfinished());
    }
}

/// An example's program, where `cargo test` has built it beside the tests.
fn example(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("examples").join(name);
    path.exists().then_some(path)
}

#[test]
fn the_example_that_is_interrupted_says_how_to_go_on() {
    let Some(train) = example("train") else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("run.json");
    let run = folder.path().join("run");
    let settings = serde_json::json!({
        "folder": run,
        "mathematics": { "discrete_time": { "blocks": 2 } },
        "fit": { "epochs": 1_000_000, "time_limit": 60.0 },
    });
    std::fs::write(&config, settings.to_string()).unwrap();
    let child = Command::new(train)
        .arg("--config")
        .arg(&config)
        .args(["--plain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| std::fs::read_dir(run.join("checkpoints")).is_ok_and(|files| files.count() > 1));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    let advice = format!("--config {} --resume", config.display());
    assert!(text.contains("interrupted") && text.contains(&advice), "{text}");
}

#[test]
fn an_example_whose_output_nobody_reads_ends_without_a_word() {
    let Some(digits) = example("digits") else { return };
    let script = "\"$0\" --epochs 1 --blocks 2 | true; exit ${PIPESTATUS[0]}";
    let output = Command::new("bash").args(["-c", script]).arg(digits).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &text[..]), (Some(141), ""));
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
    println!("exit status: {:?}", exit_status());
    assert_eq!(ended, Ended::Interrupted);
}
