//! Layers that take the input x as they take activations.

use dfdx_noprop::prelude::*;

type Model<Layers> =
    NoProp<DiscreteTime, (Condition<Dense<2, 4>, Layers>, ReLU, Dense<4, 2>), 2, 4>;

/// Rows of numbers that are not negative.
fn rows() -> Vec<f32> {
    (0..256).map(|i| (i * 37 % 64) as f32 / 32.0).collect()
}

/// What a model answers before and after some steps on f(x).
macro_rules! answers {
    ($layers:ty, $f:expr) => {{
        let labels = rows().chunks(4).map(|x| u32::from(x[0] + x[1] > 2.0)).collect();
        let rows: Vec<f32> = rows().into_iter().map($f).collect();
        let data = Dataset::<4, _>::new(rows, Labels::<2>::new(labels)?)?;
        let mut model = Model::<$layers>::new(&AutoDevice::default(), DiscreteTime::default())?;
        let before = model.predict_proba(data.samples())?;
        model.fit(&data, &Fit { epochs: 20, ..Fit::default() })?;
        [before, model.predict_proba(data.samples())?]
    }};
}

#[track_caller]
fn check_alike(left: [Vec<[f32; 2]>; 2], right: [Vec<[f32; 2]>; 2]) {
    assert!(left[0] != left[1], "nothing was learned");
    for (left, right) in left.iter().flatten().zip(right.iter().flatten()) {
        assert!((left[0] - right[0]).abs() < 1e-4, "{left:?} {right:?}");
    }
}

#[test]
fn a_residual_connection_takes_the_input() -> Result<(), Error> {
    type Layers = (Residual<Tanh>, Dense<4, 4>);
    let here = answers!(Layers, |x| x);
    check_alike(here, answers!(Dense<4, 4>, |x: f32| x + x.tanh()));
    Ok(())
}

#[test]
fn a_projected_residual_connection_takes_the_input() -> Result<(), Error> {
    type Layers = (GeneralizedResidual<Tanh, Square>, Dense<4, 4>);
    let here = answers!(Layers, |x| x);
    check_alike(here, answers!(Dense<4, 4>, |x: f32| x * x + x.tanh()));
    Ok(())
}

#[test]
fn the_input_is_added_as_it_is() -> Result<(), Error> {
    type Layers = (Planes<1, 2, 2>, Flatten<4>);
    let here = answers!(Layers, |x| x);
    check_alike(here, answers!(Residual<Abs>, |x: f32| x / 2.0));
    Ok(())
}

#[test]
fn a_residual_connection_takes_the_input_as_an_image() -> Result<(), Error> {
    type Layers = (Planes<1, 2, 2>, Residual<Tanh>, Flatten<4>, Dense<4, 4>);
    let here = answers!(Layers, |x| x);
    check_alike(here, answers!(Dense<4, 4>, |x: f32| x + x.tanh()));
    Ok(())
}

#[test]
fn a_time_embedding_is_added_as_it_is() -> Result<(), Error> {
    type Block<Time> = (TimedCondition<Dense<2, 4>, Dense<4, 4>, Time>, ReLU, Dense<4, 2>);
    macro_rules! answers {
        ($time:ty) => {{
            let labels = rows().chunks(4).map(|x| u32::from(x[0] + x[1] > 2.0)).collect();
            let data = Dataset::<4, _>::new(rows(), Labels::<2>::new(labels)?)?;
            type Model = NoProp<FlowMatching, Block<$time>, 2, 4>;
            let mut model = Model::new(&AutoDevice::default(), FlowMatching::default())?;
            let before = model.predict_proba(data.samples())?;
            model.fit(&data, &Fit { epochs: 20, ..Fit::default() })?;
            [before, model.predict_proba(data.samples())?]
        }};
    }
    // Sines and cosines of times from 0 to 1, none of them negative.
    check_alike(answers!(TimeEmbedding<4>), answers!((TimeEmbedding<4>, Abs)));
    Ok(())
}
