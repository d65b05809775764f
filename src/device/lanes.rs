//! Normal numbers that a device makes by dfdx's own operations, which have no generator that can be
//! set back.

use dfdx::prelude::*;
use rand::{Rng, RngCore};

use crate::random::{Purpose, stream};

/// Two primes below 2²⁶: a product of two numbers below them is exact in double precision.
const PRIMES: [u32; 2] = [67_108_859, 67_108_837];

/// Adding and subtracting it rounds a double below 2⁵¹ to an integer: dfdx has no operation for
/// that.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// What a device needs to make normal numbers, kept there for a run: random numbers for each pair
/// of normals that is drawn at once, a lane.
///
/// A stream gives random factors for each draw, and x = lane · factor mod p, for two primes p, is
/// the lane's number in it: of two draws, and of two lanes, they are independent. The uniform
/// number is u = x₁ / p₁ + x₂ / p₂ mod 1 (Wichmann, Hill 1982, *Algorithm AS 183*), and two of them
/// make two normals (Box, Muller 1958, *A note on the generation of random normal deviates*). So a
/// number depends on the seed, the stream and the lane alone.
#[derive(Debug)]
pub struct Lanes<D: Storage<f64>> {
    seed: u64,
    /// For each prime two numbers a lane, `[2, 2, lanes]`.
    starts: Tensor<(usize, usize, usize), f64, D>,
    /// The primes, and 1 over them.
    primes: Tensor<(usize,), f64, D>,
    inverses: Tensor<(usize,), f64, D>,
    /// What makes a cosine, and a sine, of an angle.
    phases: Tensor<(usize,), f64, D>,
}

impl<D: Device<f64>> Lanes<D> {
    fn new(device: &D, seed: u64, lanes: usize) -> Result<Self, D::Err> {
        let mut rng = stream(seed, Purpose::Lanes, 0, 0);
        // Lane by lane, so that more lanes are the same ones first.
        let each: Vec<_> = (0..lanes).map(|_| factors(&mut rng)).collect();
        let starts = (0..4).flat_map(|i| each.iter().map(move |lane| lane[i])).collect();
        let pair = |values: [f64; 2]| device.try_tensor_from_vec(values.to_vec(), (2,));
        Ok(Self {
            seed,
            starts: device.try_tensor_from_vec(starts, (2, 2, lanes))?,
            primes: pair(PRIMES.map(f64::from))?,
            inverses: pair(PRIMES.map(|prime| 1.0 / f64::from(prime)))?,
            phases: pair([0.0, -std::f64::consts::FRAC_PI_2])?,
        })
    }

    /// Lanes of this seed, at least so many; those that are kept if they will do.
    fn kept<'a>(
        kept: &'a mut Option<Self>,
        device: &D,
        seed: u64,
        lanes: usize,
    ) -> Result<&'a Self, D::Err> {
        let new = match kept.take() {
            Some(old) if old.seed == seed && old.starts.shape().2 >= lanes => old,
            _ => Self::new(device, seed, lanes)?,
        };
        Ok(kept.insert(new))
    }

    /// x = lane · factor mod p for each stream, `[streams, 2, 2, lanes]`, from −p/2 to p/2.
    fn residues(
        &self,
        streams: &mut [impl RngCore],
        lanes: usize,
    ) -> Result<Tensor<(usize, usize, usize, usize), f64, D>, D::Err> {
        let shape = (streams.len(), 2, 2, lanes);
        let mut starts = self.starts.clone();
        if starts.shape().2 > lanes {
            starts = starts.try_slice((0..2, 0..2, 0..lanes))?;
        }
        let all = streams.iter_mut().flat_map(factors).collect();
        let all = self.starts.device().try_tensor_from_vec(all, (streams.len(), 2, 2))?;
        let product = starts
            .try_broadcast_like::<_, Axis<0>>(&shape)?
            .try_mul(all.try_broadcast_like::<_, Axis<3>>(&shape)?)?;
        let quotient = product.clone().try_mul(self.of_primes(&self.inverses, &shape)?)?;
        let whole = rounded(quotient)?.try_mul(self.of_primes(&self.primes, &shape)?)?;
        product.try_sub(whole)
    }

    #[allow(clippy::type_complexity, reason = "numbers of each stream, prime and lane")]
    fn of_primes(
        &self,
        values: &Tensor<(usize,), f64, D>,
        shape: &(usize, usize, usize, usize),
    ) -> Result<Tensor<(usize, usize, usize, usize), f64, D>, D::Err> {
        values.clone().try_broadcast_like::<_, Axes3<0, 2, 3>>(shape)
    }

    /// Uniform numbers from −1/2 to 1/2, `[streams, 2, lanes]`.
    fn uniform(
        &self,
        streams: &mut [impl RngCore],
        lanes: usize,
    ) -> Result<Tensor<(usize, usize, usize), f64, D>, D::Err> {
        let residues = self.residues(streams, lanes)?;
        let shares = self.of_primes(&self.inverses, residues.shape())?;
        let sum = residues.try_mul(shares)?.try_sum::<(usize, usize, usize), Axis<1>>()?;
        let whole = rounded(sum.clone())?;
        sum.try_sub(whole)
    }

    /// Two normals a lane, `[streams, lanes, 2]`.
    fn normals(
        &self,
        streams: &mut [impl RngCore],
        lanes: usize,
    ) -> Result<Tensor<(usize, usize, usize), f64, D>, D::Err> {
        let (count, shape) = (streams.len(), (streams.len(), lanes, 2));
        let uniform = self.uniform(streams, lanes)?;
        let row = |i: usize| {
            let row = uniform.clone().try_slice((0..count, i..i + 1, 0..lanes))?;
            row.try_reshape_like(&(count, lanes))
        };
        // From 2⁻⁵³ to 1: the logarithm is finite.
        let radius = row(0)?.try_add(0.5 + f64::EPSILON / 2.0)?.try_ln()?.try_mul(-2.0)?;
        let radius = radius.try_sqrt()?.try_broadcast_like::<_, Axis<2>>(&shape)?;
        let angle = row(1)?.try_mul(std::f64::consts::TAU)?;
        let angle = angle.try_broadcast_like::<_, Axis<2>>(&shape)?;
        let phases = self.phases.clone().try_broadcast_like::<_, Axes2<0, 1>>(&shape)?;
        angle.try_add(phases)?.try_cos()?.try_mul(radius)
    }
}

/// A number from 1 to p − 1 for each prime and each of two uniform numbers.
fn factors(rng: &mut impl RngCore) -> [f64; 4] {
    let [a, b] = PRIMES;
    [a, a, b, b].map(|prime| f64::from(rng.gen_range(1..prime)))
}

/// The nearest integers, for numbers below 2⁵¹.
fn rounded<S: Shape, D: Device<f64>>(
    numbers: Tensor<S, f64, D>,
) -> Result<Tensor<S, f64, D>, D::Err> {
    numbers.try_add(ROUND)?.try_sub(ROUND)
}

/// As many normal numbers for each of the streams as the shape has room for, one stream's after the
/// other's; what is needed for them is left in `kept`.
pub(super) fn normals<E: Dtype, D: Device<E> + Device<f64>>(
    device: &D,
    seed: u64,
    kept: &mut Option<Lanes<D>>,
    streams: &mut [impl RngCore],
    shape: (usize, usize),
) -> Result<Tensor<(usize, usize), E, D>, <D as HasErr>::Err> {
    let each = shape.num_elements() / streams.len().max(1);
    let (count, lanes) = (streams.len(), each.div_ceil(2));
    let pairs = Lanes::kept(kept, device, seed, lanes)?.normals(streams, lanes)?;
    let mut all = pairs.try_reshape_like(&(count, 2 * lanes))?;
    if 2 * lanes > each {
        all = all.try_slice((0..count, 0..each))?;
    }
    all.try_to_dtype::<E>()?.try_reshape_like(&shape)
}

#[cfg(test)]
mod tests;
