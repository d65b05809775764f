//! The data sets, against numbers computed elsewhere, and files that are not what they should be.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use dfdx_noprop::{
    Error,
    data::{
        Dataset, Labels, Split, Standardiser, Targets, Values, csv_labels, csv_values, idx_files,
        idx_folder, mnist,
    },
};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::{TempDir, tempdir};

fn file(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn gz(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Changes one byte in place: to write the file anew, thousands of times, takes many seconds.
fn poke(path: &Path, at: usize, byte: u8) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// An `Error::File` or `Error::Io` whose message is the path and then the text given.
#[track_caller]
fn assert_message<T: Debug>(result: Result<T, Error>, path: &Path, text: &str) {
    let err = result.unwrap_err();
    assert!(matches!(err, Error::File { .. } | Error::Io { .. }), "{err:?}");
    assert_eq!(err.to_string(), format!("{}: {text}", path.display()));
}

#[track_caller]
fn assert_argument<T: Debug>(result: Result<T, Error>, text: &str) {
    let err = result.unwrap_err();
    assert!(matches!(err, Error::Argument { .. }), "{err:?}");
    assert_eq!(err.to_string(), text);
}

/// Rows whose one input is their number.
fn numbered<const C: usize>(labels: Vec<u32>) -> Dataset<1, Labels<C>> {
    let inputs = (0..labels.len()).map(|i| i as f32).collect();
    Dataset::new(inputs, Labels::new(labels).unwrap()).unwrap()
}

/// The two sides together hold each numbered row once, with its own label.
fn assert_partition<const C: usize>(all: &Dataset<1, Labels<C>>, split: &Split<1, Labels<C>>) {
    let mut seen = BTreeSet::new();
    for side in [&split.train, &split.test] {
        for (&row, label) in side.inputs().iter().zip(side.targets().as_slice()) {
            assert!(seen.insert(row as usize), "row {row} twice");
            assert_eq!(*label, all.targets().as_slice()[row as usize]);
        }
    }
    assert_eq!(seen, (0..all.rows()).collect());
}

mod dataset {
    use super::*;

    #[test]
    fn rows_far_past_the_end_are_empty() {
        let data =
            Dataset::<2, Labels<2>>::new(vec![1., 2.], Labels::new(vec![1]).unwrap()).unwrap();
        for row in [1, 2, usize::MAX / 2, usize::MAX] {
            assert!(data.input(row).is_empty());
            assert_eq!(data.select(&[row]).rows(), 0);
        }
        assert_eq!(data.select(&[usize::MAX, 0]), data);
    }
}

#[cfg(feature = "digits")]
mod digits {
    use dfdx_noprop::data::{digits, digits_rows, digits_with_seed};

    /// Mean and deviation by the textbook's two passes.
    fn moments(values: &[f32]) -> (f64, f64) {
        let values = || values.iter().map(|&v| f64::from(v));
        let n = values().count() as f64;
        let mean = values().sum::<f64>() / n;
        (mean, (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn are_those_that_scikit_learn_has_too() {
        let data = digits_rows().unwrap();
        assert_eq!(data.targets().counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(data.input(0)[..8], [0., 0., 5., 13., 9., 1., 0., 0.]);
        assert!(data.inputs().iter().all(|v| v.fract() == 0. && (0. ..=16.).contains(v)));
        let mean = data.inputs().iter().map(|&v| f64::from(v)).sum::<f64>() / (1797. * 64.);
        assert!((mean - 4.884164579855314).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn are_split_by_class_and_standardised_by_the_training_rows() {
        let split = digits().unwrap();
        assert_eq!(split.test.targets().counts(), [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]);
        assert_eq!(split.train.rows() + split.test.rows(), 1797);
        let (mean, deviation) = moments(split.train.inputs());
        assert!(mean.abs() < 1e-6 && (deviation - 1.).abs() < 1e-6, "{mean} {deviation}");
        // With the test rows among those for the statistics, all together would be at 0 and 1.
        let (mean, deviation) = moments(split.test.inputs());
        assert!(mean.abs() > 1e-4 && (deviation - 1.).abs() > 1e-4, "{mean} {deviation}");
    }

    #[test]
    fn the_seed_decides_the_split() {
        assert_eq!(digits().unwrap(), digits_with_seed(0).unwrap());
        assert_ne!(digits().unwrap().test, digits_with_seed(1).unwrap().test);
    }
}

mod split {
    use super::*;

    #[test]
    fn loses_and_doubles_no_row() {
        let all = numbered::<3>((0..100).map(|i| i % 3).collect());
        for (fraction, rows) in [(0.01, 1), (0.25, 25), (0.5, 50), (0.996, 100), (0.99, 99)] {
            let split = all.split(fraction, 7);
            if rows == 100 {
                assert_argument(
                    split,
                    "Dataset::split: expected a fraction that leaves rows on both sides, \
                     found 0.996 of 100 rows: 100 to test",
                );
                continue;
            }
            let split = split.unwrap();
            assert_eq!(split.test.rows(), rows);
            assert_partition(&all, &split);
        }
    }

    #[test]
    fn is_in_random_order() {
        let all = numbered::<1>(vec![0; 100]);
        let split = all.split(0.5, 0).unwrap();
        for side in [split.train, split.test] {
            assert!(!side.inputs().is_sorted());
        }
    }

    #[test]
    fn the_seed_decides() {
        let all = numbered::<2>((0..50).map(|i| i % 2).collect());
        assert_eq!(all.split(0.2, 3).unwrap(), all.split(0.2, 3).unwrap());
        assert_ne!(all.split(0.2, 3).unwrap(), all.split(0.2, 4).unwrap());
        let stratified = |seed| all.split_stratified(0.2, seed).unwrap();
        assert_eq!(stratified(3), stratified(3));
        assert_ne!(stratified(3), stratified(4));
    }

    /// Fails if the generator or the shuffle changes, and with it every published split.
    #[test]
    fn seed_0_is_what_it_always_was() {
        let split = numbered::<1>(vec![0; 10]).split(0.3, 0).unwrap();
        assert_eq!(split.test.inputs(), TEST);
        assert_eq!(split.train.inputs(), TRAIN);
    }
    const TEST: [f32; 3] = [3., 8., 5.];
    const TRAIN: [f32; 7] = [2., 7., 1., 0., 4., 9., 6.];

    #[test]
    fn stratified_keeps_the_proportions() {
        let sizes = [100, 40, 10, 5, 2, 1, 0];
        let labels = sizes.iter().zip(0..).flat_map(|(&n, c)| vec![c; n]).collect();
        let all = numbered::<7>(labels);
        for (fraction, test) in [
            (0.2, [20, 8, 2, 1, 1, 0, 0]),
            (0.5, [50, 20, 5, 3, 1, 0, 0]),
            (0.001, [1, 1, 1, 1, 1, 0, 0]),
            (0.999, [99, 39, 9, 4, 1, 0, 0]),
        ] {
            let split = all.split_stratified(fraction, 11).unwrap();
            assert_eq!(split.test.targets().counts(), test, "{fraction}");
            assert_partition(&all, &split);
            assert!(!split.train.targets().as_slice().is_sorted(), "the classes one by one");
        }
    }

    #[test]
    fn stratified_totals_are_right_within_half_a_row_a_class() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for seed in 0..200 {
            let rows = rng.gen_range(200..400);
            let all = numbered::<5>((0..rows).map(|_| rng.gen_range(0..5)).collect());
            let fraction = rng.gen_range(0.1..0.9);
            let split = all.split_stratified(fraction, seed).unwrap();
            assert_partition(&all, &split);
            let exact = all.rows() as f64 * fraction;
            assert!((split.test.rows() as f64 - exact).abs() <= 2.5);
        }
    }

    #[test]
    fn other_fractions_are_errors() {
        let all = numbered::<2>(vec![0, 0, 1, 1]);
        for fraction in [0., 1., -0.5, 1.5, f64::NAN, f64::INFINITY] {
            let text = format!("expected a test_fraction between 0 and 1, found {fraction}");
            assert_argument(all.split(fraction, 0), &format!("Dataset::split: {text}"));
            let stratified = all.split_stratified(fraction, 0);
            assert_argument(stratified, &format!("Dataset::split_stratified: {text}"));
        }
    }

    #[test]
    fn a_side_without_rows_is_an_error() {
        let text = "a fraction that leaves rows on both sides";
        for (rows, found) in [(0, "0.5 of 0 rows: 0 to test"), (1, "0.5 of 1 rows: 1 to test")] {
            let split = numbered::<1>(vec![0; rows]).split(0.5, 0);
            assert_argument(split, &format!("Dataset::split: expected {text}, found {found}"));
        }
        assert_argument(
            numbered::<2>(vec![0, 1]).split_stratified(0.5, 0),
            &format!("Dataset::split_stratified: expected {text}, found 0.5 of 2 rows: 0 to test"),
        );
    }

    #[test]
    fn shuffled_inputs_keep_targets_and_whole_rows() {
        let inputs = (0..200).map(|i| i as f64).collect();
        let labels = Labels::<2>::new((0..100).map(|i| i % 2).collect()).unwrap();
        let data = Dataset::<2, _, f64>::new(inputs, labels).unwrap();
        let shuffled = data.shuffled_inputs(5);
        assert_eq!(shuffled.targets(), data.targets());
        assert_eq!(shuffled, data.shuffled_inputs(5));
        assert_ne!(shuffled, data.shuffled_inputs(6));
        let rows = |data: &Dataset<2, Labels<2>, f64>| -> Vec<[u64; 2]> {
            data.inputs().chunks(2).map(|row| [row[0] as u64, row[1] as u64]).collect()
        };
        let mut sorted = rows(&shuffled);
        assert!(sorted.iter().zip(rows(&data)).filter(|(a, b)| **a == *b).count() < 10);
        sorted.sort();
        assert_eq!(sorted, rows(&data));
    }
}

mod standardiser {
    use super::*;

    fn small() -> Split<2, Values<1>> {
        let part = |inputs, values| Dataset::new(inputs, Values::new(values).unwrap()).unwrap();
        Split {
            train: part(vec![1., 7., 2., 7., 6., 7.], vec![10., 20., 60.]),
            test: part(vec![3., 9.], vec![30.]),
        }
    }

    #[test]
    fn per_column_is_what_one_computes_by_hand() {
        // 1, 2, 6: mean 3, squares 4 + 1 + 9, deviation √(14/3). The second column is constant.
        let deviation = (14f64 / 3.).sqrt();
        let standardiser = Standardiser::per_column(&small().train).unwrap();
        assert_eq!(standardiser.mean(), [3., 7.]);
        assert_eq!(standardiser.deviation()[1], 0.);
        assert!((standardiser.deviation()[0] - deviation).abs() < 1e-15);
        let split = small().standardised_per_column().unwrap();
        assert_eq!(split.test.inputs(), [0., 2.]);
        assert_eq!(split.train.input(2), [(3. / deviation) as f32, 0.]);
        assert_eq!(split.train.targets(), small().train.targets());
    }

    #[test]
    fn overall_has_one_mean_and_one_deviation() {
        // 1, 7, 2, 7, 6, 7: mean 5, squares 16 + 4 + 9 + 4 + 1 + 4 = 38.
        let deviation = (38f64 / 6.).sqrt();
        let standardiser = Standardiser::overall(&small().train).unwrap();
        for column in 0..2 {
            assert!((standardiser.mean()[column] - 5.).abs() < 1e-14);
            assert!((standardiser.deviation()[column] - deviation).abs() < 1e-14);
        }
        let split = small().standardised_overall().unwrap();
        assert_eq!(split.test.inputs(), [(-2. / deviation) as f32, (4. / deviation) as f32]);
    }

    #[test]
    fn test_rows_have_no_say() {
        let mut changed = small();
        changed.test = Dataset::new(vec![-1e6, 1e6], Values::new(vec![1e9]).unwrap()).unwrap();
        let (a, b) = (small(), changed);
        let same = |f: fn(Split<2, Values<1>>) -> Result<Split<2, Values<1>>, Error>| {
            assert_eq!(f(a.clone()).unwrap().train, f(b.clone()).unwrap().train);
            assert_ne!(f(a.clone()).unwrap().test, f(b.clone()).unwrap().test);
        };
        same(Split::standardised_per_column);
        same(Split::standardised_overall);
        same(|split| Ok(split.standardised_targets()?.0));
        let (a, b) = (a.standardised_targets().unwrap(), b.standardised_targets().unwrap());
        assert_eq!(a.1, b.1);
    }

    #[test]
    fn targets_come_back() {
        let (split, standardiser) = small().standardised_targets().unwrap();
        assert_eq!(standardiser.mean(), [30.]);
        assert_eq!(split.test.targets().as_slice(), [0.]);
        assert_eq!(split.train.inputs(), small().train.inputs());
        let mut predictions = split.train.targets().as_slice().to_vec();
        assert!(predictions.iter().all(|v| v.abs() < 2.));
        standardiser.invert(&mut predictions).unwrap();
        for (prediction, target) in predictions.iter().zip([10., 20., 60.]) {
            assert!((prediction - target).abs() < 1e-5);
        }
    }

    #[test]
    fn rows_come_back_constant_columns_too() {
        let standardiser = Standardiser::per_column(&small().train).unwrap();
        let mut rows = [5., 9., -1., 7.];
        standardiser.apply_rows(&mut rows).unwrap();
        assert_eq!((rows[1], rows[3]), (2., 0.));
        standardiser.invert(&mut rows).unwrap();
        for (row, expected) in rows.iter().zip([5., 9., -1., 7.]) {
            assert!((row - expected).abs() < 1e-6);
        }
    }

    /// A difference of sums, or `f32`, has no digit right here.
    #[test]
    fn large_offsets_and_constants_do_not_hurt() {
        let values = (0..1000).flat_map(|i| [1e9 + f64::from(i % 2), 0.1]).collect();
        let labels = Labels::<1>::new(vec![0; 1000]).unwrap();
        let data = Dataset::<2, _, f64>::new(values, labels).unwrap();
        let standardiser = Standardiser::per_column(&data).unwrap();
        assert!((standardiser.mean()[0] - 1e9 - 0.5).abs() < 1e-6);
        assert!((standardiser.deviation()[0] - 0.5).abs() < 1e-6);
        assert_eq!((standardiser.mean()[1], standardiser.deviation()[1]), (0.1, 0.));
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let none = Dataset::<2, Labels<2>>::new(vec![], Labels::new(vec![]).unwrap()).unwrap();
        assert_argument(
            Standardiser::per_column(&none),
            "Standardiser::per_column: expected at least one row, found 0",
        );
        assert_argument(
            Standardiser::overall(&none),
            "Standardiser::overall: expected at least one row, found 0",
        );
        let huge = Values::<1, f64>::new(vec![1e300, -1e300]).unwrap();
        let huge = Dataset::<1, _, f64>::new(vec![0., 0.], huge).unwrap();
        assert_argument(
            Standardiser::of_targets(&huge),
            "Standardiser::of_targets: expected finite means, and finite deviations of at least \
             0, found mean 0e0 and deviation inf in column 0",
        );
        assert_argument(
            Standardiser::<2>::new(vec![0.], vec![1., 1.]),
            "Standardiser::new: expected 2 means and 2 deviations, found 1 and 2",
        );
        for bad in [-1., f64::NAN, f64::INFINITY] {
            assert!(Standardiser::<1>::new(vec![0.], vec![bad]).is_err(), "{bad}");
        }
        let mut rows = [0., 1., 2.];
        let standardiser = Standardiser::<2>::new(vec![0., 0.], vec![1., 1e-30]).unwrap();
        let text = "expected rows of 2 values, found 3 values in all";
        let result = standardiser.apply_rows(&mut rows);
        assert_argument(result, &format!("Standardiser::apply_rows: {text}"));
        assert_argument(standardiser.invert(&mut rows), &format!("Standardiser::invert: {text}"));
        let mut rows = [1., 1e-30, 3., 1e20];
        assert_argument(
            standardiser.apply_rows(&mut rows),
            "Standardiser::apply_rows: expected finite values after standardisation, \
             found 100000000000000000000 → inf in row 1, column 1",
        );
        assert_eq!(rows, [1., 1e-30, 3., 1e20], "half done");
    }
}

/// Three 1 × 2 images, and their labels.
const IMAGES: [u8; 22] = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255, 1, 2, 128, 7];
const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1];

/// `IMAGES` or `LABELS` with another byte at each place given.
fn with<const N: usize>(mut bytes: [u8; N], changes: &[(usize, u8)]) -> [u8; N] {
    changes.iter().for_each(|&(at, byte)| bytes[at] = byte);
    bytes
}

mod idx {
    use super::*;

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
        let cases: [(Vec<u8>, &str); 12] = [
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
            (
                with(IMAGES, &[(11, 2)]).into(),
                "images of 2 pixels, found images of 2 × 2 = 4 pixels",
            ),
            (with(IMAGES, &[(7, 0)]).into(), "at least one image, found none"),
            (IMAGES[..21].into(), "6 bytes after the header, as it says, found 5 bytes"),
            (long.clone(), "6 bytes after the header, as it says, found more"),
            (gz(long), "6 bytes after the header, as it says, found more"),
            (
                huge.into(),
                "images of 2 pixels, \
                 found images of 4278190081 × 4278190082 = 18302910373444976642 pixels",
            ),
            (
                with(IMAGES, &[(4, 255)]).into(),
                "8556380166 bytes after the header, as it says, found 6 bytes",
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
        let text =
            format!("expected 3 labels, one for each image of {}, found 4", images.display());
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

        let (result, dir) = load([&packed[..], b"more"].concat(), LABELS);
        let message = result.unwrap_err().to_string();
        let path = dir.path().join("images");
        assert!(message.starts_with(&format!("{}: expected a", path.display())), "{message}");
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
        for gzipped in 0..16 {
            let dir = tempdir().unwrap();
            let test = with(IMAGES, &[(16, 9)]);
            for (i, content) in [&IMAGES[..], &LABELS, &test, &LABELS].into_iter().enumerate() {
                if gzipped >> i & 1 == 1 {
                    file(&dir, &format!("{}.gz", NAMES[i]), gz(content));
                } else {
                    file(&dir, NAMES[i], content);
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
            let text = format!("expected this file, or {missing}.gz beside it, found neither");
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
}

mod csv {
    use super::*;

    fn labels(content: impl AsRef<[u8]>) -> (Result<Dataset<2, Labels<3>>, Error>, TempDir) {
        let dir = tempdir().unwrap();
        let path = file(&dir, "data.csv", content);
        (csv_labels(path), dir)
    }

    fn expected() -> Dataset<2, Labels<3>> {
        let inputs = vec![0.5, -2., 1000., 4.];
        Dataset::new(inputs, Labels::new(vec![2, 0]).unwrap()).unwrap()
    }

    #[test]
    fn the_many_ways_to_write_the_same_rows() {
        for content in [
            "0.5,-2,2\n1e3,4,0\n",
            "0.5,-2,2\n1e3,4,0",
            "0.5,-2,2\r\n1e3,4,0\r\n",
            "a,b,class\n0.5,-2,2\n1e3,4,0\n",
            "\u{feff}0.5,-2,2\n1e3,4,0\n",
            "\n0.5, -2 ,2\n \n\n 1e3,4,0\n\n",
            "\r\n\"0.5\",-2,\"2\"\r\n\r\n\r\n1e3,4,0\r\n\r\n",
            "\"0.5\",\"-2\",\"2\"\n\"1000\",4,0\n",
            "+.5,-2.0,2.0\n1000,4e0,0.000e+00\n",
        ] {
            assert_eq!(labels(content).0.unwrap(), expected(), "{content:?}");
            assert_eq!(labels(gz(content)).0.unwrap(), expected(), "{content:?}, gzipped");
        }
    }

    #[test]
    fn values() {
        let dir = tempdir().unwrap();
        let path = file(&dir, "data.csv", "x,y,z\n1,2,3\n4,5,6\n");
        let data = csv_values::<1, 2>(&path).unwrap();
        assert_eq!(data.inputs(), [1., 4.]);
        assert_eq!(data.targets().as_slice(), [2., 3., 5., 6.]);
        let data = csv_values::<2, 1>(&path).unwrap();
        assert_eq!(data.inputs(), [1., 2., 4., 5.]);
        assert_eq!(data.targets().as_slice(), [3., 6.]);
        assert_eq!(data.targets().len(), 2);
        let text = "expected 4 columns at line 1, found 3";
        assert_message(csv_values::<2, 2>(&path), &path, text);
        let path = file(&dir, "bad.csv", "1,2,3\n4,5,1e39\n");
        let text = "expected a finite number at line 2, column 3, found \"1e39\"";
        assert_message(csv_values::<2, 1>(&path), &path, text);
    }

    #[test]
    fn decimals_are_rounded_once() {
        // Just above the middle of 1 and the next f32: f64 makes it the middle, and that becomes 1.
        let dir = tempdir().unwrap();
        let path = file(&dir, "data.csv", "1.00000005960464477540,0\n");
        assert_eq!(csv_values::<1, 1>(&path).unwrap().inputs(), [1. + f32::EPSILON]);
    }

    #[test]
    fn bad_rows() {
        let long = format!("1,{},0", "x".repeat(1000));
        let cut = format!("a finite number at line 1, column 2, found {:?}", "x".repeat(40));
        for (content, text) in [
            ("", "at least one row of numbers, found none"),
            ("\n\n", "at least one row of numbers, found none"),
            ("a,b,class\n", "at least one row of numbers, found none"),
            ("a,b\n1,2,0\n", "3 columns at line 1, found 2"),
            ("a,b,class\n1,2\n", "3 columns at line 2, found 2"),
            ("1,2,0\n1,2,0,\n", "3 columns at line 2, found 4"),
            ("1;2;0\n1;2;0\n", "3 columns at line 1, found 1"),
            ("1,2,0\n\n\n1,2\n", "3 columns at line 4, found 2"),
            ("1,2,0\r\n\r\n1,2,0\r\n1,2\r\n", "3 columns at line 4, found 2"),
            ("1,2,0\n1,b,0", "a finite number at line 2, column 2, found \"b\""),
            ("1,2,0\n1,,0\n", "a finite number at line 2, column 2, found \"\""),
            ("a,2,0\n1,2,0\n", "a finite number at line 1, column 1, found \"a\""),
            ("a,b,c\na,b,c\n", "a finite number at line 2, column 1, found \"a\""),
            ("0,1,label\n1,2,0\n", "a label from 0 to 2 at line 1, column 3, found \"label\""),
            ("1,2,0\nNaN,2,0\n", "a finite number at line 2, column 1, found \"NaN\""),
            ("1,2,0\n1,-inf,0\n", "a finite number at line 2, column 2, found \"-inf\""),
            ("1,2,3\n", "a label from 0 to 2 at line 1, column 3, found \"3\""),
            ("1,2,-1\n", "a label from 0 to 2 at line 1, column 3, found \"-1\""),
            ("1,2,0.5\n", "a label from 0 to 2 at line 1, column 3, found \"0.5\""),
            ("1,2,nan\n", "a label from 0 to 2 at line 1, column 3, found \"nan\""),
            ("1,2,1e99\n", "a label from 0 to 2 at line 1, column 3, found \"1e99\""),
            (long.as_str(), cut.as_str()),
        ] {
            let (result, dir) = labels(content);
            assert_message(result, &dir.path().join("data.csv"), &format!("expected {text}"));
        }
        let (result, dir) = labels(b"1,\xff\n,0\n");
        let text = "expected 3 columns at line 1, found 2";
        assert_message(result, &dir.path().join("data.csv"), text);
        let (result, dir) = labels(b"1,\xff,0\n");
        let text = "expected a finite number at line 1, column 2, found \"\u{fffd}\"";
        assert_message(result, &dir.path().join("data.csv"), text);
    }

    #[test]
    fn damaged_gzip() {
        let packed = gz("0.5,-2,2\n1e3,4,0\n");
        for len in 2..packed.len() {
            let (result, dir) = labels(&packed[..len]);
            let text = "expected a whole gzip stream, found one whose end is missing";
            assert_message(result, &dir.path().join("data.csv"), text);
        }
    }

    #[test]
    fn unreadable_files() {
        let missing = tempdir().unwrap().path().join("missing.csv");
        let result = csv_labels::<2, 3>(&missing);
        assert!(matches!(result, Err(Error::Io { .. })));
        let not_found = std::io::Error::from_raw_os_error(2);
        assert_message(result, &missing, &format!("cannot read: {not_found}"));
    }

    /// What a plain reader makes of rows without quotes or a header.
    fn read_plainly(content: &[u8]) -> Option<(Vec<f32>, Vec<u32>)> {
        let (mut inputs, mut labels) = (vec![], vec![]);
        let text = std::str::from_utf8(content).ok()?;
        for line in text.split('\n').filter(|line| !line.trim_ascii().is_empty()) {
            let fields: Vec<_> =
                line.split(',').map(|field| field.trim_ascii().parse::<f32>()).collect();
            let [Ok(a), Ok(b), Ok(label)] = fields[..] else { return None };
            let label = (0..3).find(|&class| class as f32 == label)?;
            if !a.is_finite() || !b.is_finite() {
                return None;
            }
            inputs.extend([a, b]);
            labels.push(label);
        }
        (!labels.is_empty()).then_some((inputs, labels))
    }

    #[track_caller]
    fn assert_as_plain(path: &Path, content: &[u8]) {
        let result = csv_labels::<2, 3>(path).ok();
        let result = result.map(|d| (d.inputs().to_vec(), d.targets().as_slice().to_vec()));
        assert_eq!(result, read_plainly(content), "{:?}", String::from_utf8_lossy(content));
    }

    const SMALL: &[u8] = b"0.5,-2,2\n1e3,4,0\n7,-8.25,1\n";

    #[test]
    fn cut_at_any_byte_loads_what_is_there_or_is_an_error() {
        let dir = tempdir().unwrap();
        for len in 0..=SMALL.len() {
            assert_as_plain(&file(&dir, "data.csv", &SMALL[..len]), &SMALL[..len]);
        }
    }

    #[test]
    fn any_changed_byte_is_an_error_or_loads_as_it_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let dir = tempdir().unwrap();
        let original = gz(SMALL);
        let plain = file(&dir, "plain", SMALL);
        let packed = file(&dir, "packed", &original);
        for _ in 0..2_000 {
            let at = rng.gen_range(0..SMALL.len());
            let mut content = SMALL.to_vec();
            content[at] = rng.r#gen();
            if content[at] != b'"' {
                poke(&plain, at, content[at]);
                assert_as_plain(&plain, &content);
                poke(&plain, at, SMALL[at]);
            }
            let at = rng.gen_range(0..original.len());
            poke(&packed, at, original[at] ^ rng.gen_range(1..=255u8));
            // The checksum decides; what it does not cover (a time, a system) does not matter.
            if let Ok(data) = csv_labels::<2, 3>(&packed) {
                assert_eq!(data.inputs(), [0.5, -2., 1000., 4., 7., -8.25], "byte {at}");
            }
            poke(&packed, at, original[at]);
        }
        assert_eq!(csv_labels::<2, 3>(plain).unwrap(), csv_labels(packed).unwrap());
    }

    #[test]
    fn a_quote_anywhere_does_no_harm() {
        for at in 0..=SMALL.len() {
            let content = [&SMALL[..at], b"\"", &SMALL[at..]].concat();
            if let Ok(data) = labels(content).0 {
                assert_eq!(data.inputs().len(), 2 * data.rows());
            }
        }
    }
}
