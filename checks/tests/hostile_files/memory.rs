//! What a reader takes of the system's memory: at most 1.1 times what its result takes, and 16 MB.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use dfdx_noprop::{
    Error,
    data::{cifar_file, csv_labels, idx_files},
};
use flate2::{Compression, write::GzEncoder};

use crate::{
    cases::{given, limited},
    in_memory,
};

const MEGABYTE: usize = 1 << 20;

/// What a file holds, and whether it is right.
const FILES: [&str; 7] = ["bomb", "line", "field", "labels", "counts", "right csv", "right idx"];

/// A number of the process's own, in kB.
fn status(key: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many bytes `work` takes at most, beside those that the process has before it.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    // The highest mark starts from here.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let answer = work();
    (answer, status("VmHWM").saturating_sub(before) << 10)
}

/// A gigabyte that is nowhere: the reader gets it from a pipe.
fn stream(path: &Path, start: &'static [u8], piece: &'static [u8]) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut pipe = File::options().write(true).open(path).unwrap();
        let block = piece.repeat(MEGABYTE / piece.len());
        // It ends where the reader has had enough.
        let mut written = pipe.write_all(start);
        for _ in 0..1024 {
            written = written.and_then(|()| pipe.write_all(&block));
        }
    });
}

/// A gzip stream of 2 GB of zeros.
fn bomb(path: &Path) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&vec![0; MEGABYTE]).unwrap();
    fs::write(path, encoder.finish().unwrap().repeat(2048)).unwrap();
}

/// An idx file whose body is written in pieces.
fn idx(path: &Path, sizes: &[u32], bytes: usize, last: u8) {
    let mut file = File::create(path).unwrap();
    file.write_all(&[0, 0, 8, sizes.len() as u8]).unwrap();
    sizes.iter().for_each(|size| file.write_all(&size.to_be_bytes()).unwrap());
    let mut left = bytes - 1;
    while left > 0 {
        let count = left.min(MEGABYTE);
        file.write_all(&vec![1; count]).unwrap();
        left -= count;
    }
    file.write_all(&[last]).unwrap();
}

/// The bytes of a result, or 0 with an error that says this.
fn taken(result: Result<usize, Error>, expected: &str) -> usize {
    match result {
        Ok(bytes) => bytes,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(expected), "{text}");
            0
        }
    }
}

#[test]
fn readers_take_what_their_result_takes() {
    for kind in FILES {
        print!("{}", limited("memory::file", kind, 1024, 5));
    }
}

#[test]
#[ignore = "the child process of another test"]
fn file() {
    let Some(kind) = given() else { return };
    let folder = in_memory();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (file, labels) = (path("file"), path("labels"));
    let csv = || csv_labels::<784, 10>(&file).map(|data| data.inputs().len() * 4 + data.rows() * 4);
    let images = || {
        let data = idx_files::<784, 10>(&file, &labels);
        data.map(|data| data.inputs().len() * 4 + data.rows() * 4)
    };
    let rows: usize = 100 * MEGABYTE / 784 / 4;
    let sizes = [rows as u32, 28, 28];
    let (bytes, most) = match &kind[..] {
        "bomb" => {
            bomb(&file);
            let (_, cifar) = peak(|| taken(cifar_file::<10>(&file, 0).map(|_| 1), "records of"));
            let (_, idx) = peak(|| taken(images(), "the magic number"));
            let (none, csv) = peak(|| taken(csv(), "rows of up to"));
            (none, cifar.max(idx).max(csv))
        }
        "line" => {
            stream(&file, b"", b"1,");
            peak(|| taken(csv(), "rows of up to"))
        }
        "field" => {
            stream(&file, b"\"", b"7");
            peak(|| taken(csv(), "rows of up to"))
        }
        "labels" => {
            idx(&file, &sizes, rows * 784, 1);
            idx(&labels, &[rows as u32], rows, 10);
            peak(|| taken(images(), "found 10 at row"))
        }
        "counts" => {
            idx(&file, &[1 << 31, 28, 28], MEGABYTE, 1);
            idx(&labels, &[1 << 31], MEGABYTE, 1);
            peak(|| taken(images(), "2147483648 bytes after the header"))
        }
        "right csv" => {
            let mut table = File::create(&file).unwrap();
            let row = format!("{}1\n", "7,".repeat(784)).into_bytes();
            (0..rows).for_each(|_| table.write_all(&row).unwrap());
            peak(|| taken(csv(), "nothing, since it is right"))
        }
        _ => {
            idx(&file, &sizes, rows * 784, 1);
            idx(&labels, &[rows as u32], rows, 1);
            peak(|| taken(images(), "nothing, since it is right"))
        }
    };
    assert_eq!(bytes > 0, kind.starts_with("right"));
    println!("{kind}: {:.1} MB for {:.1} MB", most as f64 / 1048576.0, bytes as f64 / 1048576.0);
    assert!(most * 10 < bytes * 11 + 160 * MEGABYTE, "{most} bytes for {bytes}");
}
