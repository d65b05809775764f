//! The terms of the losses.

use dfdx::prelude::*;

use crate::{
    device::{Backend, Column, Matrix, Real, TracedScalar},
    gradient::Measured,
    head::Reading,
    schedule::TracedColumn,
};

type TracedMatrix<E, D> = Matrix<E, D, OwnedTape<E, D>>;

/// The targets of one batch, on the device.
#[derive(Clone)]
pub(crate) struct Target<'a, E: Real, D: Backend<E>> {
    /// u, `[batch, Z]`; not read where the embedding is learned, since it then follows from the
    /// next two.
    pub(crate) u: Matrix<E, D>,
    /// Unit vectors of the classes, `[batch, C]`; `None` for heads without classes.
    pub(crate) one_hot: Option<Matrix<E, D>>,
    /// The embedding W, `[C, Z]`.
    pub(crate) embedding: &'a Matrix<E, D>,
    /// The weight of each row in squared error and cross-entropy, `[batch]`; `None` for 1
    /// throughout.
    pub(crate) weights: Option<Column<E, D>>,
}

impl<E: Real, D: Backend<E>> Target<'_, E, D> {
    /// u with the tape that leads back to W where the embedding is learned, and with an empty one
    /// elsewhere.
    pub(super) fn traced(
        &self,
        reading: Reading,
        gradients: Gradients<E, D>,
    ) -> Result<TracedMatrix<E, D>, D::Err> {
        match &self.one_hot {
            Some(one_hot) if reading.is_learned() => one_hot
                .clone()
                .traced(gradients)
                .try_matmul(self.embedding.retaped::<OwnedTape<E, D>>()),
            _ => Ok(self.u.clone().traced(gradients)),
        }
    }

    /// A weight for each row, times that of the row.
    pub(crate) fn weigh_rows(
        &self,
        weight: TracedColumn<E, D>,
    ) -> Result<TracedColumn<E, D>, D::Err> {
        match &self.weights {
            Some(weights) => weight.try_mul(weights.clone()),
            None => Ok(weight),
        }
    }
}

/// A loss, ready to go backward, and what it is made of, all of it still on the device.
pub struct StepLoss<E: Real, D: Backend<E>> {
    /// The sum of the terms.
    pub(crate) total: TracedScalar<E, D>,
    /// What each row adds: their mean is the total, but for terms that no block has a part in.
    /// `[batch]`.
    pub(crate) rows: Column<E, D>,
    /// The weighted squared error of each row.
    pub(crate) denoising: Column<E, D>,
    /// The weighted cross-entropy of each row, where there is one.
    pub(crate) cross_entropy: Option<Column<E, D>>,
    /// The output o, `[batch, Out]`: of the block, or of the head where a velocity is predicted.
    pub(crate) output: Matrix<E, D>,
    /// The terms that no block has a part in, where they are in the total.
    pub(crate) terminal: Option<[TracedScalar<E, D>; 2]>,
}

impl<E: Real, D: Backend<E>> StepLoss<E, D> {
    /// The means of the weighted squared error and the weighted cross-entropy.
    pub(crate) fn terms(&self) -> [f64; 2] {
        [mean_of(&self.denoising), self.cross_entropy.as_ref().map_or(0.0, mean_of)]
    }

    /// The terms that no block has a part in; 0 where there are none.
    pub(crate) fn terminal_values(&self) -> [f64; 2] {
        self.terminal.as_ref().map_or([0.0; 2], |terms| [value(&terms[0]), value(&terms[1])])
    }

    /// The loss as numbers.
    pub(crate) fn measured(&self) -> Measured<E> {
        let [denoising, cross_entropy] = self.terms();
        Measured {
            rows: self.rows.as_vec().into_iter().map(Real::as_f64).collect(),
            denoising,
            cross_entropy,
            output: self.output.as_vec(),
        }
    }
}

/// A constant as a loss: with an empty tape.
pub(crate) fn constant<E: Real, D: Backend<E>>(
    device: &D,
    value: f64,
) -> Result<TracedScalar<E, D>, D::Err> {
    Ok(device.try_tensor_from_vec(vec![E::of(value)], ())?.put_tape(OwnedTape::default()))
}

/// w ‖a − b‖² of each row; b keeps its id on the tape.
pub(crate) fn squared_error<E: Real, D: Backend<E>>(
    a: TracedMatrix<E, D>,
    b: Matrix<E, D>,
    weight: TracedColumn<E, D>,
) -> Result<TracedColumn<E, D>, D::Err> {
    let error = a.try_sub(b.retaped::<OwnedTape<E, D>>())?.try_square()?;
    error.try_sum::<(usize,), Axis<1>>()?.try_mul(weight)
}

/// The squared error of each row plus λ times the cross-entropy of its logits; `output` goes along.
pub(crate) fn weigh<E: Real, D: Backend<E>>(
    error: TracedColumn<E, D>,
    logits: TracedMatrix<E, D>,
    target: &Target<'_, E, D>,
    weight: f64,
    output: Matrix<E, D>,
) -> Result<StepLoss<E, D>, D::Err> {
    let denoising = error.retaped::<NoneTape>();
    let (column, cross_entropy) = match &target.one_hot {
        Some(one_hot) if weight != 0.0 => {
            let mut truth = one_hot.clone();
            if let Some(weights) = &target.weights {
                let shape = *truth.shape();
                truth = truth.try_mul(weights.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?;
            }
            let term = D::cross_entropy(logits, truth)?.try_mul(E::of(weight))?;
            let own = term.retaped::<NoneTape>();
            (error.try_add(term)?, Some(own))
        }
        _ => (error, None),
    };
    let rows = column.retaped::<NoneTape>();
    Ok(StepLoss { total: mean(column)?, rows, denoising, cross_entropy, output, terminal: None })
}

/// The value of a loss.
pub(crate) fn value<E: Real, D: Backend<E>>(loss: &TracedScalar<E, D>) -> f64 {
    loss.as_vec().first().map_or(f64::NAN, |value| value.as_f64())
}

/// The mean of the rows' losses.
pub(crate) fn mean<E: Real, D: Backend<E>>(
    column: TracedColumn<E, D>,
) -> Result<TracedScalar<E, D>, D::Err> {
    let rows = column.shape().0 as f64;
    column.try_sum()?.try_mul(E::of(1.0 / rows))
}

/// The value of that mean.
fn mean_of<E: Real, D: Backend<E>>(column: &Column<E, D>) -> f64 {
    let values = column.as_vec();
    values.iter().map(|value| value.as_f64()).sum::<f64>() / values.len() as f64
}

/// What the schedule is at both ends, for the terms that no block has a part in.
pub(crate) struct Ends<E: Real, D: Backend<E>> {
    /// ᾱ at the noise's end.
    pub(crate) alpha_bar: TracedScalar<E, D>,
    /// The SNR at the target's.
    pub(crate) snr: TracedScalar<E, D>,
}

/// The terms of the loss that no block has a part in, with the tape of u and W: CE(p̂(y | z_T))
/// with z_T ~ q(z_T | y), and KL(q(z_0 | y) ‖ N(0, I)), both averaged over the batch.
///
/// p̂ is the exact posterior of the class given z_T under q and equal priors, p̂(c | z) ∝ exp(−‖z −
/// √ᾱ_T u_c‖² / 2(1 − ᾱ_T)). The paper trains a linear layer for it; this is the one that such a
/// layer tends to, and it needs no training.
pub(crate) fn terminal<E: Real, D: Backend<E>>(
    reading: Reading,
    ends: Ends<E, D>,
    target: &Target<'_, E, D>,
    noise: Matrix<E, D>,
    gradients: Gradients<E, D>,
) -> Result<[TracedScalar<E, D>; 2], D::Err> {
    let (Ends { alpha_bar, snr }, shape) = (ends, *noise.shape());
    let (rows, width) = (shape.0 as f64, shape.1 as f64);
    let (u, tape) = target.traced(reading, gradients)?.split_tape();
    // ½ (ᾱ (‖u‖² − Z) − Z ln(1 − ᾱ))
    let norm = u.retaped::<OwnedTape<E, D>>().try_square()?.try_sum::<(), _>()?;
    let excess = norm.try_mul(E::of(1.0 / rows))?.try_sub(E::of(width))?;
    let logarithm = alpha_bar.with_empty_tape().try_negate()?.try_add(E::one())?.try_ln()?;
    let kl = excess.try_mul(alpha_bar)?.try_sub(logarithm.try_mul(E::of(width))?)?;
    let kl = kl.try_mul(E::of(0.5))?;
    let Some(one_hot) = &target.one_hot else {
        // Numbers have no p̂ to be judged by.
        let nothing = constant(u.device(), 0.0)?;
        let (kl, kl_tape) = kl.split_tape();
        return Ok([nothing, kl.put_tape(kl_tape.merge(tape))]);
    };
    // z_T / √ᾱ_T = u + ε / √SNR, and the logits are SNR (z_T / √ᾱ_T · u_c − ‖u_c‖² / 2).
    let spread = snr.with_empty_tape().try_sqrt()?.try_recip()?.try_broadcast_like(&shape)?;
    let z = u.put_tape(tape).try_add(spread.try_mul(noise)?)?;
    let logits = reading.read(z, target.embedding, 1.0)?;
    let snr = snr.try_broadcast_like(logits.shape())?;
    Ok([mean(D::cross_entropy(logits.try_mul(snr)?, one_hot.clone())?)?, kl])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        head::{Head, Learned},
        schedule::Schedule,
    };

    /// CE + KL on fixed noise, as a function of the embedding.
    fn terms(embedding: &Matrix<f64, Cpu>) -> (f64, Vec<f64>) {
        let dev = Cpu::seed_from_u64(1);
        let levels = Schedule::AlphaBar(vec![0.2, 0.5, 0.7]).levels(2).unwrap();
        let one_hot = vec![0., 1., 0., 0., 0., 1., 1., 0., 0., 0., 1., 0.];
        let target = Target {
            u: dev.zeros_like(&(4, 2)),
            one_hot: Some(dev.tensor_from_vec(one_hot, (4, 3))),
            embedding,
            weights: None,
        };
        let noise = dev.sample_normal_like(&(4, 2));
        let ends = Ends {
            alpha_bar: constant(&dev, levels.alpha_bar(0)).unwrap(),
            snr: constant(&dev, levels.snr(2)).unwrap(),
        };
        let reading = <Learned<3> as Head<2, f64>>::reading();
        let [ce, kl] = terminal(reading, ends, &target, noise, Gradients::leaky()).unwrap();
        let total = ce.try_add(kl).unwrap();
        (total.as_vec()[0], total.backward().get(embedding).as_vec())
    }

    #[test]
    fn the_embedding_gets_the_gradient_of_the_terms_without_a_block() {
        let dev = Cpu::default();
        let start = vec![0.3, -1.0, 0.8, 0.4, -0.6, 0.1];
        let at = |values: &[f64]| terms(&dev.tensor_from_vec(values.to_vec(), (3, 2)));
        let exact = at(&start).1;
        for i in 0..start.len() {
            let moved = |step: f64| {
                let mut values = start.clone();
                values[i] += step;
                at(&values).0
            };
            let estimate = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((estimate - exact[i]).abs() < 1e-8, "{i}: {} and not {estimate}", exact[i]);
        }
    }

    #[test]
    fn the_terms_without_a_block_are_those_of_their_definitions() {
        // p̂ by Bayes' rule on the Gaussian densities, KL by its textbook form for Gaussians.
        let dev = Cpu::seed_from_u64(1);
        let table = dev.tensor_from_vec(vec![0.3, -1.0, 0.8, 0.4, -0.6, 0.1], (3, 2));
        let rows = table.as_vec();
        // The noise that `terms` draws.
        let noise: Matrix<f64, _> = dev.sample_normal_like(&(4, 2));
        let noise = noise.as_vec();
        let mut expected = 0.0;
        for (n, y) in [1usize, 2, 0, 1].into_iter().enumerate() {
            let u = |c: usize, k: usize| rows[2 * c + k];
            let z =
                |k: usize| -> f64 { 0.7f64.sqrt() * u(y, k) + 0.3f64.sqrt() * noise[2 * n + k] };
            let density = |c: usize| {
                let d: f64 = (0..2).map(|k: usize| (z(k) - 0.7f64.sqrt() * u(c, k)).powi(2)).sum();
                (-d / 0.6).exp()
            };
            expected -= (density(y) / (density(0) + density(1) + density(2))).ln() / 4.0;
            for k in 0..2 {
                let (mean, variance) = (0.2f64.sqrt() * u(y, k), 0.8f64);
                expected += 0.5 * (variance + mean * mean - 1.0 - variance.ln()) / 4.0;
            }
        }
        assert!((terms(&table).0 - expected).abs() < 1e-12, "{} {expected}", terms(&table).0);
    }
}
