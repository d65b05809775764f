//! Processes that MPI starts: the example `distributed`, which has to be built before, in the same
//! profile.

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

/// The example on `n` ranks, of one thread each. What hangs is ended after two minutes, and fails.
fn mpirun(n: usize, for_mpirun: &[&str], options: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "120", "mpirun", "--oversubscribe", "-n", &n.to_string()]);
    // Whoever runs tests in a container is root there.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(for_mpirun).arg(example()).args(["--threads", "1", "--json"]).args(options);
    command
}

/// What each rank says of itself, as JSON.
fn reports(mut command: Command) -> Vec<Value> {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
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
        let reports = reports(mpirun(n, &[], &options));
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
            let reports = reports(mpirun(n, &[], &[&options, variant].concat()));
            let sent = reports[0]["bytes_sent"]["training"].as_u64().unwrap();
            assert_eq!(sent > 0, n > 1);
        }
        for ((name, found), (_, expected)) in tensors(&path(3)).iter().zip(tensors(&path(1))) {
            // Sums of 128 rows in another order, in single precision, twelve steps of AdamW long.
            common::assert_close(name, found, &expected, 2e-3);
        }
    }
}

/// What `read` finds, within a minute.
fn wait_for<T>(what: &str, read: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match read() {
            Some(found) => return found,
            None => assert!(begin.elapsed() < Duration::from_secs(60), "no {what}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_process_is_named_by_the_others_and_the_run_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (saved, export, output) = (path("run"), path("weights"), path("output"));
    let options = |time_out| {
        ["--epochs", "60", "--time-out", time_out, "--checkpoints", &saved, "--export", &export]
    };
    let undisturbed = path("undisturbed");
    reports(mpirun(1, &[], &["--epochs", "60", "--export", &undisturbed]));

    // Without recovery Open MPI itself ends the others, at once and without a word of where they
    // were.
    let each_in_a_file = ["--enable-recovery", "--output-filename", &output];
    let mut command = mpirun(3, &each_in_a_file, &options("3"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let said = |rank: usize| {
        let path = Path::new(&output).join(format!("1/rank.{rank}/stderr"));
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let pid = wait_for("process of rank 1", || {
        // "rank 1 of 3: process 4711, blocks [2, 5, 8]"
        let text = said(1);
        Some(text.split_once(": process ")?.1.split_once(',')?.0.to_owned())
    });
    wait_for("fifth epoch", || said(0).contains("epoch   5/60").then_some(()));
    let killed = Instant::now();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    let elapsed = killed.elapsed();
    for rank in [0, 2] {
        let text = said(rank);
        for part in ["rank 1: expected it to take part in", "the last checkpoint"] {
            assert!(text.contains(part), "{status}: rank {rank} says\n{text}");
        }
    }
    // The time-out and a tenth, and some for starting, dying, and a machine that is busy.
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");

    reports(mpirun(2, &[], &options("60")));
    assert_eq!(tensors(Path::new(&export)), tensors(Path::new(&undisturbed)));
}
