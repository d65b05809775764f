//! An axis: where a value lies on it, and which values are marked. Whatever the values are, there
//! are few marks, and each is found in one step.

/// From 0 to 1, for values between two ends.
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(super) ticks: Vec<Tick>,
}

pub(super) struct Tick {
    /// From 0 to 1.
    pub(super) at: f64,
    pub(super) label: String,
}

enum Scale {
    /// Values are divided by this first, so that their difference is finite.
    Linear { unit: f64 },
    /// The ends are decimal logarithms.
    Log,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// As wide as the values.
    Tight,
    /// The same, with marks at whole numbers only.
    Whole,
    /// With some room beyond the values.
    Roomy,
    /// Logarithmic, for values above 0.
    Log,
}

impl Axis {
    /// An axis that holds these values; all of them are finite, and there is one at least.
    pub(super) fn new(kind: Kind, values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        match kind {
            Kind::Log => Self::log(low.max(f64::from_bits(1)), high.max(f64::from_bits(1))),
            _ => Self::linear(kind, low, high),
        }
    }

    /// From 0 to 1 within the ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear { unit } => value / unit,
            Scale::Log => value.log10(),
        };
        let at = (value - self.low) / (self.high - self.low);
        if at.is_finite() { at } else { 0.5 }
    }

    fn linear(kind: Kind, low: f64, high: f64) -> Self {
        let largest = low.abs().max(high.abs());
        // A unit of 1 wherever it can be, so that marks are round numbers.
        let unit = if (1e-280..1e280).contains(&largest) || largest == 0.0 { 1.0 } else { largest };
        let (mut low, mut high) = (low / unit, high / unit);
        let largest = largest / unit;
        let least = if largest == 0.0 { 1e-9 } else { 1e-3 * largest };
        let margin = match kind {
            Kind::Roomy => (0.05 * (high - low)).max(least),
            _ if high - low > 1e-9 * largest => 0.0,
            _ => least.max(0.5),
        };
        (low, high) = (low - margin, high + margin);
        let mut axis = Self { scale: Scale::Linear { unit }, low, high, ticks: Vec::new() };
        let step = round_step((high - low) / 6.0);
        let step = if kind == Kind::Whole { step.max(1.0 / unit) } else { step };
        axis.ticks = axis.multiples(step, unit);
        axis
    }

    fn log(low: f64, high: f64) -> Self {
        let room = 0.08;
        let (low, high) = (low.log10() - room, high.log10() + room);
        let mut axis = Self { scale: Scale::Log, low, high, ticks: Vec::new() };
        let decades = (high - low).ceil();
        // All powers of ten, or every second, fifth, tenth, …; in a few, numbers between, too.
        let apart = if decades <= 9.0 { 1.0 } else { round_step(decades / 8.0).max(1.0) };
        let first = (low / apart).floor() as i32;
        let powers = (first..first.saturating_add(12)).map(|k| (f64::from(k) * apart) as i32);
        let numbers: &[u8] = if decades <= 3.0 { &[1, 2, 5] } else { &[1] };
        let values = powers.flat_map(|power| numbers.iter().map(move |n| (*n, power)));
        let tick = |(n, power): (u8, i32)| {
            let exact: f64 = format!("{n}e{power}").parse().ok().filter(|v| *v > 0.0)?;
            let short = (-3..4).contains(&power);
            let label = if short { format!("{exact}") } else { format!("{n}e{power}") };
            let inside = (low..=high).contains(&exact.log10());
            inside.then(|| Tick { at: axis.at(exact), label })
        };
        axis.ticks = values.filter_map(tick).collect();
        axis
    }

    /// Marks at the multiples of a step, in units.
    fn multiples(&self, step: f64, unit: f64) -> Vec<Tick> {
        let first = (self.low / step).ceil();
        let largest = self.low.abs().max(self.high.abs());
        let mut ticks = Vec::new();
        for k in 0..12 {
            let value = (first + f64::from(k)) * step;
            if value > self.high + 1e-9 * step {
                break;
            }
            let label = if unit == 1.0 && (1e-5..1e7).contains(&largest) {
                let digits = (-step.log10()).ceil().clamp(0.0, 12.0) as usize;
                // Not "−0".
                format!("{:.digits$}", value + 0.0)
            } else {
                let digits = (largest / step).log10().ceil().clamp(0.0, 12.0) as usize;
                format!("{:.digits$e}", value * unit + 0.0)
            };
            let at = (value - self.low) / (self.high - self.low);
            ticks.push(Tick { at, label });
        }
        ticks
    }
}

/// The next of 1, 2, 5, 10, 20, … up.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|n| n * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}
