//! Products of rounded operands: what depends on them, and what must not.

mod common;

use common::{blobs, weights};
use dfdx_noprop::{nn::image::SmallNetDt, prelude::*};

fn bf16(epochs: usize) -> Fit {
    Fit { epochs, precision: Precision::Bf16, ..Fit::default() }
}

fn dev() -> AutoDevice {
    AutoDevice::default()
}

/// All weights after some epochs.
fn trained<V, M, const Z: usize, const X: usize>(
    variant: V,
    data: &Dataset<X, Labels<Z>>,
    fit: &Fit,
) -> Vec<f32>
where
    V: Variant<Z, X>,
    V::Head: dfdx_noprop::head::Head<Z, f32, Targets = Labels<Z>>,
    M: Suits<V, Z, X>,
{
    let mut model = M::model(&AutoDevice::default(), variant).unwrap();
    model.fit(data, fit).unwrap();
    model.blocks().iter().flat_map(|block| weights(block.module())).collect()
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let square = |of: &mut dyn Iterator<Item = f32>| of.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied())).sqrt()
}

/// One step of gradient descent: operands with 8 bits are up to 2⁻⁹ off each, in all directions, so
/// that the whole gradient is off by about as much, and not by nothing.
#[test]
fn gradients_are_those_of_slightly_rounded_operands() {
    let optimizer: Optimizer = Sgd { learning_rate: 1.0, momentum: 0.0, ..Sgd::default() }.into();
    let step = |fit: &Fit| {
        let data = blobs::<4, 64>(96, 3);
        let fit = Fit { batch_size: 96, step_limit: Some(1), ..fit.clone() };
        let dt = DiscreteTime { blocks: 2, optimizer, ..DiscreteTime::default() };
        let ct = ContinuousTime { optimizer, ..ContinuousTime::default() };
        let fm = FlowMatching { optimizer, ..FlowMatching::default() };
        [
            trained::<DiscreteTime, ConditionalResNetDt<4, 64, 64>, 4, 64>(dt, &data, &fit),
            trained::<ContinuousTime, ConditionalResNetCt<4, 64, 64>, 4, 64>(ct, &data, &fit),
            trained::<FlowMatching, ConditionalResNetFm<4, 64, 64>, 4, 64>(fm, &data, &fit),
        ]
    };
    let before = step(&Fit { epochs: 0, ..Fit::default() });
    let (single, rounded) = (step(&Fit::default()), step(&bf16(1)));
    for ((before, single), rounded) in before.iter().zip(&single).zip(&rounded) {
        let gradient = |after: &[f32]| -> Vec<f32> {
            before.iter().zip(after).map(|(before, after)| before - after).collect()
        };
        let apart = apart(&gradient(rounded), &gradient(single));
        assert!((1e-4..2e-2).contains(&apart), "{apart}");
    }
}

#[test]
fn a_convolutions_operands_are_rounded_too() {
    let step = |fit: &Fit| {
        let data = blobs::<10, 784>(16, 3);
        let fit = Fit { batch_size: 16, step_limit: Some(1), ..fit.clone() };
        let optimizer = Sgd { learning_rate: 1.0, momentum: 0.0, ..Sgd::default() }.into();
        let variant = DiscreteTime { blocks: 1, optimizer, ..DiscreteTime::default() };
        trained::<DiscreteTime, SmallNetDt<10>, 10, 784>(variant, &data, &fit)
    };
    let apart = apart(&step(&bf16(1)), &step(&Fit::default()));
    // A step of size 1 through batch norm and pooling makes more of it than 2⁻⁹.
    assert!((1e-5..0.1).contains(&apart), "{apart}");
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    let data = blobs::<4, 80>(600, 5);
    let run = |threads| {
        let fit = Fit { batch_size: 300, threads: Some(threads), ..bf16(2) };
        let dt = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
        [
            trained::<DiscreteTime, ConditionalResNetDt<4, 80, 96>, 4, 80>(dt, &data, &fit),
            // In two pieces of 150 rows, and with operations that threads share.
            trained::<ContinuousTime, ConditionalResNetCt<4, 80, 96>, 4, 80>(
                ContinuousTime::default(),
                &data,
                &fit,
            ),
        ]
    };
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(5), one);
}

#[test]
fn the_digits_are_learned_as_well() {
    let digits = data::digits().unwrap();
    let accuracy = |precision| {
        type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64, 64>, 10, 64>;
        let mut model = Model::new(&dev(), DiscreteTime::default()).unwrap();
        model.fit(&digits.train, &Fit { epochs: 20, precision, ..Fit::default() }).unwrap();
        model.evaluate(&digits.test).unwrap().accuracy
    };
    let [single, rounded] = [Precision::F32, Precision::Bf16].map(accuracy);
    assert!(rounded > 0.95 && (rounded - single).abs() < 0.01, "{rounded} and {single}");
}

#[test]
fn where_it_cannot_be_is_said_before_the_first_step() {
    type Block = ConditionalResNetDt<3, 4, 8>;
    let data = blobs::<3, 4>(40, 1);
    let mut double =
        NoProp::<DiscreteTime, Block, 3, 4, f64>::new(&dev(), DiscreteTime::default()).unwrap();
    let error = double.fit(&data.clone().to_dtype(), &bf16(1)).unwrap_err().to_string();
    assert_eq!(
        error,
        "Fit::precision: expected Precision::F32, since this model is not one of f32 on the \
         processor, found Bf16"
    );
    let estimator = WeightNoise::default().into();
    let variant = DiscreteTime { estimator, ..DiscreteTime::default() };
    let mut noisy = NoProp::<DiscreteTime, Block, 3, 4>::new(&dev(), variant).unwrap();
    let error = noisy.fit(&data, &bf16(1)).unwrap_err().to_string();
    assert!(error.starts_with("Fit::precision: expected Precision::F32"), "{error}");
    // A run goes on as it began.
    let mut model =
        NoProp::<DiscreteTime, Block, 3, 4>::new(&dev(), DiscreteTime::default()).unwrap();
    model.fit(&data, &Fit { step_limit: Some(1), ..bf16(2) }).unwrap();
    let error = model.fit(&data, &Fit { epochs: 2, ..Fit::default() }).unwrap_err().to_string();
    assert!(error.contains("Fit::precision = Bf16, as in the run that was stopped"), "{error}");
    model.fit(&data, &bf16(2)).unwrap();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn instructions_that_were_used_cannot_be_taken_back() {
    use dfdx_noprop::device::Instructions;

    let mut model = NoProp::<DiscreteTime, ConditionalResNetDt<3, 4, 8>, 3, 4>::new(
        &dev(),
        DiscreteTime::default(),
    )
    .unwrap();
    model.fit(&blobs::<3, 4>(40, 1), &Fit { epochs: 1, ..Fit::default() }).unwrap();
    let limited = Instructions::Avx2.limit();
    if is_x86_feature_detected!("avx512f") {
        let error = limited.unwrap_err().to_string();
        assert!(
            error.contains("a call before the first model, found x86-64 with AVX-512"),
            "{error}"
        );
    }
}
