//! CIFAR files that the test writes, and images changed at random.

use std::{fs, path::Path};

use dfdx_noprop::{
    Error,
    data::{Augment, Pixels, Split, cifar_file, cifar10, cifar100},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn records(rows: usize, labels: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let pixel = |row: usize, i: usize| ((row * 31 + i * 7) % 256) as u8;
    (0..rows)
        .flat_map(|row| [labels(row), (0..3072).map(|i| pixel(row, i)).collect()].concat())
        .collect()
}

fn ten(rows: usize) -> Vec<u8> {
    records(rows, |row| vec![(row % 10) as u8])
}

fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("an error is expected"),
        Err(error) => error.to_string(),
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn records_are_read_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.bin", &ten(12));
    let data = cifar_file::<10>(folder.path().join("a.bin"), 0).unwrap();
    assert_eq!(data.rows(), 12);
    assert_eq!(data.targets().as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    for (row, image) in data.samples().iter().enumerate() {
        for (i, pixel) in image.iter().enumerate() {
            assert_eq!(*pixel, ((row * 31 + i * 7) % 256) as f32);
        }
    }
    // The fine class is the second byte.
    write(folder.path(), "b.bin", &records(3, |row| vec![19, 90 + row as u8]));
    let data = cifar_file::<100>(folder.path().join("b.bin"), 1).unwrap();
    assert_eq!(data.targets().as_slice(), [90, 91, 92]);
}

#[test]
fn folders_are_read_plain_and_gzipped_and_standardised() {
    let folder = tempfile::tempdir().unwrap();
    for i in 1..=4 {
        write(folder.path(), &format!("data_batch_{i}.bin"), &ten(2 * i));
    }
    let file = fs::File::create(folder.path().join("data_batch_5.bin.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &ten(3)).unwrap();
    packed.finish().unwrap();
    let missing = message(cifar10(folder.path()));
    assert!(missing.contains("test_batch.bin") && missing.contains("neither"), "{missing}");
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

#[test]
fn files_that_are_not_cifar_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    let whole = ten(2);
    for length in [0, 1, 3072, 3074, 6145] {
        fs::write(&path, &whole[..length]).unwrap();
        let message = message(cifar_file::<10>(&path, 0));
        let expected = format!("expected one or more records of 3073 bytes, found {length} bytes");
        assert!(message.contains(&expected), "{message}");
    }
    fs::write(&path, &whole[..3073]).unwrap();
    assert_eq!(cifar_file::<10>(&path, 0).unwrap().rows(), 1);
    fs::write(&path, records(2, |row| vec![9 * row as u8 + 1])).unwrap();
    let message = message(cifar_file::<10>(&path, 0));
    assert!(message.contains("labels from 0 to 9, found 10 at row 1"), "{message}");
    assert!(matches!(cifar_file::<10>(folder.path().join("none"), 0), Err(Error::Io { .. })));
}

/// Two channels, 3 × 4 pixels, one number a pixel.
const SIZE: Pixels<2, 3, 4> = Pixels;

fn image() -> [f32; 24] {
    std::array::from_fn(|i| i as f32 + 1.0)
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

#[test]
fn nothing_changes_by_default() {
    let mut images = [image(); 3];
    Augment::default().apply(SIZE, &mut images, &mut rng());
    assert_eq!(images, [image(); 3]);
}

#[test]
fn a_shift_is_the_one_that_was_drawn() {
    let augment = Augment { shift: 2, background: -1.0, flip: false };
    let mut images = vec![image(); 200];
    augment.apply(SIZE, &mut images, &mut rng());
    let mut draws = rng();
    for shifted in &images {
        let [down, right] = [(); 2].map(|()| draws.gen_range(-2i64..=2));
        for (plane, y, x) in
            (0..2).flat_map(|p| (0..3).flat_map(move |y| (0..4).map(move |x| (p, y, x))))
        {
            let (from_y, from_x) = (y - down, x - right);
            let inside = (0..3).contains(&from_y) && (0..4).contains(&from_x);
            let expected =
                if inside { (plane * 12 + from_y * 4 + from_x) as f32 + 1.0 } else { -1.0 };
            assert_eq!(shifted[(plane * 12 + y * 4 + x) as usize], expected);
        }
    }
    assert!(images.iter().any(|image| image != &images[0]), "rows have draws of their own");
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
fn settings_are_data() {
    let augment: Augment = serde_json::from_str(r#"{ "shift": 2 }"#).unwrap();
    assert_eq!(augment, Augment { shift: 2, ..Augment::default() });
    assert!(serde_json::from_str::<Augment>(r#"{ "rotate": 2 }"#).is_err());
}
