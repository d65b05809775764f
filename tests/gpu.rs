//! On a machine with a card: the GPU's numbers beside the processor's.
//!
//! ```text
//! cargo test --features cuda --test gpu
//! ```
#![cfg(all(feature = "cuda", feature = "checkpoint"))]

mod common;

use common::{assert_close, blobs, weights};
use dfdx_noprop::{
    device::Backend,
    head::SuitsHead,
    nn::{
        Denoises,
        image::{BatchNorm, Conv2d, Flatten, MaxPool2d, Planes},
    },
    prelude::*,
    variant::Variant,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

type Gpu = dfdx::tensor::Cuda;

/// Sums of many numbers are in another order there, and not in the same one each time.
const TOLERANCE: f64 = 1e-8;

type Model<V, M, D> = NoProp<V, M, 3, 4, f64, D>;

fn data() -> Dataset<4, Labels<3>, f64> {
    blobs(150, 1).to_dtype()
}

/// What a run leaves of a model that starts from this checkpoint: weights, reports, answers.
fn ends<V, M, D>(start: &std::path::Path, fit: &Fit, how: fn(&mut Model<V, M, D>)) -> Vec<f64>
where
    V: Variant<3, 4, f64, D, Head = OneHot>,
    M: Denoises<V::Input, f64, D>,
    M::Gives: SuitsHead<V::Reader, 3, f64, D>,
    D: Runs<V, M, 3, 4, f64>,
{
    let mut model = Model::<V, M, D>::from_checkpoint(&D::default(), start).unwrap();
    how(&mut model);
    let outcome = model.training(fit).run(&data()).unwrap();
    let last = outcome.epochs.last().unwrap();
    let reports = last.blocks.iter().flat_map(|b| [b.denoising, b.cross_entropy]);
    let answers = model.predict_proba(data().samples()).unwrap();
    let weights = model.blocks().iter().flat_map(|block| weights(block.module()));
    weights.chain(reports).chain(answers.into_iter().flatten()).collect()
}

/// The processor, and the GPU in some ways, from the same weights and with the same noise.
#[track_caller]
fn same<V, M>(variant: V, fit: Fit, ways: &[fn(&mut Model<V, M, Gpu>)])
where
    V: Variant<3, 4, f64, Cpu, Head = OneHot> + Variant<3, 4, f64, Gpu, Head = OneHot>,
    M: Denoises<<V as Variant<3, 4, f64, Cpu>>::Input, f64, Cpu>
        + Denoises<<V as Variant<3, 4, f64, Gpu>>::Input, f64, Gpu>,
    <M as Denoises<<V as Variant<3, 4, f64, Cpu>>::Input, f64, Cpu>>::Gives:
        SuitsHead<<V as Variant<3, 4, f64, Cpu>>::Reader, 3, f64, Cpu>,
    <M as Denoises<<V as Variant<3, 4, f64, Gpu>>::Input, f64, Gpu>>::Gives:
        SuitsHead<<V as Variant<3, 4, f64, Gpu>>::Reader, 3, f64, Gpu>,
    Cpu: Runs<V, M, 3, 4, f64>,
    Gpu: Runs<V, M, 3, 4, f64>,
{
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start.safetensors");
    Model::<V, M, Cpu>::new(&Cpu::default(), variant).unwrap().save(&start).unwrap();
    let expected = ends::<V, M, Cpu>(&start, &fit, |_| {});
    for (i, way) in ways.iter().enumerate() {
        let found = ends::<V, M, Gpu>(&start, &fit, *way);
        assert_close(&format!("way {i}"), &found, &expected, TOLERANCE);
    }
}

/// One block after the other, and all that the GPU does by default but its own noise.
macro_rules! ways {
    () => {
        &[
            |model| {
                model.set_device_noise(false);
                model.set_late_reports(false);
                model.set_stacked(false);
            },
            |model| {
                model.set_device_noise(false);
                model.set_stacked(false);
            },
            |model| model.set_device_noise(false),
        ]
    };
}

fn fits() -> [Fit; 2] {
    let fit = Fit { epochs: 2, batch_size: 32, ..Fit::default() };
    let class_weights = Some(vec![1.0, 0.25, 3.0]);
    [fit.clone(), Fit { clip: Some(0.3), average: Some(0.9), class_weights, ..fit }]
}

/// Far from 1 / rounding, which AdamW would make of a gradient that is nothing but rounding.
fn adamw() -> AdamW {
    AdamW { epsilon: 1e-4, ..AdamW::default() }
}

#[test]
fn dense_blocks_learn_the_same() {
    for fit in fits() {
        let variant = DiscreteTime { blocks: 3, optimizer: adamw().into(), ..Default::default() };
        same::<DiscreteTime, ConditionalResNetDt<3, 4, 8>>(variant, fit, ways!());
    }
    let sgd = Sgd { learning_rate: 0.05, momentum: 0.9, ..Sgd::default() };
    let variant = DiscreteTime { blocks: 2, optimizer: sgd.into(), ..Default::default() };
    same::<DiscreteTime, ConditionalResNetDt<3, 4, 8>>(variant, fits()[1].clone(), ways!());
}

#[test]
fn images_are_learned_the_same() {
    type Trunk = (
        Planes<1, 2, 2>,
        (Conv2d<1, 5, 2, 2>, BatchNorm<5>, ReLU, MaxPool2d<3, 3, 2, 1, 1>),
        (Conv2d<5, 3, 2, 2, 3, 2, 1>, ReLU, MaxPool2d<1, 1>),
        (Flatten<3>, Dense<3, 6>),
    );
    type Block = (Condition<Dense<3, 6>, Trunk>, BatchNorm<6>, ReLU, Dense<6, 3>);
    let variant = DiscreteTime { blocks: 3, optimizer: adamw().into(), ..Default::default() };
    same::<DiscreteTime, Block>(variant, fits()[0].clone(), ways!());
}

#[test]
fn one_network_learns_the_same() {
    type Block = ConditionalResNetCt<3, 4, 8>;
    for fit in fits() {
        let at_once: [fn(&mut Model<_, Block, Gpu>); 2] = [
            |model| {
                model.set_device_noise(false);
                model.set_late_reports(false);
            },
            |model| model.set_device_noise(false),
        ];
        let variant = ContinuousTime { optimizer: adamw().into(), ..Default::default() };
        same::<ContinuousTime, Block>(variant, fit.clone(), &at_once);
        let at_once: [fn(&mut Model<_, Block, Gpu>); 1] = [|model| model.set_device_noise(false)];
        let variant = FlowMatching { optimizer: adamw().into(), ..Default::default() };
        same::<FlowMatching, Block>(variant, fit, &at_once);
    }
}

#[test]
fn noise_is_the_same() {
    fn noise<D: Backend<f64>>() -> Vec<f64> {
        let mut streams: Vec<_> = (0..3).map(ChaCha8Rng::seed_from_u64).collect();
        let noise = D::default().normals(7, &mut None, &mut streams, (3, 1001));
        noise.unwrap().as_vec()
    }
    assert_close("noise", &noise::<Gpu>(), &noise::<Cpu>(), 1e-14);
}

#[test]
fn a_run_goes_on_with_the_same_noise() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let run = |limits: &[u64]| {
        let variant = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
        let mut model = Model::<DiscreteTime, Block, Cpu>::new(&Cpu::default(), variant).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model.save(&path).unwrap();
        for &limit in limits {
            let mut model =
                Model::<DiscreteTime, Block, Gpu>::from_checkpoint(&Gpu::default(), &path).unwrap();
            let fit = Fit { step_limit: Some(limit), ..fits()[0].clone() };
            model.fit(&data(), &fit).unwrap();
            model.save(&path).unwrap();
        }
        model.load(&path).unwrap();
        model.blocks().iter().flat_map(|block| weights(block.module())).collect::<Vec<_>>()
    };
    assert_close("weights", &run(&[4, 6]), &run(&[10]), TOLERANCE);
}
