//! Weights on a grid, so that adding a direction and taking it away again leaves them as they were,
//! bit for bit.

use crate::device::Real;

/// The multiples of a power of two that hold a tensor of weights and what is added to them,
/// exactly.
///
/// A sum of two multiples of g is exact as long as it is below g times 2 to the number of the
/// mantissa's bits. So g is the spacing of numbers as large as the tensor's largest with a
/// direction on top: no weight moves by more than half of the rounding that the largest one has at
/// every step anyway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid<E>(E);

impl<E: Real> Grid<E> {
    /// For numbers up to `largest` in size; `None` where that is not finite.
    pub(super) fn new(largest: f64) -> Option<Self> {
        // The bits of a mantissa, from the distance between 1 and the next number.
        let bits = 1 - E::epsilon().as_f64().log2() as i32;
        let spacing =
            2f64.powi(largest.max(f64::from(f32::MIN_POSITIVE)).log2().ceil() as i32 - bits);
        (largest.is_finite() && spacing.is_normal()).then(|| Self(E::of(spacing)))
    }

    /// The next multiple; `value` is within the range that this grid was made for.
    pub(super) fn round(self, value: E) -> E {
        (value / self.0).round() * self.0
    }

    /// g.
    pub(super) fn spacing(self) -> E {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn there_and_back<E: Real>() {
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..10_000 {
            let size = 10f64.powf(rng.gen_range(-6.0..3.0));
            let step = 10f64.powf(rng.gen_range(-6.0..3.0));
            let grid = Grid::<E>::new(size + step).unwrap();
            let weight = grid.round(E::of(rng.gen_range(-size..size)));
            let by = grid.round(E::of(rng.gen_range(-step..step)));
            let moved = weight + by;
            assert_eq!((moved - by - by) + by, weight);
            assert_eq!(grid.round(moved), moved);
        }
    }

    #[test]
    fn what_is_added_goes_away_without_a_trace() {
        there_and_back::<f32>();
        there_and_back::<f64>();
    }

    #[test]
    fn what_is_not_finite_has_no_grid() {
        assert!(Grid::<f32>::new(f64::INFINITY).is_none() && Grid::<f32>::new(f64::NAN).is_none());
        assert!(Grid::<f32>::new(0.0).is_some());
    }
}
