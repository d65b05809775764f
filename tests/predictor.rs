//! Trained models that leave the program that trained them.
#![cfg(feature = "checkpoint")]

mod common;

use std::process::Command;

use common::blobs;
use dfdx_noprop::{
    AnyPredictor, Predictor,
    data::Standardiser,
    head::Head,
    layers,
    nn::image::{PaperNetDt, SmallNetCt, SmallNetDt},
    prelude::*,
};

/// Where the child of a test finds the folder to read from.
const CHILD: &str = "DFDX_NOPROP_PREDICTOR";

/// All layers of dfdx on rows, and a batch norm.
type Rows<First> = layers![
    First,
    LayerNorm1D<16>,
    Residual<(Dense<16, 16>, Tanh, Linear<16, 16>)>,
    BatchNorm1D<16>,
    GeneralizedResidual<(FastGeLU, DropoutOneIn<4>), Dense<16, 16>>,
    Repeated<Residual<(Sigmoid, Dense<16, 16>)>, 2>,
    Dense<16, 3>,
];
type Untimed = Rows<Condition<Dense<3, 16>, Dense<4, 16>>>;
type InTime = Rows<TimedCondition<Dense<3, 16>, Dense<4, 16>, (TimeEmbedding<8>, Dense<8, 16>)>>;

fn fit() -> Fit {
    Fit { epochs: 2, batch_size: 32, ..Fit::default() }
}

/// Saves the model as `name`, and holds the answers of what was saved against the trainer's.
macro_rules! check {
    ($folder:expr, $name:literal, $model:expr, $rows:expr) => {{
        let (model, rows) = (&$model, $rows);
        let predictor = model.predictor().unwrap();
        let expected = model.predict_proba(rows).unwrap();
        assert_eq!(predictor.predict_proba(rows).unwrap(), expected, $name);
        assert_eq!(predictor.sample(rows, 3, 7).unwrap(), model.sample(rows, 3, 7).unwrap(), $name);
        keep($folder, $name, &predictor, rows.as_flattened(), expected.as_flattened());
    }};
}

/// Writes a predictor, some rows, and the bits of the answers to them.
fn keep<const Z: usize, const X: usize, H: Head<Z, f32>>(
    folder: &std::path::Path,
    name: &str,
    predictor: &Predictor<Z, X, H>,
    rows: &[f32],
    expected: &[f32],
) {
    predictor.save(folder.join(name)).unwrap();
    let bits = |numbers: &[f32]| numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    std::fs::write(folder.join(format!("{name}.rows")), bits(rows)).unwrap();
    std::fs::write(folder.join(format!("{name}.answers")), bits(expected)).unwrap();
    // The same model is the same bytes, and what was loaded is the same model.
    let bytes = predictor.to_bytes().unwrap();
    let again = Predictor::<Z, X, H>::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes, "{name}");
}

/// What a fresh process does: reads predictors without their types, and compares bits.
#[test]
#[ignore = "what a fresh process does in the tests below"]
fn child() {
    let folder = std::path::PathBuf::from(std::env::var_os(CHILD).unwrap());
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            continue;
        }
        let numbers = |ending: &str| {
            let bytes = std::fs::read(path.with_extension(ending)).unwrap();
            let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
            bytes.as_chunks().0.iter().map(number).collect::<Vec<_>>()
        };
        let predictor = AnyPredictor::<f32>::load(&path).unwrap();
        let (rows, expected) = (numbers("rows"), numbers("answers"));
        let found = match predictor.has_classes() {
            true => predictor.predict_proba(&rows).unwrap(),
            false => predictor.predict_values(&rows).unwrap(),
        };
        let bits = |numbers: &[f32]| numbers.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "{}", path.display());
        count += 1;
    }
    println!("{count} predictors");
}

fn read_in_a_fresh_process(folder: &std::path::Path, count: usize) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "child", "--nocapture"]).env(CHILD, folder);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!("{count} predictors")), "{text}");
}

#[test]
fn a_fresh_process_answers_with_the_bits_of_the_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, data, dev) = (folder.path(), blobs::<3, 4>(70, 1), AutoDevice::default());
    let rows = data.samples();

    macro_rules! trained {
        ($variant:expr, $block:ty) => {{
            let mut model = NoProp::<_, $block, 3, 4>::new(&dev, $variant).unwrap();
            model.fit(&data, &fit()).unwrap();
            model
        }};
    }
    let variant = DiscreteTime { blocks: 3, ..DiscreteTime::<OneHot>::default() };
    check!(folder, "dt", trained!(variant.clone(), Untimed), rows);
    let sampler = Sampler::Stochastic { draws: 3, seed: 5 };
    check!(
        folder,
        "dt_noise",
        trained!(DiscreteTime { sampler, ..variant.clone() }, Untimed),
        rows
    );
    let learned = variant.clone().with_head(Learned::<3>::default());
    check!(folder, "dt_learned", trained!(learned, Untimed), rows);
    let prototypes = Prototypes::new(&[[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.3, 0.0, 1.0]]).unwrap();
    check!(folder, "dt_prototypes", trained!(variant.with_head(prototypes), Untimed), rows);
    check!(folder, "ct", trained!(ContinuousTime::<OneHot>::default(), InTime), rows);
    let path = Path::Learned(MonotoneNetwork::default());
    let schedule = GammaSchedule { path, ..GammaSchedule::default() };
    let inference = Inference::Sde { steps: 20, draws: 2, seed: 3 };
    let learned =
        ContinuousTime { schedule: schedule.clone(), ..ContinuousTime::<OneHot>::default() };
    check!(folder, "ct_learned", trained!(learned, InTime), rows);
    let sde = ContinuousTime { schedule, inference, ..ContinuousTime::<OneHot>::default() };
    check!(folder, "ct_sde", trained!(sde, InTime), rows);
    check!(folder, "fm", trained!(FlowMatching::<OneHot, Velocity>::default(), InTime), rows);
    let solver = Solver {
        steps: Steps::adaptive(1e-3, 1e-3),
        ..FlowMatching::<OneHot, Velocity>::default().solver
    };
    let solver = Solver { method: Method::Tsitouras, ..solver };
    check!(
        folder,
        "fm_adaptive",
        trained!(FlowMatching { solver, ..FlowMatching::<OneHot, Velocity>::default() }, InTime),
        rows
    );
    let estimate = FlowMatching::<OneHot, Estimate>::default();
    check!(folder, "fm_estimate", trained!(estimate, InTime), rows);
    let variant = DiffusionBlocks::<OneHot>::default();
    check!(folder, "blocks", trained!(variant.clone(), InTime), rows);
    let solver = Solver { steps: Steps::Fixed(2), ..Solver::default() };
    let noisy = DiffusionBlocks { solver, sampler, ..variant.clone() };
    check!(folder, "blocks_noise", trained!(noisy, InTime), rows);
    let learned = variant.with_head(Learned::<3>::default());
    check!(folder, "blocks_learned", trained!(learned, InTime), rows);
    read_in_a_fresh_process(folder, 13);
}

#[test]
fn images_too() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, dev) = (folder.path(), AutoDevice::default());
    let data = blobs::<10, 784>(12, 2);
    let fit = Fit { epochs: 1, batch_size: 6, ..Fit::default() };
    macro_rules! trained {
        ($variant:expr, $block:ty) => {{
            let mut model = NoProp::<_, $block, 10, 784>::new(&dev, $variant).unwrap();
            model.fit(&data, &fit).unwrap();
            model
        }};
    }
    let two = DiscreteTime { blocks: 2, ..DiscreteTime::<OneHot>::default() };
    check!(folder, "dt", trained!(two.clone(), SmallNetDt<10>), data.samples());
    check!(folder, "batch_norm", trained!(two, PaperNetDt<10>), data.samples());
    check!(
        folder,
        "fm",
        trained!(FlowMatching::<OneHot, Velocity>::default(), SmallNetCt<10>),
        data.samples()
    );
    read_in_a_fresh_process(folder, 3);
}

#[test]
fn numbers_come_and_go_in_their_own_units() {
    type Network = ConditionalResNetFm<2, 3, 16>;
    let folder = tempfile::tempdir().unwrap();
    let dev = AutoDevice::default();
    // y = (100 + x_0, 1000 x_1), for x in tens.
    let row = |i: usize| [10.0 * (i % 7) as f32, 20.0 + (i % 5) as f32, -3.0];
    let target = |[a, b, _]: [f32; 3]| [100.0 + a, 1000.0 * b];
    let rows: Vec<[f32; 3]> = (0..35).map(row).collect();
    let targets: Vec<f32> = rows.iter().flat_map(|row| target(*row)).collect();
    let raw = Dataset::<3, Values<2>>::new(rows.concat(), Values::new(targets).unwrap()).unwrap();
    let (inputs, outputs) =
        (Standardiser::per_column(&raw).unwrap(), Standardiser::of_targets(&raw).unwrap());
    let mut data = raw.clone();
    inputs.apply(&mut data).unwrap();
    outputs.apply_targets(&mut data).unwrap();
    let variant = FlowMatching::<Regression>::default();
    let mut model = NoProp::<_, Network, 2, 3>::new(&dev, variant).unwrap();
    model.fit(&data, &Fit { epochs: 60, batch_size: 7, ..Fit::default() }).unwrap();

    let predictor = model.predictor().unwrap();
    let predictor = predictor.with_inputs(&inputs).unwrap().with_targets(&outputs).unwrap();
    let mut expected = model.predict(data.samples()).unwrap().concat();
    outputs.invert(&mut expected).unwrap();
    let found = predictor.predict(&rows).unwrap().concat();
    assert_eq!(found, expected);
    assert!(found.chunks(2).all(|row| (80.0..180.0).contains(&row[0]) && row[1] > 10_000.0));
    let mut draws = model.sample(data.samples(), 2, 3).unwrap().concat().concat();
    outputs.invert(&mut draws).unwrap();
    assert_eq!(predictor.sample(&rows, 2, 3).unwrap().concat().concat(), draws);
    keep(folder.path(), "numbers", &predictor, rows.as_flattened(), &expected);
    read_in_a_fresh_process(folder.path(), 1);
}

#[test]
fn double_precision_too() {
    type Model = NoProp<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4, f64>;
    let data = blobs::<3, 4>(30, 1).try_to_dtype::<f64>().unwrap();
    let mut model = Model::new(&AutoDevice::default(), DiscreteTime::<OneHot>::default()).unwrap();
    model.fit(&data, &fit()).unwrap();
    let bytes = model.predictor().unwrap().to_bytes().unwrap();
    let same = Predictor::<3, 4, OneHot, f64>::from_bytes(&bytes).unwrap();
    let expected = model.predict_proba(data.samples()).unwrap();
    assert_eq!(same.predict_proba(data.samples()).unwrap(), expected);
    let error = AnyPredictor::<f32>::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("of F32 numbers") && error.contains("found F64"), "{error}");
}

type Small = NoProp<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4>;

fn small() -> Small {
    let variant = DiscreteTime { blocks: 2, ..DiscreteTime::<OneHot>::default() };
    Small::new(&AutoDevice::default(), variant).unwrap()
}

#[test]
fn training_further_does_not_change_a_predictor() {
    let (mut model, data) = (small(), blobs::<3, 4>(40, 3));
    let (before, predictor) = (model.predict_proba(data.samples()).unwrap(), model.predictor());
    let predictor = predictor.unwrap();
    model.fit(&data, &fit()).unwrap();
    assert_ne!(model.predict_proba(data.samples()).unwrap(), before);
    assert_eq!(predictor.predict_proba(data.samples()).unwrap(), before);
    // And on threads, each with a clone.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (predictor, rows) = (predictor.clone(), data.samples().to_vec());
            std::thread::spawn(move || predictor.predict_proba(&rows).unwrap())
        })
        .collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), before));
}

#[test]
fn the_last_of_the_answers_on_the_way_is_the_answer() {
    let (model, rows) = (small(), [[0.5; 4], [1.0, 2.0, 3.0, 4.0]]);
    let predictor = model.predictor().unwrap();
    let along = predictor.predict_along(&rows).unwrap();
    assert_eq!(along.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [0.5, 1.0]);
    assert_eq!(along[1].1, model.predict_proba(&rows).unwrap());
    assert_ne!(along[0].1, along[1].1);
}

#[test]
fn classes_have_names() {
    let predictor = small().predictor().unwrap();
    let rows = [[0.5; 4]; 2];
    let error = predictor.predict_names(&rows).unwrap_err().to_string();
    assert!(error.contains("names of the classes"), "{error}");
    let named = predictor.with_class_names(["cat", "dog", "hen"]).unwrap();
    let same = Predictor::<3, 4>::from_bytes(&named.to_bytes().unwrap()).unwrap();
    let class = same.predict(&rows).unwrap()[0];
    assert_eq!(same.predict_names(&rows).unwrap(), [["cat", "dog", "hen"][class as usize]; 2]);
    for wrong in [vec!["cat"], vec!["cat", "cat", "hen"]] {
        assert!(predictor.with_class_names(wrong).is_err());
    }
}

#[test]
fn a_predictor_of_another_type_is_named() {
    fn error<const Z: usize, const X: usize, H: Head<Z, f32>>() -> String {
        let bytes = small().predictor().unwrap().to_bytes().unwrap();
        Predictor::<Z, X, H>::from_bytes(&bytes).unwrap_err().to_string()
    }
    assert_eq!(
        error::<3, 5, OneHot>(),
        "Predictor: expected a model of rows of 5 numbers, found 4"
    );
    let expected = "Predictor: expected a model of 2 classes, one-hot, found 3 classes, one-hot";
    assert_eq!(error::<2, 4, OneHot>(), expected);
    let expected = "Predictor: expected a model of 3 numbers, found 3 classes, one-hot";
    assert_eq!(error::<3, 4, Regression>(), expected);

    let any = AnyPredictor::from(small().predictor().unwrap());
    for (found, expected) in [
        (any.predict_values(&[0.0; 4]).unwrap_err().to_string(), "for classes there is"),
        (any.predict_proba(&[0.0; 5]).unwrap_err().to_string(), "rows of 4 values"),
        (any.predict_proba(&[f32::NAN; 4]).unwrap_err().to_string(), "finite values"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    assert!(any.predict_proba(&[]).unwrap().is_empty());
    assert!(any.summary().unwrap().to_string().contains("condition on z and x"));
}

/// A module of one's own: û = z.
mod own {
    use super::*;
    use dfdx::nn::ZeroSizedModule;
    use dfdx_noprop::device::Rows;

    #[derive(Clone, Debug, Default)]
    pub struct Same;
    type Z<T> = Rows<Const<3>, f32, AutoDevice, T>;
    type X = Rows<Const<4>, f32, AutoDevice>;
    impl ZeroSizedModule for Same {}
    impl NonMutableModule for Same {}
    impl<T: Tape<f32, AutoDevice>> Module<(Z<T>, X)> for Same {
        type Output = Z<T>;
        type Error = <AutoDevice as HasErr>::Err;

        fn try_forward(&self, (z, _): (Z<T>, X)) -> Result<Z<T>, Self::Error> {
            Ok(z)
        }
    }
}

#[test]
fn a_module_of_ones_own_answers_here_and_is_not_written() {
    type Block = (Custom<own::Same, Pair<3, 4>, Width<3>>, Dense<3, 3>);
    let variant = DiscreteTime::<OneHot>::default();
    let mut model = NoProp::<_, Block, 3, 4>::new(&AutoDevice::default(), variant).unwrap();
    let data = blobs::<3, 4>(40, 3);
    model.fit(&data, &fit()).unwrap();
    let predictor = model.predictor().unwrap();
    let expected = model.predict_proba(data.samples()).unwrap();
    assert_eq!(predictor.predict_proba(data.samples()).unwrap(), expected);
    let error = predictor.to_bytes().unwrap_err().to_string();
    assert!(error.contains("the module `Same`") && error.contains("NoProp::save"), "{error}");
}

#[test]
fn files_that_are_none_are_refused() {
    let model = small();
    let bytes = model.predictor().unwrap().to_bytes().unwrap();
    let error = |bytes: &[u8]| AnyPredictor::<f32>::from_bytes(bytes).unwrap_err().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    model.save(&path).unwrap();
    let found = error(&std::fs::read(&path).unwrap());
    assert!(found.contains("found a dfdx-noprop checkpoint 1"), "{found}");
    assert!(error(b"").contains("0 bytes that are none"));
    for cut in [10, bytes.len() / 2, bytes.len() - 1] {
        assert!(error(&bytes[..cut]).contains("cut off"));
    }
    // Any flipped bit is refused or changes nothing.
    let rows = [0.3; 8];
    let expected = AnyPredictor::<f32>::from_bytes(&bytes).unwrap().predict_proba(&rows).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        if let Ok(predictor) = AnyPredictor::<f32>::from_bytes(&other) {
            assert_eq!(predictor.predict_proba(&rows).unwrap(), expected, "byte {at}");
        }
    }
}
