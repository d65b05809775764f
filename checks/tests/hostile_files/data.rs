//! Data files that are cut off, flipped, packed in odd ways, or claim to be huge.

use std::{fs, io::Write, path::Path};

use dfdx_noprop::{
    Error,
    data::{Dataset, Targets, cifar_file, csv_labels, csv_values, idx_files},
};
use flate2::{Compression, write::GzEncoder};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    cases::{Counts, case, given, limited},
    changes::changed,
    in_memory, rounds,
};

/// Files that are right, by the name of what reads them.
fn seeds(reader: &str) -> Vec<Vec<u8>> {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 2][..], &[7; 20]].concat();
    let labels = vec![0, 0, 8, 1, 0, 0, 0, 5, 0, 1, 2, 0, 1];
    let record = |label: u8| [vec![label], vec![7; 3072]].concat();
    match reader {
        "images" => vec![images],
        "labels" => vec![labels],
        "csv" => vec![
            b"1.5,2,0\n-3e2,4,1\n0.001,1,2\n".to_vec(),
            b"a,b,class\n1,2,0\n3,4,1\n".to_vec(),
            b"\"1\",\"2\",\"1\"\r\n5,6,2\r\n".to_vec(),
        ],
        _ => vec![[record(3), record(1), record(9)].concat()],
    }
}

/// Whether what was read is finite, and has as many targets as rows.
fn right<const X: usize, T: Targets>(data: Dataset<X, T>) -> bool {
    data.rows() == data.targets().len() && data.inputs().iter().all(|v| v.is_finite())
}

/// Reads a file, beside one that is right where there are two; its error has to name it.
fn read(reader: &str, file: &Path) -> Result<bool, Error> {
    let other = file.with_extension("other");
    match reader {
        "images" => {
            fs::write(&other, &seeds("labels")[0]).unwrap();
            idx_files::<4, 3>(file, &other).map(right)
        }
        "labels" => {
            fs::write(&other, &seeds("images")[0]).unwrap();
            idx_files::<4, 3>(&other, file).map(right)
        }
        "csv" => match (csv_labels::<2, 3>(file), csv_values::<2, 1>(file)) {
            (Err(error), Err(_)) => Err(error),
            (labels, values) => Ok(labels.ok().is_none_or(right) && values.ok().is_none_or(right)),
        },
        _ => match (cifar_file::<10>(file, 0), cifar_file::<100>(file, 1)) {
            (Err(error), Err(_)) => Err(error),
            (ten, hundred) => Ok(ten.ok().is_none_or(right) && hundred.ok().is_none_or(right)),
        },
    }
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Every way to cut it, some of a long file.
fn cuts(file: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let step = file.len().div_ceil(300);
    (0..file.len()).step_by(step).map(|end| (format!("cut to {end}"), file[..end].to_vec()))
}

/// Each byte of its start, with a bit flipped, and each four of them as a number that is huge.
fn starts(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for at in 0..file.len().min(40) {
        for bit in 0..8 {
            let mut flipped = file.to_vec();
            flipped[at] ^= 1 << bit;
            files.push((format!("bit {bit} of byte {at}"), flipped));
        }
        for number in [0, 1, 1 << 31, u32::MAX] {
            let mut huge = file.to_vec();
            let bytes = number.to_be_bytes();
            huge[at..].iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            files.push((format!("{number} at byte {at}"), huge));
        }
    }
    files
}

/// Packed once, twice, and with something behind; those that are right first.
fn packed(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (once, half) = (gz(file), file.len() / 2);
    let named = |name: &str, bytes: &[&[u8]]| (name.to_owned(), bytes.concat());
    vec![
        named("gz", &[&once]),
        named("gz in two members", &[&gz(&file[..half]), &gz(&file[half..])]),
        named("gz with zeros behind it", &[&once, &[0; 1000]]),
        named("gz of gz", &[&gz(&once)]),
        named("gz with garbage behind it", &[&once, b"garbage"]),
        named("gz and half a member", &[&once, &once[..once.len() / 2]]),
        named("gz without its checksum", &[&once[..once.len() - 8]]),
        named("gz of nothing", &[&gz(b"")]),
        named("gz's magic number", &[&once[..3]]),
    ]
}

#[test]
fn hostile_data() {
    for reader in ["images", "labels", "csv", "cifar"] {
        print!("{}", limited("data::files", reader, 512, 10 + rounds(1) as u64));
    }
}

#[test]
#[ignore = "the child process of another test"]
fn files() {
    let Some(reader) = given() else { return };
    let mut counts = Counts::default();
    let folder = in_memory();
    let mut tried = |name: &str, bytes: &[u8]| {
        let (path, reader) = (folder.path().join("hostile"), reader.clone());
        fs::write(&path, bytes).unwrap();
        let before = counts.answered;
        case(&mut counts, &format!("{reader}: {name}"), move || {
            let result = read(&reader, &path);
            if let Err(error) = &result {
                let text = error.to_string();
                assert!(text.contains(path.parent().unwrap().to_str().unwrap()), "{text}");
            }
            result
        });
        counts.answered > before
    };
    for seed in seeds(&reader) {
        assert!(tried("as it is", &seed));
        for (i, (name, bytes)) in packed(&seed).into_iter().enumerate() {
            assert!(tried(&name, &bytes) || i > 2, "{name}");
        }
        let packed = gz(&seed);
        for file in [&seed, &packed] {
            for (name, bytes) in cuts(file).chain(starts(file)) {
                tried(&name, &bytes);
            }
        }
    }
    let seeds: Vec<Vec<u8>> = seeds(&reader).into_iter().flat_map(|s| [gz(&s), s]).collect();
    let mut rng = StdRng::seed_from_u64(1);
    for i in 0..rounds(1000) {
        tried(&format!("change {i}"), &changed(&seeds, &mut rng));
    }
    println!("{reader}: {counts:?}");
    assert!(counts.refused > 1000 && counts.answered > 20 && counts.failed == 0, "{counts:?}");
}
