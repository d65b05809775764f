//! The terms of the losses.

use dfdx::prelude::*;

use crate::{
    device::{Backend, Real, Rows, TracedRows, TracedScalar},
    head::Head,
    schedule::TracedColumn,
};

/// The targets of one batch, on the device.
#[derive(Clone)]
pub struct Target<'a, O: ConstDim, const Z: usize, E: Real, D: Backend<E>> {
    /// u, `[batch, Z]`; not read where the embedding is learned, since it then follows from the next two.
    pub u: Rows<Const<Z>, E, D>,
    /// Unit vectors of the classes, `[batch, C]`; `None` for heads without classes.
    pub one_hot: Option<Rows<O, E, D>>,
    /// The embedding W, `[C, Z]`.
    pub table: &'a Tensor<(O, Const<Z>), E, D>,
    /// The weight of each row in squared error and cross-entropy, `[batch]`; `None` for 1 throughout.
    pub weights: Option<Tensor<(usize,), E, D>>,
}

impl<O: ConstDim, const Z: usize, E: Real, D: Backend<E>> Target<'_, O, Z, E, D> {
    /// u with the tape that leads back to W where the embedding is learned, and with an empty one elsewhere.
    pub(super) fn traced<H: Head<Z, E, Out = O>>(
        &self,
        gradients: Gradients<E, D>,
    ) -> Result<TracedRows<Const<Z>, E, D>, D::Err> {
        match &self.one_hot {
            Some(one_hot) if H::LEARNED => one_hot
                .clone()
                .traced(gradients)
                .try_matmul(self.table.retaped::<OwnedTape<E, D>>()),
            _ => Ok(self.u.clone().traced(gradients)),
        }
    }

    /// A weight for each row, times that of the row.
    pub(super) fn weigh_rows(
        &self,
        weight: TracedColumn<E, D>,
    ) -> Result<TracedColumn<E, D>, D::Err> {
        match &self.weights {
            Some(weights) => weight.try_mul(weights.clone()),
            None => Ok(weight),
        }
    }
}

/// A loss, ready to go backward, and what it is made of.
pub struct Loss<O, E: Real, D: Backend<E>> {
    /// The sum of the terms.
    pub total: TracedScalar<E, D>,
    /// What each row adds: their mean is the total, but for terms that no block has a part in. `[batch]`.
    pub rows: Tensor<(usize,), E, D>,
    /// The value of the weighted squared error.
    pub denoising: f64,
    /// The value of the weighted cross-entropy.
    pub cross_entropy: f64,
    /// The output o, `[batch, Out]`: of the block, or of the head where a velocity is predicted.
    pub output: O,
}

/// The loss of one block on one batch, all rows at one noise level:
///
/// w ‖û − u‖² + λ CE(o, y), with z = √ᾱ u + √(1 − ᾱ) ε, o = block(z, x), and û read from o by the head.
///
/// The squared error is summed over Z and averaged over the batch; the cross-entropy is averaged over the batch.
/// For discrete time and block t (Li, Teh, Pascanu 2025, eq. 8): ᾱ = ᾱ_{t−1} and w = (T/2) η (SNR(t) − SNR(t−1)).
#[derive(Clone, Debug, PartialEq)]
pub struct BlockLoss {
    /// ᾱ, the share of the target's variance in z: from 0 to 1.
    pub alpha_bar: f64,
    /// w, the weight of the squared error.
    pub denoising: f64,
    /// λ, the weight of the cross-entropy on the block's own logits; nothing for heads without classes.
    pub cross_entropy: f64,
}

impl BlockLoss {
    /// Runs `forward`, the block with its input x, on the noised target, and weighs what comes out.
    ///
    /// Gradients are collected in `gradients`. Where the head's embedding is learned, they include the one with
    /// respect to `target.table`.
    ///
    /// # Errors
    /// The device's own.
    pub fn evaluate<H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
        &self,
        target: &Target<'_, H::Out, Z, E, D>,
        noise: Rows<Const<Z>, E, D>,
        gradients: Gradients<E, D>,
        forward: impl FnOnce(TracedRows<Const<Z>, E, D>) -> Result<TracedRows<H::Out, E, D>, D::Err>,
    ) -> Result<Loss<Rows<H::Out, E, D>, E, D>, D::Err> {
        self.unread::<H, Z, E, D>(target, noise, gradients, forward).map(Unread::read)
    }

    /// The same with its numbers still on the device.
    pub(super) fn unread<H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
        &self,
        target: &Target<'_, H::Out, Z, E, D>,
        noise: Rows<Const<Z>, E, D>,
        gradients: Gradients<E, D>,
        forward: impl FnOnce(TracedRows<Const<Z>, E, D>) -> Result<TracedRows<H::Out, E, D>, D::Err>,
    ) -> Result<Unread<H::Out, E, D>, D::Err> {
        let rows = noise.shape().0;
        let (u, tape) = target.traced::<H>(gradients)?.split_tape();
        let noise = noise.try_mul(E::of((1.0 - self.alpha_bar).sqrt()))?;
        let share = E::of(self.alpha_bar.sqrt());
        let z = if H::LEARNED {
            u.clone().put_tape(tape).try_mul(share)?.try_add(noise)?
        } else {
            // Nothing leads back to u, so the sum need not be recorded.
            u.clone().try_mul(share)?.try_add(noise)?.put_tape(tape)
        };
        let (output, tape) = forward(z)?.split_tape();
        let estimate = H::estimate(output.clone().put_tape(tape), target.table)?;
        let weight = constant(u.device(), self.denoising)?.try_broadcast_like(&(rows,))?;
        let error = squared_error(estimate, u, target.weigh_rows(weight)?)?;
        weigh::<H, Z, E, D>(
            error,
            output.clone().put_tape(OwnedTape::default()),
            target,
            self.cross_entropy,
        )
        .map(|weighed| weighed.into_loss(output))
    }
}

/// A constant as a loss: with an empty tape.
pub(super) fn constant<E: Real, D: Backend<E>>(
    device: &D,
    value: f64,
) -> Result<TracedScalar<E, D>, D::Err> {
    Ok(device.try_tensor_from_vec(vec![E::of(value)], ())?.put_tape(OwnedTape::default()))
}

/// w ‖a − b‖² of each row; b keeps its name on the tape.
pub(super) fn squared_error<const Z: usize, E: Real, D: Backend<E>>(
    a: TracedRows<Const<Z>, E, D>,
    b: Rows<Const<Z>, E, D>,
    weight: TracedColumn<E, D>,
) -> Result<TracedColumn<E, D>, D::Err> {
    let error = a.try_sub(b.retaped::<OwnedTape<E, D>>())?.try_square()?;
    error.try_sum::<(usize,), Axis<1>>()?.try_mul(weight)
}

/// The terms that a block has a part in.
pub(super) struct Weighed<E: Real, D: Backend<E>> {
    total: TracedScalar<E, D>,
    rows: Tensor<(usize,), E, D>,
    denoising: Tensor<(usize,), E, D>,
    cross_entropy: Option<Tensor<(usize,), E, D>>,
}

impl<E: Real, D: Backend<E>> Weighed<E, D> {
    pub(super) fn into_loss<O: ConstDim>(self, output: Rows<O, E, D>) -> Unread<O, E, D> {
        let Self { total, rows, denoising, cross_entropy } = self;
        Unread { total, rows, denoising, cross_entropy, output }
    }
}

/// A loss whose numbers are still on the device: of the terms what each row adds, `[batch]`.
pub(super) struct Unread<O: ConstDim, E: Real, D: Backend<E>> {
    pub(super) total: TracedScalar<E, D>,
    rows: Tensor<(usize,), E, D>,
    pub(super) denoising: Tensor<(usize,), E, D>,
    pub(super) cross_entropy: Option<Tensor<(usize,), E, D>>,
    pub(super) output: Rows<O, E, D>,
}

impl<O: ConstDim, E: Real, D: Backend<E>> Unread<O, E, D> {
    pub(super) fn read(self) -> Loss<Rows<O, E, D>, E, D> {
        let Self { total, rows, denoising, cross_entropy, output } = self;
        let cross_entropy = cross_entropy.as_ref().map_or(0.0, mean_of);
        Loss { total, rows, denoising: mean_of(&denoising), cross_entropy, output }
    }
}

/// The squared error of each row plus λ times the cross-entropy of its logits.
pub(super) fn weigh<H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
    error: TracedColumn<E, D>,
    logits: TracedRows<H::Out, E, D>,
    target: &Target<'_, H::Out, Z, E, D>,
    weight: f64,
) -> Result<Weighed<E, D>, D::Err> {
    let denoising = error.retaped::<NoneTape>();
    let (column, cross_entropy) = match &target.one_hot {
        Some(one_hot) if weight != 0.0 => {
            let mut truth = one_hot.clone();
            if let Some(weights) = &target.weights {
                let shape = *truth.shape();
                truth = truth.try_mul(weights.clone().try_broadcast_like::<_, Axis<1>>(&shape)?)?;
            }
            let term = cross_entropies(logits, truth)?.try_mul(E::of(weight))?;
            let own = term.retaped::<NoneTape>();
            (error.try_add(term)?, Some(own))
        }
        _ => (error, None),
    };
    let rows = column.retaped::<NoneTape>();
    Ok(Weighed { total: mean(column)?, rows, denoising, cross_entropy })
}

/// The value of a loss.
pub(super) fn value<E: Real, D: Backend<E>>(loss: &TracedScalar<E, D>) -> f64 {
    loss.as_vec().first().map_or(f64::NAN, |value| value.as_f64())
}

/// The mean of the rows' losses.
pub(super) fn mean<E: Real, D: Backend<E>>(
    column: TracedColumn<E, D>,
) -> Result<TracedScalar<E, D>, D::Err> {
    let rows = column.shape().0 as f64;
    column.try_sum()?.try_mul(E::of(1.0 / rows))
}

/// The value of that mean.
fn mean_of<E: Real, D: Backend<E>>(column: &Tensor<(usize,), E, D>) -> f64 {
    let values = column.as_vec();
    values.iter().map(|value| value.as_f64()).sum::<f64>() / values.len() as f64
}

/// −Σ_c p_c log softmax(o)_c of each row.
pub(super) fn cross_entropies<O: ConstDim, E: Real, D: Backend<E>>(
    logits: TracedRows<O, E, D>,
    targets: Rows<O, E, D>,
) -> Result<TracedColumn<E, D>, D::Err> {
    let picked = logits.try_log_softmax::<Axis<1>>()?.try_mul(targets)?;
    picked.try_sum::<(usize,), Axis<1>>()?.try_negate()
}

/// The terms of the loss that no block has a part in, with the tape of u and W:
/// CE(p̂(y | z_T)) with z_T ~ q(z_T | y), and KL(q(z_0 | y) ‖ N(0, I)), both averaged over the batch.
///
/// `ends` are ᾱ at the noise's end and the SNR at the target's. p̂ is the exact posterior of the class given z_T
/// under q and equal priors, p̂(c | z) ∝ exp(−‖z − √ᾱ_T u_c‖² / 2(1 − ᾱ_T)). The paper trains a linear layer for it;
/// this is the one that such a layer tends to, and it needs no training.
pub(super) fn terminal<H: Head<Z, E>, const Z: usize, E: Real, D: Backend<E>>(
    ends: [TracedScalar<E, D>; 2],
    target: &Target<'_, H::Out, Z, E, D>,
    noise: Rows<Const<Z>, E, D>,
    gradients: Gradients<E, D>,
) -> Result<[TracedScalar<E, D>; 2], D::Err> {
    let ([alpha_bar, snr], shape) = (ends, *noise.shape());
    let (width, rows) = (Z as f64, shape.0 as f64);
    let (u, tape) = target.traced::<H>(gradients)?.split_tape();
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
    let logits = H::read(z, target.table, 1.0)?;
    let snr = snr.try_broadcast_like(logits.shape())?;
    Ok([mean(cross_entropies(logits.try_mul(snr)?, one_hot.clone())?)?, kl])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{head::Learned, schedule::Schedule};

    /// CE + KL on fixed noise, as a function of the embedding.
    fn terms(table: &Tensor<(Const<3>, Const<2>), f64, Cpu>) -> (f64, Vec<f64>) {
        use dfdx::nn::ZeroGrads;
        let dev = Cpu::seed_from_u64(1);
        let levels = Schedule::AlphaBar(vec![0.2, 0.5, 0.7]).levels(2).unwrap();
        let one_hot = vec![0., 1., 0., 0., 0., 1., 1., 0., 0., 0., 1., 0.];
        let target = Target {
            u: dev.zeros_like(&(4, Const)),
            one_hot: Some(dev.tensor_from_vec(one_hot, (4, Const::<3>))),
            table,
            weights: None,
        };
        let noise = dev.sample_normal_like(&(4, Const::<2>));
        let ends = [levels.alpha_bar(0), levels.snr(2)].map(|end| constant(&dev, end).unwrap());
        let [ce, kl] =
            terminal::<Learned<3>, 2, f64, Cpu>(ends, &target, noise, table.alloc_grads()).unwrap();
        let total = ce.try_add(kl).unwrap();
        (total.as_vec()[0], total.backward().get(table).as_vec())
    }

    #[test]
    fn the_embedding_gets_the_gradient_of_the_terms_without_a_block() {
        let dev = Cpu::default();
        let start = vec![0.3, -1.0, 0.8, 0.4, -0.6, 0.1];
        let at = |values: &[f64]| terms(&dev.tensor_from_vec(values.to_vec(), Default::default()));
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
        let table: Tensor<(Const<3>, Const<2>), f64, _> =
            dev.tensor_from_vec(vec![0.3, -1.0, 0.8, 0.4, -0.6, 0.1], Default::default());
        let rows = table.as_vec();
        // The noise that `terms` draws.
        let noise: Tensor<(usize, Const<2>), f64, _> = dev.sample_normal_like(&(4, Const));
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
