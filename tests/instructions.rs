//! A process that is limited to AVX2: what it computes, and that it stays so.
#![cfg(target_arch = "x86_64")]

mod common;

use common::blobs;
use dfdx_noprop::{
    device::Instructions,
    prelude::*,
    train::{Checkpoints, Every},
};

#[test]
fn a_process_that_is_limited_computes_by_avx2() {
    if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
        assert!(Instructions::Avx2.limit().is_err());
        return;
    }
    Instructions::Avx2.limit().unwrap();
    let folder = tempfile::tempdir().unwrap();
    type Model = NoProp<DiscreteTime, ConditionalResNetDt<4, 64, 64>, 4, 64>;
    let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default()).unwrap();
    let data = blobs::<4, 64>(200, 1);
    // Rounded products too, which there is no instruction for by then.
    let fit = Fit { epochs: 20, precision: Precision::Bf16, ..Fit::default() };
    let fit = Fit { step_limit: Some(30), ..fit };
    let outcome = model.training(&fit).run(&data).unwrap();
    let slow = outcome.warnings.iter().any(|warning| warning.contains("no AVX-512 BF16"));
    assert!(slow, "{:?}", outcome.warnings);
    assert!(model.evaluate(&data).unwrap().accuracy > 0.99);
    // A checkpoint of a run that is under way says what computed it.
    let mut saved = Checkpoints::new(folder.path().join("run"), Every::Steps(10), 5).unwrap();
    let fit = Fit { epochs: 30, ..Fit::default() };
    model.forget_run();
    model.training(&fit).checkpoints(&mut saved).run(&data).unwrap();
    let files = std::fs::read_dir(folder.path().join("run")).unwrap();
    let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let texts: Vec<String> =
        texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    assert!(texts.iter().any(|text| text.contains("x86-64 with AVX2")));
    assert!(!texts.iter().any(|text| text.contains("x86-64 with AVX-512")));
    Instructions::Avx2.limit().unwrap();
}
