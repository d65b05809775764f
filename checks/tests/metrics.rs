//! Files of metrics after a stop or a kill: each step and each epoch once, in order.
#![cfg(all(feature = "observe", feature = "checkpoint", feature = "digits"))]

use std::{fs, ops::ControlFlow, path::Path};

use dfdx_noprop::{
    observe::{Csv, JsonLines, Plots, Progress},
    prelude::*,
    train::{Checkpoints, Ended, EpochReport, Every, Observer, Outcome, RunReport, StepReport},
};
use serde_json::Value;

type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64, 8>, 10, 64>;

const EPOCHS: usize = 4;
/// 200 rows in batches of 32.
const EACH: u64 = 7;

fn model() -> Model {
    Model::new(&AutoDevice::default(), DiscreteTime { blocks: 2, ..Default::default() }).unwrap()
}

fn rows() -> Dataset<64, Labels<10>> {
    data::digits().unwrap().train.select(&(0..200).collect::<Vec<_>>())
}

/// A run that writes all kinds of files into a folder, and goes on where it can; up to `limit`
/// steps of it.
fn train(folder: &Path, every: u64, limit: Option<u64>) -> Outcome {
    let fit = Fit { epochs: EPOCHS, batch_size: 32, step_limit: limit, ..Fit::default() };
    let mut checkpoints =
        Checkpoints::new(folder.join("checkpoints"), Every::Steps(every), 1000).unwrap();
    let mut model = model();
    checkpoints.resume(&mut model).unwrap();
    let rows = rows();
    let training = model.training(&fit).validation(&rows).checkpoints(&mut checkpoints);
    training
        .observer(&mut JsonLines::append(folder.join("metrics.jsonl")).unwrap())
        .observer(&mut Csv::steps(folder.join("steps.csv")).unwrap())
        .observer(&mut Csv::epochs(folder.join("epochs.csv")).unwrap())
        .observer(&mut Plots::new(folder.join("plots")).unwrap())
        .run(&rows)
        .unwrap()
}

/// The file with its clock taken out: nothing else differs between two runs of the same.
fn without_seconds(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let seconds = names.iter().position(|name| *name == "seconds");
    let cells = |line: &str| -> String {
        let cells = line.split(',').enumerate().filter(|(i, _)| Some(*i) != seconds);
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(",")
    };
    text.lines().map(cells).collect()
}

/// The reports of one kind, without their clock.
fn reports(path: &Path, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<Value> = lines.filter(|line| line["event"] == event).collect();
    found.iter_mut().for_each(|line| {
        line.as_object_mut().unwrap().remove("seconds");
    });
    found
}

#[track_caller]
fn assert_same(found: &Path, expected: &Path, case: &str) {
    for name in ["steps.csv", "epochs.csv"] {
        let [found, expected] = [found, expected].map(|folder| without_seconds(&folder.join(name)));
        assert_eq!(found, expected, "{case}: {name}");
    }
    for event in ["step", "epoch"] {
        let [found, expected] =
            [found, expected].map(|folder| reports(&folder.join("metrics.jsonl"), event));
        assert_eq!(found, expected, "{case}: {event}");
    }
    let drawn = |folder: &Path| fs::read_to_string(folder.join("plots/loss.svg")).unwrap();
    assert_eq!(drawn(found), drawn(expected), "{case}: the picture of the whole run");
}

/// A folder with what a kill leaves there: the checkpoint of `saved` steps as the newest, and each
/// file of metrics cut where `cut` says.
fn killed(from: &Path, to: &Path, saved: u64, cut: impl Fn(&[u8]) -> Vec<u8>) {
    fs::create_dir_all(to.join("checkpoints")).unwrap();
    fs::create_dir_all(to.join("plots")).unwrap();
    for entry in fs::read_dir(from.join("checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let step = name.strip_prefix("step-").and_then(|rest| rest.get(..9)?.parse::<u64>().ok());
        if step.is_some_and(|step| step <= saved) {
            fs::copy(&path, to.join("checkpoints").join(name)).unwrap();
        }
    }
    for name in ["steps.csv", "epochs.csv", "metrics.jsonl", "plots/plots.jsonl"] {
        fs::write(to.join(name), cut(&fs::read(from.join(name)).unwrap())).unwrap();
    }
}

/// Where the line of the first step (epoch) after so many begins.
fn line_after(text: &[u8], saved: u64, place: impl Fn(&str) -> Option<u64>) -> usize {
    let text = std::str::from_utf8(text).unwrap();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if place(line).is_some_and(|step| step > saved) {
            return at;
        }
        at += line.len();
    }
    at
}

/// The step of a line of any of the files.
fn step_of(line: &str) -> Option<u64> {
    if let Ok(value) = serde_json::from_str::<Value>(line) {
        let epoch = value["epoch"].as_u64().map(|epoch| EACH * epoch);
        return value["step"].as_u64().or(epoch).or(value["steps"].as_u64());
    }
    let mut cells = line.split(',');
    let number = cells.next()?.parse::<u64>().ok()?;
    // Rows of epochs have their steps in the second column, all the same.
    Some(if cells.next() == Some("7") && line.split(',').count() == 21 {
        EACH * number
    } else {
        number
    })
}

#[test]
fn a_kill_leaves_each_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert_eq!(train(&whole, 5, None).ended, Ended::Finished);
    // At any byte behind what a checkpoint made sure of: in a row, at its end, in a later epoch.
    for (case, (saved, part)) in
        [(5, 0.0), (10, 0.01), (10, 0.5), (15, 0.999), (20, 0.3), (25, 0.77)].iter().enumerate()
    {
        let here = folder.path().join(format!("case {case}"));
        killed(&whole, &here, *saved, |text| {
            let sure = line_after(text, *saved, step_of);
            let end = sure + ((text.len() - sure) as f64 * part) as usize;
            text[..end].to_vec()
        });
        assert_eq!(train(&here, 5, None).ended, Ended::Finished);
        assert_same(&here, &whole, &format!("after {saved} steps, {part}"));
    }
}

#[test]
fn damage_of_an_older_version_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    train(&whole, 5, None);
    let here = folder.path().join("here");
    // Steps twice, a torn row in the middle with the next one glued to it, rubbish at the end.
    killed(&whole, &here, 20, |text| {
        let [ten, fifteen, end] = [10, 15, 20].map(|step| line_after(text, step, step_of));
        let torn = &text[ten..fifteen.max(ten + 2) - 1];
        [&text[..fifteen], torn, &text[ten..end], b"\xff,,\n1,2\n{\"event\":\"st"].concat()
    });
    train(&here, 5, None);
    assert_same(&here, &whole, "mended");
}

#[test]
fn a_run_in_pieces_writes_what_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, pieces] = ["whole", "pieces"].map(|name| folder.path().join(name));
    train(&whole, 3, None);
    let mut calls = 0;
    while train(&pieces, 3, Some(4)).ended != Ended::Finished {
        calls += 1;
    }
    assert_eq!(calls, 6);
    assert_same(&pieces, &whole, "pieces of 4 steps");
    // Nothing was set aside.
    assert!(!pieces.join("steps.1.csv").exists() && !pieces.join("metrics.1.jsonl").exists());
    let ends = reports(&pieces.join("metrics.jsonl"), "end");
    let ends: Vec<u64> = ends.iter().map(|end| end["steps"].as_u64().unwrap()).collect();
    assert_eq!(ends, [4, 8, 12, 16, 20, 24, 28]);
}

#[test]
fn a_run_that_begins_anew_keeps_the_old_file_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    train(folder.path(), 50, None);
    let old = fs::read(path("steps.csv")).unwrap();
    for _ in 0..2 {
        fs::remove_dir_all(path("checkpoints")).unwrap();
        train(folder.path(), 50, Some(3));
    }
    assert_eq!(fs::read(path("steps.1.csv")).unwrap(), old);
    for name in ["steps.csv", "steps.2.csv"] {
        assert_eq!(fs::read_to_string(path(name)).unwrap().lines().count(), 4, "{name}");
    }
    assert_eq!(reports(&path("metrics.1.jsonl"), "step").len(), EPOCHS * EACH as usize);
    assert_eq!(reports(&path("metrics.jsonl"), "step").len(), 3);
}

#[test]
fn files_of_another_shape_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let run = |observer: &mut dyn Observer| {
        let (mut model, rows) = (model(), rows());
        let fit = Fit { step_limit: Some(1), ..Fit::default() };
        model.training(&fit).observer(observer).run(&rows)
    };
    let json: fn(&Path) -> Box<dyn Observer> = |p| Box::new(JsonLines::append(p).unwrap());
    let steps: fn(&Path) -> Box<dyn Observer> = |p| Box::new(Csv::steps(p).unwrap());
    let epochs: fn(&Path) -> Box<dyn Observer> = |p| Box::new(Csv::epochs(p).unwrap());
    let cases = ["hello", "hello\n", "step,loss\n1,2\n", "\n", "{}\n", "[1]\n", "\u{fe}x\n"];
    for text in cases {
        for open in [json, steps, epochs] {
            fs::write(&path, text).unwrap();
            let error = run(&mut open(&path)).unwrap_err();
            assert!(matches!(error, Error::File { .. }), "{error}");
            assert!(error.to_string().contains("notes: expected"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
    // A header or a first line that was torn is the file's own.
    for (text, open) in [("step,epo", steps), ("epoch,st", epochs), ("{\"ev", json), ("", json)] {
        fs::write(&path, text).unwrap();
        run(&mut open(&path)).unwrap();
    }
}

/// Says when checkpoints are written, and what it had been told by then.
#[derive(Default)]
struct Notes {
    steps: u64,
    saved_after: Vec<u64>,
    before: Vec<[u64; 2]>,
    warnings: Vec<String>,
}

impl Observer for Notes {
    fn begin(&mut self, run: &RunReport) -> Result<(), Error> {
        self.before.push([run.steps_before, run.epochs_before]);
        self.warnings.clone_from(&run.warnings);
        Ok(())
    }

    fn step(&mut self, step: &StepReport) -> Result<ControlFlow<()>, Error> {
        self.steps = step.step;
        Ok(ControlFlow::Continue(()))
    }

    fn saving(&mut self) -> Result<(), Error> {
        self.saved_after.push(self.steps);
        Ok(())
    }
}

#[test]
fn observers_hear_of_a_checkpoint_before_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::new(folder.path(), Every::Steps(3), 100).unwrap();
    let (mut model, rows) = (model(), rows());
    let fit = Fit { epochs: 2, batch_size: 32, step_limit: Some(8), ..Fit::default() };
    let mut notes: Box<Notes> = Box::default();
    for _ in 0..2 {
        let training = model.training(&fit).checkpoints(&mut checkpoints);
        training.observer(&mut notes).run(&rows).unwrap();
    }
    assert_eq!(notes.saved_after, [3, 6, 8, 9, 12, 14]);
    assert_eq!(notes.before, [[0, 0], [8, 1]]);
}

#[test]
fn a_run_too_short_says_so_once() {
    let (mut model, rows) = (model(), rows());
    let mut notes = Notes::default();
    let fit = Fit::default();
    let outcome = model.training(&fit).observer(&mut notes).run(&rows).unwrap();
    // Two batches an epoch.
    assert_eq!(outcome.warnings, notes.warnings);
    assert_eq!(outcome.warnings.len(), 1);
    for text in ["20 steps", "200 rows", "128", "10 epochs", "Fit::epochs", "Fit::batch_size"] {
        assert!(outcome.warnings[0].contains(text), "{text}: {:?}", outcome.warnings);
    }
    // A trainer that has learned, a run that is long enough, and none at all.
    let fit = Fit { epochs: 29, batch_size: 32, ..Fit::default() };
    assert_eq!(model.training(&fit).run(&rows).unwrap().warnings.len(), 0);
    let fit = Fit { epochs: 1, ..Fit::default() };
    assert_eq!(model.training(&fit).run(&rows).unwrap().warnings.len(), 0);
    let mut fresh = self::model();
    let fit = Fit { epochs: 0, ..Fit::default() };
    assert_eq!(fresh.training(&fit).run(&rows).unwrap().warnings.len(), 0);
}

#[test]
fn what_is_minimised_is_the_sum_of_its_terms() {
    let (mut model, rows) = (model(), rows());
    let variant = DiscreteTime { blocks: 2, cross_entropy: 3.0, ..Default::default() };
    let mut weighted = Model::new(&AutoDevice::default(), variant).unwrap();
    let fit = Fit { epochs: 1, batch_size: 200, ..Fit::default() };
    let report = |model: &mut Model| -> EpochReport {
        model.training(&fit).run(&rows).unwrap().epochs.remove(0)
    };
    // One step from the same weights: λ changes the weighted term only.
    let (plain, weighted) = (report(&mut model), report(&mut weighted));
    let nats = plain.cross_entropy.unwrap();
    assert!((weighted.cross_entropy.unwrap() - nats).abs() < 1e-6 * nats);
    assert!((plain.minimised - plain.loss - nats).abs() < 1e-6);
    assert!((weighted.minimised - weighted.loss - 3.0 * nats).abs() < 1e-5);
    // Ten classes, nothing learned yet.
    assert!((nats - 10f64.ln()).abs() < 0.7, "{nats}");
}

#[test]
fn a_pipe_is_written_to_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || fs::read_to_string(path).unwrap())
    };
    let mut lines = JsonLines::append(&path).unwrap();
    let (mut model, rows) = (model(), rows());
    let fit = Fit { epochs: 1, ..Fit::default() };
    model.training(&fit).observer(&mut lines).run(&rows).unwrap();
    lines.saving().unwrap();
    drop(lines);
    assert_eq!(reader.join().unwrap().lines().count(), 5);
}

#[test]
fn a_run_whose_stderr_is_gone_is_saved() {
    let into = if Path::new("/dev/full").exists() { "/dev/full" } else { "/dev/null" };
    // A full device, and a pipe that nobody reads.
    for redirected in [format!("2>{into}"), "2> >(exec true)".to_owned()] {
        let folder = tempfile::tempdir().unwrap();
        let script =
            format!("exec \"$0\" --ignored --exact trains_with_progress --nocapture {redirected}");
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env("NOPROP_FOLDER", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{redirected}: {text}");
        let mut model = model();
        let mut saving = Checkpoints::new(folder.path(), Every::Epochs(1), 9).unwrap();
        assert!(saving.resume(&mut model).unwrap());
        assert_eq!(model.steps(), 20, "{redirected}");
    }
}

#[test]
#[ignore = "the child process of another test"]
fn trains_with_progress() {
    let Ok(folder) = std::env::var("NOPROP_FOLDER") else { return };
    // The reader of the pipe is gone by then.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut checkpoints = Checkpoints::new(folder, Every::Epochs(1), 9).unwrap();
    let (mut model, rows) = (model(), rows());
    let (mut plain, mut bar) = (Progress::plain(), Progress::new());
    let fit = Fit::default();
    let training = model.training(&fit).checkpoints(&mut checkpoints);
    training.observer(&mut plain).observer(&mut bar).run(&rows).unwrap();
}
