//! Processes that MPI starts: the example `distributed`, which has to be built before, in the same profile.

mod common;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use dfdx_noprop::{checkpoint::Contents, device::Real};
use serde_json::Value;

/// `target/…/examples/distributed`, beside the folder that this test is in.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join("distributed");
    let build = "cargo build --features mpi --example distributed";
    assert!(path.exists(), "{} is missing: {build}", path.display());
    path
}

/// The example on `n` ranks, of one thread each.
fn mpirun(n: usize, options: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &n.to_string()]);
    // Whoever runs tests in a container is root there.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.arg(example()).args(["--threads", "1", "--json"]).args(options);
    command
}

/// What each rank says of itself, as JSON.
fn reports(mut command: Command) -> Vec<Value> {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn tensors(path: &Path) -> Vec<(String, Vec<f64>)> {
    let numbers = |bytes: &[u8]| f32::from_bytes(bytes).into_iter().map(f64::from).collect();
    let tensors = Contents::read(path).unwrap().tensors;
    tensors.into_iter().map(|tensor| (tensor.name, numbers(&tensor.bytes))).collect()
}

#[test]
fn blocks_on_several_processes_are_those_of_one_and_send_nothing_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = |n: usize| folder.path().join(n.to_string());
    for n in [1, 2, 4] {
        let export = path(n);
        let options = ["--epochs", "2", "--export", export.to_str().unwrap()];
        let reports = reports(mpirun(n, &options));
        assert_eq!(reports.len(), n);
        for report in &reports {
            assert_eq!(report["bytes_sent"]["training"], 0, "{report}");
            assert!(report["blocks"].as_array().unwrap().len() <= 10usize.div_ceil(n), "{report}");
        }
        assert_eq!(tensors(&path(n)), tensors(&path(1)), "{n} ranks");
    }
}

#[test]
fn replicas_on_several_processes_learn_what_one_learns() {
    let folder = tempfile::tempdir().unwrap();
    for variant in [&["--variant", "fm"][..], &["--blocks", "1", "--learned"]] {
        let path = |n: usize| folder.path().join(n.to_string());
        for n in [1, 3] {
            let export = path(n);
            let options = ["--epochs", "1", "--export", export.to_str().unwrap()];
            let reports = reports(mpirun(n, &[&options, variant].concat()));
            let sent = reports[0]["bytes_sent"]["training"].as_u64().unwrap();
            assert_eq!(sent > 0, n > 1);
        }
        for ((name, found), (_, expected)) in tensors(&path(3)).iter().zip(tensors(&path(1))) {
            // Sums of 128 rows in another order, in single precision, twelve steps of AdamW long.
            common::assert_close(name, found, &expected, 2e-3);
        }
    }
}

/// Lines of a child's stderr, as they come.
fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

#[test]
fn a_killed_process_is_named_by_the_others_and_the_run_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (saved, export) = (folder.path().join("run"), folder.path().join("weights"));
    let options = |time_out| {
        let (saved, export) = (saved.to_str().unwrap(), export.to_str().unwrap());
        ["--epochs", "60", "--time-out", time_out, "--checkpoints", saved, "--export", export]
    };
    let mut undisturbed = mpirun(1, &["--epochs", "60", "--export"]);
    undisturbed.arg(folder.path().join("undisturbed"));
    reports(undisturbed);

    let mut command = mpirun(3, &options("3"));
    // Without this Open MPI itself ends the others, at once and without a word of where they were.
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut with_recovery = Command::new("mpirun");
    with_recovery.arg("--enable-recovery").args(arguments);
    with_recovery.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command = with_recovery;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = lines(&mut child);
    let next = || stderr.recv_timeout(Duration::from_secs(60)).unwrap();
    // "rank 1 of 3: process 4711, blocks [2, 5, 8]"
    // The lines of several processes come in any order.
    let (mut pid, mut trains) = (None, false);
    while pid.is_none() || !trains {
        let line = next();
        if let Some(rest) = line.split_once("rank 1 of 3: process ") {
            pid = rest.1.split(',').next().map(ToOwned::to_owned);
        }
        trains |= line.contains("epoch   5/60");
    }
    let killed = Instant::now();
    assert!(Command::new("kill").args(["-9", &pid.unwrap()]).status().unwrap().success());
    child.wait().unwrap();
    let elapsed = killed.elapsed();
    let text: Vec<String> = stderr.iter().collect();
    let named = |line: &&String| line.contains("rank 1: expected it to take part in");
    assert_eq!(text.iter().filter(named).count(), 2, "{text:#?}");
    assert!(
        text.iter().filter(named).all(|line| line.contains("the last checkpoint")),
        "{text:#?}"
    );
    // The time-out and a tenth, and some for starting, dying, and a machine that is busy.
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");

    reports(mpirun(2, &options("60")));
    assert_eq!(tensors(&export), tensors(&folder.path().join("undisturbed")));
}
