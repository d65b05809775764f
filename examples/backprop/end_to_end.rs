//! The blocks of discrete time as one network, trained by back-propagation through all of them.

use dfdx::{
    nn::{TensorCollection, ZeroGrads},
    prelude::*,
};
use dfdx_noprop::{
    device::{Backend, Real, Rows, TracedScalar},
    head::{OneHot, SuitsHead},
    nn::{Denoises, Pair, Signal},
    schedule::NoiseLevels,
};

/// What is given: the inputs, and the unit vectors of the classes.
pub struct Batch<const C: usize, const X: usize, E: Real, D: Backend<E>> {
    pub x: Rows<Const<X>, E, D>,
    pub truth: Rows<Const<C>, E, D>,
}

/// Gradients of all blocks together, 0 so far.
pub fn zeros<'a, B: TensorCollection<E, D> + 'a, E: Real, D: Backend<E>>(
    device: &D,
    blocks: impl Iterator<Item = &'a B>,
) -> Result<Gradients<E, D>, D::Err> {
    let mut sum = device.try_zeros_like(&())?.traced(Gradients::leaky());
    for block in blocks {
        let gradients = block.try_alloc_grads()?;
        sum = sum.try_add(device.try_zeros_like(&())?.traced(gradients))?;
    }
    sum.try_backward()
}

/// The cross-entropy of the last block's logits after the walk of inference without noise,
///
/// z_0 = 0,  z_t = a_t softmax(o_t(z_{t−1}, x)) + b_t z_{t−1},
///
/// recorded from one end to the other (Li, Teh, Pascanu 2025, the baseline of section 4). Blocks that inference skips, since
/// the noise does not change there, are skipped.
pub fn loss<'a, M, const C: usize, const X: usize, E: Real, D: Backend<E>>(
    blocks: impl Iterator<Item = &'a mut M::Built>,
    levels: &NoiseLevels,
    batch: &Batch<C, X, E, D>,
    gradients: Gradients<E, D>,
) -> Result<TracedScalar<E, D>, D::Err>
where
    M: Denoises<Pair<C, X>, E, D>,
    M::Built: 'a,
    M::Gives: SuitsHead<OneHot, C, E, D>,
{
    let rows = batch.x.shape().0;
    let mut z = batch.x.device().try_zeros_like(&(rows, Const::<C>))?.traced(gradients);
    let mut last = None;
    for (t, block) in (1..).zip(blocks) {
        if levels.snr_increment(t) == 0.0 {
            continue;
        }
        let kept = z.with_empty_tape().try_mul(E::of(levels.b(t)))?;
        let input: <Pair<C, X> as Signal<E, D>>::Traced = (z, batch.x.clone());
        let output = M::denoise_traced(block, input)?;
        let (output, tape) = <M::Gives as SuitsHead<OneHot, C, E, D>>::traced(output).split_tape();
        let estimate = output.clone().put_tape(tape).try_softmax::<Axis<1>>()?;
        z = estimate.try_mul(E::of(levels.a(t)))?.try_add(kept)?;
        last = Some(output);
    }
    // The last estimate leads nowhere; its tape has all that leads to the last logits.
    let (_, tape) = z.split_tape();
    let Some(output) = last else {
        return Ok(batch.x.device().try_zeros_like(&())?.put_tape(tape));
    };
    let picked =
        output.put_tape(tape).try_log_softmax::<Axis<1>>()?.try_mul(batch.truth.clone())?;
    picked.try_sum::<(), _>()?.try_mul(E::of(-1.0 / rows as f64))
}
