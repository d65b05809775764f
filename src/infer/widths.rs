//! How far the estimates of blocks are from the target: how wide the noise of sampling has to be.

use super::{Asked, InputRows, JobRows, device_of, failed, on_device, rollout::output, spread};
use crate::{
    block::{AnyBlock, Host},
    data::TargetRows,
    device::Real,
    distributed::AnswerPart,
    error::Error,
    random::{Purpose, normals, stream},
    variant::{Discrete, ReverseVariance, Transition},
};

/// How many estimates of each block are looked at, about: s² is then known to 2 %, and less for
/// wide targets.
const ESTIMATES: usize = 4096;

/// How often a row is looked at, at most.
const MOST_DRAWS: usize = 16;

impl<E: Real, D: Host<E>> Asked<'_, E, D> {
    /// sₜ² = E‖ûₜ(zₜ₋₁, x) − u‖² / Z of all blocks with zₜ₋₁ ~ q(zₜ₋₁ | u), from about
    /// [`ESTIMATES`] of these rows, evenly spread; empty where no step is wider by it.
    pub(crate) fn estimate_variances(
        &self,
        targets: &TargetRows<'_, E>,
    ) -> Result<Vec<f64>, Error> {
        let reading = self.process.reading();
        let Transition::Blocks(discrete) = self.process.transition() else { return Ok(Vec::new()) };
        if reading.has_classes() || discrete.reverse_variance != ReverseVariance::Optimal {
            return Ok(Vec::new());
        }
        let (rows, width) = (self.inputs.rows(), self.inputs.width);
        let count = rows.min(ESTIMATES);
        let picked = spread(rows, count);
        let draws = (ESTIMATES / count.max(1)).clamp(1, MOST_DRAWS);
        let numbers = crate::data::select_wide(self.inputs.numbers, width, &picked);
        let inputs = InputRows { numbers: &numbers, width, draws };
        let targets = crate::data::select_wide(targets.values(), reading.latent, &picked);
        let mut own = Vec::with_capacity(self.blocks.len());
        for i in 0..self.blocks.len() {
            let block = self.held(i)?;
            let sums = D::map(&[&*block], inputs.jobs(), &|blocks: &[&D::Block], job| {
                let rows = inputs.of_job(job);
                squared_errors::<E, D>(discrete, blocks[0], &rows, &targets)
            });
            own.push(sums.into_iter().sum::<Result<f64, Error>>()?);
        }
        let estimates = (inputs.rows() * reading.latent) as f64;
        let parts = self.blocks.iter().zip(own).map(|(block, sum)| AnswerPart {
            place: [block.state().t, self.ranks.layout.rank, 0],
            values: vec![E::of(sum / estimates)],
            calls: 0,
        });
        // Ranks that share a block may each have rows of their own.
        let mut means = vec![(0.0, 0.0); discrete.levels.blocks()];
        for part in self.ranks.answers_of_all(parts.collect())? {
            if let Some((sum, count)) = means.get_mut(part.place[0].wrapping_sub(1)) {
                *sum += part.values.first().map_or(0.0, |value| value.as_f64());
                *count += 1.0;
            }
        }
        let variances: Vec<f64> =
            means.into_iter().map(|(sum, count)| sum / f64::max(count, 1.0)).collect();
        // A checkpoint could not be read again with what is no number.
        let are_numbers = variances.iter().all(|variance| variance.is_finite());
        Ok(if are_numbers { variances } else { Vec::new() })
    }
}

/// ‖û − u‖² of a block, summed over some rows.
fn squared_errors<E: Real, D: Host<E>>(
    discrete: &Discrete,
    block: &D::Block,
    rows: &JobRows<'_, E>,
    targets: &[E],
) -> Result<f64, Error> {
    let (t, latent) = (block.state().t, discrete.setup.reading.latent);
    let alpha_bar = discrete.alpha_bar(t);
    let [share, spread] = [alpha_bar, 1.0 - alpha_bar].map(|v| E::of(v.sqrt()));
    let of_row = |i: usize| &targets[i / rows.draws * latent..][..latent];
    let u: Vec<E> = (rows.first..rows.first + rows.rows).flat_map(of_row).copied().collect();
    let mut rng = stream(t as u64, Purpose::Widths, rows.first as u64, 0);
    let noise: Vec<E> = normals(&mut rng, u.len());
    let z = u.iter().zip(noise).map(|(u, noise)| share * *u + spread * noise).collect();
    let (device, shape) = (device_of::<E, D>(block), (rows.rows, latent));
    let (z, x) = (on_device(device, z, shape)?, rows.on(device)?);
    let estimate = output::<E, D>(discrete, block, &z, &x).map_err(failed())?.as_vec();
    Ok(estimate.iter().zip(&u).map(|(a, b)| (a.as_f64() - b.as_f64()).powi(2)).sum())
}
