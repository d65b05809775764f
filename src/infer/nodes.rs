//! Starts of the way from noise to target that stand for all of them.

use rand::Rng;

use crate::{
    device::Real,
    random::{Purpose, stream},
};

/// How many starts there are: each takes as many calls of the network as one answer.
pub(crate) const STARTS: usize = 16;

/// Φ⁻¹((i + ½) / 16) for i from 8 to 15; those from 0 to 7 are the same below 0.
const UPPER: [f64; STARTS / 2] = [
    0.0784124127331122,
    0.23720210932878769,
    0.40225006532172536,
    0.579132162255556,
    0.7764217611479277,
    1.009990169249582,
    1.318010897303537,
    1.8627318674216515,
];

/// [`STARTS`] latents, `[STARTS, width]`: in each column every sixteenth of the normal distribution
/// has one, at its middle (a Latin hypercube: McKay, Beckman, Conover 1979), and with each latent
/// there is its opposite. So the mean over them has no error where z_1 is linear in z_0.
pub(crate) fn starts<E: Real>(width: usize) -> Vec<E> {
    let half = UPPER.len();
    let mut all = vec![E::zero(); STARTS * width];
    for column in 0..width {
        let mut rng = stream(0, Purpose::Starts, column as u64, 0);
        let mut order: [usize; STARTS / 2] = std::array::from_fn(|i| i);
        for i in (1..half).rev() {
            order.swap(i, rng.gen_range(0..=i));
        }
        for (i, place) in order.into_iter().enumerate() {
            // With one column they are in order, so that the result can be read.
            let sign = if column > 0 && rng.r#gen() { -1.0 } else { 1.0 };
            all[2 * i * width + column] = E::of(sign * UPPER[place]);
            all[(2 * i + 1) * width + column] = E::of(-sign * UPPER[place]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_opposites_and_each_column_has_every_sixteenth() {
        let width = 5;
        let all: Vec<f64> = starts(width);
        for pair in all.chunks(2 * width) {
            assert!((0..width).all(|k| pair[k] == -pair[width + k]));
        }
        for k in 0..width {
            let mut column: Vec<f64> = all.iter().skip(k).step_by(width).copied().collect();
            column.sort_by(f64::total_cmp);
            let upper: Vec<f64> = column.split_off(STARTS / 2);
            assert_eq!(upper, UPPER);
        }
        // The distribution function at each, by its series.
        let phi = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..100 {
                term *= x * x / (2.0 * f64::from(n) + 1.0);
                sum += term;
            }
            0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
        };
        for (i, v) in UPPER.into_iter().enumerate() {
            assert!((phi(v) - (8.5 + i as f64) / 16.0).abs() < 1e-12, "{i}");
        }
    }
}
