//! The format of MNIST, and damaged files of it.

use super::*;

/// Three 1 × 2 images, and their labels.
const IMAGES: [u8; 22] = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255, 1, 2, 128, 7];
const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1];

/// `IMAGES` or `LABELS` with another byte at each place given.
fn with<const N: usize>(mut bytes: [u8; N], changes: &[(usize, u8)]) -> [u8; N] {
    changes.iter().for_each(|&(at, byte)| bytes[at] = byte);
    bytes
}

type Small = Dataset<2, Labels<3>>;

fn expected() -> Small {
    let inputs = vec![0., 255., 1., 2., 128., 7.];
    Dataset::new(inputs, Labels::new(vec![2, 0, 1]).unwrap()).unwrap()
}

fn load(images: impl AsRef<[u8]>, labels: impl AsRef<[u8]>) -> (Result<Small, Error>, TempDir) {
    let dir = tempdir().unwrap();
    let images = file(&dir, "images", images);
    let labels = file(&dir, "labels", labels);
    (idx_files(images, labels), dir)
}

#[test]
fn plain_and_gzipped_whatever_the_name() {
    for images in [IMAGES.to_vec(), gz(IMAGES)] {
        for labels in [LABELS.to_vec(), gz(LABELS)] {
            assert_eq!(load(&images, labels).0.unwrap(), expected());
        }
    }
    let halves = [gz(&IMAGES[..9]), gz(&IMAGES[9..])].concat();
    assert_eq!(load(halves, LABELS).0.unwrap(), expected(), "two gzip members");
}

#[test]
fn bad_images() {
    let long = [&IMAGES[..], &[0]].concat();
    let huge = with(IMAGES, &[(4, 255), (8, 255), (12, 255)]);
    let cases: [(Vec<u8>, &str); 11] = [
        (vec![], "a header of 16 bytes, found 0 bytes in all"),
        (IMAGES[..3].into(), "a header of 16 bytes, found 3 bytes in all"),
        (IMAGES[..15].into(), "a header of 16 bytes, found 15 bytes in all"),
        (
            with(IMAGES, &[(3, 1)]).into(),
            "the magic number 0x00000803 of idx bytes in 3 dimensions, found 0x00000801",
        ),
        (
            b"P5\n2 3".into(),
            "the magic number 0x00000803 of idx bytes in 3 dimensions, found 0x50350a32",
        ),
        (with(IMAGES, &[(11, 2)]).into(), "images of 2 pixels, found images of 2 × 2 = 4 pixels"),
        (with(IMAGES, &[(7, 0)]).into(), "at least one image, found none"),
        (IMAGES[..21].into(), "6 bytes after the header, as it says, found 5 bytes"),
        (long.clone(), "6 bytes after the header, as it says, found more"),
        (gz(long), "6 bytes after the header, as it says, found more"),
        (
            huge.into(),
            "images of 2 pixels, \
             found images of 4278190081 × 4278190082 = 18302910373444976642 pixels",
        ),
    ];
    for (images, text) in cases {
        let (result, dir) = load(images, LABELS);
        assert_message(result, &dir.path().join("images"), &format!("expected {text}"));
    }
}

#[test]
fn bad_labels() {
    let cases: [(Vec<u8>, &str); 6] = [
        (LABELS[..7].into(), "a header of 8 bytes, found 7 bytes in all"),
        (
            with(LABELS, &[(3, 3)]).into(),
            "the magic number 0x00000801 of idx bytes in 1 dimensions, found 0x00000803",
        ),
        (LABELS[..10].into(), "3 bytes after the header, as it says, found 2 bytes"),
        ([&LABELS[..], &[0]].concat(), "3 bytes after the header, as it says, found more"),
        (with(LABELS, &[(9, 3)]).into(), "labels from 0 to 2, found 3 at row 1"),
        (with(LABELS, &[(9, 255)]).into(), "labels from 0 to 2, found 255 at row 1"),
    ];
    for (labels, text) in cases {
        let (result, dir) = load(IMAGES, labels);
        assert_message(result, &dir.path().join("labels"), &format!("expected {text}"));
    }
    let (result, dir) = load(IMAGES, with(LABELS, &[(7, 4)]));
    let images = dir.path().join("images");
    let text = format!("expected 3 labels, one for each image of {}, found 4", images.display());
    assert_message(result, &dir.path().join("labels"), &text);
}

#[test]
fn damaged_gzip() {
    let packed = gz(IMAGES);
    let (result, dir) = load(&packed[..packed.len() - 1], LABELS);
    let text = "expected a whole gzip stream, found one whose end is missing";
    assert_message(result, &dir.path().join("images"), text);

    let mut checksum = packed.clone();
    checksum[packed.len() - 8] ^= 1;
    let (result, dir) = load(checksum, LABELS);
    let text = "expected an intact gzip stream, found corrupt gzip stream does not have a \
                matching checksum";
    assert_message(result, &dir.path().join("images"), text);

    // A second part whose start is damaged or cut is not padding.
    let (start, end) = (gz(&IMAGES[..9]), gz(&IMAGES[9..]));
    for at in 0..3 {
        let mut end = end.clone();
        end[at] ^= 1;
        let (result, dir) = load([&start[..], &end].concat(), LABELS);
        let text = "expected an intact gzip stream, found invalid gzip header";
        assert_message(result, &dir.path().join("images"), text);
    }
    for len in 1..end.len() {
        let (result, dir) = load([&start[..], &end[..len]].concat(), LABELS);
        let text = "expected a whole gzip stream, found one whose end is missing";
        assert_message(result, &dir.path().join("images"), text);
    }
}

#[test]
fn padding_behind_a_gzip_stream_is_left_out() {
    for padding in [&b"\0"[..], &[0; 512], &[0; 100_000], b"more", b"\0\0\x1f\x8b", &[0xff; 9]] {
        let packed = |content: &[u8]| [&gz(content), padding].concat();
        let (images, labels) = (packed(&IMAGES), packed(&LABELS));
        assert_eq!(load(images, labels).0.unwrap(), expected(), "{padding:?}");
        let halves = [&gz(&IMAGES[..9]), &gz(&IMAGES[9..]), padding].concat();
        assert_eq!(load(halves, LABELS).0.unwrap(), expected(), "{padding:?}");
    }
}

/// Its end is missing, which only a reader that unpacks it all can know.
#[test]
fn a_gzip_bomb_is_not_unpacked() {
    let bomb = gz([&IMAGES[..], &vec![0; 1 << 24]].concat());
    let (result, dir) = load(&bomb[..bomb.len() - 8], LABELS);
    let text = "expected 6 bytes after the header, as it says, found more";
    assert_message(result, &dir.path().join("images"), text);
}

#[test]
fn unreadable_files() {
    let dir = tempdir().unwrap();
    let images = file(&dir, "images", IMAGES);
    let missing = dir.path().join("missing");
    let result = idx_files::<2, 3>(&images, &missing);
    assert!(matches!(result, Err(Error::Io { .. })));
    let not_found = std::io::Error::from_raw_os_error(2);
    assert_message(result, &missing, &format!("cannot read: {not_found}"));
    let result = idx_files::<2, 3>(dir.path(), &images);
    assert!(matches!(result, Err(Error::Io { .. })), "a folder: {result:?}");
}

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

#[test]
fn a_folder_with_either_name() {
    for names in 0..256 {
        let (gzipped, dotted) = (names >> 4, names & 15);
        let dir = tempdir().unwrap();
        let test = with(IMAGES, &[(16, 9)]);
        for (i, content) in [&IMAGES[..], &LABELS, &test, &LABELS].into_iter().enumerate() {
            let mark = if dotted >> i & 1 == 1 { "." } else { "-" };
            let name = NAMES[i].replace("-idx", &format!("{mark}idx"));
            if gzipped >> i & 1 == 1 {
                file(&dir, &format!("{name}.gz"), gz(content));
            } else {
                file(&dir, &name, content);
            }
        }
        let split = idx_folder::<2, 3>(dir.path()).unwrap();
        assert_eq!(split.train, expected());
        assert_eq!(split.test.input(0), [9., 255.]);
    }
}

#[test]
fn a_folder_that_lacks_a_file() {
    for missing in NAMES {
        let dir = tempdir().unwrap();
        for name in NAMES.iter().filter(|name| **name != missing) {
            file(&dir, name, if name.contains("images") { &IMAGES[..] } else { &LABELS });
        }
        let dot = missing.replace("-idx", ".idx");
        let text = format!(
            "expected this file, or {dot}, {dot}.gz or {missing}.gz beside it, found none of them"
        );
        assert_message(idx_folder::<2, 3>(dir.path()), &dir.path().join(missing), &text);
    }
}

#[test]
fn mnist_is_normalised_by_one_mean_and_deviation_of_the_training_pixels() {
    let dir = tempdir().unwrap();
    let idx = |magic: u8, sizes: &[u32], body: Vec<u8>| {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, 8, magic].into_iter().chain(sizes).chain(body).collect::<Vec<u8>>()
    };
    // Two images, 0 and 200 all over: mean 100, deviation 100. The test's own: 50 and 0.
    let train = [vec![0; 784], vec![200; 784]].concat();
    file(&dir, NAMES[0], idx(3, &[2, 28, 28], train));
    file(&dir, NAMES[1], idx(1, &[2], vec![9, 0]));
    file(&dir, NAMES[2], idx(3, &[1, 28, 28], vec![50; 784]));
    file(&dir, NAMES[3], idx(1, &[1], vec![5]));
    let split = mnist(dir.path()).unwrap();
    assert_eq!(split.train.targets().as_slice(), [9, 0]);
    assert!(split.train.input(0).iter().all(|v| (v + 1.).abs() < 1e-6));
    assert!(split.train.input(1).iter().all(|v| (v - 1.).abs() < 1e-6));
    assert!(split.test.inputs().iter().all(|v| (v + 0.5).abs() < 1e-6));
}

#[test]
fn cut_at_any_byte_is_an_error() {
    for (images, labels) in [(IMAGES.to_vec(), LABELS.to_vec()), (gz(IMAGES), gz(LABELS))] {
        for len in 0..images.len() {
            assert!(load(&images[..len], &labels).0.is_err(), "images cut at {len}");
        }
        for len in 0..labels.len() {
            assert!(load(&images, &labels[..len]).0.is_err(), "labels cut at {len}");
        }
    }
}

#[test]
fn any_changed_byte_is_an_error_or_loads_as_it_is() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let dir = tempdir().unwrap();
    let plain = [IMAGES.to_vec(), LABELS.to_vec()];
    let packed = [gz(IMAGES), gz(LABELS)];
    for (name, original) in [("plain", plain), ("packed", packed)] {
        let paths = [0, 1].map(|i| file(&dir, &format!("{name}{i}"), &original[i]));
        for _ in 0..2_000 {
            let which = rng.gen_range(0..2);
            let at = rng.gen_range(0..original[which].len());
            let mut files = original.clone();
            files[which][at] ^= rng.gen_range(1..=255u8);
            poke(&paths[which], at, files[which][at]);
            let result = idx_files::<2, 3>(&paths[0], &paths[1]);
            // Every change to a header is an error; in a gzip stream the checksum decides,
            // and what it does not cover (a time, a system) does not matter.
            let correct = if name == "packed" {
                result.is_ok().then(expected)
            } else {
                let header = at < [16, 8][which];
                let labels = files[1][8..].iter().copied().map(u32::from).collect();
                let labels = Labels::new(labels).ok().filter(|_| !header);
                let inputs = files[0][16..].iter().copied().map(f32::from).collect();
                labels.map(|labels| Dataset::new(inputs, labels).unwrap())
            };
            assert_eq!(result.ok(), correct, "{name}{which}, byte {at}");
            poke(&paths[which], at, original[which][at]);
        }
    }
}
