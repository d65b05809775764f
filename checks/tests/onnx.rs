//! Models as ONNX graphs: what is in the file, what is refused, and what onnxruntime answers.
#![cfg(feature = "onnx")]

#[path = "onnx/cases.rs"]
mod cases;
mod common;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use dfdx::nn::ZeroSizedModule;
use dfdx_noprop::{
    Predictor,
    device::Rows,
    distributed::{Communicator, Settings},
    prelude::*,
};
use onnx_rs::ast::{Dimension, Graph, Model, OpType};

type Dt = NoProp<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4>;
type Ct = NoProp<ContinuousTime, ConditionalResNetCt<3, 4, 8>, 3, 4>;
type Fm = NoProp<FlowMatching, ConditionalResNetFm<3, 4, 8>, 3, 4>;

fn dt() -> Dt {
    let variant = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
    Dt::new(&AutoDevice::default(), variant).unwrap()
}

fn ct(solver: Solver) -> Ct {
    let variant = ContinuousTime { inference: Inference::Ode(solver), ..ContinuousTime::default() };
    Ct::new(&AutoDevice::default(), variant).unwrap()
}

/// What a file holds, by a reader that is not ours.
fn inspect(export: impl Fn(&Path) -> Result<(), Error>, look: impl FnOnce(&Model<'_>, &Graph<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    export(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let model = onnx_rs::parse(&bytes).unwrap();
    let graph = model.graph.as_ref().unwrap();
    check(graph);
    look(&model, graph);
}

/// Names are all different, and each value is there before it is used, and used.
fn check(graph: &Graph<'_>) {
    let mut there: BTreeSet<&str> = graph.input.iter().map(|input| input.name).collect();
    for initializer in &graph.initializer {
        assert!(there.insert(initializer.name()), "two `{}`", initializer.name());
    }
    let (mut used, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    for node in &graph.node {
        assert!(nodes.insert(node.name), "two nodes `{}`", node.name);
        for input in &node.input {
            assert!(there.contains(input), "`{}` takes `{input}`, which is not there", node.name);
            used.insert(*input);
        }
        for output in &node.output {
            assert!(there.insert(output), "two `{output}`");
        }
    }
    used.extend(graph.output.iter().map(|output| output.name));
    let unused: Vec<_> = there.difference(&used).collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}");
}

fn shape<'a>(values: &'a [onnx_rs::ast::ValueInfo<'a>]) -> (&'a str, Vec<Dimension<'a>>) {
    let [value] = values else { panic!("{} values", values.len()) };
    let dims = value.tensor_shape().unwrap().dim.iter().map(|dim| dim.value.clone()).collect();
    (value.name, dims)
}

#[test]
fn the_file_says_what_goes_in_and_what_comes_out() {
    let batch = Dimension::Param("batch");
    inspect(
        |path| dt().export_onnx(path),
        |model, graph| {
            assert_eq!((model.ir_version, model.producer_name), (8, "dfdx-noprop"));
            assert_eq!(model.opset_import[0].version, 17);
            assert_eq!(model.opset_import[0].domain, "");
            assert_eq!(model.metadata_props[0].value, "discrete time");
            assert_eq!(shape(&graph.input), ("x", vec![batch.clone(), Dimension::Value(4)]));
            let output = ("probabilities", vec![batch.clone(), Dimension::Value(3)]);
            assert_eq!(shape(&graph.output), output);
        },
    );
    type Numbers = NoProp<DiscreteTime<Regression>, ConditionalResNetDt<2, 4, 8>, 2, 4>;
    let numbers = Numbers::new(&AutoDevice::default(), DiscreteTime::default()).unwrap();
    inspect(
        |path| numbers.export_onnx(path),
        |_, graph| {
            assert_eq!(shape(&graph.output), ("values", vec![batch.clone(), Dimension::Value(2)]));
        },
    );
}

#[test]
fn names_say_which_block_and_layer_and_weights_are_those_of_the_model() {
    let model = dt();
    inspect(
        |path| model.export_onnx(path),
        |_, graph| {
            let node = |name: &str| graph.node.iter().find(|node| node.name == name).unwrap();
            let dense = node("block_3/residual/dense_1");
            assert_eq!(dense.op_type, OpType::Gemm);
            let weights = ["block_3.residual.dense_1.weight", "block_3.residual.dense_1.bias"];
            assert_eq!(dense.input[1..], weights);
            assert_eq!(node("block_3/residual/relu").op_type, OpType::Relu);
            assert_eq!(node("block_2/condition/x").input[0], "x");
            let weight = graph.get_initializer("block_2.condition.x.weight").unwrap();
            assert_eq!(weight.dims(), [8, 4]);
            let own = model.blocks()[1].module().0.x.weight.as_vec();
            assert_eq!(weight.as_f32().unwrap().to_vec(), own);
            let a = graph.get_initializer("block_2.a").unwrap();
            assert_eq!(a.as_f32().unwrap()[0], model.levels().a(2) as f32);
        },
    );
}

#[test]
fn names_of_classes_are_kept_beside_the_graph() {
    let predictor = dt().predictor().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let written = |predictor: &Predictor<3, 4>| {
        predictor.export_onnx(&path).unwrap();
        String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
    };
    let named = predictor.with_class_names(["ham", "\"spam\"", "eggs"]).unwrap();
    let found = written(&named);
    assert!(found.contains("class_names") && found.contains(r#"["ham","\"spam\"","eggs"]"#));
    assert!(!written(&predictor).contains("class_names"));
}

#[test]
fn weights_are_stored_once_and_what_depends_on_x_alone_is_computed_once() {
    let solver =
        |steps| Solver { method: Method::Rk4, steps: Steps::Fixed(steps), ..Solver::default() };
    let mut sizes = Vec::new();
    for steps in [2, 3] {
        inspect(
            |path| ct(solver(steps)).export_onnx(path),
            |_, graph| {
                let of =
                    |input: &str| graph.node.iter().filter(|n| n.input.contains(&input)).count();
                assert_eq!(of("x"), 1);
                assert_eq!(of("network.condition.x.weight"), 1);
                // Four calls a step, and one at the end.
                assert_eq!(of("network.condition.z.weight"), 4 * steps + 1);
                let weights = |name: &str| name.ends_with(".weight") || name.ends_with(".bias");
                let all = graph.initializer.iter().filter(|one| weights(one.name()));
                sizes.push(all.count());
            },
        );
    }
    // Two of each: the sides of z and of x, the residual block, the last layer. That of t is known.
    assert_eq!(sizes, [2 * 5; 2]);
}

#[test]
fn a_stage_at_the_end_of_a_step_is_the_first_of_the_next_and_the_last_call() {
    let solver =
        Solver { method: Method::DormandPrince, steps: Steps::Fixed(2), ..Solver::default() };
    inspect(
        |path| ct(solver.clone()).export_onnx(path),
        |_, graph| {
            let weight = "network.condition.z.weight";
            let calls = graph.node.iter().filter(|node| node.input.contains(&weight)).count();
            assert_eq!(calls, 2 * 6 + 1);
        },
    );
}

/// û = z: a module of one's own.
#[derive(Clone, Debug, Default)]
struct Own;

type Z<T> = Rows<Const<3>, f32, AutoDevice, T>;
type X = Rows<Const<4>, f32, AutoDevice>;

impl ZeroSizedModule for Own {}
impl NonMutableModule for Own {}
impl<T: Tape<f32, AutoDevice>> Module<(Z<T>, X)> for Own {
    type Output = Z<T>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(&self, (z, _): (Z<T>, X)) -> Result<Z<T>, Self::Error> {
        Ok(z)
    }
}

#[track_caller]
fn assert_refused(result: Result<(), Error>, words: &[&str]) {
    let error = result.unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
    assert!(!Path::new("refused.onnx").exists());
}

#[test]
fn what_a_graph_cannot_do_is_refused_by_name() {
    let path = Path::new("refused.onnx");
    let mut model = dt();
    model.set_sampler(Sampler::Stochastic { draws: 2, seed: 0 }).unwrap();
    let words = ["DiscreteTime::sampler", "`Sampler::Stochastic`", "set_sampler(Sampler::Deter"];
    assert_refused(model.export_onnx(path), &words);

    let mut model = ct(Solver::default());
    model.set_inference(Inference::Sde { steps: 2, draws: 1, seed: 0 }).unwrap();
    let words = ["ContinuousTime::inference", "`Inference::Sde`", "`set_inference`"];
    assert_refused(model.export_onnx(path), &words);

    let adaptive = Steps::adaptive(1e-3, 1e-3);
    let adaptive = Solver { method: Method::Tsitouras, steps: adaptive, ..Solver::default() };
    let words = ["ContinuousTime::inference", "`Steps::Fixed`", "found `Steps::Adaptive`"];
    assert_refused(ct(adaptive.clone()).export_onnx(path), &words);
    let mut model = Fm::new(&AutoDevice::default(), FlowMatching::default()).unwrap();
    model.set_solver(adaptive).unwrap();
    let words = ["FlowMatching::solver", "found `Steps::Adaptive`", "`set_solver`"];
    assert_refused(model.export_onnx(path), &words);
    model.set_solver(Solver { steps: Steps::Fixed(5_001), ..Solver::default() }).unwrap();
    assert_refused(model.export_onnx(path), &["FlowMatching::solver", "10000", "10002 calls"]);

    type Blocks = NoProp<DiffusionBlocks, ConditionalResNetCt<3, 4, 8>, 3, 4>;
    let mut model = Blocks::new(&AutoDevice::default(), DiffusionBlocks::default()).unwrap();
    model.set_sampler(Sampler::Stochastic { draws: 2, seed: 0 }).unwrap();
    let words = ["DiffusionBlocks::sampler", "`Sampler::Stochastic`", "set_sampler(Sampler::Deter"];
    assert_refused(model.export_onnx(path), &words);
    model.set_sampler(Sampler::Deterministic).unwrap();
    model.set_solver(Solver { steps: Steps::Fixed(2_000), ..Solver::default() }).unwrap();
    assert_refused(model.export_onnx(path), &["DiffusionBlocks::solver", "10000", "12000 calls"]);

    type Mine = NoProp<DiscreteTime, Custom<Own, Pair<3, 4>, Width<3>>, 3, 4>;
    let model = Mine::new(&AutoDevice::default(), DiscreteTime::default()).unwrap();
    assert_refused(model.export_onnx(path), &["layers that ONNX has", "`Own` at block_1"]);

    let ranks = Communicator::threads(1, Settings::default()).unwrap();
    let model = Dt::distributed(&AutoDevice::default(), DiscreteTime::default(), &ranks[0]);
    assert_refused(model.unwrap().export_onnx(path), &["blocks on several ranks"]);
}

#[test]
fn a_weight_that_is_not_a_number_is_named_and_the_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut model = dt();
    model.export_onnx(&path).unwrap();
    let before = fs::read(&path).unwrap();
    model.blocks_mut()[2].module_mut().3.bias.copy_from(&[0.0, f32::NAN, 0.0]);
    let error = model.export_onnx(&path).unwrap_err().to_string();
    assert!(error.contains("NaN in `block_3.dense.bias`"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The Python to run graphs with, unless it lacks onnxruntime: then why nothing is run.
///
/// `NOPROP_PYTHON` names one that has to have it.
fn python() -> Option<String> {
    let named = std::env::var("NOPROP_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let imports = Command::new(&python).args(["-c", "import numpy, onnxruntime"]).output();
    let missing = match imports {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(named.is_none(), "NOPROP_PYTHON={python} has no numpy and onnxruntime: {missing}");
    println!(
        "SKIPPED what onnxruntime answers: {python} cannot import numpy and onnxruntime \
         ({missing}); `pip install onnxruntime numpy`, and name that Python by NOPROP_PYTHON"
    );
    None
}

#[test]
fn onnxruntime_answers_what_the_model_answers() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    cases::write_discrete(folder.path());
    cases::write_continuous(folder.path());
    cases::write_blocks(folder.path());
    cases::write_flow(folder.path());
    cases::write_double(folder.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/run.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("by {}", result["by"]);
    let differences = result["differences"].as_object().unwrap();
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(2 * differences.len(), files, "a graph and its answers each");
    let mut far = Vec::new();
    for (name, of_batches) in differences {
        println!("{name}: {of_batches}");
        let of_batches = of_batches.as_array().unwrap();
        assert_eq!(of_batches.len(), 2);
        if !of_batches.iter().all(|difference| difference.as_f64().unwrap() < 1e-5) {
            far.push(name);
        }
    }
    assert!(far.is_empty(), "more than 1e-5 away: {far:?}");
}
