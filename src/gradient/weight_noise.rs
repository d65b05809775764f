//! Noise on the weights.

use dfdx::prelude::HasShape;
use rand::RngCore;

use super::{Estimates, Measured, Noise, Problem, grid::Grid};
use crate::{
    block::{AnyBlock, Host},
    device::{Backend, Real, TensorMut},
    error::{Error, Place},
    kernel::RUN,
    optim::{Stepping, StreamedGradient},
    random::{Direction, Purpose, stream},
};

/// The gradient of the loss L by its change when all weights θ move at once:
///
/// g = 1/D Σ_d (L(θ + σ ε_d) − L(θ − σ ε_d)) / 2σ · ε_d
///
/// over D directions ε_d (Spall 1992; Salimans et al. 2017, *Evolution strategies as a scalable
/// alternative to reinforcement learning*). Unbiased for the loss averaged over θ + σ ε, which
/// tends to L as σ → 0; the variance falls as 1/D and grows with the number of weights. It takes 2
/// D + 1 forward passes, and any loss: also one that is constant nearly everywhere.
///
/// Directions are made again from their seeds, and added to the weights in place; the weights are
/// restored exactly. So the memory is that of inference and of the optimiser. For that they lie on
/// a grid: the multiples of the spacing that numbers have which are as large as the largest weight
/// of the tensor with σ ε on top.
///
/// Layers are as in inference: dropout does nothing, and batch norm uses its running statistics.
///
/// In discrete time the blocks share the threads. In continuous time and flow matching the
/// directions do, each thread with a copy of the weights; the result is the same, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct WeightNoise {
    /// σ, by how much each weight moves: above 0. A large one smooths the loss, a small one is lost
    /// in rounding.
    /// Default: `0.01`.
    pub noise_scale: f64,
    /// D, the number of directions, each tried both ways: at least 1.
    /// Default: `16`.
    pub directions: usize,
    /// What directions are drawn from.
    /// Default: `Noise::Signs`.
    pub noise: Noise,
    /// What of the losses counts.
    /// Default: `Shaping::Losses`.
    pub shaping: Shaping,
}

impl Default for WeightNoise {
    /// σ = 0.01, 16 directions of signs, losses as they are.
    fn default() -> Self {
        Self {
            noise_scale: 0.01,
            directions: 16,
            noise: Noise::default(),
            shaping: Shaping::default(),
        }
    }
}

/// What of the losses counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Shaping {
    /// The losses themselves.
    #[default]
    Losses,
    /// Their ranks among the 2 D losses of a step, from −½ (the smallest) to ½, instead of L /
    /// 2σ: no outlier counts more than another, and the scale of the loss is gone (Salimans et al.
    /// 2017, section 2.1). Equal losses share a rank.
    Ranks,
}

impl Shaping {
    /// What each direction counts, from the losses with it and against it.
    fn coefficients(self, losses: &[[f64; 2]], scale: f64) -> Vec<f64> {
        let share = 1.0 / losses.len() as f64;
        match self {
            Self::Losses => {
                losses.iter().map(|[up, down]| share * (up - down) / (2.0 * scale)).collect()
            }
            Self::Ranks => {
                let sorted = {
                    let mut all = losses.as_flattened().to_vec();
                    all.sort_by(f64::total_cmp);
                    all
                };
                let last = (sorted.len() - 1) as f64;
                let rank = |loss: f64| {
                    let below = sorted.partition_point(|other| *other < loss);
                    let to = sorted.partition_point(|other| *other <= loss);
                    0.5 * (below + to - 1) as f64 / last - 0.5
                };
                losses.iter().map(|[up, down]| share * (rank(*up) - rank(*down))).collect()
            }
        }
    }
}

impl WeightNoise {
    /// The seeds of the directions of a step.
    pub(crate) fn seeds(&self, place: Place, seed: u64) -> Vec<u64> {
        let mut seeds = stream(seed, Purpose::Directions, place.block as u64, place.step);
        (0..self.directions).map(|_| seeds.next_u64()).collect()
    }

    /// The losses with and against each of some directions. The weights are on their grid
    /// afterwards, and no further off.
    pub(crate) fn losses<E: Real, D: Host<E>>(
        &self,
        problem: &Problem<'_, E, D>,
        block: &mut D::Block,
        seeds: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<[f64; 2]>, Error> {
        let grids = self.put_on_grids::<E, D>(block, problem.place)?;
        let both = |seed: u64| {
            // Errors wait until the weights are back.
            self.shift::<E, D>(block, seed, &grids, 1.0)?;
            let up = problem.clean(block);
            self.shift::<E, D>(block, seed, &grids, -2.0)?;
            let down = problem.clean(block);
            self.shift::<E, D>(block, seed, &grids, 1.0)?;
            Ok([up?.mean(), down?.mean()])
        };
        seeds.into_iter().map(both).collect()
    }

    /// Puts each tensor of weights on its grid.
    fn put_on_grids<E: Real, D: Host<E>>(
        &self,
        block: &mut D::Block,
        place: Place,
    ) -> Result<Vec<Grid<E>>, Error> {
        let farthest = self.noise_scale * Direction::farthest(self.noise);
        let mut grids = Vec::new();
        change_each(block, |weights: &mut [E]| {
            let largest = weights.iter().fold(0.0, |most: f64, w| most.max(w.as_f64().abs()));
            let finite = weights.iter().all(|w| w.is_finite());
            let grid = Grid::new(largest + farthest).filter(|_| finite);
            if let Some(grid) = grid {
                weights.iter_mut().for_each(|w| *w = grid.round(*w));
            }
            grids.push(grid);
        })?;
        let grids: Option<Vec<Grid<E>>> = grids.into_iter().collect();
        if grids.is_none() {
            place.check("weight", f64::NAN)?;
        }
        Ok(grids.unwrap_or_default())
    }

    /// Adds a multiple of the direction with this seed to weights on their grids.
    fn shift<E: Real, D: Host<E>>(
        &self,
        block: &mut D::Block,
        seed: u64,
        grids: &[Grid<E>],
        times: f64,
    ) -> Result<(), Error> {
        let (mut direction, times) = (Direction::new(self.noise, seed), E::of(times));
        let (mut grids, mut by) = (grids.iter(), [E::zero(); RUN]);
        change_each(block, |weights: &mut [E]| {
            let Some(grid) = grids.next() else { return };
            // Less than the spacing would be nothing at all.
            let scale = self.noise_scale.max(grid.spacing().as_f64());
            for run in weights.chunks_mut(RUN) {
                let by = &mut by[..run.len()];
                direction.fill(by, scale);
                run.iter_mut().zip(by).for_each(|(w, by)| *w += times * grid.round(*by));
            }
        })
    }

    /// Steps by the losses of all directions; the norm of the estimate.
    pub(crate) fn apply<E: Real, D: Host<E>>(
        &self,
        losses: &[[f64; 2]],
        seeds: &[u64],
        block: &mut D::Block,
        stepping: &Stepping,
    ) -> Result<f64, Error> {
        let failed = || Error::device("weight noise");
        let coefficients = self.shaping.coefficients(losses, self.noise_scale);
        if coefficients.iter().all(|c| *c == 0.0) {
            // No direction tells anything.
            return Ok(0.0);
        }
        if coefficients.iter().any(|c| !E::of(*c).is_finite()) {
            // A loss on the way was not finite: the weights stay as they are, and the norm says so.
            return Ok(f64::NAN);
        }
        let (state, tensors) = block.parts();
        let mut norm = 0.0;
        if stepping.clip.is_some() {
            let mut gradient = Gradient::<E>::new(self.noise, seeds, &coefficients);
            let mut run = [E::zero(); RUN];
            let sum = &mut |parameter: &mut dyn TensorMut<E, D>| {
                let mut left = parameter.flat()?.shape().0;
                while left > 0 {
                    let now = left.min(RUN);
                    gradient.fill(&mut run[..now]);
                    left -= now;
                }
                Ok(())
            };
            tensors.visit_trained(sum).map_err(failed())?;
            norm = gradient.squares.sqrt();
        }
        let mut gradient = Gradient::<E>::new(self.noise, seeds, &coefficients);
        let streamed = StreamedGradient { norm, fill: &mut |run| gradient.fill(run) };
        state.optimizer.update_by(stepping, tensors, streamed).map_err(failed())?;
        Ok(gradient.squares.sqrt())
    }
}

impl<E: Real, D: Host<E>> Estimates<E, D> for WeightNoise {
    fn step(
        &self,
        problem: &Problem<'_, E, D>,
        block: &mut D::Block,
        stepping: &Stepping,
        seed: u64,
    ) -> Result<(Measured<E>, f64), Error> {
        let clean = problem.clean(block)?;
        let seeds = self.seeds(problem.place, seed);
        let losses = self.losses(problem, block, seeds.iter().copied())?;
        let norm = self.apply::<E, D>(&losses, &seeds, block, stepping)?;
        Ok((clean, norm))
    }
}

/// Calls `change` with the numbers of each tensor of weights, in the order in which dfdx visits
/// them.
fn change_each<E: Real, D: Backend<E>, B: AnyBlock<E, D> + ?Sized>(
    block: &mut B,
    mut change: impl FnMut(&mut [E]),
) -> Result<(), Error> {
    let (_, tensors) = block.parts();
    let changed = tensors.visit_trained(&mut |parameter| parameter.change(&mut change));
    changed.map_err(Error::device("weight noise"))
}

/// Σ c_d ε_d, some numbers at a time.
struct Gradient<E> {
    directions: Vec<(Direction, f64)>,
    one: Vec<E>,
    squares: f64,
}

impl<E: Real> Gradient<E> {
    fn new(noise: Noise, seeds: &[u64], coefficients: &[f64]) -> Self {
        let directions = seeds.iter().map(|&seed| Direction::new(noise, seed));
        let directions = directions.zip(coefficients.iter().copied()).collect();
        Self { directions, one: vec![E::zero(); RUN], squares: 0.0 }
    }

    fn fill(&mut self, run: &mut [E]) {
        run.fill(E::zero());
        let one = &mut self.one[..run.len()];
        for (direction, coefficient) in &mut self.directions {
            direction.fill(one, *coefficient);
            run.iter_mut().zip(&*one).for_each(|(sum, one)| *sum += *one);
        }
        self.squares += run.iter().map(|g| (*g * *g).as_f64()).sum::<f64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_even_and_keep_the_order() {
        // Of four losses the ranks are −1/2, −1/6, 1/6 and 1/2.
        let coefficients = Shaping::Ranks.coefficients(&[[3.0, 1e9], [-5.0, 2.0]], 0.1);
        let expected = [0.5 * (1.0 / 6.0 - 0.5), 0.5 * (-0.5 + 1.0 / 6.0)];
        for (found, expected) in coefficients.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{coefficients:?}");
        }
        // Losses that are all the same say nothing.
        assert_eq!(Shaping::Ranks.coefficients(&[[1.0; 2]; 3], 0.1), [0.0; 3]);
    }
}
