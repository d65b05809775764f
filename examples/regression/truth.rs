//! A distribution of y given x that is known, so that answers can be held against it.

use dfdx_noprop::prelude::*;
use rand::{Rng, rngs::StdRng};
use rand_distr::StandardNormal;

/// y given x from −1 to 1: normal with the deviation 0.25 + 0.15 x, about one mean or two.
///
/// About one, sin πx, its CRPS is the mean deviation over √π: 0.1410.
#[derive(Clone, Copy)]
pub struct Truth {
    pub peaks: u8,
}

impl Truth {
    pub fn name(self) -> &'static str {
        if self.peaks == 1 { "heteroscedastic" } else { "two_peaks" }
    }

    /// A y for this x.
    pub fn draw(self, x: f32, rng: &mut StdRng) -> f32 {
        let mean = match self.peaks {
            1 => (std::f32::consts::PI * x).sin(),
            _ if rng.gen_bool(0.5) => 1.0 + 0.5 * x,
            _ => -1.0 - 0.5 * x,
        };
        mean + (0.25 + 0.15 * x) * rng.sample::<f32, _>(StandardNormal)
    }

    pub fn rows(self, count: usize, rng: &mut StdRng) -> Result<Dataset<1, Values<1>>, Error> {
        let x: Vec<f32> = (0..count).map(|_| rng.gen_range(-1.0..1.0)).collect();
        let y = x.iter().map(|x| self.draw(*x, rng)).collect();
        Dataset::new(x, Values::new(y)?)
    }

    /// So many draws for each x, `[rows, draws]`.
    pub fn draws(self, x: &[[f32; 1]], draws: usize, rng: &mut StdRng) -> Vec<f32> {
        let all = x.iter().flat_map(|[x]| std::iter::repeat_n(*x, draws));
        all.map(|x| self.draw(x, rng)).collect()
    }
}
