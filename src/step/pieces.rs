//! A batch in pieces, each of which goes forward and back on one thread.

use std::ops::Range;

use dfdx::prelude::*;

use super::{
    Context, StepBatch,
    draw::{on_device, times_on},
    local::{BackwardOutput, LossInputs, failed, gradients_of_piece},
};
use crate::{
    block::{AnyBlock, Host, Piece},
    device::{Backend, Matrix, Real, Workers},
    error::{Error, Place},
    optim::move_gradients,
    variant::{Draw, Target},
};

/// How many pieces a batch is cut into: it follows from the rows alone, so that sums are the same
/// for any number of threads.
fn count(rows: usize) -> usize {
    /// Fewer rows do not pay for a gradient of their own.
    const LEAST: usize = 128;
    /// More than two pieces are worth one each only if they are as large as this.
    const LARGE: usize = 512;
    /// Each has a gradient of all weights.
    const MOST: usize = 4;
    match rows / LEAST {
        0 | 1 => 1,
        _ => (rows / LARGE).clamp(2, MOST),
    }
}

/// Forward and back in pieces; `None` where there is one piece only, or where rows need each other.
pub(super) fn backward<E: Real, D: Host<E>>(
    context: &Context<'_, E, D>,
    block: &mut D::Block,
    draw: &Draw<'_, E, D>,
    batch: &StepBatch<'_, E>,
    place: Place,
) -> Result<Option<BackwardOutput<E, D>>, Error> {
    let rows = batch.rows();
    // A device without threads would only wait for the host to cut.
    let pieces = if D::THREADS { count(rows) } else { 1 };
    if pieces < 2 || !block.plan().map_err(failed())?.is_rowwise() {
        return Ok(None);
    }
    let device = draw.noise.device().clone();
    let (state, _) = block.parts();
    let kept = state.gradients.take().into_iter().chain(std::mem::take(&mut state.more_gradients));
    let kept = kept.map(Some).chain(std::iter::repeat_with(|| None));
    let host = OnHost::new(draw);
    let mut parts: Vec<_> = kept
        .take(pieces)
        .map(|gradients| Piece { block: &*block, gradients, device: device.clone() })
        .collect();
    let trained = D::each(&mut parts, &Workers::around(), &|i, part: &mut Piece<'_, E, D>| {
        let range = i * rows / pieces..(i + 1) * rows / pieces;
        one(context, part, &host, batch, place, range)
    });
    let gradients: Vec<_> = parts.into_iter().filter_map(|part| part.gradients).collect();
    sum_up(block, trained, gradients).map(Some)
}

/// What a piece has found, but for its gradients.
struct PieceOutput<E> {
    terms: [f64; 2],
    terminal: [f64; 2],
    output: Vec<E>,
}

/// Forward and back on one piece.
fn one<E: Real, D: Host<E>>(
    context: &Context<'_, E, D>,
    part: &mut Piece<'_, E, D>,
    host: &OnHost<E>,
    batch: &StepBatch<'_, E>,
    place: Place,
    range: Range<usize>,
) -> Result<PieceOutput<E>, Error> {
    let _reuse = D::reuse(batch.rows());
    let _products = D::products_in(context.span.precision);
    let share = range.len() as f64 / batch.rows() as f64;
    let x = batch.inputs(&part.device, range.clone()).map_err(failed())?;
    let embedding = context.embedding_on(&part.device)?;
    let draw = host.some(&embedding, range)?;
    let gradients = gradients_of_piece::<E, D>(part.gradients.take(), part.block)?;
    let mut plan = part.block.plan().map_err(failed())?;
    let inputs = LossInputs { draw, x, learned: None };
    let back = context.backward(&mut plan, inputs, gradients, place, share)?;
    part.gradients = Some(back.gradients);
    let shared = |means: [f64; 2]| means.map(|mean| share * mean);
    Ok(PieceOutput {
        terms: shared(back.terms),
        terminal: shared(back.terminal),
        output: back.output,
    })
}

/// All pieces together, in their order.
fn sum_up<E: Real, D: Host<E>>(
    block: &mut D::Block,
    trained: Vec<Result<PieceOutput<E>, Error>>,
    gradients: Vec<Gradients<E, D>>,
) -> Result<BackwardOutput<E, D>, Error> {
    let (mut terms, mut terminal, mut output) = ([0.0; 2], [0.0; 2], Vec::new());
    let add = |to: &mut [f64; 2], from: [f64; 2]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    };
    for part in trained {
        let part = part?;
        add(&mut terms, part.terms);
        add(&mut terminal, part.terminal);
        output.extend(part.output);
    }
    let mut gradients = gradients.into_iter();
    let Some(mut sum) = gradients.next() else {
        return Err(Error::argument("a training step", "gradients of a piece", "none"));
    };
    let mut more: Vec<_> = gradients.collect();
    let (state, tensors) = block.parts();
    for more in &mut more {
        move_gradients(tensors, &mut sum, more).map_err(failed())?;
    }
    state.more_gradients = more;
    Ok(BackwardOutput { terms, output, terminal, gradients: sum })
}

/// What was drawn for a batch, and its targets, as numbers.
struct OnHost<E> {
    u: Vec<E>,
    one_hot: Option<Vec<E>>,
    weights: Option<Vec<E>>,
    noise: Vec<E>,
    end_noise: Option<Vec<E>>,
    times: Option<Vec<f64>>,
    /// Z.
    latent: usize,
}

impl<E: Real> OnHost<E> {
    fn new<D: Backend<E>>(draw: &Draw<'_, E, D>) -> Self {
        let Draw { target, noise, end_noise, times } = draw;
        Self {
            u: target.u.as_vec(),
            one_hot: target.one_hot.as_ref().map(Tensor::as_vec),
            weights: target.weights.as_ref().map(Tensor::as_vec),
            noise: noise.as_vec(),
            end_noise: end_noise.as_ref().map(Tensor::as_vec),
            times: times.as_ref().map(|times| times.host.clone()),
            latent: noise.shape().1,
        }
    }

    /// Some of the rows, on the device of the embedding.
    fn some<'t, D: Backend<E>>(
        &self,
        embedding: &'t Matrix<E, D>,
        rows: Range<usize>,
    ) -> Result<Draw<'t, E, D>, Error> {
        let (device, count) = (embedding.device(), rows.len());
        let wide = |all: &[E], width: usize| {
            on_device(device, all[rows.start * width..rows.end * width].to_vec(), (count, width))
        };
        let latents = |all: &[E]| wide(all, self.latent);
        let classes = embedding.shape().0;
        let one_hot = self.one_hot.as_ref().map(|all| wide(all, classes));
        let column = |all: Vec<E>| on_device(device, all, (count,));
        let weights = self.weights.as_ref().map(|all| column(all[rows.clone()].to_vec()));
        let times = match &self.times {
            Some(all) => Some(times_on(device, all[rows.clone()].to_vec())?),
            None => None,
        };
        Ok(Draw {
            target: Target {
                u: latents(&self.u)?,
                one_hot: one_hot.transpose()?,
                embedding,
                weights: weights.transpose()?,
            },
            noise: latents(&self.noise)?,
            end_noise: self.end_noise.as_deref().map(latents).transpose()?,
            times,
        })
    }
}
