//! How good estimates of a gradient are: beside the exact one of a block on a batch of digits, in
//! double precision.
//!
//! ```text
//! cargo run --release -p experiments --bin estimates
//! ```

use clap::Parser;
use dfdx::{
    nn::{RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorRef},
    prelude::*,
};
use dfdx_noprop::{
    gradient::{ActivityNoise, Estimator, WeightNoise},
    head::{OneHot, SuitsHead},
    nn::{ConditionalResNetDt, Denoises, Pair},
    optim::Sgd,
    prelude::{Error, NoProp, Runs, data},
    variant::DiscreteTime,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

/// The cosine and the error of estimates of a block's gradient, by directions and width
#[derive(Parser)]
struct Options {
    /// How many estimates are averaged
    #[arg(long, default_value_t = 50)]
    estimates: usize,
    /// σ, the size of the noise
    #[arg(long, default_value_t = 1e-4)]
    noise_scale: f64,
    /// The seed of weights, data and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

const ROWS: usize = 128;
type Latents = Tensor<(usize, Const<10>), f64, Cpu>;
type Inputs = Tensor<(usize, Const<64>), f64, Cpu>;
type Model<M> = NoProp<DiscreteTime, M, 10, 64, f64, Cpu>;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    if !options.json {
        println!(
            "Estimates ĝ of the gradient g of a block's cross-entropy on {ROWS} digits, mean of {}: \
             the cosine of the\nangle to g (1 is exact), and the relative squared error \
             ‖ĝ − g‖² / ‖g‖², for weight noise also as theory has it.\n",
            options.estimates
        );
        println!(
            "| width | weights | directions | weight noise: cosine | error | error by theory \
             | activity noise: cosine | error |"
        );
        println!("|---|---|---|---|---|---|---|---|");
    }
    table::<ConditionalResNetDt<10, 64, 16>>(16, &options)?;
    table::<ConditionalResNetDt<10, 64, 64>>(64, &options)?;
    table::<ConditionalResNetDt<10, 64, 256>>(256, &options)
}

fn table<M>(width: usize, options: &Options) -> Result<(), Error>
where
    M: Denoises<Pair<10, 64>, f64, Cpu>,
    M::Built: Clone,
    M::Gives: SuitsHead<OneHot, 10, f64, Cpu>,
    Cpu: Runs<DiscreteTime, M, 10, 64, f64>,
{
    let mut rng = StdRng::seed_from_u64(options.seed);
    let digits = data::digits_with_seed(options.seed)?.train;
    let labels: Vec<usize> =
        digits.targets().as_slice()[..ROWS].iter().map(|&y| y as usize).collect();
    let dev = Cpu::default();
    let x = digits.inputs()[..ROWS * 64].iter().map(|&x| f64::from(x)).collect();
    let x = dev.try_tensor_from_vec(x, (ROWS, Const)).map_err(failed)?;
    // z of the middle block, noise and target in equal parts.
    let z = (0..ROWS * 10).map(|i| {
        let u = f64::from(u8::from(labels[i / 10] == i % 10));
        0.5f64.sqrt() * (u + rng.sample::<f64, _>(rand_distr::StandardNormal))
    });
    let z = dev.try_tensor_from_vec(z.collect(), (ROWS, Const)).map_err(failed)?;
    let estimate =
        |estimator, count| gradients::<M>(estimator, (&z, &x, &labels), count, options.seed);

    let exact = estimate(Estimator::Local, 1)?.remove(0);
    for directions in [1, 4, 16, 64] {
        let noise_scale = options.noise_scale;
        let of_weights = WeightNoise { noise_scale, directions, ..WeightNoise::default() };
        let of_activity = ActivityNoise { noise_scale, directions, ..ActivityNoise::default() };
        let [weight, activity] = [of_weights.into(), of_activity.into()]
            .map(|estimator| Ok(quality(&estimate(estimator, options.estimates)?, &exact)));
        let (weight, activity): ([f64; 2], [f64; 2]) = (weight?, activity?);
        let theory = (exact.len() - 1) as f64 / directions as f64;
        if options.json {
            println!(
                "{}",
                json!({
                    "width": width, "weights": exact.len(), "directions": directions,
                    "weight_noise": {
                        "cosine": weight[0], "error": weight[1], "error_by_theory": theory,
                    },
                    "activity_noise": { "cosine": activity[0], "error": activity[1] },
                })
            );
        } else {
            println!(
                "| {width} | {} | {directions} | {:.3} | {:.3e} | {theory:.3e} | {:.3} | {:.3e} |",
                exact.len(),
                weight[0],
                weight[1],
                activity[0],
                activity[1]
            );
        }
    }
    Ok(())
}

fn failed(error: CpuError) -> Error {
    Error::Device { operation: "estimates", message: error.to_string() }
}

/// Estimates of the gradient of the cross-entropy at the initial weights.
fn gradients<M>(
    estimator: Estimator,
    (z, x, labels): (&Latents, &Inputs, &[usize]),
    count: usize,
    seed: u64,
) -> Result<Vec<Vec<f64>>, Error>
where
    M: Denoises<Pair<10, 64>, f64, Cpu>,
    M::Built: Clone,
    M::Gives: SuitsHead<OneHot, 10, f64, Cpu>,
    Cpu: Runs<DiscreteTime, M, 10, 64, f64>,
{
    // A step of size 1 takes the gradient itself off the weights.
    let optimizer = Sgd { learning_rate: 1.0, momentum: 0.0, ..Sgd::default() }.into();
    let variant = DiscreteTime { blocks: 1, optimizer, estimator, seed, ..DiscreteTime::default() };
    let mut model = Model::<M>::new(&Cpu::default(), variant)?;
    let start = model.blocks()[0].module().clone();
    let before = weights(&start)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let one = |_| {
        *model.blocks_mut()[0].module_mut() = start.clone();
        let input = (z.clone(), x.clone());
        if estimator == Estimator::Local {
            model.train_step(1, input, |output| cross_entropy(output, labels), &mut rng)?;
        } else {
            model.train_step_by_losses(
                1,
                input,
                |output| cross_entropies(output, labels),
                &mut rng,
            )?;
        }
        let after = weights(model.blocks()[0].module())?;
        Ok(before.iter().zip(&after).map(|(a, b)| a - b).collect())
    };
    (0..count).map(one).collect()
}

/// −ln softmax(o)_y of each row.
fn cross_entropies(logits: &[f64], labels: &[usize]) -> Vec<f64> {
    let loss = |(row, &label): (&[f64], &usize)| {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        largest + row.iter().map(|o| (o - largest).exp()).sum::<f64>().ln() - row[label]
    };
    logits.chunks(10).zip(labels).map(loss).collect()
}

/// The mean of the same, on the tape.
fn cross_entropy<T: Tape<f64, Cpu>>(
    logits: Tensor<(usize, Const<10>), f64, Cpu, T>,
    labels: &[usize],
) -> Result<Tensor<(), f64, Cpu, T>, CpuError> {
    let truth = (0..10 * ROWS).map(|i| f64::from(u8::from(labels[i / 10] == i % 10))).collect();
    let truth = logits.device().try_tensor_from_vec(truth, *logits.shape())?;
    let picked = logits.try_log_softmax::<Axis<1>>()?.try_mul(truth)?;
    picked.try_sum::<(), _>()?.try_mul(-1.0 / ROWS as f64)
}

/// The mean cosine with the exact gradient g, and the mean of ‖ĝ − g‖² / ‖g‖².
fn quality(estimates: &[Vec<f64>], exact: &[f64]) -> [f64; 2] {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let square = dot(exact, exact);
    let (mut cosine, mut error) = (0.0, 0.0);
    for estimate in estimates {
        let along = dot(estimate, exact);
        let length = dot(estimate, estimate);
        cosine += along / (length * square).sqrt() / estimates.len() as f64;
        error += (length - 2.0 * along + square) / square / estimates.len() as f64;
    }
    [cosine, error]
}

/// All weights of a module.
fn weights<M: TensorCollection<f64, Cpu>>(module: &M) -> Result<Vec<f64>, Error> {
    struct All(Vec<f64>);
    impl TensorVisitor<f64, Cpu> for All {
        type Viewer = ViewTensorRef;
        type Err = CpuError;
        type E2 = f64;
        type D2 = Cpu;

        fn visit<S: Shape>(
            &mut self,
            _: TensorOptions<S, f64, Cpu>,
            tensor: &Tensor<S, f64, Cpu>,
        ) -> Result<Option<Tensor<S, f64, Cpu>>, CpuError> {
            self.0.extend(tensor.as_vec());
            Ok(None)
        }
    }
    let mut all = All(Vec::new());
    M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut all }).map_err(failed)?;
    Ok(all.0)
}
