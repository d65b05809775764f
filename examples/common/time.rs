//! What the examples with a time can be told: the solver, and the mathematics of either variant.

use clap::{Args, ValueEnum};
use dfdx_noprop::{
    head::OneHot,
    prelude::*,
    schedule::{GammaSchedule, MonotoneNetwork, Path},
    variant::{Estimate, EstimateWeighting, Predictor, Weighting},
};

/// The method that takes noise to target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Integrator {
    Euler,
    Midpoint,
    Heun,
    Rk4,
    /// Dormand–Prince 5(4)
    DormandPrince,
    /// Tsitouras 5(4)
    Tsitouras,
}

impl Integrator {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub fn method(self) -> Method {
        match self {
            Self::Euler => Method::Euler,
            Self::Midpoint => Method::Midpoint,
            Self::Heun => Method::Heun,
            Self::Rk4 => Method::Rk4,
            Self::DormandPrince => Method::DormandPrince,
            Self::Tsitouras => Method::Tsitouras,
        }
    }
}

/// How inference goes from noise to target.
#[derive(Args, Clone, Debug)]
pub struct Solving {
    /// Which method takes noise to target
    #[arg(long, value_enum, default_value_t = Integrator::Heun)]
    pub solver: Integrator,
    /// How many steps of equal length it takes
    #[arg(long, default_value_t = 10)]
    pub steps: usize,
    /// Steps as long as this relative and absolute tolerance allows, in the place of equal ones; for dormand-prince
    /// and tsitouras
    #[arg(long)]
    pub tolerance: Option<f64>,
}

impl Solving {
    pub fn solver(&self) -> Solver {
        let steps = match self.tolerance {
            Some(tolerance) => Steps::adaptive(tolerance, tolerance),
            None => Steps::Fixed(self.steps),
        };
        Solver { method: self.solver.method(), steps, save: Save::End }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Curve {
    Linear,
    Cosine,
    Sigmoid,
    /// Trained with the network
    Learned,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Weight {
    /// The same at all times
    Uniform,
    /// The paper's: half the slope of the SNR
    SnrSlope,
}

/// Continuous time.
#[derive(Args, Clone, Debug)]
pub struct Continuous {
    /// Inference by the SDE, with --steps steps, in the place of the ODE
    #[arg(long)]
    pub sde: bool,
    /// How the noise falls with time (continuous time)
    #[arg(long, value_enum, default_value_t = Curve::Cosine)]
    pub schedule: Curve,
    /// The weight of the squared error over time (continuous time)
    #[arg(long, value_enum, default_value_t = Weight::Uniform)]
    pub weighting: Weight,
    /// The weight of the squared error in all (continuous time)
    #[arg(long, default_value_t = 1.0)]
    pub eta: f64,
}

impl Continuous {
    /// The name of what integrates.
    pub fn solver(&self, solving: &Solving) -> String {
        if self.sde { "euler-maruyama".to_owned() } else { solving.solver.name() }
    }
}

/// Continuous time from the options, with the weight of the cross-entropy as it comes unless one is given.
pub fn continuous(
    (options, solving): (&Continuous, &Solving),
    cross_entropy: Option<f64>,
    optimizer: Optimizer,
    seed: u64,
) -> ContinuousTime {
    let path = match options.schedule {
        Curve::Linear => Path::Linear,
        Curve::Cosine => Path::Cosine,
        Curve::Sigmoid => Path::Sigmoid,
        Curve::Learned => Path::Learned(MonotoneNetwork::default()),
    };
    let weighting = match options.weighting {
        Weight::Uniform => Weighting::Uniform,
        Weight::SnrSlope => Weighting::SnrSlope,
    };
    let inference = match options.sde {
        true => Inference::Sde { steps: solving.steps, draws: 1, seed },
        false => Inference::Ode(solving.solver()),
    };
    let usual = ContinuousTime::default();
    ContinuousTime {
        schedule: GammaSchedule { path, ..usual.schedule },
        weighting,
        eta: options.eta,
        cross_entropy: cross_entropy.unwrap_or(usual.cross_entropy),
        inference,
        optimizer,
        seed,
        ..usual
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Prediction {
    /// The velocity v
    Velocity,
    /// The target, with the same weight at all times
    Estimate,
    /// The target, with the weight that makes its error that of the velocity
    EstimateOfVelocity,
}

/// Flow matching from the same options; the predictor is a type, so the rest follows from it.
pub fn flow<P>(
    predictor: P,
    solving: &Solving,
    cross_entropy: Option<f64>,
    optimizer: Optimizer,
    seed: u64,
) -> FlowMatching<OneHot, P>
where
    P: Predictor<OneHot, 10, f32> + Default,
{
    let usual = FlowMatching::default();
    let cross_entropy = cross_entropy.unwrap_or(usual.cross_entropy);
    FlowMatching { predictor, cross_entropy, solver: solving.solver(), optimizer, seed, ..usual }
}

impl Prediction {
    /// The estimate that is meant; none for the velocity.
    pub fn estimate(self) -> Option<Estimate> {
        match self {
            Self::Velocity => None,
            Self::Estimate => Some(Estimate { weighting: EstimateWeighting::Uniform }),
            Self::EstimateOfVelocity => Some(Estimate { weighting: EstimateWeighting::Velocity }),
        }
    }
}
