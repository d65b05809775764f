//! e^x for many numbers at a time.

use num_traits::Float;

use super::{
    single::{is_single, singles_mut},
    vector::vectorised,
};
use crate::number::Real;

/// Each x becomes e^x: in single precision within 2 units in the last place, 0 where that is less
/// than the least normal number, and the same on every processor; in double precision as the
/// system's library has it.
pub(super) fn exponentials<E: Real>(numbers: &mut [E]) {
    if !is_single::<E>() {
        return numbers.iter_mut().for_each(|x| *x = Float::exp(*x));
    }
    let singles = singles_mut(numbers);
    vectorised(|| singles.iter_mut().for_each(|x| *x = exponential(*x)));
}

/// e^x = 2^n e^r with r = x − n ln 2, |r| ≤ (ln 2) / 2, and e^r by a polynomial: Cephes `expf`
/// (Moshier 1989), without branches, so that the compiler takes many numbers at a time.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    /// Adding it leaves a whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first of which has few bits: its product with n is exact.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// e^88.72 is the largest number.
    const MOST: f32 = 88.72;
    /// e^−87.33 is the least normal number.
    const LEAST: f32 = -87.33;
    const P: [f32; 6] =
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let near = if x > MOST { MOST } else { x };
    let shifted = near * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = near - n * LN2[0] - n * LN2[1];
    let p = P.iter().fold(0.0, |sum, p| sum * r + p);
    let e = p * r * r + r + 1.0;
    // In two factors, since 2^128 is none.
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let y = e * power(whole >> 1) * power(whole - (whole >> 1));
    if x > MOST {
        f32::INFINITY
    } else if x < LEAST {
        0.0
    } else {
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exponential_is_within_two_units_in_the_last_place() {
        let mut numbers: Vec<f32> = (-873_000..=887_000).map(|i| i as f32 * 1e-4).collect();
        numbers.extend([0.0, -0.0, 1e-30, -1e-30]);
        let exact: Vec<f64> = numbers.iter().map(|x| f64::from(*x).exp()).collect();
        exponentials(&mut numbers);
        let mut most = 0.0f64;
        for (found, exact) in numbers.iter().zip(exact) {
            let unit = f64::from((exact as f32).next_up() - exact as f32);
            most = most.max((f64::from(*found) - exact).abs() / unit);
        }
        assert!(most <= 2.0, "{most}");
    }

    #[test]
    fn ends_and_what_is_no_number_are_what_they_should_be() {
        let mut numbers = [f32::NEG_INFINITY, -1e30, -100.0, 89.0, 1e30, f32::INFINITY, f32::NAN];
        exponentials(&mut numbers);
        assert_eq!(numbers[..3], [0.0; 3]);
        assert_eq!(numbers[3..6], [f32::INFINITY; 3]);
        assert!(numbers[6].is_nan());
        let mut doubles = [1.0, -700.0];
        exponentials(&mut doubles);
        assert_eq!(doubles, [1f64.exp(), (-700f64).exp()]);
    }
}
