//! Numbers that are not finite are found where they come in, and never become an answer.

mod common;

use common::{blobs, weights};
use dfdx_noprop::{
    gradient::{Estimator, WeightNoise},
    prelude::*,
    schedule::{GammaSchedule, MonotoneNetwork, Path},
};

type Block = ConditionalResNetDt<3, 4, 8>;
type Timed = ConditionalResNetCt<3, 4, 8>;
type Dt = NoProp<DiscreteTime, Block, 3, 4>;

fn device() -> AutoDevice {
    AutoDevice::default()
}

fn data() -> Dataset<4, Labels<3>> {
    blobs(60, 1)
}

fn fit() -> Fit {
    Fit { epochs: 2, batch_size: 20, ..Fit::default() }
}

#[test]
fn products_are_right_whatever_the_features() {
    let a = device().tensor([[1.0f32, 2.0], [3.0, 4.0]]);
    let b = device().tensor([[5.0, 6.0], [7.0, 8.0]]);
    assert_eq!(a.matmul(b).array(), [[19.0, 22.0], [43.0, 50.0]]);
}

/// A weight that a ReLU stands behind, and one of the last layer.
#[test]
fn a_weight_that_is_not_finite_is_an_error_of_every_answer() {
    for last in [false, true] {
        let mut model = Dt::new(&device(), DiscreteTime::default()).unwrap();
        let module = model.blocks_mut()[4].module_mut();
        let bias = |n| vec![f32::NAN; n];
        match last {
            false => module.0.x.bias.copy_from(&bias(8)),
            true => module.3.bias.copy_from(&bias(3)),
        }
        let (rows, data) = ([[0.1f32; 4]; 70], data());
        let errors = [
            model.predict(&rows).unwrap_err(),
            model.predict_proba(&rows).unwrap_err(),
            model.sample(&rows[..3], 2, 0).unwrap_err(),
            model.evaluate(&data).unwrap_err(),
            model.evaluate_along(&data).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(matches!(error, Error::NotFinite { .. }), "{text}");
            assert!(text.contains("block.5.") && text.contains("bias"), "{text}");
        }
    }
}

#[test]
fn a_network_whose_weight_is_not_finite_answers_with_an_error() {
    let rows = [[0.1f32; 4]; 3];
    let mut model =
        NoProp::<ContinuousTime, Timed, 3, 4>::new(&device(), ContinuousTime::default()).unwrap();
    model.blocks_mut()[0].module_mut().3.bias.copy_from(&[f32::NAN; 3]);
    assert!(model.predict(&rows).is_err());
    let mut model =
        NoProp::<FlowMatching, Timed, 3, 4>::new(&device(), FlowMatching::default()).unwrap();
    model.blocks_mut()[0].module_mut().3.bias.copy_from(&[f32::INFINITY; 3]);
    assert!(model.predict(&rows).is_err());
}

#[test]
fn a_hook_that_leaves_nan_is_named() {
    let data = data();
    for estimator in [Estimator::Local, Estimator::WeightNoise(WeightNoise::default())] {
        let mut model =
            Dt::new(&device(), DiscreteTime { blocks: 2, estimator, ..Default::default() })
                .unwrap();
        let fit = fit();
        let training = model.training(&fit).each_batch(|batch, _| {
            batch.inputs_mut()[7][2] = f32::NAN;
        });
        let text = training.run(&data).unwrap_err().to_string();
        assert!(text.contains("row 7, column 2 of the batch of step 1"), "{text}");
        assert!(!text.contains("learning rate"), "{text}");
    }
}

/// 41 rows in batches of 20 leave one row over.
#[test]
fn one_row_left_over_leaves_running_statistics_finite() {
    type Normed = (Condition<Linear<3, 6>, Linear<4, 6>>, BatchNorm1D<6>, ReLU, Linear<6, 3>);
    for (rows, batch_size) in [(41, 20), (5, 1)] {
        let mut model =
            NoProp::<DiscreteTime, Normed, 3, 4>::new(&device(), DiscreteTime::default()).unwrap();
        model.fit(&blobs(rows, 3), &Fit { epochs: 3, batch_size, ..Fit::default() }).unwrap();
        let norm = &model.blocks()[0].module().1;
        let running = [norm.running_mean.as_vec(), norm.running_var.as_vec()].concat();
        assert!(running.iter().all(|v| v.is_finite()), "{running:?}");
        model.evaluate(&data()).unwrap();
    }
}

#[test]
fn settings_that_would_divide_by_zero_are_refused_by_name() {
    let refused = |optimizer: AdamW, name: &str| {
        let variant = DiscreteTime { optimizer: optimizer.into(), ..DiscreteTime::default() };
        let text = Dt::new(&device(), variant).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    };
    // The second is a number of f64 only.
    for epsilon in [0.0, 1e-60] {
        refused(AdamW { epsilon, ..AdamW::default() }, "AdamW::epsilon");
    }
    refused(AdamW { learning_rate: 1e300, ..AdamW::default() }, "AdamW::learning_rate");
    refused(AdamW { beta2: 1.0 - 1e-12, ..AdamW::default() }, "AdamW::beta2");
    let wide = DiscreteTime {
        optimizer: AdamW { epsilon: 1e-60, ..AdamW::default() }.into(),
        ..DiscreteTime::default()
    };
    NoProp::<DiscreteTime, Block, 3, 4, f64>::new(&device(), wide).unwrap();
}

#[test]
fn schedules_that_the_numbers_cannot_hold_are_refused_by_name() {
    let refused = |schedule: GammaSchedule, name: &str| {
        let variant = ContinuousTime { schedule, ..ContinuousTime::default() };
        let text = NoProp::<ContinuousTime, Timed, 3, 4>::new(&device(), variant);
        let text = text.unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    };
    let default = GammaSchedule::default();
    // e^100 is more than f32 holds, e^-200 less.
    refused(GammaSchedule { gamma_0: -100.0, ..default.clone() }, "GammaSchedule");
    refused(GammaSchedule { gamma_1: 200.0, ..default.clone() }, "GammaSchedule");
    let network = MonotoneNetwork { v0: f64::NAN, ..MonotoneNetwork::default() };
    refused(GammaSchedule { path: Path::Learned(network), ..default.clone() }, "v0");
    let flat = MonotoneNetwork { v0: -1e3, v2: [-1e3; 8], ..MonotoneNetwork::default() };
    refused(GammaSchedule { path: Path::Learned(flat), ..default }, "rises");
}

#[cfg(feature = "checkpoint")]
#[test]
fn a_run_whose_last_step_leaves_the_range_of_the_numbers_does_not_say_that_it_is_done() {
    // Its loss and its gradient are finite; what it leaves is not.
    let optimizer = Sgd { learning_rate: 3e38, momentum: 0.0, ..Sgd::default() }.into();
    let variant = DiscreteTime { blocks: 2, eta: 1e3, optimizer, ..DiscreteTime::default() };
    let limits =
        [Fit { epochs: 1, batch_size: 1000, ..fit() }, Fit { step_limit: Some(1), ..fit() }];
    for fit in limits {
        let mut model = NoProp::<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4>::new(
            &device(),
            variant.clone(),
        )
        .unwrap();
        let error = model.fit(&data(), &fit).unwrap_err();
        assert!(matches!(error, Error::Diverged { quantity: "weight", step: 1, .. }), "{error}");
        let error = model.fit(&data(), &fit).unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
    }
}

#[test]
fn files_hold_finite_weights_only() {
    use dfdx_noprop::checkpoint::Contents;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut model = Dt::new(&device(), DiscreteTime::default()).unwrap();
    model.fit(&data(), &fit()).unwrap();
    model.save(&path).unwrap();
    // The same file with one number changed, and its checksum made good again.
    let mut contents = Contents::read(&path).unwrap();
    let bad = contents.tensors.iter_mut().find(|t| t.name == "block.2.3.bias").unwrap();
    bad.bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    contents.write(&path).unwrap();
    let before = weights(model.blocks()[1].module());
    let text = model.load(&path).unwrap_err().to_string();
    assert!(text.contains("`block.2.3.bias`") && text.contains("at place 1"), "{text}");
    assert_eq!(weights(model.blocks()[1].module()), before);

    model.blocks_mut()[0].module_mut().3.bias.copy_from(&[f32::NAN; 3]);
    let text = model.save(&path).unwrap_err().to_string();
    assert!(text.contains("block.1.3.bias"), "{text}");
}
