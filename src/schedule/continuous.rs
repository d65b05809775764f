//! Continuous time: ᾱ(t) = σ(−γ(t)), with γ falling from noise (t = 0) to target (t = 1).

use dfdx::{
    nn::{ModuleVisitor, TensorCollection, TensorOptions},
    prelude::*,
};

use crate::{device::Real, error::Error};

/// γ(t) = γ_0 + (γ_1 − γ_0)(1 − γ̄(t)), where γ̄ rises from 0 to 1 along a path; SNR(t) =
/// exp(−γ(t)).
///
/// (Kingma et al. 2021, *Variational diffusion models*, section 3.2; Li, Teh, Pascanu 2025, section
/// 3.)
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct GammaSchedule {
    /// γ_0 = γ(1), at the target: below γ_1.
    /// Default: `-6.0`.
    pub gamma_0: f64,
    /// γ_1 = γ(0), at the noise: above γ_0.
    /// Default: `6.0`.
    pub gamma_1: f64,
    /// The way between.
    /// Default: `Path::ByTargets`.
    pub path: Path,
}

impl Default for GammaSchedule {
    /// From 6 to −6: ᾱ from 0.0025 to 0.9975.
    fn default() -> Self {
        Self { gamma_0: -6.0, gamma_1: 6.0, path: Path::ByTargets }
    }
}

/// γ̄(t), which rises from γ̄(0) = 0 to γ̄(1) = 1.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Path {
    /// [`Cosine`](Self::Cosine) for classes, and [`Logit`](Self::Logit) for numbers, whose spread is
    /// decided at an SNR near 1; by itself `Cosine`.
    #[default]
    ByTargets,
    /// γ̄(t) = t.
    Linear,
    /// γ̄(t) = (1 − cos π t) / 2: slow at both ends.
    Cosine,
    /// γ̄(t) = ½ + logit(a + (1 − 2a) t) / 6 with a = σ(−3): fast at both ends. From γ = 6 to −6 it
    /// is the SNR (s / (1 − s))² of a straight line from noise to target at s = a + (1 − 2a) t, as
    /// in flow matching.
    Logit,
    /// γ̄(t) = ½ + tanh(3 (t − ½)) / (2 tanh(3/2)): a sigmoid, slow at both ends, brought to 0
    /// and 1.
    Sigmoid,
    /// Learned, with γ_0 and γ_1, from this start.
    Learned(MonotoneNetwork),
}

/// γ̄(t) = (f(t) − f(0)) / (f(1) − f(0)) with f(t) = Σ_h s(v2_h) σ(s(v1_h) t + c1_h) + s(v0) t,
/// where s is softplus: monotone for any weights, with 8 hidden units.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct MonotoneNetwork {
    /// The weight of the straight part, before softplus.
    pub v0: f64,
    /// How steep each unit is, before softplus.
    pub v1: [f64; 8],
    /// The weight of each unit, before softplus.
    pub v2: [f64; 8],
    /// The offset of each unit.
    pub c1: [f64; 8],
}

impl Default for MonotoneNetwork {
    /// Nearly a straight line, with units spread over the interval.
    fn default() -> Self {
        let at = |h: usize| (h as f64 + 0.5) / 8.0;
        Self { v0: 0.5, v1: [10.0; 8], v2: [-3.0; 8], c1: std::array::from_fn(|h| -10.0 * at(h)) }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl MonotoneNetwork {
    fn validate(&self) -> Result<(), Error> {
        let Self { v0, v1, v2, c1 } = self;
        let all = [("v0", std::slice::from_ref(v0)), ("v1", v1), ("v2", v2), ("c1", c1)];
        for (name, numbers) in all {
            if let Some(bad) = numbers.iter().find(|v| !v.is_finite()) {
                let found = format!("{name} with {bad}");
                return Err(Error::config("MonotoneNetwork", "finite numbers", found));
            }
        }
        let rise = self.f(1.0).0 - self.f(0.0).0;
        if rise.is_finite() && rise > 0.0 {
            return Ok(());
        }
        let expected = "a function that rises from t = 0 to t = 1";
        Err(Error::config("MonotoneNetwork", expected, format!("one that rises by {rise}")))
    }

    /// f(t) and f′(t).
    fn f(&self, t: f64) -> (f64, f64) {
        let mut sum = (softplus(self.v0) * t, softplus(self.v0));
        for ((v1, v2), c1) in self.v1.iter().zip(&self.v2).zip(&self.c1) {
            let (steep, weight) = (softplus(*v1), softplus(*v2));
            let s = sigmoid(steep * t + c1);
            sum.0 += weight * s;
            sum.1 += weight * steep * s * (1.0 - s);
        }
        sum
    }
}

impl Path {
    /// γ̄(t) and γ̄′(t).
    fn at(&self, t: f64) -> (f64, f64) {
        use std::f64::consts::PI;
        match self {
            Self::Linear => (t, 1.0),
            Self::Cosine | Self::ByTargets => {
                (0.5 - 0.5 * (PI * t).cos(), 0.5 * PI * (PI * t).sin())
            }
            Self::Logit => {
                let cut = sigmoid(-3.0);
                let s = cut + (1.0 - 2.0 * cut) * t;
                (0.5 + (s / (1.0 - s)).ln() / 6.0, (1.0 - 2.0 * cut) / (6.0 * s * (1.0 - s)))
            }
            Self::Sigmoid => {
                let (s, scale) = ((3.0 * (t - 0.5)).tanh(), 0.5 / 1.5f64.tanh());
                (0.5 + scale * s, 3.0 * scale * (1.0 - s * s))
            }
            Self::Learned(network) => {
                let ((start, _), (end, _)) = (network.f(0.0), network.f(1.0));
                let (value, slope) = network.f(t);
                ((value - start) / (end - start), slope / (end - start))
            }
        }
    }
}

impl GammaSchedule {
    /// The same with the path that suits classes, or numbers.
    pub(crate) fn by_targets(&self, are_classes: bool) -> Self {
        let path = match &self.path {
            Path::ByTargets if are_classes => Path::Cosine,
            Path::ByTargets => Path::Logit,
            path => path.clone(),
        };
        Self { path, ..*self }
    }

    /// γ and all that follows from it at time t.
    pub fn at(&self, t: f64) -> GammaPoint {
        let (value, slope) = self.path.at(t);
        let span = self.gamma_1 - self.gamma_0;
        GammaPoint { gamma: self.gamma_0 + span * (1.0 - value), slope: -span * slope }
    }

    /// Whether it falls, and its signal-to-noise ratios are numbers that `E` can hold.
    pub(crate) fn validate<E: Real>(&self) -> Result<(), Error> {
        let (low, high) = (self.gamma_0, self.gamma_1);
        let found = format!("{low} and {high}");
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::config(
                "GammaSchedule",
                "finite ends with gamma_0 below gamma_1",
                found,
            ));
        }
        let holds = |gamma: f64| {
            let snr = E::of((-gamma).exp());
            snr.is_finite() && snr > E::zero()
        };
        if !(holds(low) && holds(high)) {
            let numbers = std::any::type_name::<E>();
            let expected = format!("ends whose SNR e^(−γ) {numbers} can hold, such as −20 and 20");
            return Err(Error::config("GammaSchedule", expected, found));
        }
        match &self.path {
            Path::Learned(network) => network.validate(),
            _ => Ok(()),
        }
    }
}

/// γ(t), γ′(t) and what follows from them, at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaPoint {
    /// γ(t) = −ln SNR(t).
    pub gamma: f64,
    /// γ′(t), 0 or less.
    pub slope: f64,
}

impl GammaPoint {
    /// ᾱ(t) = σ(−γ), the share of the target's variance in z.
    pub fn alpha_bar(&self) -> f64 {
        sigmoid(-self.gamma)
    }

    /// ᾱ′(t) = −γ′ ᾱ (1 − ᾱ).
    pub fn alpha_bar_slope(&self) -> f64 {
        -self.slope * sigmoid(-self.gamma) * sigmoid(self.gamma)
    }

    /// SNR(t) = ᾱ / (1 − ᾱ) = exp(−γ).
    pub fn snr(&self) -> f64 {
        (-self.gamma).exp()
    }

    /// SNR′(t) = −γ′ exp(−γ).
    pub fn snr_slope(&self) -> f64 {
        -self.slope * self.snr()
    }

    /// The weights of û and z in the probability-flow ODE:
    /// dz/dt = ᾱ′ / (2 √ᾱ (1 − ᾱ)) û − ᾱ′ / (2 (1 − ᾱ)) z.
    pub fn probability_flow(&self) -> (f64, f64) {
        // ᾱ′ / (1 − ᾱ) = −γ′ ᾱ, without the division.
        let alpha_bar = self.alpha_bar();
        (-0.5 * self.slope * alpha_bar.sqrt(), 0.5 * self.slope * alpha_bar)
    }

    /// a, b and √c of the SDE dz = (a û + b z) dt + √c dW:
    /// a = ᾱ′ / (√ᾱ (1 − ᾱ)), b = −ᾱ′ (1 + ᾱ) / (2 ᾱ (1 − ᾱ)), c = ᾱ′ / ᾱ.
    pub fn sde(&self) -> (f64, f64, f64) {
        let alpha_bar = self.alpha_bar();
        let c = -self.slope * sigmoid(self.gamma);
        (-self.slope * alpha_bar.sqrt(), 0.5 * self.slope * (1.0 + alpha_bar), c.max(0.0).sqrt())
    }
}

/// The learned schedule's numbers on the device, to be trained.
#[derive(Clone, Debug)]
pub struct LearnedGamma<E: Dtype, D: Storage<E>> {
    v0: Tensor<Rank1<1>, E, D>,
    v1: Tensor<Rank1<8>, E, D>,
    v2: Tensor<Rank1<8>, E, D>,
    c1: Tensor<Rank1<8>, E, D>,
    g0: Tensor<Rank1<1>, E, D>,
    g1: Tensor<Rank1<1>, E, D>,
}

impl<E: Real, D: Device<E>> TensorCollection<E, D> for LearnedGamma<E, D> {
    type To<E2: Dtype, D2: Device<E2>> = LearnedGamma<E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor("v0", |s| &s.v0, |s| &mut s.v0, TensorOptions::reset_to_zeros()),
                Self::tensor("v1", |s| &s.v1, |s| &mut s.v1, TensorOptions::reset_to_zeros()),
                Self::tensor("v2", |s| &s.v2, |s| &mut s.v2, TensorOptions::reset_to_zeros()),
                Self::tensor("c1", |s| &s.c1, |s| &mut s.c1, TensorOptions::reset_to_zeros()),
                Self::tensor("g0", |s| &s.g0, |s| &mut s.g0, TensorOptions::reset_to_zeros()),
                Self::tensor("g1", |s| &s.g1, |s| &mut s.g1, TensorOptions::reset_to_zeros()),
            ),
            |(v0, v1, v2, c1, g0, g1)| LearnedGamma { v0, v1, v2, c1, g0, g1 },
        )
    }
}

/// One number for each row, on the tape.
pub(crate) type TracedColumn<E, D> = Tensor<(usize,), E, D, OwnedTape<E, D>>;

impl<E: Real, D: Device<E>> LearnedGamma<E, D> {
    /// The schedule's numbers to start from.
    pub(crate) fn start(device: &D, schedule: &GammaSchedule) -> Result<Self, Error> {
        let start = match &schedule.path {
            Path::Learned(network) => network.clone(),
            _ => MonotoneNetwork::default(),
        };
        Self::new(device, schedule, &start).map_err(Error::device("building the schedule"))
    }

    pub(crate) fn new(
        device: &D,
        schedule: &GammaSchedule,
        network: &MonotoneNetwork,
    ) -> Result<Self, D::Err> {
        fn on<const N: usize, E: Real, D: Device<E>>(
            device: &D,
            values: [f64; N],
        ) -> Result<Tensor<Rank1<N>, E, D>, D::Err> {
            device.try_tensor_from_vec(values.map(E::of).to_vec(), Default::default())
        }
        Ok(Self {
            v0: on(device, [network.v0])?,
            v1: on(device, network.v1)?,
            v2: on(device, network.v2)?,
            c1: on(device, network.c1)?,
            g0: on(device, [schedule.gamma_0])?,
            g1: on(device, [schedule.gamma_1])?,
        })
    }

    /// The schedule as it is by now.
    pub(crate) fn schedule(&self) -> GammaSchedule {
        fn off<const N: usize, E: Real, D: Device<E>>(tensor: &Tensor<Rank1<N>, E, D>) -> [f64; N] {
            let values = tensor.as_vec();
            std::array::from_fn(|i| values[i].as_f64())
        }
        let network = MonotoneNetwork {
            v0: off(&self.v0)[0],
            v1: off(&self.v1),
            v2: off(&self.v2),
            c1: off(&self.c1),
        };
        GammaSchedule {
            gamma_0: off(&self.g0)[0],
            gamma_1: off(&self.g1)[0],
            path: Path::Learned(network),
        }
    }

    /// γ(t) and γ′(t) for each row; the tape of the first leads both back to the schedule's
    /// numbers.
    pub(crate) fn at(
        &self,
        times: &Tensor<(usize,), E, D>,
    ) -> Result<(TracedColumn<E, D>, Tensor<(usize,), E, D>), D::Err> {
        let shape = (times.shape().0,);
        let ends = times.device().try_tensor_from_vec(vec![E::zero(), E::one()], (2,))?;
        let [ends, _] = self.f(&ends)?;
        let pick = |weights: [f64; 2]| -> Result<TracedColumn<E, D>, D::Err> {
            let weights = weights.map(E::of).to_vec();
            let weights = times.device().try_tensor_from_vec(weights, (2,))?;
            let sum = ends.with_empty_tape().try_mul(weights)?.try_sum::<(), _>()?;
            sum.try_broadcast_like::<_, Axis<0>>(&shape)
        };
        let (start, span) = (pick([1.0, 0.0])?, pick([-1.0, 1.0])?);
        let (_, ends_tape) = ends.split_tape();
        let [value, slope] = self.f(times)?;
        let height = value.try_sub(start)?.try_div(span.with_empty_tape())?;
        let slope = slope.try_div(span)?;
        let column = |end: &Tensor<Rank1<1>, E, D>| -> Result<TracedColumn<E, D>, D::Err> {
            let scalar = end.retaped::<OwnedTape<E, D>>().try_sum::<(), _>()?;
            scalar.try_broadcast_like::<_, Axis<0>>(&shape)
        };
        let (low, drop) = (column(&self.g0)?, column(&self.g1)?.try_sub(column(&self.g0)?)?);
        let left = height.try_negate()?.try_add(E::one())?;
        let gamma = left.try_mul(drop.with_empty_tape())?.try_add(low)?;
        let slope = slope.try_mul(drop)?.try_negate()?;
        // What the two share was recorded on tapes of its own: all of them go along with γ.
        let (gamma, tape) = gamma.split_tape();
        let (slope, slope_tape) = slope.split_tape();
        Ok((gamma.put_tape(tape.merge(ends_tape).merge(slope_tape)), slope))
    }

    /// For tests: each number's name and gradient.
    #[cfg(test)]
    pub(crate) fn assert_gradients(
        &self,
        gradients: &Gradients<E, D>,
        check: impl Fn(&str, Vec<E>),
    ) {
        check("v0", gradients.get(&self.v0).as_vec());
        check("v1", gradients.get(&self.v1).as_vec());
        check("v2", gradients.get(&self.v2).as_vec());
        check("c1", gradients.get(&self.c1).as_vec());
        check("g0", gradients.get(&self.g0).as_vec());
        check("g1", gradients.get(&self.g1).as_vec());
    }

    /// f(t) and f′(t) for each row.
    fn f(&self, times: &Tensor<(usize,), E, D>) -> Result<[TracedColumn<E, D>; 2], D::Err> {
        let rows = times.shape().0;
        let shape = (rows, Const::<8>);
        let spread =
            |t: Tensor<Rank1<8>, E, D, OwnedTape<E, D>>| t.try_broadcast_like::<_, Axis<0>>(&shape);
        let plus = |t: &Tensor<Rank1<8>, E, D>| spread(traced_softplus(t.retaped())?);
        let (steep, weight) = (plus(&self.v1)?, plus(&self.v2)?);
        let (steep, steep_tape) = steep.split_tape();
        let (weight, weight_tape) = weight.split_tape();
        let grid = times.clone().try_broadcast_like::<_, Axis<1>>(&shape)?;
        let inner = steep.clone().put_tape(steep_tape).try_mul(grid)?;
        let inner = inner.try_add(spread(self.c1.retaped())?)?;
        let (s, tape) = inner.try_sigmoid()?.split_tape();
        let tape = tape.merge(weight_tape);
        let traced = |t: &Tensor<(usize, Const<8>), E, D>| t.retaped::<OwnedTape<E, D>>();
        let bend = traced(&s).try_negate()?.try_add(E::one())?.try_mul(traced(&s))?;
        let bend = bend.try_mul(traced(&steep))?.try_mul(traced(&weight))?;
        let rise = s.clone().put_tape(tape).try_mul(traced(&weight))?;

        let line = traced_softplus(self.v0.retaped::<OwnedTape<E, D>>())?.try_sum::<(), _>()?;
        let line = line.try_broadcast_like::<_, Axis<0>>(&(rows,))?;
        let (line, line_tape) = line.split_tape();
        let straight = line.clone().put_tape(line_tape).try_mul(times.clone())?;
        let value = rise.try_sum::<(usize,), Axis<1>>()?.try_add(straight)?;
        let slope = bend.try_sum::<(usize,), Axis<1>>()?;
        let slope = slope.try_add(line.retaped::<OwnedTape<E, D>>())?;
        Ok([value, slope])
    }
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + exp(−|x|)), which does not overflow.
fn traced_softplus<S: Shape, E: Real, D: Device<E>>(
    x: Tensor<S, E, D, OwnedTape<E, D>>,
) -> Result<Tensor<S, E, D, OwnedTape<E, D>>, D::Err> {
    let positive = x.with_empty_tape().try_relu()?;
    let rest = x.try_abs()?.try_negate()?.try_exp()?.try_add(E::one())?.try_ln()?;
    rest.try_add(positive)
}
