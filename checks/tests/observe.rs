//! Observers: files that say what was reported, pictures that can be read.
#![cfg(feature = "observe")]

use std::{fs, ops::ControlFlow};

use dfdx_noprop::{
    head::{Classification, Confusion, DistributionScores, Errors, Evaluation},
    observe::{Csv, JsonLines, Plots, Progress, plots},
    prelude::*,
    score::Reliability,
    train::{
        AlongPoint, BlockMean, BlockReport, Ended, EpochReport, Observer, Outcome, RunReport,
        SchedulePoint, StepReport,
    },
};
use serde_json::Value;

fn run() -> RunReport {
    let snr = |t: f64| if t == 1.0 { f64::INFINITY } else { (t / (1.0 - t)).powi(2) };
    let point = |i: u32| f64::from(i) / 50.0;
    RunReport {
        variant: "discrete time",
        blocks: 2,
        parameters: 10,
        rows: 20,
        batch_size: 8,
        epochs: 4,
        steps_per_epoch: 3,
        steps_done: 0,
        steps_before: 0,
        epochs_before: 0,
        cross_entropy_weight: 2.0,
        warnings: vec!["too short".to_owned()],
        classes: true,
        schedule: (0..=50).map(point).map(|t| SchedulePoint { t, snr: snr(t) }).collect(),
    }
}

fn step(step: u64) -> StepReport {
    let block = |block: usize| BlockReport {
        block,
        denoising: 0.5 / step as f64,
        cross_entropy: 0.25,
        gradient_norm: 1.5,
        correct: 6,
        rows: 8,
    };
    StepReport {
        step,
        epoch: step / 3 + 1,
        learning_rate: 1e-3,
        blocks: vec![block(1), block(2)],
        terminal: [0.1, 0.2],
    }
}

fn classification(accuracy: f64) -> Classification {
    let mut confusion = Confusion::default();
    (0..2).for_each(|class| confusion.add(class, class));
    let reliability = Reliability::new(&[0.4, 0.8, 1.0], &[false, true, true]).unwrap();
    Classification {
        rows: 100,
        correct: (100.0 * accuracy) as usize,
        accuracy,
        negative_log_likelihood: 1.0 - accuracy,
        calibration_error: reliability.calibration_error(),
        reliability,
        confusion,
        network_calls: 2.0,
    }
}

fn errors(distribution: Option<DistributionScores>) -> Errors {
    Errors { rows: 3, mean_squared_error: 0.25, r_squared: 0.5, distribution, network_calls: 1.0 }
}

fn scores() -> DistributionScores {
    DistributionScores::new(&[0.0, 3.0, 1.0, 4.0, 2.0, 50.0], &[1.0, 1.5, 1.0], 1).unwrap()
}

/// An epoch of a run that goes well.
fn epoch(epoch: u64, epochs: usize, blocks: usize, validated: bool) -> EpochReport {
    let part = epoch as f64 / epochs as f64;
    let block = |t: usize| BlockMean {
        denoising: (-3.0 * part).exp() * (1.0 + t as f64 / 10.0),
        cross_entropy: 0.5 * (-4.0 * part).exp(),
        gradient_norm: 1.0,
        accuracy: 1.0 - 0.5 * (-3.0 * part).exp() - 0.3 * (-(t as f64)).exp(),
    };
    let accuracy = 0.98 - 0.4 * (-5.0 * part).exp();
    let blocks: Vec<_> = (0..blocks).map(block).collect();
    let mean =
        |of: fn(&BlockMean) -> f64| blocks.iter().map(of).sum::<f64>() / blocks.len().max(1) as f64;
    let loss = 0.05 + mean(|block| block.denoising);
    let cross_entropy = mean(|block| block.cross_entropy);
    EpochReport {
        epoch,
        epochs,
        rows: 20,
        steps: 3,
        seconds: 1.25,
        loss,
        minimised: loss + cross_entropy,
        cross_entropy: Some(0.5 * cross_entropy),
        blocks,
        validation: validated.then(|| classification(accuracy).into()),
    }
}

fn outcome() -> Outcome {
    let along = |i: u32| {
        let t = f64::from(i) / 10.0;
        let evaluation = classification(0.97 - 0.5 * (-6.0 * t).exp()).into();
        AlongPoint { t, calls: f64::from(i), evaluation }
    };
    let epochs = (1..=4).map(|e| epoch(e, 4, 2, true)).collect();
    let along = (1..=10).map(along).collect();
    Outcome { epochs, ended: Ended::Finished, warnings: Vec::new(), along }
}

/// Tells an observer of a whole run.
fn tell(observer: &mut dyn Observer) -> Result<(), Error> {
    tell_from(observer, 0)
}

/// Tells an observer of a run of four epochs whose trainer has had others before.
fn tell_from(observer: &mut dyn Observer, before: u64) -> Result<(), Error> {
    let run = RunReport { steps_before: 3 * before, epochs_before: before, ..run() };
    observer.begin(&run)?;
    for e in before + 1..=before + 4 {
        for s in 1..=3 {
            assert_eq!(observer.step(&step(3 * (e - 1) + s))?, ControlFlow::Continue(()));
        }
        assert_eq!(observer.epoch(&epoch(e, 4, 2, e % 2 == 0))?, ControlFlow::Continue(()));
    }
    observer.end(&outcome())
}

#[test]
fn json_lines_hold_every_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/metrics.jsonl");
    tell(&mut JsonLines::create(&path).unwrap().every(2)).unwrap();
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let text = fs::read_to_string(&path).unwrap();
    let events = lines(&text);
    let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
    assert_eq!(["begin", "step", "epoch", "end"].map(count), [1, 6, 4, 1]);
    let found = events.iter().find(|line| line["event"] == "step").unwrap();
    assert_eq!(found["step"], 2);
    assert_eq!(found["blocks"][1]["gradient_norm"], 1.5);
    let found = events.iter().filter(|line| line["event"] == "epoch").nth(1).unwrap();
    assert_eq!(found["validation"]["confusion"], serde_json::json!([[0, 0, 1], [1, 1, 1]]));
    let bin = &found["validation"]["reliability"][0];
    assert_eq!([&bin["count"], &bin["confidence"], &bin["accuracy"]], [1.0, 0.4, 0.0]);
    // Infinity has no JSON.
    assert_eq!(events[0]["schedule"][50]["snr"], Value::Null);
    tell_from(&mut JsonLines::append(&path).unwrap().every(0), 4).unwrap();
    let both = fs::read_to_string(&path).unwrap();
    assert!(both.starts_with(&text));
    assert_eq!(lines(&both).len(), 12 + 6);
}

#[test]
fn tables_have_one_header() {
    let folder = tempfile::tempdir().unwrap();
    let (epochs, steps) = (folder.path().join("epochs.csv"), folder.path().join("steps.csv"));
    for before in [0, 4] {
        tell_from(&mut Csv::epochs(&epochs).unwrap(), before).unwrap();
        tell_from(&mut Csv::steps(&steps).unwrap(), before).unwrap();
    }
    let read = |path| csv::Reader::from_path(path).unwrap();
    let mut table = read(&epochs);
    let header = table.headers().unwrap().clone();
    assert_eq!(&header[0], "epoch");
    let at = |name: &str| header.iter().position(|n| n == name).unwrap();
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 8);
    assert_eq!(&rows[0][at("validation_accuracy")], "");
    let expected = epoch(2, 4, 2, true);
    let number = |name: &str| rows[1][at(name)].parse::<f64>().unwrap();
    let classes = classification(expected.validation.as_ref().unwrap().accuracy().unwrap());
    assert_eq!(number("validation_accuracy"), classes.accuracy);
    assert_eq!(number("validation_calibration_error"), classes.calibration_error);
    assert_eq!(&rows[1][at("validation_crps")], "");
    assert_eq!(number("block_2_denoising"), expected.blocks[1].denoising);
    assert_eq!(number("loss"), expected.loss);
    assert_eq!(read(&steps).records().count(), 24);

    // Numbers, with draws.
    let numbers = folder.path().join("numbers.csv");
    let validation = Some(errors(Some(scores())).into());
    let report = EpochReport { validation, ..epoch(1, 4, 2, true) };
    let next = Csv::epochs(&numbers).unwrap().epoch(&report).unwrap();
    assert_eq!(next, ControlFlow::Continue(()));
    let row = read(&numbers).records().next().unwrap().unwrap();
    let number = |name: &str| row[at(name)].parse::<f64>().unwrap();
    assert_eq!(number("validation_loss"), 0.25);
    assert_eq!(number("validation_crps"), scores().crps);
    assert_eq!(number("validation_coverage_90"), scores().coverage_90);
    assert_eq!(number("validation_interval_width_90"), scores().interval_width_90);
    assert_eq!(&row[at("validation_calibration_error")], "");

    // A file with another header is not written into.
    let error = tell(&mut Csv::steps(&epochs).unwrap()).unwrap_err().to_string();
    assert!(error.contains("epochs.csv: expected the header step,epoch"), "{error}");
    assert_eq!(read(&epochs).records().count(), 8);
}

/// The texts of a picture, and how many lines it has that are no axes: those with the colours of
/// the lines.
fn picture(svg: &str) -> (Vec<String>, usize) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let named = |name: &'static str| document.descendants().filter(move |n| n.has_tag_name(name));
    let texts = named("text").filter_map(|n| n.text()).map(|t| t.trim().to_owned()).collect();
    let colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#AAAAAA"];
    let lines = named("polyline").filter(|n| {
        let points = n.attribute("points").unwrap().split_whitespace().count();
        points > 2 && colours.contains(&n.attribute("stroke").unwrap())
    });
    (texts, lines.count())
}

#[test]
fn plots_have_titles_axes_and_legends() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut Plots::new(folder.path().join("plots")).unwrap()).unwrap();
    let see = |name: &str, expected: &[&str], lines: usize| {
        let svg = fs::read_to_string(folder.path().join("plots").join(name)).unwrap();
        let (texts, found) = picture(&svg);
        for text in expected {
            assert!(texts.iter().any(|t| t.contains(text)), "{name}: {text} in {texts:?}");
        }
        assert_eq!(found, lines, "{name}");
    };
    see("loss.svg", &["Cross-entropy", "epoch", "nats", "makes smaller", "validation"], 2);
    see("accuracy.svg", &["Accuracy", "accuracy (%)", "block 1 of 2", "the whole model"], 2);
    see("along.svg", &["on the way", "1 to 10 network calls", "validation rows (%)"], 1);
    see("schedule.svg", &["Signal to noise", "SNR", "ᾱ", "from noise"], 2);
    see("reliability.svg", &["Reliability", "0.2000", "confidence", "calibrated"], 1);
    let names = fs::read_dir(folder.path().join("plots")).unwrap().count();
    // And what they are drawn of.
    assert_eq!(names, 6);

    let ten: Vec<_> = (1..=100).map(|e| epoch(e, 100, 10, true)).collect();
    let (texts, lines) = picture(&plots::accuracy(&ten).unwrap());
    assert_eq!(lines, 11);
    assert!(texts.iter().any(|t| t.contains("the other blocks")), "{texts:?}");
}

#[test]
fn plots_of_little_or_odd_data_do_not_fail() {
    let mut odd = epoch(1, 3, 2, true);
    odd.loss = f64::NAN;
    let infinite = SchedulePoint { t: 1.0, snr: f64::INFINITY };
    let numbers = Errors { mean_squared_error: 0.0, ..errors(None) };
    let still = |t| AlongPoint { t, calls: 1.0, evaluation: numbers.clone().into() };
    for svg in [
        plots::loss(&[]),
        plots::loss(&[epoch(1, 1, 1, false)]),
        plots::loss(&[odd.clone(), epoch(2, 3, 2, false)]),
        plots::accuracy(&[]),
        plots::accuracy(&[odd]),
        plots::along(&[]),
        plots::along(&[still(0.0), still(1.0)]),
        plots::schedule(&[]),
        plots::schedule(&[infinite]),
    ] {
        roxmltree::Document::parse(&svg.unwrap()).unwrap();
    }
}

#[test]
fn files_that_cannot_be_written_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("below");
    for error in
        [JsonLines::create(&below).err(), Csv::epochs(&below).err(), Plots::new(&below).err()]
    {
        assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
    }
    let mut plots = Plots::new(folder.path().join("plots")).unwrap();
    fs::remove_dir(folder.path().join("plots")).unwrap();
    assert!(matches!(plots.begin(&run()), Err(Error::Io { .. })));
}

#[test]
fn progress_says_nothing_where_there_is_no_terminal() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "shows_progress", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.matches("epoch ").count(), 6, "{stderr}");
    assert!(stderr.contains("validation"), "{stderr}");
    assert!(stderr.contains(", calibration error 0.2000 "), "{stderr}");
    let drawn = "squared error 0.2500, CRPS 4.8333, 66.7 % within the 90 % interval";
    assert!(stderr.contains(drawn), "{stderr}");
    assert_eq!(stderr.matches("validation squared error 0.2500   ").count(), 1, "{stderr}");
    assert!(stderr.contains("warning: too short"), "{stderr}");
    // The parts are those of the loss, with their names.
    let number = |line: &str, after: &str| -> f64 {
        let rest = line.split(after).nth(1).unwrap_or_else(|| panic!("no {after}: {line}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    for line in stderr.lines().filter(|line| line.contains("epoch ")) {
        let sum = number(line, "squared error ") + 2.0 * number(line, "2 × cross-entropy ");
        let whole = number(line, "loss ");
        assert!((sum + number(line, "ends ") - whole).abs() < 1e-3, "{line}");
    }
}

#[test]
#[ignore = "the child process of another test"]
fn shows_progress() {
    tell(&mut Progress::new()).unwrap();
    let mut plain = Progress::plain();
    tell(&mut plain).unwrap();
    for distribution in [None, Some(scores())] {
        let validation = Some(errors(distribution).into());
        let next = plain.epoch(&EpochReport { validation, ..epoch(4, 4, 2, true) }).unwrap();
        assert_eq!(next, ControlFlow::Continue(()));
    }
}

#[test]
fn metrics_have_what_there_is() {
    let names = |report: Evaluation| -> Vec<&str> {
        report.metrics().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(
        names(classification(0.9).into()),
        ["accuracy", "negative_log_likelihood", "calibration_error", "network_calls"]
    );
    let bare = names(errors(None).into());
    assert_eq!(bare, ["mean_squared_error", "r_squared", "network_calls"]);
    let drawn = names(errors(Some(scores())).into());
    let of_draws = ["crps", "coverage_90", "interval_width_90"];
    assert!(of_draws.iter().all(|name| drawn.contains(name)) && drawn.len() == 6, "{drawn:?}");
    // As data: nothing where there are no draws.
    let data = |report: Errors| serde_json::to_value(Evaluation::from(report)).unwrap();
    assert!(data(errors(None)).get("distribution").is_none());
    assert_eq!(data(errors(Some(scores())))["distribution"]["draws"], 2);
}

/// Pictures to look at: `cargo test --test observe pictures -- --ignored`, in the folder of
/// temporary files.
#[test]
#[ignore = "for eyes"]
fn pictures() {
    let folder = std::env::temp_dir().join("noprop-plots");
    fs::create_dir_all(&folder).unwrap();
    let save = |name: &str, svg: Result<String, Error>| {
        fs::write(folder.join(name), svg.unwrap()).unwrap();
    };
    for (epochs, blocks) in [(1, 1), (8, 3), (100, 10)] {
        let reports: Vec<_> =
            (1..=epochs).map(|e| epoch(e, epochs as usize, blocks, true)).collect();
        save(&format!("loss-{epochs}.svg"), plots::loss(&reports));
        save(&format!("accuracy-{epochs}.svg"), plots::accuracy(&reports));
    }
    save("along.svg", plots::along(&outcome().along));
    save("schedule.svg", plots::schedule(&run().schedule));
    let confidences: Vec<f64> = (1..=200).map(|i| 1.0 - 0.8 / f64::from(i)).collect();
    let right: Vec<bool> = (1..=200).map(|i| i % 3 != 1 || i > 60).collect();
    save("reliability.svg", plots::reliability(&Reliability::new(&confidences, &right).unwrap()));
}
