//! The four variants as generators: from the name of a digit to its pixels.

use clap::ValueEnum;
use dfdx_noprop::prelude::*;

use crate::{
    Options,
    pixels::{ByClass, Numbers, named},
};

/// On 64 pixels and the names of ten digits; 256 wide.
type InTime = dfdx_noprop::conditional_resnet_ct!(64, 10, [256, 256]);
type Untimed = dfdx_noprop::conditional_resnet_dt!(64, 10, [256, 256]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Blocks by noise level
    Blocks,
    /// Flow matching
    Fm,
    /// Continuous time
    Ct,
    /// Discrete time
    Dt,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Fm => "fm",
            Self::Ct => "ct",
            Self::Dt => "dt",
        }
    }
}

/// What a generator has made, and at what cost.
pub struct Made {
    pub pictures: ByClass,
    /// How often a network is called for a picture.
    pub network_calls: usize,
    pub parameters: usize,
    pub train_seconds: f64,
}

/// Trains one variant, and draws pictures of each digit.
pub fn made(
    kind: Kind,
    options: &Options,
    digits: &Dataset<64, Labels<10>>,
) -> Result<Made, Error> {
    let numbers = Numbers::new(digits, options.margin)?;
    let task = Task { rows: numbers.rows(digits)?, numbers, options };
    let (seed, steps) = (options.seed, usize::from(options.steps));
    let optimizer: Optimizer = AdamW { learning_rate: 2e-3, ..AdamW::default() }.into();
    let heun = |steps| Solver { method: Method::Heun, steps: Steps::Fixed(steps), save: Save::End };
    match kind {
        Kind::Blocks => {
            let blocks = options.blocks.into();
            let steps = steps.div_ceil(blocks);
            // The strokes as a whole, which are several deviations large, are decided at more noise
            // than the paper's images; less noise than a tenth of a grey level changes no picture.
            let noise =
                NoiseDistribution { p_mean: 0.0, p_std: 1.2, sigma_min: 0.02, sigma_max: 40.0 };
            let solver = heun(steps);
            let variant = DiffusionBlocks::<Regression> {
                blocks,
                noise,
                solver,
                optimizer,
                seed,
                ..Default::default()
            };
            task.run::<_, InTime>(variant, 2 * steps * blocks)
        }
        Kind::Fm => {
            let variant = FlowMatching::<Regression> {
                solver: heun(steps),
                optimizer,
                seed,
                ..FlowMatching::default()
            };
            task.run::<_, InTime>(variant, 2 * steps)
        }
        Kind::Ct => {
            let inference = Inference::Ode(heun(steps));
            let variant = ContinuousTime::<Regression> {
                inference,
                optimizer,
                seed,
                ..ContinuousTime::default()
            };
            task.run::<_, InTime>(variant, 2 * steps)
        }
        Kind::Dt => {
            let variant = DiscreteTime::<Regression> { optimizer, seed, ..DiscreteTime::default() };
            let calls = variant.blocks;
            task.run::<_, Untimed>(variant, calls)
        }
    }
}

struct Task<'a> {
    rows: Dataset<10, Values<64>>,
    numbers: Numbers,
    options: &'a Options,
}

impl Task<'_> {
    fn run<V, M>(&self, variant: V, network_calls: usize) -> Result<Made, Error>
    where
        V: Variant<64, 10, Head = Regression>,
        M: Suits<V, 64, 10>,
    {
        let seed = self.options.seed;
        let mut model = M::model(&AutoDevice::seed_from_u64(seed), variant)?;
        let fit = Fit {
            epochs: self.options.epochs,
            seed,
            learning_rate: LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } },
            average: Some(0.995),
            ..Fit::default()
        };
        let reports = model.fit(&self.rows, &fit)?;
        let model = model.averaged()?;

        let names: Vec<_> = (0..10).map(named).collect();
        let mut pictures = ByClass::default();
        let drawn = model.sample(&names, self.options.draws.into(), seed)?;
        for (of_class, draws) in pictures.iter_mut().zip(drawn) {
            *of_class = draws
                .into_iter()
                .map(|numbers| self.numbers.picture(numbers))
                .collect::<Result<_, _>>()?;
        }
        Ok(Made {
            pictures,
            network_calls,
            parameters: model.parameters(),
            train_seconds: reports.iter().map(|report| report.seconds).sum(),
        })
    }
}
