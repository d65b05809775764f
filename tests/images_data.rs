//! CIFAR files that the test writes, and images changed at random.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use dfdx_noprop::{
    Error,
    data::{Augment, Dataset, Labels, Pixels, Split, cifar_file, cifar10, cifar100},
};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Another one in each plane and line: 251 divides no size of theirs.
fn pixel(row: usize, i: usize) -> u8 {
    ((row * 31 + i) % 251) as u8
}

fn records(rows: usize, labels: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    (0..rows)
        .flat_map(|row| [labels(row), (0..3072).map(|i| pixel(row, i)).collect()].concat())
        .collect()
}

fn ten(rows: usize) -> Vec<u8> {
    records(rows, |row| vec![(row % 10) as u8])
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("an error is expected"),
        Err(error) => error.to_string(),
    }
}

/// The message is the path and then the text given.
#[track_caller]
fn assert_message<T>(result: Result<T, Error>, path: &Path, text: &str) {
    assert_eq!(message(result), format!("{}: {text}", path.display()));
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

/// Changes one byte in place.
fn poke(path: &Path, at: usize, byte: u8) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn records_are_read_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.bin", &ten(12));
    let data = cifar_file::<10>(folder.path().join("a.bin"), 0).unwrap();
    assert_eq!(data.rows(), 12);
    assert_eq!(data.targets().as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    for (row, image) in data.samples().iter().enumerate() {
        for (i, found) in image.iter().enumerate() {
            assert_eq!(*found, f32::from(pixel(row, i)));
        }
    }
    // The fine class is the second byte.
    write(folder.path(), "b.bin", &records(3, |row| vec![19, 90 + row as u8]));
    let data = cifar_file::<100>(folder.path().join("b.bin"), 1).unwrap();
    assert_eq!(data.targets().as_slice(), [90, 91, 92]);
    assert_eq!(data.input(2)[3071], f32::from(pixel(2, 3071)));
}

#[test]
fn folders_are_read_plain_and_gzipped_and_standardised() {
    let folder = tempfile::tempdir().unwrap();
    for i in 1..=4 {
        write(folder.path(), &format!("data_batch_{i}.bin"), &ten(2 * i));
    }
    write(folder.path(), "data_batch_5.bin.gz", &gz(&ten(3)));
    write(folder.path(), "test_batch.bin", &ten(5));
    let Split { train, test } = cifar10(folder.path()).unwrap();
    assert_eq!((train.rows(), test.rows()), (2 + 4 + 6 + 8 + 3, 5));
    let mean =
        train.inputs().iter().map(|v| f64::from(*v)).sum::<f64>() / train.inputs().len() as f64;
    assert!(mean.abs() < 1e-3, "{mean}");
    write(folder.path(), "train.bin", &records(7, |row| vec![0, 99 - row as u8]));
    write(folder.path(), "test.bin", &records(2, |_| vec![0, 5]));
    assert_eq!(cifar100(folder.path()).unwrap().train.targets().as_slice()[6], 93);
}

const TEN: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

#[test]
fn the_statistics_are_those_of_all_training_pixels() {
    let folder = tempfile::tempdir().unwrap();
    // Black but for 200 in the fifth file: mean 100, deviation 100. The test's own: 50 and 0.
    let plain = |label: u8, value: u8| [vec![label], vec![value; 3072]].concat();
    for name in &TEN[..4] {
        write(folder.path(), name, &plain(1, 0));
    }
    write(folder.path(), TEN[4], &plain(2, 200).repeat(4));
    write(folder.path(), TEN[5], &plain(3, 50));
    let split = cifar10(folder.path()).unwrap();
    assert_eq!(split.train.targets().as_slice(), [1, 1, 1, 1, 2, 2, 2, 2]);
    for (row, image) in split.train.samples().iter().enumerate() {
        let expected = if row < 4 { -1.0 } else { 1.0 };
        assert!(image.iter().all(|v| (v - expected).abs() < 1e-6), "row {row}");
    }
    assert!(split.test.inputs().iter().all(|v| (v + 0.5).abs() < 1e-6));
}

#[test]
fn a_folder_that_lacks_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    TEN.iter().for_each(|name| write(path, name, &ten(1)));
    for name in ["train.bin", "test.bin"] {
        write(path, name, &records(1, |_| vec![0, 5]));
    }
    assert!(cifar10(path).is_ok() && cifar100(path).is_ok());
    for name in TEN.into_iter().chain(["train.bin", "test.bin"]) {
        let content = fs::read(path.join(name)).unwrap();
        fs::remove_file(path.join(name)).unwrap();
        let text = format!("expected this file, or {name}.gz beside it, found neither");
        if TEN.contains(&name) {
            assert_message(cifar10(path), &path.join(name), &text);
        } else {
            assert_message(cifar100(path), &path.join(name), &text);
        }
        write(path, name, &content);
    }
}

#[test]
fn a_label_out_of_range_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    TEN.iter().for_each(|name| write(path, name, &ten(1)));
    write(path, TEN[2], &records(3, |row| vec![9 + row as u8 / 2]));
    let text = "expected labels from 0 to 9, found 10 at row 2";
    assert_message(cifar10(path), &path.join(TEN[2]), text);
    // The coarse class is not looked at.
    write(path, "train.bin", &records(2, |row| vec![255, 99 + row as u8]));
    let text = "expected labels from 0 to 99, found 100 at row 1";
    assert_message(cifar100(path), &path.join("train.bin"), text);
}

#[test]
fn cut_at_any_byte_is_whole_records_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    for skip in [0, 1] {
        let record = 3073 + skip;
        let whole = records(2, |row| vec![7 + row as u8; skip + 1]);
        fs::write(&path, &whole).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for length in (0..=whole.len()).rev() {
            file.set_len(length as u64).unwrap();
            let result = cifar_file::<10>(&path, skip);
            if length > 0 && length % record == 0 {
                let data = result.unwrap();
                assert_eq!(data.rows(), length / record);
                assert_eq!(data.targets().as_slice(), &[7, 8][..data.rows()]);
            } else {
                let text =
                    format!("expected one or more records of {record} bytes, found {length} bytes");
                assert_message(result, &path, &text);
            }
        }
    }
}

#[test]
fn a_gzip_stream_cut_at_any_byte_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin.gz");
    let packed = gz(&ten(2));
    fs::write(&path, &packed).unwrap();
    assert_eq!(cifar_file::<10>(&path, 0).unwrap().rows(), 2);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for length in (2..packed.len()).rev() {
        file.set_len(length as u64).unwrap();
        let text = "expected a whole gzip stream, found one whose end is missing";
        assert_message(cifar_file::<10>(&path, 0), &path, text);
    }
}

#[test]
fn any_changed_byte_is_an_error_or_loads_as_it_is() {
    let mut rng = rng();
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    let packed = folder.path().join("packed");
    let content = ten(3);
    let archive = gz(&content);
    fs::write(&plain, &content).unwrap();
    fs::write(&packed, &archive).unwrap();
    let original = cifar_file::<10>(&plain, 0).unwrap();
    for round in 0..2_000 {
        // Every other change is to a label, of which there are few.
        let within = if round % 2 == 0 { 0 } else { rng.gen_range(0..3073) };
        let at = rng.gen_range(0..3) * 3073 + within;
        let mut changed = content.clone();
        changed[at] = rng.gen_range(0..20);
        poke(&plain, at, changed[at]);
        let (labels, pixels): (Vec<_>, Vec<_>) =
            changed.into_iter().enumerate().partition(|(i, _)| i % 3073 == 0);
        let labels = Labels::<10>::new(labels.into_iter().map(|(_, l)| l.into()).collect()).ok();
        let pixels = pixels.into_iter().map(|(_, pixel)| f32::from(pixel)).collect();
        let expected = labels.map(|labels| Dataset::new(pixels, labels).unwrap());
        assert_eq!(cifar_file(&plain, 0).ok(), expected, "byte {at}");
        poke(&plain, at, content[at]);
        // The checksum decides; what it does not cover (a time, a system) does not matter.
        let at = rng.gen_range(0..archive.len());
        poke(&packed, at, archive[at] ^ rng.gen_range(1..=255u8));
        if let Ok(data) = cifar_file::<10>(&packed, 0) {
            assert_eq!(data, original, "byte {at}, packed");
        }
        poke(&packed, at, archive[at]);
    }
}

#[test]
fn no_file_has_records_as_long_as_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    fs::write(&path, ten(1)).unwrap();
    for skip in [usize::MAX, usize::MAX - 3072, usize::MAX - 3073] {
        let record = skip.saturating_add(3073);
        let text = format!("expected one or more records of {record} bytes, found 3073 bytes");
        assert_message(cifar_file::<10>(&path, skip), &path, &text);
    }
}

#[test]
fn unreadable_files() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("none"), folder.path().to_owned()] {
        assert!(matches!(cifar_file::<10>(path, 0), Err(Error::Io { .. })));
    }
}

/// Two channels, 3 × 4 pixels, one number a pixel.
const SIZE: Pixels<2, 3, 4> = Pixels;

fn image() -> [f32; 24] {
    std::array::from_fn(|i| i as f32 + 1.0)
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

fn changed(augment: &Augment, images: usize, seed: u64) -> Vec<[f32; 24]> {
    let mut images = vec![image(); images];
    augment.apply(SIZE, &mut images, &mut StdRng::seed_from_u64(seed));
    images
}

/// Mirrored line by line, put in the middle of a larger background, and cut out of that.
fn cropped(image: &[f32; 24], pad: usize, [down, right]: [i64; 2], flip: bool) -> Vec<f32> {
    let width = 4 + 2 * pad;
    let mut cut = Vec::new();
    for plane in image.chunks(12) {
        let mut padded = vec![vec![-1.0; width]; 3 + 2 * pad];
        for (line, to) in plane.chunks(4).zip(&mut padded[pad..]) {
            let mut line = line.to_vec();
            if flip {
                line.reverse();
            }
            to[pad..pad + 4].copy_from_slice(&line);
        }
        let [top, left] = [down, right].map(|by| (pad as i64 - by) as usize);
        padded[top..top + 3].iter().for_each(|line| cut.extend(&line[left..left + 4]));
    }
    cut
}

#[test]
fn nothing_changes_by_default() {
    assert_eq!(changed(&Augment::default(), 3, 5), [image(); 3]);
}

#[test]
fn a_change_is_a_crop_of_the_padded_image_by_what_was_drawn() {
    for (shift, flip) in [(0, true), (1, false), (2, false), (2, true), (5, true)] {
        let augment = Augment { shift, flip, background: -1.0 };
        let mut draws = rng();
        for found in changed(&augment, 300, 5) {
            let reach = shift as i64;
            let by = [(); 2].map(|()| draws.gen_range(-reach..=reach));
            let flipped = flip && draws.r#gen::<bool>();
            assert_eq!(found[..], cropped(&image(), shift, by, flipped), "{by:?} {flipped}");
        }
    }
}

#[test]
fn each_shift_up_to_the_largest_comes_up_as_often() {
    // A single bright pixel in the middle of 5 × 5.
    let mut images = vec![std::array::from_fn::<f64, 25, _>(|i| f64::from(i == 12)); 5000];
    let augment = Augment { shift: 2, ..Augment::default() };
    augment.apply(Pixels::<1, 5, 5>, &mut images, &mut rng());
    for i in 0..25 {
        let count = images.iter().filter(|image| image[i] == 1.0).count();
        // 200 ± 14.
        assert!((130..270).contains(&count), "{count} at {i}");
    }
}

#[test]
fn what_stays_inside_is_whole() {
    // In each of two planes 3 × 3 pixels, with 2 more on every side.
    let object = |i: usize| (2..5).contains(&(i % 7)) && (2..5).contains(&(i / 7 % 7));
    let image: [f32; 98] = std::array::from_fn(|i| if object(i) { i as f32 } else { 0.0 });
    let bright = |plane: &[f32]| {
        let mut bright: Vec<_> = plane.iter().copied().filter(|v| *v != 0.0).collect();
        bright.sort_by(f32::total_cmp);
        bright
    };
    let augment = Augment { shift: 2, flip: true, ..Augment::default() };
    let mut images = vec![image; 200];
    augment.apply(Pixels::<2, 7, 7>, &mut images, &mut rng());
    for changed in &images {
        for (plane, before) in changed.chunks(49).zip(image.chunks(49)) {
            assert_eq!(bright(plane), bright(before));
        }
    }
}

#[test]
fn half_of_the_images_are_mirrored_and_twice_is_once() {
    let augment = Augment { flip: true, ..Augment::default() };
    let mut images = vec![image(); 1000];
    augment.apply(SIZE, &mut images, &mut rng());
    let mirrored = images.iter().filter(|i| **i != image()).count();
    assert!((430..570).contains(&mirrored), "{mirrored}");
    let other = images.iter().find(|i| **i != image()).unwrap();
    assert_eq!(other[..4], [4.0, 3.0, 2.0, 1.0]);
    // The same draws mirror the same images again.
    augment.apply(SIZE, &mut images, &mut rng());
    assert_eq!(images, vec![image(); 1000]);
}

#[test]
fn the_seed_decides_and_rows_have_draws_of_their_own() {
    let augment = Augment { shift: 2, flip: true, background: -1.0 };
    let images = changed(&augment, 100, 1);
    assert_eq!(images, changed(&augment, 100, 1));
    assert_ne!(images, changed(&augment, 100, 2));
    // 2 · 5 · 5 ways, of which those that leave a pixel inside look different.
    let mut different = images.clone();
    different.sort_by(|a, b| a.partial_cmp(b).unwrap());
    different.dedup();
    assert!(different.len() > 20, "{}", different.len());
}

#[test]
fn shifts_past_the_end_leave_the_background() {
    for shift in [usize::MAX, i64::MAX as usize, 1 << 30] {
        let augment = Augment { shift, flip: true, background: -1.0 };
        assert_eq!(changed(&augment, 20, 5), [[-1.0; 24]; 20]);
    }
}

#[test]
fn settings_are_data() {
    let augment: Augment = serde_json::from_str(r#"{ "shift": 2 }"#).unwrap();
    assert_eq!(augment, Augment { shift: 2, ..Augment::default() });
    let augment = Augment { shift: 3, flip: true, background: -0.4242 };
    let text = serde_json::to_string(&augment).unwrap();
    assert_eq!(serde_json::from_str::<Augment>(&text).unwrap(), augment);
    for wrong in [r#"{ "rotate": 2 }"#, r#"{ "shift": -1 }"#] {
        assert!(serde_json::from_str::<Augment>(wrong).is_err(), "{wrong}");
    }
}
