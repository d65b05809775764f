//! Back-propagation through all blocks, as the experiment `backprop` does it: its gradient, and its
//! training.

mod common;
#[path = "../experiments/src/bin/backprop/end_to_end.rs"]
mod end_to_end;

use std::ops::ControlFlow;

use common::{assert_close, blobs};
use dfdx::{
    nn::{
        RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
        ViewTensorRef,
    },
    prelude::Gradients,
};
use dfdx_noprop::{device::Execute, head::SuitsHead, nn::Denoises, prelude::*};
use end_to_end::EndToEnd;

const BLOCKS: usize = 3;
const ROWS: usize = 5;

/// Adds a number to one of a module's weights, counted through all of them.
struct Move {
    left: usize,
    by: f64,
}

impl TensorVisitor<f64, AutoDevice> for Move {
    type Viewer = ViewTensorMut;
    type Err = <AutoDevice as HasErr>::Err;
    type E2 = f64;
    type D2 = AutoDevice;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, f64, AutoDevice>,
        weights: &mut Tensor<S, f64, AutoDevice>,
    ) -> Result<Option<Tensor<S, f64, AutoDevice>>, <AutoDevice as HasErr>::Err> {
        let mut values = weights.as_vec();
        if options.do_gradient_update {
            if let Some(value) = values.get_mut(self.left) {
                *value += self.by;
                weights.copy_from(&values);
            }
            self.left = self.left.wrapping_sub(values.len());
        }
        Ok(None)
    }
}

/// Collects the gradients of a module's weights, in the same order.
struct Collect<'a> {
    gradients: &'a Gradients<f64, AutoDevice>,
    values: Vec<f64>,
}

impl TensorVisitor<f64, AutoDevice> for Collect<'_> {
    type Viewer = ViewTensorRef;
    type Err = <AutoDevice as HasErr>::Err;
    type E2 = f64;
    type D2 = AutoDevice;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, f64, AutoDevice>,
        weights: &Tensor<S, f64, AutoDevice>,
    ) -> Result<Option<Tensor<S, f64, AutoDevice>>, <AutoDevice as HasErr>::Err> {
        if options.do_gradient_update {
            self.values.extend(self.gradients.get(weights).as_vec());
        }
        Ok(None)
    }
}

fn rows() -> Dataset<4, Labels<3>, f64> {
    blobs::<3, 4>(ROWS, 1).to_dtype()
}

fn whole<M>(sampler: Sampler) -> EndToEnd<M, 3, 4, f64>
where
    M: Denoises<Pair<3, 4>, f64>,
    M::Gives: SuitsHead<OneHot, 3, f64>,
    AutoDevice: Runs<DiscreteTime, M, 3, 4, f64>,
{
    let probabilities = Probabilities::Last;
    let variant =
        DiscreteTime { blocks: BLOCKS, sampler, probabilities, seed: 7, ..DiscreteTime::default() };
    let device = AutoDevice::default();
    EndToEnd::new(device.clone(), NoProp::new(&device, variant).unwrap(), 11)
}

/// The loss in training, with one weight of one block moved, and what collects its gradient.
fn loss<M>(
    sampler: Sampler,
    (block, weight, by): (usize, usize, f64),
) -> (EndToEnd<M, 3, 4, f64>, f64, Gradients<f64, AutoDevice>)
where
    M: Denoises<Pair<3, 4>, f64>,
    M::Gives: SuitsHead<OneHot, 3, f64>,
    AutoDevice: Runs<DiscreteTime, M, 3, 4, f64>,
{
    let mut whole = whole::<M>(sampler);
    shift::<M>(&mut whole, (block, weight, by));
    let (data, device) = (rows(), AutoDevice::default());
    let x = device.tensor_from_vec(data.inputs().to_vec(), (ROWS, 4));
    let one_hot = |&class: &u32| [0, 1, 2].map(|c| f64::from(u8::from(c == class)));
    let truth = data.targets().as_slice().iter().flat_map(one_hot).collect();
    let truth = device.tensor_from_vec(truth, (ROWS, 3));
    let loss = whole.loss(x, truth).unwrap();
    let value = loss.as_vec()[0];
    (whole, value, loss.backward())
}

fn shift<M>(whole: &mut EndToEnd<M, 3, 4, f64>, (block, weight, by): (usize, usize, f64))
where
    M: Denoises<Pair<3, 4>, f64>,
{
    let m = whole.model.blocks_mut()[block].module_mut();
    M::Built::iter_tensors(&mut RecursiveWalker { m, f: &mut Move { left: weight, by } }).unwrap();
}

/// Every gradient of every block against differences of `value`, the loss with one weight moved.
fn check<M>(sampler: Sampler, value: impl Fn((usize, usize, f64)) -> f64)
where
    M: Denoises<Pair<3, 4>, f64>,
    M::Gives: SuitsHead<OneHot, 3, f64>,
    AutoDevice: Runs<DiscreteTime, M, 3, 4, f64>,
{
    let (whole, _, gradients) = loss::<M>(sampler, (0, 0, 0.0));
    for (b, block) in whole.model.blocks().iter().enumerate() {
        let mut collect = Collect { gradients: &gradients, values: Vec::new() };
        let m = block.module();
        M::Built::iter_tensors(&mut RecursiveWalker { m, f: &mut collect }).unwrap();
        let step = 1e-5;
        let difference = |w| (value((b, w, step)) - value((b, w, -step))) / (2.0 * step);
        let expected: Vec<f64> = (0..collect.values.len()).map(difference).collect();
        assert!(expected.iter().any(|slope| slope.abs() > 1e-4), "block {} has a part", b + 1);
        assert_close(&format!("block {}", b + 1), &collect.values, &expected, 1e-6);
    }
}

type Plain = ConditionalResNetDt<3, 4, 5>;
type Normed =
    (Condition<Dense<3, 6>, (Dense<4, 6>, BatchNorm<6>)>, BatchNorm<6>, ReLU, Dense<6, 3>);
const NOISY: Sampler = Sampler::Stochastic { draws: 1, seed: 3 };

#[test]
fn the_gradient_is_that_of_the_answer_that_inference_gives() {
    check::<Plain>(Sampler::Deterministic, |moved| {
        let mut whole = whole::<Plain>(Sampler::Deterministic);
        shift::<Plain>(&mut whole, moved);
        whole.model.evaluate(&rows()).unwrap().negative_log_likelihood
    });
}

#[test]
fn the_gradient_goes_through_noise() {
    check::<Plain>(NOISY, |moved| loss::<Plain>(NOISY, moved).1);
}

#[test]
fn the_gradient_goes_through_the_statistics_of_the_batch() {
    let sampler = Sampler::Deterministic;
    check::<Normed>(sampler, |moved| loss::<Normed>(sampler, moved).1);
}

#[test]
fn a_block_where_the_schedule_stands_still_is_left_out() {
    // As inference has it: its weights get no gradient, and the loss is that of the answer.
    let variant = DiscreteTime {
        blocks: 3,
        schedule: Schedule::AlphaBar(vec![0.1, 0.5, 0.9, 0.9]),
        probabilities: Probabilities::Last,
        ..DiscreteTime::default()
    };
    let device = AutoDevice::default();
    let model = NoProp::<_, Plain, 3, 4, f64>::new(&device, variant).unwrap();
    let mut whole = EndToEnd::new(device.clone(), model, 0);
    let x = device.tensor_from_vec(rows().inputs().to_vec(), (ROWS, 4));
    let truth = [1.0, 0.0, 0.0].repeat(ROWS);
    let loss = whole.loss(x, device.tensor_from_vec(truth, (ROWS, 3))).unwrap();
    let answers = whole.model.predict_proba(rows().samples()).unwrap();
    let expected = answers.iter().map(|row| -row[0].ln()).sum::<f64>() / ROWS as f64;
    assert_close("loss", &loss.as_vec(), &[expected], 1e-12);
    let gradients = loss.backward();
    let norm = |b: usize| {
        let last = &whole.model.blocks()[b].module().3.weight;
        gradients.get(last).as_vec().iter().map(|g| g * g).sum::<f64>()
    };
    assert!(norm(0) > 0.0 && norm(1) > 0.0);
    assert_eq!(norm(2), 0.0);
}

/// Trained weights, as probabilities, and the accuracy on the rows.
fn trained(threads: usize) -> (Vec<[f32; 3]>, f64)
where
    AutoDevice: Execute<EndToEnd<ConditionalResNetDt<3, 4>, 3, 4>>,
{
    let data = blobs::<3, 4>(200, 1);
    let probabilities = Probabilities::Last;
    let variant = DiscreteTime { blocks: BLOCKS, probabilities, ..DiscreteTime::default() };
    let device = AutoDevice::default();
    let model = NoProp::<_, ConditionalResNetDt<3, 4>, 3, 4>::new(&device, variant).unwrap();
    let mut whole = EndToEnd::new(device, model, 0);
    let fit = Fit { epochs: 5, batch_size: 32, threads: Some(threads), ..Fit::default() };
    let mut losses = Vec::new();
    whole
        .fit(&data, &fit, |_, report| {
            losses.push(report.loss);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(losses.len() == 5 && losses[4] < 0.5 * losses[0], "{losses:?}");
    let accuracy = whole.model.evaluate(&data).unwrap().accuracy;
    (whole.model.predict_proba(data.samples()).unwrap(), accuracy)
}

#[test]
fn it_learns_and_threads_change_nothing() {
    let (one, three) = (trained(1), trained(3));
    assert!(one.1 > 0.95, "{}", one.1);
    assert_eq!(one, three);
}
