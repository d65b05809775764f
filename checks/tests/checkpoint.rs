//! Checkpoints: what is written comes back, whatever happens to process and file.
#![cfg(feature = "checkpoint")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::blobs;
use dfdx::nn::{BuildOnDevice, LoadFromSafetensors};
use dfdx_noprop::{
    block::{Borrowed, Inputs},
    checkpoint::{Contents, Folder, NamedTensor, NumberType},
    head::{Head, SuitsHead},
    nn::{Denoises, Takes},
    prelude::*,
    train::{Checkpoints, Ended, Every},
    variant::Variant,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

// -- the file
// -----------------------------------------------------------------------------------------------------

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> NamedTensor {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    NamedTensor { name: name.into(), dtype: NumberType::F32, shape: shape.to_vec(), bytes }
}

fn small() -> Contents {
    let text = [("a", "one"), ("ü", "line\nquote \" and \u{1F600}"), ("empty", "")];
    Contents {
        metadata: text.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        tensors: vec![
            tensor("a", &[2, 2], &[1.0, -2.0, f32::NAN, 4.0]),
            tensor("b", &[2, 2], &[5.0, 6.0, 7.0, 8.0]),
            tensor("empty", &[3, 0], &[]),
            tensor("scalar", &[], &[0.5]),
            NamedTensor {
                name: "wide".into(),
                dtype: NumberType::F64,
                shape: vec![1],
                bytes: 0.1f64.to_le_bytes().to_vec(),
            },
        ],
    }
}

fn read(bytes: &[u8]) -> Result<Contents, Error> {
    Contents::from_bytes(bytes, Path::new("some.safetensors"))
}

#[test]
fn what_is_written_is_read() {
    for contents in [small(), Contents::default()] {
        // NaN is not equal to itself; the bytes are.
        assert_eq!(read(&contents.to_bytes().unwrap()).unwrap(), contents);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    small().write(&path).unwrap();
    assert_eq!(Contents::read(&path).unwrap(), small());
    Contents::default().write(&path).unwrap();
    assert_eq!(Contents::read(&path).unwrap(), Contents::default());
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small().to_bytes().unwrap();
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("some.safetensors"), "{error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read(&longer).is_err());
}

#[test]
fn a_changed_byte_is_an_error_or_changes_nothing() {
    let bytes = small().to_bytes().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..10_000 {
        let mut changed = bytes.clone();
        let at = rng.gen_range(0..bytes.len());
        changed[at] = rng.r#gen();
        match read(&changed) {
            // White space in the header, for one, means nothing.
            Ok(contents) => assert_eq!(contents, small(), "byte {at} is {}", changed[at]),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 9_000, "{refused}");
}

#[test]
fn sizes_that_cannot_be_are_errors_at_once() {
    let start = Instant::now();
    let file = |header: &str| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    };
    let huge = |shape: &str| {
        file(&format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}"#))
    };
    let mut claims = (1u64 << 60).to_le_bytes().to_vec();
    claims.extend([b'{'; 64]);
    for bytes in [
        claims,
        huge("[1152921504606846976]"),
        huge("[4294967296, 4294967296, 4294967296]"),
        file("{}"),
        file("[]"),
        vec![255; 100],
    ] {
        assert!(read(&bytes).is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn tensors_that_changed_places_are_found_out() {
    let (one, mut other) = (small(), small());
    let (a, b) = (other.tensors[0].bytes.clone(), other.tensors[1].bytes.clone());
    (other.tensors[0].bytes, other.tensors[1].bytes) = (b.clone(), a.clone());
    let mut bytes = one.to_bytes().unwrap();
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let (at_a, at_b) = (find(&a), find(&b));
    bytes[at_a..at_a + 16].copy_from_slice(&b);
    bytes[at_b..at_b + 16].copy_from_slice(&a);
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("checksum") && error.contains("altered"), "{error}");
}

#[test]
fn contents_that_make_no_file_are_errors() {
    let with = |change: fn(&mut Contents)| {
        let mut contents = small();
        change(&mut contents);
        contents.to_bytes().unwrap_err().to_string()
    };
    let error = with(|c| {
        c.metadata.insert("checksum".into(), String::new());
    });
    assert!(error.contains("text entries of other names, found `checksum`"), "{error}");
    let error = with(|c| c.tensors[1].name = "a".into());
    assert!(error.contains("two named `a`"), "{error}");
    let error = with(|c| c.tensors[0].shape = vec![3]);
    assert!(error.contains("bytes of the shape, found `a`"), "{error}");
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn a_write_that_fails_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    for (path, operation) in [
        (taken.clone(), "rename"),
        (folder.path().join("gone/a.safetensors"), "make a file"),
        (folder.path().join("file/a.safetensors"), "make a file"),
    ] {
        let error = small().write(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { path: p, .. } if *p == path), "{error}");
        assert!(error.to_string().contains(operation), "{error}");
    }
    assert_eq!(names(folder.path()), ["file", "taken"]);
    assert!(matches!(Contents::read(&taken), Err(Error::Io { .. })));
    let error = Folder::open(folder.path().join("file"), 1).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// Linux has a disk that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    // The rename is what makes a file out of it, so the write itself is tried here, by the same
    // calls.
    use std::io::Write;
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(full.write_all(&small().to_bytes().unwrap()).is_err());
    // And a limit on the size of files, which a child process has, is such a disk for the library.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, "what was there before").unwrap();
    let script =
        "trap '' XFSZ; ulimit -f 4; exec \"$0\" --ignored --exact writes_a_model --nocapture";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("NOPROP_PATH", &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("cannot write"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there before");
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

#[test]
#[ignore = "the child process of another test"]
fn writes_a_model() {
    let Ok(path) = std::env::var("NOPROP_PATH") else { return };
    match discrete().save(path) {
        Ok(()) => println!("written"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn a_folder_keeps_the_last_and_the_best() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("a/b");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(".unfinished-x1y2"), "of a process that was killed").unwrap();
    fs::write(path.join("notes.txt"), "the user's own").unwrap();
    let folder = Folder::open(&path, 2).unwrap();
    assert_eq!(folder.latest().unwrap(), None);
    let mut contents = small();
    for step in [5, 7, 100, 1000] {
        contents.metadata.insert("step".into(), step.to_string());
        let written = folder.save(step, &contents).unwrap();
        assert_eq!(Contents::read(&written).unwrap(), contents);
    }
    folder.save_best(&small()).unwrap();
    let expected = [
        // It may be somebody's: only a run that has taken the folder removes it.
        ".unfinished-x1y2",
        "best.safetensors",
        "step-000000100.safetensors",
        "step-000001000.safetensors",
        "notes.txt",
    ];
    assert_eq!(names(&path), [&expected[..2], &expected[4..], &expected[2..4]].concat());
    assert_eq!(folder.latest().unwrap().unwrap().1, contents);
    assert_eq!(Contents::read(&folder.best()).unwrap(), small());

    // The last is broken: the one before it is taken; none is left: its error.
    fs::write(path.join(expected[3]), "broken").unwrap();
    let (found, _) = folder.latest().unwrap().unwrap();
    assert_eq!(found, path.join(expected[2]));
    fs::write(path.join(expected[2]), "broken too").unwrap();
    let error = folder.latest().unwrap_err().to_string();
    assert!(error.contains(expected[3]), "{error}");
    let error = Folder::open(&path, 0).unwrap_err().to_string();
    assert!(error.contains("Folder::keep_last: expected at least 1, found 0"), "{error}");
}

// -- trainers
// -----------------------------------------------------------------------------------------------------

type Block = ConditionalResNetDt<4, 5, 8>;
type Timed = ConditionalResNetCt<4, 5, 8>;
type Discrete = NoProp<DiscreteTime, Block, 4, 5>;

fn dev() -> AutoDevice {
    AutoDevice::default()
}

fn discrete() -> Discrete {
    Discrete::new(&dev(), DiscreteTime { blocks: 3, ..DiscreteTime::default() }).unwrap()
}

fn fit() -> Fit {
    Fit {
        epochs: 3,
        batch_size: 8,
        learning_rate: LearningRate { warm_up: 2, decay: Decay::Cosine { floor: 0.0 } },
        clip: Some(1.0),
        average: Some(0.95),
        ..Fit::default()
    }
}

/// All that a trainer holds, as it would be written.
fn all<V, M>(model: &NoProp<V, M, 4, 5>) -> Contents
where
    V: Variant<4, 5, f32, AutoDevice>,
    M: BuildOnDevice<AutoDevice, f32>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    model.save(&path).unwrap();
    Contents::read(&path).unwrap()
}

fn resumes<V, M>(variant: V)
where
    V: Variant<4, 5, f32, AutoDevice>,
    V::Head: Head<4, f32, Targets = Labels<4>>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 4>,
    AutoDevice: Runs<V, M, 4, 5>,
{
    let data = blobs::<4, 5>(50, 1); // 7 steps an epoch
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let new = || NoProp::<V, M, 4, 5>::new(&dev(), variant.clone()).unwrap();
    let mut whole = new();
    whole.fit(&data, &fit()).unwrap();
    for steps in [0, 1, 5, 7, 20] {
        let mut first = new();
        first.fit(&data, &Fit { step_limit: Some(steps), ..fit() }).unwrap();
        first.save(&path).unwrap();
        // Into a trainer that has learned something else already.
        let mut second = new();
        second.fit(&data, &Fit { seed: 9, step_limit: Some(2), ..fit() }).unwrap();
        second.load(&path).unwrap();
        assert_eq!(all(&second), all(&first));
        assert_eq!((second.steps(), second.is_unfinished()), (steps, true));
        second.fit(&data, &fit()).unwrap();
        assert_eq!(all(&second), all(&whole));
        let mut third = NoProp::<V, M, 4, 5>::from_checkpoint(&dev(), &path).unwrap();
        third.fit(&data, &fit()).unwrap();
        assert_eq!(all(&third), all(&whole));
    }
}

#[test]
fn a_trainer_that_was_saved_goes_on_exactly() {
    resumes::<DiscreteTime, Block>(DiscreteTime::default());
    resumes::<DiscreteTime<Learned<4>>, Block>(DiscreteTime {
        optimizer: Sgd::default().into(),
        ..Default::default()
    });
    let path = dfdx_noprop::schedule::Path::Learned(MonotoneNetwork::default());
    let schedule = GammaSchedule { path, ..GammaSchedule::default() };
    resumes::<DiffusionBlocks<Learned<4>>, Timed>(DiffusionBlocks::default());
    resumes::<ContinuousTime<Learned<4>>, Timed>(ContinuousTime { schedule, ..Default::default() });
    resumes::<FlowMatching, Timed>(FlowMatching::default());
}

#[test]
fn another_trainer_refuses_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let data = blobs::<4, 5>(50, 1);
    let mut model = discrete();
    model.fit(&data, &fit()).unwrap();
    model.save(&path).unwrap();

    fn refuses<V, M, const Z: usize, const X: usize>(path: &Path, variant: V, expected: &[&str])
    where
        V: Variant<Z, X, f32, AutoDevice>,
        M: Denoises<V::Input>,
        M::Gives: SuitsHead<V::Reader, Z>,
        AutoDevice: Runs<V, M, Z, X>,
    {
        let mut model = NoProp::<V, M, Z, X>::new(&dev(), variant).unwrap();
        let before = path.with_file_name("before.safetensors");
        let after = path.with_file_name("after.safetensors");
        model.save(&before).unwrap();
        let error = model.load(path).unwrap_err().to_string();
        model.save(&after).unwrap();
        assert_eq!(Contents::read(&before).unwrap(), Contents::read(&after).unwrap());
        for part in [&["model.safetensors: expected"], expected].concat() {
            assert!(error.contains(part), "{error} without {part}");
        }
    }
    let usual = || DiscreteTime::<OneHot> { blocks: 3, ..DiscreteTime::default() };
    let (model, shown) = ("model (Condition<Dense<4, 9>", "found (Condition<Dense<4, 8>");
    refuses::<_, ConditionalResNetDt<4, 5, 9>, 4, 5>(&path, usual(), &[model, shown]);
    let variant = ["variant flow matching, found discrete time"];
    refuses::<FlowMatching, Timed, 4, 5>(&path, FlowMatching::default(), &variant);
    refuses::<_, ConditionalResNetDt<4, 6, 8>, 4, 6>(&path, usual(), &["X 6, found 5"]);
    refuses::<_, ConditionalResNetDt<3, 5, 8>, 3, 5>(&path, usual(), &["Z 3, found 4"]);
    let four = DiscreteTime { blocks: 4, ..usual() };
    refuses::<_, Block, 4, 5>(&path, four, &["settings.blocks = 4, as this trainer", "found 3"]);
    let numbers = DiscreteTime::<Regression> { blocks: 3, ..Default::default() };
    refuses::<_, Block, 4, 5>(&path, numbers, &["head Regression, found OneHot"]);
    let linear = DiscreteTime { schedule: Schedule::Linear, ..usual() };
    refuses::<_, Block, 4, 5>(&path, linear, &[r#"settings.schedule = "linear""#, "cosine"]);
    let slow = AdamW { learning_rate: 1e-4, ..AdamW::default() }.into();
    let slow = DiscreteTime { optimizer: slow, ..usual() };
    refuses::<_, Block, 4, 5>(&path, slow, &["adam_w.learning_rate = 0.0001", "found 0.001"]);

    let mut wide = NoProp::<DiscreteTime, Block, 4, 5, f64>::new(&dev(), usual()).unwrap();
    let error = wide.load(&path).unwrap_err().to_string();
    assert!(error.contains("numbers F64, found F32"), "{error}");

    // Settings of inference may differ.
    let sampler = Sampler::Stochastic { draws: 3, seed: 1 };
    let mut noisy = Discrete::new(&dev(), DiscreteTime { sampler, ..usual() }).unwrap();
    noisy.load(&path).unwrap();
    assert_eq!(noisy.variant().sampler, sampler);
}

#[test]
fn a_file_with_other_tensors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let data = blobs::<4, 5>(50, 1);
    let mut model = discrete();
    model.fit(&data, &fit()).unwrap();
    let whole = all(&model);
    let refused = |change: &dyn Fn(&mut Contents)| {
        let mut contents = whole.clone();
        change(&mut contents);
        contents.write(&path).unwrap();
        let mut model = discrete();
        let error = model.load(&path).unwrap_err().to_string();
        assert_eq!(all(&model), all(&discrete()));
        error
    };
    let at = |c: &Contents, name: &str| c.tensors.iter().position(|t| t.name == name).unwrap();
    let error = refused(&|c| drop(c.tensors.remove(at(c, "block.2.3.bias"))));
    assert!(error.contains("the tensor `block.2.3.bias` of F32 numbers, [4]"), "{error}");
    let error = refused(&|c| drop(c.tensors.remove(at(c, "average.block.1.0.z.weight"))));
    assert!(error.contains("`average.block.1.0.z.weight`"), "{error}");
    let error = refused(&|c| {
        let i = at(c, "optimizer.first.block.3.0.x.weight");
        c.tensors[i].shape.reverse();
    });
    assert!(error.contains("[8, 5], found F32 numbers, [5, 8]"), "{error}");
    let error = refused(&|c| c.tensors.push(tensor("more", &[], &[1.0])));
    assert!(error.contains("no tensors but the model's, found `more`"), "{error}");
    let error = refused(&|c| drop(c.metadata.remove("progress")));
    assert!(error.contains("progress of a trainer"), "{error}");
    let error = refused(&|c| {
        c.metadata.insert("format".into(), "dfdx-noprop checkpoint 2".into());
    });
    assert!(error.contains("format dfdx-noprop checkpoint 1, found dfdx-noprop checkpoint 2"));
}

/// A checkpoint as it was written before models of numbers were preconditioned, and before a
/// trainer had choices by its targets.
fn as_before(path: &Path, weighting: &str, schedule: &str) {
    let mut contents = Contents::read(path).unwrap();
    let text = contents.metadata["settings"].clone();
    let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = settings.as_object_mut().unwrap();
    for name in ["preconditioned", "probabilities", "reverse_variance"] {
        fields.remove(name);
    }
    if let Some(predictor) = fields.get_mut("predictor").and_then(|of| of.as_object_mut()) {
        predictor.remove("preconditioned");
    }
    if fields.contains_key("weighting") {
        fields["weighting"] = weighting.into();
        fields["schedule"]["path"] = schedule.into();
    }
    contents.metadata.insert("settings".into(), settings.to_string());
    contents.metadata.remove("calibration");
    contents.write(path).unwrap();
}

#[test]
fn older_checkpoints_mean_what_they_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    type Timed = ConditionalResNetCt<4, 5, 8>;
    // Classes: what is chosen by the targets is what it was.
    type Ct = NoProp<ContinuousTime, Timed, 4, 5>;
    let model = Ct::new(&dev(), ContinuousTime::default()).unwrap();
    model.save(&path).unwrap();
    as_before(&path, "uniform", "cosine");
    Ct::new(&dev(), ContinuousTime::default()).unwrap().load(&path).unwrap();
    let rows = [[0.3; 5]; 2];
    let same = Ct::from_checkpoint(&dev(), &path).unwrap();
    assert_eq!(same.predict_proba(&rows).unwrap(), model.predict_proba(&rows).unwrap());
    // Numbers: they were not preconditioned.
    type Dt = NoProp<DiscreteTime<Regression>, Block, 4, 5>;
    let plain = DiscreteTime { preconditioned: false, ..DiscreteTime::default() };
    let model = Dt::new(&dev(), plain).unwrap();
    model.save(&path).unwrap();
    as_before(&path, "", "");
    let same = Dt::from_checkpoint(&dev(), &path).unwrap();
    assert!(!same.variant().preconditioned);
    assert_eq!(same.predict(&rows).unwrap(), model.predict(&rows).unwrap());
    let error = Dt::new(&dev(), DiscreteTime::default()).unwrap().load(&path).unwrap_err();
    assert!(error.to_string().contains("settings.preconditioned"), "{error}");
    type Fm = NoProp<FlowMatching<Regression>, Timed, 4, 5>;
    let predictor = Velocity { preconditioned: false, ..Velocity::default() };
    let plain = FlowMatching { predictor, ..FlowMatching::default() };
    let model = Fm::new(&dev(), plain).unwrap();
    model.save(&path).unwrap();
    as_before(&path, "", "");
    let same = Fm::from_checkpoint(&dev(), &path).unwrap();
    assert!(!same.variant().predictor.preconditioned);
    assert_eq!(same.predict(&rows).unwrap(), model.predict(&rows).unwrap());
    let error = Fm::new(&dev(), FlowMatching::default()).unwrap().load(&path).unwrap_err();
    assert!(error.to_string().contains("settings.predictor.preconditioned"), "{error}");
}

#[test]
fn a_run_keeps_its_checkpoints() {
    let (data, validation) = (blobs::<4, 5>(50, 1), blobs::<4, 5>(30, 2));
    let folder = tempfile::tempdir().unwrap();
    let mut whole = discrete();
    whole.fit(&data, &fit()).unwrap();

    let mut saving = Checkpoints::new(folder.path(), Every::Steps(4), 2).unwrap();
    let mut model = discrete();
    assert!(!saving.resume(&mut model).unwrap());
    let limited = Fit { step_limit: Some(10), ..fit() };
    let run = model.training(&limited).validation(&validation).checkpoints(&mut saving);
    assert_eq!(run.run(&data).unwrap().ended, Ended::OutOfSteps);
    // Steps 4 and 8, then the end at 10; two are kept. The best was written after the first epoch.
    let expected = ["best.safetensors", "step-000000008.safetensors", "step-000000010.safetensors"];
    assert_eq!(names(folder.path()), [&[".lock"], &expected[..]].concat());

    let mut saving = Checkpoints::new(folder.path(), Every::Epochs(1), 3).unwrap();
    let mut model = discrete();
    assert!(saving.resume(&mut model).unwrap());
    assert_eq!(saving.last().unwrap(), folder.path().join(expected[2]));
    let fit = fit();
    model.training(&fit).validation(&validation).checkpoints(&mut saving).run(&data).unwrap();
    assert_eq!(all(&model), all(&whole));
    let mut last = Discrete::from_checkpoint(&dev(), saving.last().unwrap()).unwrap();
    assert!(!last.is_unfinished());
    assert_eq!(all(&last), all(&whole));
    // The best one goes on from where it was.
    last.load(saving.folder().best()).unwrap();
    assert!(last.is_unfinished() || last.steps() == 21);
}

#[test]
fn a_run_that_diverges_names_its_last_checkpoint() {
    let data = blobs::<4, 5>(50, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut saving = Checkpoints::new(folder.path(), Every::Steps(1), 1).unwrap();
    let optimizer = Sgd { learning_rate: 1e30, momentum: 0.0, ..Sgd::default() }.into();
    let variant = DiscreteTime { optimizer, ..DiscreteTime::default() };
    let mut model = Discrete::new(&dev(), variant.clone()).unwrap();
    let fit = Fit { batch_size: 8, ..Fit::default() };
    let error = model.training(&fit).checkpoints(&mut saving).run(&data).unwrap_err();
    let Error::Diverged { step, checkpoint: Some(path), .. } = &error else { panic!("{error}") };
    assert_eq!(
        path.file_name().unwrap().to_str().unwrap(),
        format!("step-{:09}.safetensors", step - 1)
    );
    assert!(error.to_string().contains("the last checkpoint before it is"), "{error}");
    Discrete::new(&dev(), variant).unwrap().load(path).unwrap();
}

#[test]
fn a_folder_that_goes_away_is_an_error() {
    let data = blobs::<4, 5>(50, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut saving = Checkpoints::new(&path, Every::Epochs(1), 1).unwrap();
    let mut model = discrete();
    let fit = fit();
    let training = model.training(&fit).each_epoch(|_, _| {
        fs::remove_dir_all(&path).unwrap();
        Ok(std::ops::ControlFlow::Continue(()))
    });
    let error = training.checkpoints(&mut saving).run(&data).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    // What was learned is still there, and the run can go on.
    assert_eq!((model.steps(), model.is_unfinished()), (7, true));
}

#[test]
fn exported_weights_are_named_and_load_into_dfdx() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut model = discrete();
    model.fit(&blobs::<4, 5>(50, 1), &fit()).unwrap();
    model.export(&path).unwrap();
    let names: Vec<_> =
        Contents::read(&path).unwrap().tensors.into_iter().map(|t| (t.name, t.shape)).collect();
    assert!(names.contains(&("block.3.0.x.weight".to_owned(), vec![8, 5])), "{names:?}");
    assert!(names.contains(&("embedding".to_owned(), vec![4, 4])), "{names:?}");
    assert!(names.iter().all(|(name, _)| !name.contains("optimizer")));

    // A block made of nothing but dfdx's layers, read back by dfdx alone.
    model.export_block(2, &path).unwrap();
    type Plain = (
        Condition<dfdx::nn::builders::Linear<4, 8>, dfdx::nn::builders::Linear<5, 8>>,
        ReLU,
        Residual<(dfdx::nn::builders::Linear<8, 8>, ReLU, dfdx::nn::builders::Linear<8, 8>)>,
        dfdx::nn::builders::Linear<8, 4>,
    );
    let dev = dev();
    let mut plain = <Plain as BuildOnDevice<_, f32>>::build_on_device(&dev);
    plain.load_safetensors(&path).unwrap();
    let (z, x) = (dev.sample_normal::<Rank2<3, 4>>(), dev.sample_normal::<Rank2<3, 5>>());
    use dfdx::nn::Module;
    let theirs: Tensor<Rank2<3, 4>, f32, _> = plain.forward((z.clone(), x.clone()));
    let plan = <Block as Takes<Pair<4, 5>>>::lower(Borrowed::Shared(model.blocks()[1].module()));
    let inputs = Inputs { z: z.reshape_like(&(3, 4)), x: x.reshape_like(&(3, 5)), t: None };
    let ours = inputs.through(&plan.unwrap()).unwrap();
    for (a, b) in theirs.as_vec().iter().zip(ours.as_vec()) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
    let error = model.export_block(4, &path).unwrap_err().to_string();
    assert!(error.contains("a block from 1 to 3, found 4"), "{error}");
}

// -- a process that is killed
// ---------------------------------------------------------------------------------------

/// How often the process is killed; more by `NOPROP_KILLS`.
fn kills() -> usize {
    std::env::var("NOPROP_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(15)
}

#[test]
fn a_process_may_be_killed_at_any_moment() {
    survives(&|folder| child("trains_with_checkpoints", folder), killable());
}

#[test]
fn a_process_with_blocks_in_a_file_may_be_killed_at_any_moment() {
    survives(&|folder| child("trains_with_blocks_in_a_file", folder), discrete());
}

/// Kills processes and goes on with what they leave, while another one looks at it.
fn survives<V: Variant<4, 5>>(
    child: &dyn Fn(&Path) -> std::process::Child,
    mut looks: NoProp<V, Block, 4, 5>,
) {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    let start = Instant::now();
    assert!(child(&alone).wait().unwrap().success());
    let (whole, took) = (start.elapsed(), last(&alone));
    let mut rng = StdRng::seed_from_u64(7);
    let (mut killed, mut looked) = (0, 0);
    for round in 0.. {
        if killed >= kills() {
            break;
        }
        assert!(round < 10 * kills(), "the process ends before it can be killed");
        let run = folder.path().join(format!("run-{round}"));
        loop {
            let mut process = child(&run);
            let until = Instant::now() + whole.mul_f64(rng.gen_range(0.0..1.2));
            // Another process that looks harms neither of the two.
            while Instant::now() < until {
                let mut saving = Checkpoints::new(&run, Every::Steps(1), 2).unwrap();
                let found = saving.resume(&mut looks).unwrap();
                assert!(!found || looks.steps() > 0);
                looked += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            let ended = process.try_wait().unwrap();
            process.kill().unwrap();
            process.wait().unwrap();
            match ended {
                Some(status) => {
                    assert!(status.success());
                    break;
                }
                None => killed += 1,
            }
            // Whatever is there can be read.
            for name in names(&run).iter().filter(|name| name.ends_with(".safetensors")) {
                Contents::read(&run.join(name)).unwrap();
            }
        }
        assert_eq!(last(&run), took, "after {killed} kills");
        fs::remove_dir_all(&run).unwrap();
    }
    assert!(looked > kills(), "{looked} looks");
}

/// The trainer that is killed.
fn killable() -> NoProp<DiscreteTime<Learned<4>>, Block, 4, 5> {
    let variant = DiscreteTime::<Learned<4>> { blocks: 3, ..Default::default() };
    NoProp::new(&dev(), variant).unwrap()
}

/// A run in a process of its own, which goes on with what it finds in the folder.
fn child(test: &str, folder: &Path) -> std::process::Child {
    fs::create_dir_all(folder).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .env("NOPROP_FOLDER", folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn last(folder: &Path) -> Contents {
    Folder::open(folder, 1).unwrap().latest().unwrap().unwrap().1
}

#[test]
#[ignore = "the child process of another test"]
fn trains_with_checkpoints() {
    train_with_checkpoints(killable(), None);
}

#[test]
#[ignore = "the child process of another test"]
fn trains_with_blocks_in_a_file() {
    train_with_checkpoints(discrete(), Some(1));
}

fn train_with_checkpoints<V>(mut model: NoProp<V, Block, 4, 5>, resident: Option<usize>)
where
    V: Variant<4, 5, Head: Head<4, f32, Targets = data::Labels<4>>>,
{
    let Ok(folder) = std::env::var("NOPROP_FOLDER") else { return };
    let (data, validation) = (blobs::<4, 5>(50, 1), blobs::<4, 5>(30, 2));
    let mut saving = Checkpoints::new(PathBuf::from(folder), Every::Steps(1), 2).unwrap();
    let fit = Fit { epochs: 6, resident, ..fit() };
    saving.resume(&mut model).unwrap();
    model.training(&fit).validation(&validation).checkpoints(&mut saving).run(&data).unwrap();
}
