//! How far two sets of points are from each other as distributions.

use rand::{rngs::StdRng, seq::SliceRandom};

/// The energy distance between samples and held-out points, with what to compare it to.
pub struct Comparison {
    /// Samples against held-out points.
    pub samples: f64,
    /// Two halves of the held-out points against each other: what sets of this size come to by
    /// chance. Mean and deviation over 20 ways to halve them.
    pub halves: f64,
    deviation: f64,
    /// Noise, where the flow starts, against held-out points.
    pub noise: f64,
}

impl Comparison {
    /// All sets have half as many points as are held out, so that chance has the same part in all
    /// three.
    pub fn new(
        samples: &[[f32; 2]],
        noise: &[[f32; 2]],
        held_out: &[[f32; 2]],
        rng: &mut StdRng,
    ) -> Self {
        let half = held_out.len() / 2;
        let mut points = held_out.to_vec();
        let mut rounds = [(); 20].map(|()| {
            points.shuffle(rng);
            let (a, b) = (&points[..half], &points[half..2 * half]);
            [
                distance(samples_of(samples, half), a),
                distance(b, a),
                distance(samples_of(noise, half), a),
            ]
        });
        let mean = |k: usize, rounds: &[[f64; 3]]| {
            rounds.iter().map(|round| round[k]).sum::<f64>() / rounds.len() as f64
        };
        let halves = mean(1, &rounds);
        let (samples, noise) = (mean(0, &rounds), mean(2, &rounds));
        rounds.iter_mut().for_each(|round| round[1] = (round[1] - halves).powi(2));
        Self { samples, halves, deviation: mean(1, &rounds).sqrt(), noise }
    }
}

fn samples_of(points: &[[f32; 2]], count: usize) -> &[[f32; 2]] {
    &points[..count.min(points.len())]
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { samples, halves, deviation, noise } = self;
        writeln!(
            f,
            "energy distance to held-out points (0 for the same distribution, chance apart):"
        )?;
        writeln!(f, "  samples                     {samples:.5}")?;
        writeln!(f, "  two halves of the held-out  {halves:.5} ± {deviation:.5}")?;
        write!(f, "  noise                       {noise:.5}")
    }
}

/// 2 E|X − Y| − E|X − X′| − E|Y − Y′| over all pairs of different points (Székely, Rizzo 2013,
/// *Energy statistics*, eq. 5, without the terms of a point with itself: no bias).
fn distance(a: &[[f32; 2]], b: &[[f32; 2]]) -> f64 {
    let sum = |a: &[[f32; 2]], b: &[[f32; 2]]| -> f64 {
        let from = |p: &[f32; 2]| {
            b.iter().map(|q| f64::from((p[0] - q[0]).hypot(p[1] - q[1]))).sum::<f64>()
        };
        a.iter().map(from).sum()
    };
    let (n, m) = (a.len() as f64, b.len() as f64);
    2.0 * sum(a, b) / (n * m) - sum(a, a) / (n * (n - 1.0)) - sum(b, b) / (m * (m - 1.0))
}
