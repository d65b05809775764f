//! Small trained models of each kind as ONNX files, with what they answer to a few rows.

use std::{fs, path::Path};

use dfdx_noprop::{
    AnyPredictor,
    data::Standardiser,
    head::{HasClasses, Head},
    nn::image::{SmallNetCt, SmallNetDt, SmallNetFm},
    prelude::*,
    schedule,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::common::blobs;

/// What the graphs are asked about: all of these at once, and the first alone.
const ROWS: usize = 7;

fn fit() -> Fit {
    Fit { epochs: 30, batch_size: 16, ..Fit::default() }
}

fn rows<const X: usize>(seed: u64) -> Vec<[f32; X]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let number = |_| 1.0 + 1.5 * rng.sample::<f32, _>(rand_distr::StandardNormal);
    let all: Vec<f32> = (0..ROWS * X).map(number).collect();
    all.as_chunks().0.to_vec()
}

/// Writes the rows and the answers to them, all at once and one alone.
fn write<const X: usize, const OUT: usize>(
    folder: &Path,
    name: &str,
    answers: impl Fn(&[[f32; X]]) -> Vec<[f32; OUT]>,
) {
    let rows = rows::<X>(3);
    let batch = |rows: &[[f32; X]]| -> Value {
        let x: Vec<_> = rows.iter().map(|row| row.to_vec()).collect();
        let y: Vec<_> = answers(rows).iter().map(|row| row.to_vec()).collect();
        json!({ "x": x, "y": y })
    };
    // Answers that are all alike would hide a graph that ignores x.
    let all = answers(&rows);
    let numbers = all.iter().flat_map(|row| row.iter().zip(&all[0]));
    let spread = numbers.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(spread > 0.01, "{name}: the answers differ by {spread} only");
    let batches = json!([batch(&rows), batch(&rows[..1])]);
    fs::write(folder.join(name).with_extension("json"), batches.to_string()).unwrap();
}

/// A model of classes.
fn classes<V, M, H, const Z: usize, const X: usize, const C: usize>(
    folder: &Path,
    name: &str,
    variant: V,
) where
    V: Variant<Z, X, Head = H>,
    M: Suits<V, Z, X>,
    H: Head<Z, f32, Targets = Labels<C>, Row = [f32; C]> + HasClasses,
{
    let mut model = M::model(&AutoDevice::default(), variant).unwrap();
    model.fit(&blobs::<C, X>(64, 1), &fit()).unwrap();
    model.export_onnx(folder.join(name).with_extension("onnx")).unwrap();
    write(folder, name, |rows| model.predict_proba(rows).unwrap());
}

/// A model of numbers.
fn numbers<V, M>(folder: &Path, name: &str, variant: V)
where
    V: Variant<2, 4, Head = Regression>,
    M: Suits<V, 2, 4>,
{
    let mut model = M::model(&AutoDevice::default(), variant).unwrap();
    let inputs: Vec<f32> = rows::<4>(1).into_iter().chain(rows(2)).flatten().collect();
    let sums = |row: &[f32; 4]| [row[0] - row[1], row[2] * row[3]];
    let targets = inputs.as_chunks().0.iter().flat_map(sums).collect();
    let data = Dataset::<4, _>::new(inputs, Values::<2>::new(targets).unwrap()).unwrap();
    model.fit(&data, &fit()).unwrap();
    model.export_onnx(folder.join(name).with_extension("onnx")).unwrap();
    write(folder, name, |rows| model.predict(rows).unwrap());

    // And in units of the world, without the type.
    let name = format!("{name}_in_units");
    let inputs = Standardiser::new(vec![0.5, -1.0, 0.0, 2.0], vec![2.0, 0.5, 1.5, 0.0]).unwrap();
    let targets = Standardiser::new(vec![0.25, -0.5], vec![0.5, 0.125]).unwrap();
    let predictor = model.predictor().unwrap();
    let predictor = predictor.with_inputs(&inputs).unwrap().with_targets(&targets).unwrap();
    let any = AnyPredictor::<f32>::from_bytes(&predictor.to_bytes().unwrap()).unwrap();
    any.export_onnx(folder.join(&name).with_extension("onnx")).unwrap();
    write(folder, &name, |rows| predictor.predict(rows).unwrap());
}

type Mlp = ConditionalResNetDt<3, 4, 16>;
type Embedded = ConditionalResNetDt<3, 4, 16, 5>;
type Network = ConditionalResNetCt<3, 4, 16>;
type EmbeddedNetwork = ConditionalResNetCt<3, 4, 16, 5>;

/// All layers on rows.
type Layers = (
    Condition<(Linear<3, 8>, LayerNorm1D<8>, Tanh), (Dense<4, 8>, BatchNorm<8>, Sigmoid)>,
    (BatchNorm1D<8>, FastGeLU, Repeated<(Dense<8, 8>, AccurateGeLU), 2>, Sin),
    GeneralizedResidual<(Dense<8, 6>, ReLU, DropoutOneIn<5>), (Dense<8, 6>, Cos)>,
    (Residual<Dense<6, 6>>, Abs, Residual<Square>),
    Dense<6, 3>,
);

/// All layers on images, of sizes that are easily mixed up; z is an image on its way too.
type Images = (
    Condition<(Dense<3, 12>, Planes<3, 2, 2>, Conv2d<3, 4, 2, 2>, Flatten<16>), Trunk>,
    ReLU,
    Dense<16, 3>,
);
type Trunk = (
    (Planes<2, 6, 5>, BatchNorm<2>, Residual<(Conv2d<2, 2, 6, 5>, Sigmoid)>),
    (Conv2d<2, 3, 3, 3, 3, 2>, BatchNorm<3>, ReLU, AvgPool2d<2, 2, 2, 2, 1>),
    GeneralizedResidual<Conv2d<3, 4, 2, 2>, (Conv2d<3, 4, 2, 2, 1, 1, 0>, FastGeLU)>,
    (MaxPool2d<2, 2, 3, 1, 1>, Flatten<16>),
);

/// The same, with the flattened image in a norm of its rows and in a dense layer.
type Flattened = (Condition<Dense<3, 8>, (Trunk, LayerNorm1D<16>, Dense<16, 8>)>, Dense<8, 3>);
type Dropped = (Condition<Dense<3, 8>, (Trunk, Dense<16, 8>)>, Dense<8, 3>);

fn dt<H: Default>() -> DiscreteTime<H> {
    DiscreteTime { blocks: 4, ..DiscreteTime::default() }
}

fn prototypes() -> Prototypes<5, 3> {
    let row = |c: usize| [c as f64 - 2.0, (c * c) as f64 / 4.0, 1.0 - c as f64];
    Prototypes::new(&std::array::from_fn(row)).unwrap()
}

pub fn write_discrete(folder: &Path) {
    classes::<_, Mlp, _, 3, 4, 3>(folder, "dt", dt::<OneHot>());
    classes::<_, Embedded, _, 3, 4, 5>(folder, "dt_learned", dt::<Learned<5>>());
    let head = prototypes();
    let variant = DiscreteTime { head, ..dt::<Prototypes<5, 3>>() };
    classes::<_, Embedded, _, 3, 4, 5>(folder, "dt_prototypes", variant);
    // Blocks 2 and 4 change nothing.
    let schedule = Schedule::AlphaBar(vec![0.01, 0.4, 0.4, 0.99, 0.99]);
    let variant = DiscreteTime { schedule, ..dt::<OneHot>() };
    classes::<_, Mlp, _, 3, 4, 3>(folder, "dt_still", variant);
    classes::<_, Layers, _, 3, 4, 3>(folder, "dt_layers", dt::<OneHot>());
    classes::<_, Images, _, 3, 60, 3>(folder, "dt_images", dt::<OneHot>());
    classes::<_, Flattened, _, 3, 60, 3>(folder, "dt_flattened", dt::<OneHot>());
    classes::<_, Dropped, _, 3, 60, 3>(folder, "dt_flattened_to_dense", dt::<OneHot>());
    classes::<_, SmallNetDt<10>, _, 10, 784, 10>(folder, "dt_small_net", dt::<OneHot>());
    numbers::<_, ConditionalResNetDt<2, 4, 16>>(folder, "dt_regression", dt());
}

pub fn write_continuous(folder: &Path) {
    let ct = ContinuousTime::<OneHot>::default;
    for method in Method::ALL {
        let solver = Solver { method, steps: Steps::Fixed(5), ..Solver::default() };
        let variant = ContinuousTime { inference: Inference::Ode(solver), ..ct() };
        classes::<_, Network, _, 3, 4, 3>(folder, &format!("ct_{method:?}"), variant);
    }
    let path = schedule::Path::Learned(MonotoneNetwork::default());
    let schedule = GammaSchedule { path, ..GammaSchedule::default() };
    let variant = ContinuousTime { schedule, ..ct() };
    classes::<_, Network, _, 3, 4, 3>(folder, "ct_learned_schedule", variant);
    let variant = ContinuousTime::<Learned<5>>::default();
    classes::<_, EmbeddedNetwork, _, 3, 4, 5>(folder, "ct_learned", variant);
    let variant = ContinuousTime { head: prototypes(), ..ContinuousTime::default() };
    classes::<_, EmbeddedNetwork, _, 3, 4, 5>(folder, "ct_prototypes", variant);
    classes::<_, SmallNetCt<10>, _, 10, 784, 10>(folder, "ct_small_net", ct());
    let variant = ContinuousTime::<Regression>::default();
    numbers::<_, ConditionalResNetCt<2, 4, 16>>(folder, "ct_regression", variant);
}

pub fn write_blocks(folder: &Path) {
    let blocks = DiffusionBlocks::<OneHot>::default;
    for method in Method::ALL {
        let solver = Solver { method, steps: Steps::Fixed(2), ..Solver::default() };
        let variant = DiffusionBlocks { solver, ..blocks() };
        classes::<_, Network, _, 3, 4, 3>(folder, &format!("blocks_{method:?}"), variant);
    }
    classes::<_, Network, _, 3, 4, 3>(folder, "blocks", blocks());
    let variant = DiffusionBlocks { head: prototypes(), ..DiffusionBlocks::default() };
    classes::<_, EmbeddedNetwork, _, 3, 4, 5>(folder, "blocks_prototypes", variant);
    let variant = DiffusionBlocks::<Regression>::default();
    numbers::<_, ConditionalResNetCt<2, 4, 16>>(folder, "blocks_regression", variant);
}

pub fn write_flow(folder: &Path) {
    let fm = FlowMatching::<OneHot>::default;
    classes::<_, Network, _, 3, 4, 3>(folder, "fm", fm());
    for method in [Method::Rk4, Method::Tsitouras] {
        let solver = Solver { method, steps: Steps::Fixed(5), ..Solver::default() };
        let variant = FlowMatching { solver, ..fm() };
        classes::<_, Network, _, 3, 4, 3>(folder, &format!("fm_{method:?}"), variant);
    }
    let variant = FlowMatching::<OneHot, Estimate>::default();
    classes::<_, Network, _, 3, 4, 3>(folder, "fm_estimate", variant);
    let variant = FlowMatching::<Learned<5>, Estimate>::default();
    classes::<_, EmbeddedNetwork, _, 3, 4, 5>(folder, "fm_estimate_learned", variant);
    classes::<_, Network, _, 3, 4, 5>(folder, "fm_learned", FlowMatching::<Learned<5>>::default());
    let variant = FlowMatching { head: prototypes(), ..FlowMatching::<_, Velocity>::default() };
    classes::<_, Network, _, 3, 4, 5>(folder, "fm_prototypes", variant);
    classes::<_, SmallNetFm<10>, _, 10, 784, 10>(folder, "fm_small_net", fm());
    let variant = FlowMatching::<Regression>::default();
    numbers::<_, ConditionalResNetCt<2, 4, 16>>(folder, "fm_regression", variant);
    let variant = FlowMatching::<Regression, Estimate>::default();
    numbers::<_, ConditionalResNetCt<2, 4, 16>>(folder, "fm_estimate_regression", variant);
}

/// In double precision, which the graph rounds to single.
pub fn write_double(folder: &Path) {
    type Model = NoProp<DiscreteTime, Mlp, 3, 4, f64>;
    let mut model = Model::new(&AutoDevice::default(), dt()).unwrap();
    let data = blobs::<3, 4>(64, 1).to_dtype::<f64>();
    model.fit(&data, &fit()).unwrap();
    model.export_onnx(folder.join("dt_double.onnx")).unwrap();
    write(folder, "dt_double", |rows| {
        let rows: Vec<_> = rows.iter().map(|row: &[f32; 4]| row.map(f64::from)).collect();
        let answers = model.predict_proba(&rows).unwrap();
        answers.into_iter().map(|row| row.map(|p| p as f32)).collect()
    });
}
